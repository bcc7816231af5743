//! The suite of connectors tells broken ones from correct ones: each behaviour must fail where it alone is broken. It is
//! here and not with the other suites' trials since a connector in memory would prove little.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use towpath_core::testkit::connector::{ConnectorFixture, behaviours};
use towpath_core::testkit::trial;
use towpath_core::{
    Capabilities, Connection, Connector, Context, Endpoint, Error, ErrorKind, Exec, ExecOutput, ExitStatus, Host,
    Preflight, Process, ProcessControl, Program, PutOptions, RemoteGroup, Result, Source, Stream,
};

fn error(kind: ErrorKind) -> Error {
    Error::new(kind, "broken", "test", "broken on purpose")
}

#[derive(Debug)]
struct Broken {
    real: Arc<dyn Connector>,
    defect: &'static str,
}

#[derive(Debug)]
struct BrokenConnection {
    real: Arc<dyn Connection>,
    defect: &'static str,
    /// One command at a time.
    turn: tokio::sync::Mutex<()>,
}

#[async_trait]
impl Connector for Broken {
    fn capabilities(&self) -> Capabilities {
        let mut real = self.real.capabilities();
        if self.defect == "capabilities_are_known_names" {
            real.verbs.push("fly".into());
        }
        real
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        if self.defect == "preflight_answers" {
            return Err(error(ErrorKind::Internal));
        }
        self.real.preflight(cx).await
    }

    async fn connect(&self, cx: &Context, host: &Host) -> Result<Arc<dyn Connection>> {
        match (self.defect, self.real.connect(cx, host).await) {
            ("an_unreachable_host_is_unreachable" | "a_refused_host_is_denied", Err(_)) => {
                Err(error(ErrorKind::ToolFailed))
            }
            (defect, real) => Ok(Arc::new(BrokenConnection { real: real?, defect, turn: Default::default() })),
        }
    }
}

#[async_trait]
impl Connection for BrokenConnection {
    fn host(&self) -> &str {
        if self.defect == "a_connection_names_its_host" { "another" } else { self.real.host() }
    }

    async fn exec(&self, cx: &Context, command: &Exec) -> Result<ExecOutput> {
        let mut command = marked(command);
        let mut turn = None;
        match (self.defect, &command.program) {
            ("arguments_are_never_interpreted", Program::Argv(argv)) => {
                command.program = Program::Script(argv.join(" "))
            }
            ("a_script_is_shell", Program::Script(s)) => {
                command.program = Program::Argv(s.split_whitespace().map(str::to_owned).collect());
            }
            ("stdin_is_closed_unless_given", _) => command.stdin = command.stdin.or(Some("stray".into())),
            ("stdin_reaches_the_command", _) => command.stdin = None,
            ("environment_and_directory_are_set", _) => command.env.clear(),
            ("too_much_output_ends_the_command", _) => {
                // It is cut off without a word, and runs on for as long as it likes.
                command.limit_bytes = 1 << 30;
                command.timeout = Some(std::time::Duration::from_secs(1));
                return match self.real.exec(cx, &command).await {
                    Err(_) => {
                        Ok(ExecOutput { status: ExitStatus::Code(0), stdout: Bytes::new(), stderr: Bytes::new() })
                    }
                    done => done,
                };
            }
            ("a_command_becomes_another_user", _) => command.r#become = None,
            // Only the shell itself is ended: what it started has a session of its own.
            ("a_timeout_ends_the_whole_group" | "a_cancel_ends_the_whole_group", Program::Script(s)) => {
                let script = s.clone();
                command.program = Program::Argv(["setsid", "-w", "/bin/sh", "-c", &script].map(str::to_owned).into());
            }
            ("a_background_child_does_not_hold_a_command", Program::Script(s)) if s.contains('&') => {
                // Waits until the output is closed, which the background child holds.
                command.program = Program::Script(format!("({s}) | cat"));
                command.timeout = Some(std::time::Duration::from_secs(1));
            }
            ("commands_run_at_the_same_time", _) => {
                command.timeout = command.timeout.map(|t| t.min(std::time::Duration::from_secs(1)));
                turn = Some(self.turn.lock().await);
            }
            _ => {}
        }
        let output = self.real.exec(cx, &command).await;
        drop(turn);
        let mut output = output?;
        match (self.defect, &output.status) {
            ("exec_gives_both_outputs_and_the_status", _) => {
                output.stdout = [output.stdout, std::mem::take(&mut output.stderr)].concat().into();
            }
            ("a_failed_command_is_not_an_error", status) if !status.is_success() => {
                return Err(error(ErrorKind::ToolFailed));
            }
            ("a_signal_is_told_from_an_exit", ExitStatus::Signal(_)) => output.status = ExitStatus::Code(9),
            ("a_missing_program_is_status_127", ExitStatus::Code(127)) => output.status = ExitStatus::Code(1),
            ("binary_output_arrives_whole", _) => {
                output.stdout = String::from_utf8_lossy(&output.stdout).into_owned().into_bytes().into();
            }
            _ => {}
        }
        Ok(output)
    }

    async fn spawn(&self, cx: &Context, command: &Exec) -> Result<Process> {
        let mut process = self.real.spawn(cx, &marked(command)).await?;
        match self.defect {
            // Nothing is said before the end.
            "a_long_lived_shell_answers_line_by_line" => process.stdout = Box::new(tokio::io::empty()),
            "an_ended_process_is_gone" => process.control = Box::new(Immortal(process.control)),
            _ => {}
        }
        Ok(process)
    }

    async fn put(&self, cx: &Context, source: Source, path: &str, options: &PutOptions) -> Result<()> {
        let mut options = options.clone();
        let mut source = source;
        match self.defect {
            "put_replaces_and_keeps_the_mode" => options.mode = options.mode.or(Some(0o600)),
            "put_sets_the_mode_it_is_told" => options.mode = None,
            "put_of_a_local_file" => {
                if let Source::File(path) = &source {
                    source = Source::Bytes(path.display().to_string().into());
                }
            }
            "put_leaves_no_torn_or_spare_file" => {
                self.real.put(cx, source.clone(), &format!("{path}.part"), &options).await?;
            }
            _ => {}
        }
        match (self.defect, self.real.put(cx, source, path, &options).await) {
            ("put_into_a_missing_directory_is_not_found", Err(_)) => Err(error(ErrorKind::ToolFailed)),
            (_, put) => put,
        }
    }

    async fn get(&self, cx: &Context, path: &str, limit_bytes: u64) -> Result<Bytes> {
        let limit = if self.defect == "get_beyond_its_limit_is_refused" { u64::MAX / 2 } else { limit_bytes };
        match (self.defect, self.real.get(cx, path, limit).await) {
            ("put_and_get_give_the_same_bytes", Ok(bytes)) => Ok(bytes.slice(..bytes.len().min(65_536))),
            ("get_of_a_missing_file_is_not_found", Err(_)) => Ok(Bytes::new()),
            (_, got) => got,
        }
    }

    async fn dial(&self, cx: &Context, to: &Endpoint) -> Result<Box<dyn Stream>> {
        match (self.defect, self.real.dial(cx, to).await) {
            ("dial_reaches_what_listens_on_the_host", Ok(_)) => Ok(Box::new(tokio::io::duplex(1).0)),
            // It would be told at the first byte.
            ("dial_of_a_dead_port_is_unreachable", Err(_)) => Ok(Box::new(tokio::io::duplex(1).0)),
            (_, dialled) => dialled,
        }
    }

    async fn end_group(&self, cx: &Context, group: &RemoteGroup) -> Result<bool> {
        let was_there = self.real.end_group(cx, group).await?;
        Ok(was_there || self.defect == "a_group_left_behind_is_ended_once")
    }

    async fn close(&self) {
        self.real.close().await;
    }
}

/// Says that it has ended its process, and has not.
struct Immortal(Box<dyn ProcessControl>);

#[async_trait]
impl ProcessControl for Immortal {
    fn group(&self) -> Option<RemoteGroup> {
        self.0.group()
    }

    async fn wait(&mut self) -> Result<ExitStatus> {
        self.0.wait().await
    }

    async fn end(&mut self) -> Result<()> {
        Ok(())
    }
}

/// In the environment of every command here, so that those which a broken connector does not end are found.
const MARK: &str = "TOWPATH_BROKEN_CONNECTOR";

fn marked(command: &Exec) -> Exec {
    let mut command = command.clone();
    command.env.push((MARK.into(), std::process::id().to_string()));
    command
}

/// Ends what broken connectors have left running, also where the trial fails.
struct Sweep;

impl Drop for Sweep {
    fn drop(&mut self) {
        let mark = format!("{MARK}={}", std::process::id());
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            if environment.split(|b| *b == 0).any(|v| v == mark.as_bytes()) {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connector() {
    let _sweep = Sweep;
    let fixture = async || crate::behaviour::connector_fixture().await.unwrap();
    trial(behaviours(), fixture, async |defect| {
        let f = fixture().await;
        ConnectorFixture { provider: Arc::new(Broken { real: f.provider, defect }), ..f }
    })
    .await;
}
