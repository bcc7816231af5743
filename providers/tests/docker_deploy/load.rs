//! Clients that ask all the time, and count what they get.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// What clients got: answers by their text, and what went wrong.
#[derive(Debug, Default)]
pub(crate) struct Got {
    pub(crate) answers: BTreeMap<String, usize>,
    pub(crate) failures: Vec<String>,
}

impl Got {
    pub(crate) fn count(&self) -> usize {
        self.answers.values().sum()
    }
}

/// Asks once, as anybody would: a new connection, one request, one answer.
pub(crate) fn ask(address: &str, port: u16, path: &str) -> Result<String, String> {
    let said = |e: std::io::Error| e.to_string();
    let mut stream = TcpStream::connect((address, port)).map_err(said)?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).map_err(said)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(said)?;
    let mut all = String::new();
    stream.read_to_string(&mut all).map_err(said)?;
    let (head, body) = all.split_once("\r\n\r\n").ok_or_else(|| format!("no whole answer: {all:?}"))?;
    let good = head.split(' ').nth(1) == Some("200");
    if good { Ok(body.to_owned()) } else { Err(head.lines().next().unwrap_or_default().to_owned()) }
}

/// Clients in threads of their own.
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Got>>,
}

impl Load {
    /// Four that ask as fast as they can, and two whose requests take a second each.
    pub(crate) fn start(port: u16) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let paths = ["/", "/", "/", "/", "/slow", "/slow"];
        let client = |path: &'static str| {
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                let mut got = Got::default();
                while !over.load(Ordering::SeqCst) {
                    match ask("127.0.0.1", port, path) {
                        Ok(text) => *got.answers.entry(text).or_default() += 1,
                        Err(e) => got.failures.push(format!("{path}: {e}")),
                    }
                }
                got
            })
        };
        Self { clients: paths.map(client).into(), over }
    }

    pub(crate) fn stop(self) -> Got {
        self.over.store(true, Ordering::SeqCst);
        let mut all = Got::default();
        for client in self.clients {
            let got = client.join().unwrap();
            all.failures.extend(got.failures);
            for (text, n) in got.answers {
                *all.answers.entry(text).or_default() += n;
            }
        }
        all
    }
}
