use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A request that a test's HTTP server got.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// The first line and the headers, as they came.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

/// What a test's HTTP server answers.
#[derive(Debug, Clone)]
pub enum HttpReply {
    /// A status code, a content type and a body.
    Answer(u16, String, Vec<u8>),
    /// These bytes, as they are.
    Raw(Vec<u8>),
    /// Nothing: the connection is closed.
    Close,
}

/// A small HTTP server on 127.0.0.1 for tests: one request for each connection, a thread for each. It ends on drop.
#[derive(Debug)]
pub struct HttpServer {
    /// Its port.
    pub port: u16,
    ended: Arc<AtomicBool>,
}

impl HttpServer {
    /// Starts it.
    pub fn start(answer: impl Fn(HttpRequest) -> HttpReply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let ended = Arc::new(AtomicBool::new(false));
        let (answer, over) = (Arc::new(answer), Arc::clone(&ended));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || {
                    if let Some(request) = read(&stream) {
                        write(&stream, answer(request));
                    }
                });
            }
        });
        Self { port, ended }
    }

    /// Its address as a URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn read(stream: &TcpStream) -> Option<HttpRequest> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(HttpRequest { head, body })
}

// The other side may be gone: that is its business.
fn write(mut stream: &TcpStream, reply: HttpReply) {
    let bytes = match reply {
        HttpReply::Close => return,
        HttpReply::Raw(bytes) => bytes,
        HttpReply::Answer(status, kind, body) => {
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            [head.into_bytes(), body].concat()
        }
    };
    let _ = stream.write_all(&bytes);
    let _ = stream.flush();
}

/// Sends a request on to another server of this machine, and gives what that answers.
pub fn forward_http(port: u16, request: &HttpRequest) -> std::io::Result<HttpReply> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    // The answer's end is the connection's end.
    let lines = request.head.lines().filter(|l| !l.to_ascii_lowercase().starts_with("connection:"));
    let mut bytes = lines.map(|l| format!("{l}\r\n")).collect::<String>().into_bytes();
    bytes.extend_from_slice(b"connection: close\r\n\r\n");
    bytes.extend_from_slice(&request.body);
    stream.write_all(&bytes)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(HttpReply::Raw(answer))
}
