#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::Mutex;

use super::*;
use crate::{ErrorKind, LocalProcess};

/// A tool in Perl: it hears an interrupt also where whoever runs the tests ignores those, which a shell would inherit. It says `ready` when it
/// can hear, and `heard` for each interrupt.
const BEGIN: &str = r#"$| = 1; $SIG{INT} = sub { print "heard\n"; $heard++ };"#;

fn perl(script: &str) -> Command {
    let mut command = Command::new("perl");
    command.args(["-e", &format!("{BEGIN}{script}")]);
    command
}

/// Goes on until the file `go` is there, whatever it hears.
fn deaf(folder: &Path) -> Command {
    let mut command = perl(r#"print "ready\n"; select(undef, undef, undef, 0.02) until -e "go"; print "done\n";"#);
    command.current_dir(folder);
    command
}

/// Ends when it hears, with this status.
fn obedient(status: i32) -> Command {
    perl(&format!(r#"print "ready\n"; select(undef, undef, undef, 0.02) until $heard; exit {status};"#))
}

fn interrupt(folder: &Path, grace: Duration) -> Interrupt {
    Interrupt::new(Reach::Tool, grace, folder.join("interrupted"))
}

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(200);

fn start(command: Command, folder: &Path, interrupt: Interrupt) -> Running {
    Running::start(command, &Logs::of(folder.join("out.log")), interrupt).unwrap()
}

/// Follows a tool, and cancels when it says `ready`.
async fn cancelled(running: &mut Running) -> (Waited<ExitStatus>, Vec<String>) {
    let (cx, token) = Context::new().child();
    let mut lines = Vec::new();
    let each = |line: &str| {
        if line == "ready" {
            token.cancel();
        }
        lines.push(line.to_owned());
    };
    let status = running.follow(&cx, each).await.unwrap();
    (status, lines)
}

fn exit(code: i32) -> ExitStatus {
    ExitStatus::from_raw(code << 8)
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn lines_errors_and_status_are_passed_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "cat; echo one; echo bad >&2; printf 'two\r\n\\377'; exit 3"]);
    let mut running = start(command, folder.path(), interrupt(folder.path(), LONG));
    let mut lines = Vec::new();
    let ended = running.follow(&Context::new(), |line| lines.push(line.to_owned())).await.unwrap();
    assert_eq!(ended, Waited::Done(exit(3)));
    assert_eq!((lines, running.errors()), (vec!["one".into(), "two".into(), "\u{fffd}".into()], "bad\n".into()));
    use std::os::unix::fs::MetadataExt as _;
    for file in ["out.log", "out.err"] {
        assert_eq!(folder.path().join(file).metadata().unwrap().mode() & 0o777, 0o600);
    }
    assert!(!folder.path().join("interrupted").exists());
}

#[tokio::test]
async fn what_can_not_be_started_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let logs = Logs::of(folder.path().join("out.log"));
    let missing = Running::start(Command::new("/no/such"), &logs, interrupt(folder.path(), LONG)).unwrap_err();
    assert!(matches!(missing, NotStarted::Program(_)), "{missing:?}");
    let mut touch = Command::new("touch");
    touch.arg(folder.path().join("touched"));
    let taken = Running::start(touch, &logs, interrupt(folder.path(), LONG)).unwrap_err();
    assert!(matches!(taken, NotStarted::Logs(_)), "output of another run is not written over: {taken:?}");
    assert!(!folder.path().join("touched").exists());
}

#[tokio::test]
async fn a_cancel_is_heard_and_awaited() {
    for status in [0, 1] {
        let folder = tempfile::tempdir().unwrap();
        let mut running = start(obedient(status), folder.path(), interrupt(folder.path(), LONG));
        let (ended, lines) = cancelled(&mut running).await;
        assert_eq!(ended, Waited::Stopped(exit(status), ErrorKind::Cancelled));
        assert_eq!(lines, ["ready", "heard"]);
    }
}

#[tokio::test]
async fn the_deadline_interrupts_too() {
    let folder = tempfile::tempdir().unwrap();
    let notices = Mutex::new(Vec::new());
    let notices: &'static Mutex<Vec<crate::Event>> = Box::leak(Box::new(notices));
    let listener = |event: &crate::Event| notices.lock().unwrap().push(event.clone());
    let cx = Context::builder().listener(std::sync::Arc::new(listener)).build().with_timeout(SHORT);
    let interrupt = interrupt(folder.path(), LONG).with_notice("it is asked to stop");
    // It may be interrupted before it can hear.
    let ended = start(obedient(1), folder.path(), interrupt).follow(&cx, |_| {}).await.unwrap();
    assert!(matches!(ended, Waited::Stopped(status, ErrorKind::Timeout) if !status.success()), "{ended:?}");
    let said = format!("{:?}", notices.lock().unwrap());
    assert_eq!(said.matches("it is asked to stop").count(), 1, "{said}");
}

#[tokio::test]
async fn one_that_does_not_end_is_interrupted_once_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let asked = interrupt(folder.path(), SHORT).also_on_drop();
    let mut running = start(deaf(folder.path()), folder.path(), asked.clone());
    let (ended, mut lines) = cancelled(&mut running).await;
    assert_eq!(ended, Waited::Left(ErrorKind::Cancelled));
    // Nor by somebody else, who has taken up the work.
    asked.send(running.pid());
    std::fs::write(folder.path().join("go"), "").unwrap();
    assert!(running.ended(|line| lines.push(line.to_owned())).await.unwrap().success());
    assert_eq!(lines, ["ready", "heard", "done"]);
}

#[tokio::test]
async fn an_interrupt_reaches_the_tool_or_its_group() {
    // The tool ends its helper in any case, and the helper says whether it was interrupted.
    let script = r#"
        unless ($helper = fork) { $SIG{INT} = sub { print "helper\n" }; print "ready\n"; sleep 1 while 1 }
        select(undef, undef, undef, 0.02) until $heard;
        select(undef, undef, undef, 0.02) until -e "go";
        kill "KILL", $helper; wait;"#;
    for (reach, expected) in [(Reach::Tool, false), (Reach::Group, true)] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = perl(script);
        command.current_dir(folder.path());
        let asked = Interrupt::new(reach, LONG, folder.path().join("interrupted"));
        let mut running = start(command, folder.path(), asked);
        let (cx, token) = Context::new().child();
        let mut lines = Vec::new();
        let each = |line: &str| {
            if line == "ready" {
                token.cancel();
            }
            lines.push(line.to_owned());
            if line == if expected { "helper" } else { "heard" } {
                std::fs::write(folder.path().join("go"), "").unwrap();
            }
        };
        assert_eq!(running.follow(&cx, each).await.unwrap(), Waited::Stopped(exit(0), ErrorKind::Cancelled));
        assert_eq!(lines.iter().any(|line| line == "helper"), expected, "{reach:?}: {lines:?}");
    }
}

#[tokio::test]
async fn one_that_nobody_awaits_any_more_goes_on_or_is_interrupted() {
    for on_drop in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.log");
        let mut asked = interrupt(folder.path(), LONG);
        if on_drop {
            asked = asked.also_on_drop();
        }
        let mut running = start(deaf(folder.path()), folder.path(), asked);
        let process = LocalProcess::of(running.pid()).unwrap();
        let ready = || std::fs::read_to_string(&out).unwrap().contains("ready");
        let cx = Context::new();
        tokio::select! {
            _ = running.follow(&cx, |_| {}) => panic!("it waits for the test"),
            () = until(ready) => {}
        }
        drop(running);
        assert_eq!((writer_of(&out), is_written(&out)), (Some(process), true));
        std::fs::write(folder.path().join("go"), "").unwrap();
        until(|| !process.is_alive()).await;
        let said = std::fs::read_to_string(&out).unwrap();
        assert_eq!(said.lines().any(|line| line == "heard"), on_drop, "{said}");
        assert_eq!((writer_of(&out), is_written(&out)), (None, false));
    }
}

/// Tells a test of this program that it is the process to be killed, and where it works.
const CHILD: &str = "TOWPATH_LOCAL_TOOL_CHILD";
const MARK: &str = "TOWPATH_LOCAL_TOOL_TEST";

#[tokio::test]
async fn a_tool_outlives_a_killed_process_and_is_found_again() {
    if let Some(folder) = std::env::var_os(CHILD).map(PathBuf::from) {
        let mut command = deaf(&folder);
        Mark::new(MARK, &folder).put_on(&mut command);
        command.env_remove(CHILD);
        let _ = start(command, &folder, interrupt(&folder, LONG)).follow(&Context::new(), |_| {}).await;
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.log");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "local_tool::tests::a_tool_outlives_a_killed_process_and_is_found_again"])
        .env(CHILD, folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until(|| std::fs::read_to_string(&out).is_ok_and(|said| said.contains("ready"))).await;
    child.kill().unwrap();
    child.wait().unwrap();

    let tool = writer_of(&out).expect("it goes on");
    assert_eq!(Mark::new(MARK, folder.path()).processes(), [tool]);
    assert!(tool.leads() && is_written(&out) && tool.name().starts_with("perl"), "{}", tool.name());
    assert_eq!(Mark::new(MARK, folder.path().join("other")).processes(), []);

    // Whoever waits for it and is stopped interrupts it, and the next one does not do that again.
    let (cx, token) = Context::new().child();
    token.cancel();
    let asked = interrupt(folder.path(), SHORT);
    for _ in 0..2 {
        assert_eq!(asked.wait_for_survivor(&cx, tool, || {}).await, Waited::Left(ErrorKind::Cancelled));
    }
    until(|| std::fs::read_to_string(&out).unwrap().contains("heard")).await;
    let mut said = Growing::open(&out).unwrap();
    let mut lines = Vec::new();
    let look = || {
        said.lines(|line| lines.push(line.to_owned()));
        let _ = std::fs::write(folder.path().join("go"), "");
    };
    assert_eq!(asked.wait_for_survivor(&Context::new(), tool, look).await, Waited::Done(()));
    assert_eq!(lines, ["ready", "heard", "done"]);
    assert!(!tool.is_alive() && writer_of(&out).is_none() && !is_written(&out));
}

#[tokio::test]
async fn all_that_carries_a_mark_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mark = Mark::new(MARK, folder.path());
    // The helper is in a group of its own.
    let mut command = perl(r#"unless (fork) { setpgrp; print "ready\n"; sleep 1 while 1 } sleep 1 while 1;"#);
    mark.put_on(&mut command);
    let mut running = start(command, folder.path(), interrupt(folder.path(), Duration::ZERO));
    let (ended, _) = cancelled(&mut running).await;
    assert_eq!((ended, mark.processes().len()), (Waited::Left(ErrorKind::Cancelled), 2));
    assert_eq!(mark.kill_all().await, Vec::<String>::new());
    assert_eq!(running.ended(|_| {}).await.unwrap().code(), None);
    assert_eq!(mark.processes(), []);
}

#[test]
fn lines_come_whole_whatever_the_pieces() {
    use std::io::Write as _;
    let text = "1,,ui,say,one\r\n2,,ui,say,zwölf\n\n3,,ui,say,end";
    for size in 1..text.len() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut growing = Growing::open(file.path()).unwrap();
        let mut got = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            file.write_all(piece).unwrap();
            growing.lines(|line| got.push(line.to_owned()));
        }
        assert!(!got.contains(&"3,,ui,say,end".to_owned()), "it has no end yet");
        growing.finish(|line| got.push(line.to_owned())).unwrap();
        assert_eq!(got, text.lines().collect::<Vec<_>>(), "in pieces of {size}");
    }
}

#[test]
fn output_that_can_not_be_read_is_told() {
    // A folder can be opened, and not read.
    let mut folder = Growing::open(Path::new("/")).unwrap();
    folder.lines(|_| {});
    assert!(folder.finish(|_| {}).is_err());
}

#[tokio::test]
async fn a_process_is_read_whatever_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join("a) Z 1 (b");
    symlink(find_program(Path::new("perl"), None).unwrap(), &odd).unwrap();
    let mut child = Command::new(&odd).args(["-e", "sleep 600"]).spawn().unwrap();
    let pid = child.id().unwrap();
    until(|| LocalProcess::of(pid).is_some_and(|p| p.name().starts_with("a) Z 1 (b"))).await;
    let process = LocalProcess::of(pid).unwrap();
    assert!(process.is_alive() && !process.leads());
    child.kill().await.unwrap();
    assert!(!process.is_alive() && LocalProcess::of(pid).is_none());
}

#[test]
fn programs_are_found_by_path_and_name() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (plain, program) = (folder.path().join("plain"), folder.path().join("bin/plain"));
    std::fs::create_dir(folder.path().join("bin")).unwrap();
    for file in [&plain, &program] {
        std::fs::write(file, "").unwrap();
    }
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::join_paths([folder.path(), &folder.path().join("bin")]).unwrap();
    assert_eq!(find_program(Path::new("plain"), Some(&path)), Some(program.clone()), "the other can't be run");
    assert_eq!(find_program(&program, Some("".as_ref())), Some(program));
    assert_eq!(find_program(&plain, Some(&path)), None);
    assert_eq!(find_program(Path::new("bin"), Some(folder.path().as_os_str())), None, "a folder is no program");
    assert!(find_program(Path::new("sh"), None).is_some());
}

#[tokio::test]
async fn one_that_is_only_asked_is_killed_on_a_cancel() {
    let cx = Context::new();
    let out =
        ask(&cx, "test", "ask", Command::new("sh").args(["-c", "cat; echo said; exit 2"])).await.unwrap().unwrap();
    assert_eq!((out.stdout.as_slice(), out.status.code()), (b"said\n".as_slice(), Some(2)));
    assert!(ask(&cx, "test", "ask", &mut Command::new("/no/such")).await.unwrap().is_err());

    let folder = tempfile::tempdir().unwrap();
    let mark = Mark::new(MARK, folder.path());
    let mut command = deaf(folder.path());
    mark.put_on(&mut command);
    let (cx, token) = cx.child();
    let (asked, ()) = tokio::join!(ask(&cx, "test", "ask", &mut command), async {
        until(|| !mark.processes().is_empty()).await;
        token.cancel();
    });
    assert_eq!(asked.unwrap_err().kind(), ErrorKind::Cancelled);
    until(|| mark.processes().is_empty()).await;
}
