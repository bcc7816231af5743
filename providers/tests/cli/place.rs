//! A folder of its own for each test, and the command in it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use towpath_core::{Context, Provisioner as _};
use towpath_local::{Local, LocalConfig};

pub(crate) struct Place(tempfile::TempDir);

/// What a process said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// One error, on one line, and no other output.
    #[track_caller]
    pub(crate) fn complains(&self, parts: &[&str]) {
        assert!(self.err.contains("error: "), "{self:?}");
        for part in parts {
            assert!(self.err.contains(part), "no {part:?} in {}", self.err);
        }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// A pipeline that needs no host: two observations, the second after the first.
pub(crate) const NOTES: &str = "
name: notes
parameters: { title: hello }
steps:
  first:
    record: local
    observations: [{ notice: { title: { param: title } } }]
  second:
    record: local
    observations: [{ metric: { name: answer, value: 42 } }]
    after: first
";

/// A host that is this machine.
pub(crate) const HERE: &str = "{ hosts: [{ name: here, connection: { kind: local } }] }";

/// A step that runs until the file `go` is there. It makes the file `begun`.
pub(crate) fn slow(place: &Place) -> String {
    let dir = place.path().display();
    format!(
        "
name: slow
steps:
  wait:
    gate: local
    inventory: {HERE}
    rule:
      checks:
        - name: go
          probe: {{ command: {{ argv: [sh, -c, 'touch {dir}/begun; test -e {dir}/go'] }} }}
      fall: 100000
      deadline_s: 120
"
    )
}

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn with(self, name: &str, text: &str) -> Self {
        self.write(name, text);
        self
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_of(env!("CARGO_BIN_EXE_towpath"), args)
    }

    /// Another copy of it.
    pub(crate) fn command_of(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path()).args(args).env("USER", "anna").env("TERM", "dumb");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn towpath(&self, args: &[&str]) -> Said {
        said(self.command(args).spawn().unwrap())
    }

    /// Files of `.towpath/runs` that end so.
    pub(crate) fn runs(&self, ending: &str) -> Vec<PathBuf> {
        let listed = std::fs::read_dir(self.path().join(".towpath/runs"));
        let mut all: Vec<PathBuf> = listed.into_iter().flatten().map(|e| e.unwrap().path()).collect();
        all.retain(|p| p.to_string_lossy().ends_with(ending));
        all.sort();
        all
    }

    /// Says whether nothing but these files is there.
    #[track_caller]
    pub(crate) fn holds_only(&self, names: &[&str]) {
        let mut found: Vec<String> =
            std::fs::read_dir(self.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        found.sort();
        assert_eq!(found, names, "something was made");
    }

    /// Waits until a file is there; the process that makes it must live that long.
    #[track_caller]
    pub(crate) fn wait_for(&self, name: &str, by: &mut Child) {
        while !self.path().join(name).exists() {
            assert!(by.try_wait().unwrap().is_none(), "ended before {name} was there");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

pub(crate) fn said(child: Child) -> Said {
    let out = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: out.status.code(), out: text(out.stdout), err: text(out.stderr) }
}

/// Ends the hosts that a pipeline made here, however the test went.
impl Drop for Place {
    fn drop(&mut self) {
        let dir = self.path().join(".towpath/local/default");
        if !dir.exists() {
            return;
        }
        let ended = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let local = Local::new(LocalConfig::hosts(1).state_dir(dir)).unwrap();
            runtime.block_on(local.destroy(&Context::new())).map(drop)
        });
        let ended = ended.join().unwrap();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}
