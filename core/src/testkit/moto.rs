use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// What pip installs.
const MOTO: &str = "moto[server]==5.2.5";

/// A server that plays AWS on this machine: moto in its own environment of Python below the target folder. It ends on drop.
///
/// Its instances are no machines, and it is more lenient than AWS: everything is there at once.
#[derive(Debug)]
pub struct Moto {
    server: Child,
    /// Its port.
    pub port: u16,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The folder that Cargo builds in: test programs are in `target/debug/deps`.
fn target() -> Option<PathBuf> {
    std::env::current_exe().ok()?.ancestors().nth(3).map(PathBuf::from)
}

fn program() -> Option<PathBuf> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let install = || {
        let venv = target()?.join("moto");
        let program = venv.join("bin/moto_server");
        if !program.exists() {
            let made = Command::new("python3").args(["-m", "venv"]).arg(&venv).status().is_ok_and(|s| s.success());
            let pip = || Command::new(venv.join("bin/pip")).args(["install", "-q", MOTO]).status();
            if !made || !pip().is_ok_and(|s| s.success()) {
                return None;
            }
        }
        program.exists().then_some(program)
    };
    PROGRAM.get_or_init(install).clone()
}

impl Moto {
    /// Starts a server and waits until it answers. `None`, with a line that says what is missing, where it can't be had; where it
    /// could have been (`TOWPATH_TEST_REQUIRE=1`) it panics.
    pub fn start() -> Option<Self> {
        let Some(program) = program() else {
            let what = format!("NOT RUN: moto: install python3-venv, and let pip install `{MOTO}`");
            eprintln!("{what}");
            assert!(std::env::var_os("TOWPATH_TEST_REQUIRE").is_none(), "{what}");
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let this = Self { server, port };
        for _ in 0..600 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(this);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("moto does not answer");
    }

    /// A server that tests which run at the same time share.
    pub fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Moto>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Some(running);
        }
        let new = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&new);
        Some(new)
    }

    /// Where it answers, for every service.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Runs a program of Python with moto's own client: `ec2(region)` is there. Gives what it prints.
    pub fn ask(&self, python: &str) -> String {
        let python = format!(
            "import boto3\nec2 = lambda region='us-east-1': boto3.client('ec2', region_name=region, endpoint_url='{}', aws_access_key_id='x', aws_secret_access_key='x')\n{python}",
            self.endpoint()
        );
        let interpreter = program().unwrap().with_file_name("python");
        let out = Command::new(interpreter).args(["-c", &python]).output().unwrap();
        assert!(out.status.success(), "{python}\n{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }
}
