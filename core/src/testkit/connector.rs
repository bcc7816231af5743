//! What every [`Connector`] and its connections do.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};

use super::suite::{Keep, fails, known, lacks, suite};
use crate::{
    Become, Connection, Connector, Context, Endpoint, ErrorKind, Exec, ExecOutput, ExitStatus, Host, PutOptions,
    RemoteGroup, Source, shell_quote,
};

/// A connector and a host that it reaches.
pub struct ConnectorFixture {
    /// The provider.
    pub provider: Arc<dyn Connector>,
    /// A host with `/bin/sh`.
    pub host: Host,
    /// A host that nobody answers on.
    pub unreachable: Host,
    /// Whether somebody may answer there later. Not so where the provider reaches this machine only.
    pub may_answer_later: bool,
    /// The same host, refused: its key is unknown, or no credential is accepted.
    pub refused: Host,
    /// An empty directory on the host that may be written, as an absolute path.
    pub dir: String,
    /// Something that listens on the host and speaks first, and how its greeting starts. Used where it can `dial`.
    pub listens: Option<(Endpoint, String)>,
    /// Another user that commands may become, by its name as `id -un` prints it. Used where it can `become`; `None`: this
    /// host lets nobody become another user.
    pub r#become: Option<(Become, String)>,
    /// Where it works.
    pub cx: Context,
    /// Kept until the test is over.
    pub keep: Keep,
}

suite!($ connector connector_behaviour ConnectorFixture {
    preflight_answers,
    capabilities_are_known_names,
    a_connection_names_its_host,
    an_unreachable_host_is_unreachable,
    a_refused_host_is_denied,
    exec_gives_both_outputs_and_the_status,
    a_failed_command_is_not_an_error,
    a_signal_is_told_from_an_exit,
    a_missing_program_is_status_127,
    arguments_are_never_interpreted,
    a_script_is_shell,
    stdin_is_closed_unless_given,
    stdin_reaches_the_command,
    environment_and_directory_are_set,
    binary_output_arrives_whole,
    too_much_output_ends_the_command,
    a_timeout_ends_the_whole_group,
    a_cancel_ends_the_whole_group,
    a_background_child_does_not_hold_a_command,
    commands_run_at_the_same_time,
    a_long_lived_shell_answers_line_by_line,
    an_ended_process_is_gone,
    a_group_left_behind_is_ended_once,
    put_and_get_give_the_same_bytes,
    put_replaces_and_keeps_the_mode,
    put_sets_the_mode_it_is_told,
    put_leaves_no_torn_or_spare_file,
    put_of_a_local_file,
    put_into_a_missing_directory_is_not_found,
    get_of_a_missing_file_is_not_found,
    get_beyond_its_limit_is_refused,
    dial_reaches_what_listens_on_the_host,
    dial_of_a_dead_port_is_unreachable,
    a_command_becomes_another_user,
});

async fn connect(f: &ConnectorFixture) -> Arc<dyn Connection> {
    f.provider.connect(&f.cx, &f.host).await.expect("connect")
}

async fn sh(f: &ConnectorFixture, c: &Arc<dyn Connection>, script: &str) -> ExecOutput {
    c.exec(&f.cx, &Exec::script(script)).await.expect("exec")
}

fn can(f: &ConnectorFixture, verb: &str) -> bool {
    f.provider.capabilities().has(verb)
}

/// Waits until a process is gone, told by a file that its script touches as long as it lives.
async fn stopped(f: &ConnectorFixture, c: &Arc<dyn Connection>, beat: &str) {
    let mut last = String::new();
    for _ in 0..60 {
        let now = sh(f, c, &format!("wc -c < {}", shell_quote(beat))).await.stdout_text();
        if now == last && !now.is_empty() {
            return;
        }
        last = now;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("a process of the group is alive still");
}

/// A script whose child, not only itself, keeps writing until it is ended.
fn beating(beat: &str) -> String {
    let beat = shell_quote(beat);
    format!(": > {beat}\n( while :; do printf x >> {beat}; sleep 0.1; done ) &\nwait")
}

async fn beats(f: &ConnectorFixture, c: &Arc<dyn Connection>, beat: &str) {
    for _ in 0..300 {
        let size = sh(f, c, &format!("test -s {} && echo yes", shell_quote(beat))).await.stdout_text();
        if size == "yes" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the command did not start");
}

/// Says what it found, or what to install.
pub async fn preflight_answers(f: ConnectorFixture) {
    f.provider.preflight(&f.cx).await.expect("preflight");
}

/// Names only verbs of the trait.
pub async fn capabilities_are_known_names(f: ConnectorFixture) {
    let names = ["exec", "spawn", "put", "get", "dial", "become", "signal"];
    known(&f.provider.capabilities(), &names);
    assert!(can(&f, "exec") && can(&f, "put") && can(&f, "get"), "too little to configure a host");
}

/// For errors and events.
pub async fn a_connection_names_its_host(f: ConnectorFixture) {
    let c = connect(&f).await;
    assert_eq!(c.host(), f.host.name);
    c.close().await;
}

/// And worth a retry if that can help.
pub async fn an_unreachable_host_is_unreachable(f: ConnectorFixture) {
    let error = fails(ErrorKind::Unreachable, f.provider.connect(&f.cx, &f.unreachable).await);
    assert_eq!(error.get("host"), Some(f.unreachable.name.as_str()), "{error:?}");
    let retry = if f.may_answer_later { crate::Retry::Later } else { crate::Retry::Never };
    assert_eq!(error.retry(), retry, "{error:?}");
}

/// And not worth a retry.
pub async fn a_refused_host_is_denied(f: ConnectorFixture) {
    let error = fails(ErrorKind::Denied, f.provider.connect(&f.cx, &f.refused).await);
    assert_eq!(error.get("host"), Some(f.refused.name.as_str()), "{error:?}");
    assert_eq!(error.retry(), crate::Retry::Never, "{error:?}");
}

/// Apart from each other.
pub async fn exec_gives_both_outputs_and_the_status(f: ConnectorFixture) {
    let c = connect(&f).await;
    let out = sh(&f, &c, "echo out; echo err >&2; exit 7").await;
    assert_eq!(out, ExecOutput { status: ExitStatus::Code(7), stdout: "out\n".into(), stderr: "err\n".into() });
}

/// The caller decides what a status means.
pub async fn a_failed_command_is_not_an_error(f: ConnectorFixture) {
    let c = connect(&f).await;
    assert_eq!(sh(&f, &c, "exit 0").await.status, ExitStatus::Code(0));
    assert_eq!(sh(&f, &c, "exit 255").await.status, ExitStatus::Code(255));
}

/// A killed command did not exit.
pub async fn a_signal_is_told_from_an_exit(f: ConnectorFixture) {
    let c = connect(&f).await;
    let out = c.exec(&f.cx, &Exec::argv(["/bin/sh", "-c", "kill -KILL $$"])).await.expect("exec");
    let told = [ExitStatus::Signal("KILL".into()), ExitStatus::Code(137)];
    assert!(told.contains(&out.status), "SIGKILL, or the shell's 128 + 9: {:?}", out.status);
}

/// As every shell says it.
pub async fn a_missing_program_is_status_127(f: ConnectorFixture) {
    let c = connect(&f).await;
    let out = c.exec(&f.cx, &Exec::argv(["/no/such/program"])).await.expect("exec");
    assert_eq!(out.status, ExitStatus::Code(127), "{out:?}");
    assert!(!out.stderr.is_empty(), "and it says so");
}

/// Every argument arrives as it is.
pub async fn arguments_are_never_interpreted(f: ConnectorFixture) {
    let c = connect(&f).await;
    let odd = ["$HOME", "`id`", "a'b", "c\"d", "e f", "", "*", "\\", "new\nline", "-n", "; exit 9", "ümläut", "#", "~"];
    let mut argv = vec!["printf".to_owned(), "[%s]".to_owned()];
    argv.extend(odd.iter().map(|s| (*s).to_owned()));
    let out = c.exec(&f.cx, &Exec::argv(argv)).await.expect("exec");
    let want: String = odd.iter().map(|s| format!("[{s}]")).collect();
    assert_eq!(String::from_utf8_lossy(&out.stdout), want);
}

/// Of several lines, with quotes.
pub async fn a_script_is_shell(f: ConnectorFixture) {
    let c = connect(&f).await;
    let out =
        sh(&f, &c, "x=1\nfor i in a b; do\n  printf '%s-%s ' \"$i\" \"$x\"\ndone\ncat <<'E'\n$x 'quoted'\nE").await;
    assert_eq!(String::from_utf8_lossy(&out.stdout), "a-1 b-1 $x 'quoted'\n");
}

/// A command that reads it gets its end at once.
pub async fn stdin_is_closed_unless_given(f: ConnectorFixture) {
    let c = connect(&f).await;
    let run = Exec::argv(["cat"]).timeout(Duration::from_secs(60));
    let out = c.exec(&f.cx, &run).await.expect("exec");
    assert_eq!((out.status, out.stdout), (ExitStatus::Code(0), Bytes::new()));
    let out = c.exec(&f.cx, &Exec::script("cat; echo after").timeout(Duration::from_secs(60))).await.expect("exec");
    assert_eq!(out.stdout_text(), "after", "a script's own text is not its input");
}

/// Every byte of it.
pub async fn stdin_reaches_the_command(f: ConnectorFixture) {
    let c = connect(&f).await;
    let bytes: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
    let out = c.exec(&f.cx, &Exec::argv(["cat"]).stdin(bytes.clone())).await.expect("exec");
    assert_eq!(out.stdout.len(), bytes.len());
    assert_eq!(out.stdout, bytes);
    let out = c.exec(&f.cx, &Exec::script("cat; echo end").stdin("given ")).await.expect("exec");
    assert_eq!(out.stdout_text(), "given end", "a script has its own input, too");
}

/// As given, quotes and all.
pub async fn environment_and_directory_are_set(f: ConnectorFixture) {
    let c = connect(&f).await;
    let mut run = Exec::script("printf '%s|' \"$ONE\" \"$TWO\"; pwd");
    run.env = vec![("ONE".into(), "it's $HOME".into()), ("TWO".into(), "a\nb".into())];
    run.cwd = Some(f.dir.clone());
    let out = c.exec(&f.cx, &run).await.expect("exec");
    assert_eq!(out.stdout_text(), format!("it's $HOME|a\nb|{}", f.dir));
}

/// A megabyte, with every byte value.
pub async fn binary_output_arrives_whole(f: ConnectorFixture) {
    let c = connect(&f).await;
    let bytes: Vec<u8> = (0..1_000_000u32).map(|i| (i % 256) as u8).collect();
    let path = format!("{}/binary", f.dir);
    put(&f, &c, &bytes, &path).await;
    let out = c.exec(&f.cx, &Exec::argv(["cat", &path])).await.expect("exec");
    assert!(out.stdout == bytes, "{} of {} bytes", out.stdout.len(), bytes.len());
}

/// Memory is bounded, and the command does not run on.
pub async fn too_much_output_ends_the_command(f: ConnectorFixture) {
    let c = connect(&f).await;
    let beat = format!("{}/beat", f.dir);
    let quoted = shell_quote(&beat);
    let mut run = Exec::script(format!("while :; do printf x >> {quoted}; head -c 1000 /dev/zero; done"));
    run.limit_bytes = 100_000;
    run.timeout = Some(Duration::from_secs(120));
    fails(ErrorKind::Protocol, c.exec(&f.cx, &run).await);
    stopped(&f, &c, &beat).await;
}

/// Children included.
pub async fn a_timeout_ends_the_whole_group(f: ConnectorFixture) {
    let c = connect(&f).await;
    let beat = format!("{}/beat", f.dir);
    let run = Exec::script(beating(&beat)).timeout(Duration::from_secs(2));
    fails(ErrorKind::Timeout, c.exec(&f.cx, &run).await);
    stopped(&f, &c, &beat).await;
}

/// Children included, before the call returns.
pub async fn a_cancel_ends_the_whole_group(f: ConnectorFixture) {
    let c = connect(&f).await;
    let beat = format!("{}/beat", f.dir);
    let (cx, token) = f.cx.child();
    let running = tokio::spawn({
        let (c, run) = (Arc::clone(&c), Exec::script(beating(&beat)));
        async move { c.exec(&cx, &run).await }
    });
    beats(&f, &c, &beat).await;
    token.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(60), running).await.expect("a cancelled command goes on");
    fails(ErrorKind::Cancelled, ended.unwrap());
    stopped(&f, &c, &beat).await;
}

/// A daemon that keeps the pipe open is not the command.
pub async fn a_background_child_does_not_hold_a_command(f: ConnectorFixture) {
    let c = connect(&f).await;
    let run = Exec::script("sleep 300 & echo $!").timeout(Duration::from_secs(120));
    let from = f.cx.with_timeout(Duration::from_secs(60));
    let out = c.exec(&from, &run).await.expect("exec");
    let pid = out.stdout_text();
    assert!(pid.parse::<u32>().is_ok(), "{out:?}");
    sh(&f, &c, &format!("kill {pid} 2>/dev/null; :")).await;
}

/// One connection carries many.
pub async fn commands_run_at_the_same_time(f: ConnectorFixture) {
    let c = connect(&f).await;
    // Each waits for the other's file, so one after the other would never end.
    let meet = |mine: &str, other: &str| {
        let (mine, other) = (format!("{}/{mine}", f.dir), format!("{}/{other}", f.dir));
        let script = format!(
            "touch {}; until test -e {}; do sleep 0.05; done; echo met",
            shell_quote(&mine),
            shell_quote(&other)
        );
        Exec::script(script).timeout(Duration::from_secs(60))
    };
    let (a, b) = (meet("a", "b"), meet("b", "a"));
    let (a, b) = tokio::join!(c.exec(&f.cx, &a), c.exec(&f.cx, &b));
    assert_eq!((a.expect("exec").stdout_text(), b.expect("exec").stdout_text()), ("met".into(), "met".into()));
    let many = (0..20).map(|n| {
        let (c, cx) = (Arc::clone(&c), f.cx.clone());
        tokio::spawn(async move { c.exec(&cx, &Exec::script(format!("echo {n}"))).await.expect("exec").stdout_text() })
    });
    for (n, out) in many.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(out.await.unwrap(), n.to_string(), "answers are not mixed up");
    }
}

/// It is what playbooks run in.
pub async fn a_long_lived_shell_answers_line_by_line(f: ConnectorFixture) {
    let c = connect(&f).await;
    let spawned = c.spawn(&f.cx, &Exec::argv(["/bin/sh"])).await;
    if !can(&f, "spawn") {
        return lacks("spawn", spawned);
    }
    let mut shell = spawned.expect("spawn");
    let mut lines = tokio::io::BufReader::new(shell.stdout).lines();
    shell.stdin.write_all(b"x=41\n").await.unwrap();
    for n in 0..5 {
        shell.stdin.write_all(format!("x=$((x+1)); echo $x; echo e{n} >&2\n").as_bytes()).await.unwrap();
        shell.stdin.flush().await.unwrap();
        let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await.expect("an answer");
        assert_eq!(line.unwrap().as_deref(), Some((42 + n).to_string().as_str()));
    }
    shell.stdin.write_all(b"exit 3\n").await.unwrap();
    shell.stdin.flush().await.unwrap();
    assert_eq!(shell.control.wait().await.expect("wait"), ExitStatus::Code(3));
    let mut errors = String::new();
    shell.stderr.read_to_string(&mut errors).await.unwrap();
    assert_eq!(errors, "e0\ne1\ne2\ne3\ne4\n");
}

/// Children included.
pub async fn an_ended_process_is_gone(f: ConnectorFixture) {
    let c = connect(&f).await;
    let beat = format!("{}/beat", f.dir);
    let spawned = c.spawn(&f.cx, &Exec::script(beating(&beat))).await;
    if !can(&f, "spawn") {
        return lacks("spawn", spawned);
    }
    let mut process = spawned.expect("spawn");
    beats(&f, &c, &beat).await;
    process.control.end().await.expect("end");
    stopped(&f, &c, &beat).await;
}

/// A resumed run finds it by what the journal holds, and does not end a stranger.
pub async fn a_group_left_behind_is_ended_once(f: ConnectorFixture) {
    let c = connect(&f).await;
    if !can(&f, "signal") || !can(&f, "spawn") {
        let group = RemoteGroup {
            host: f.host.name.clone(),
            pgid: 1,
            started: 0,
            boot: String::new(),
            user: None,
            command: String::new(),
        };
        return lacks("signal", c.end_group(&f.cx, &group).await);
    }
    let beat = format!("{}/beat", f.dir);
    let process = c.spawn(&f.cx, &Exec::script(beating(&beat))).await.expect("spawn");
    beats(&f, &c, &beat).await;
    let group = process.control.group().expect("its group is known");
    let stored: RemoteGroup = serde_json::from_str(&serde_json::to_string(&group).unwrap()).unwrap();
    let stranger = RemoteGroup { started: stored.started + 1, ..stored.clone() };
    assert!(
        !c.end_group(&f.cx, &stranger).await.expect("end of a reused id"),
        "another process of that id is left alone"
    );
    let again = connect(&f).await;
    assert!(again.end_group(&f.cx, &stored).await.expect("end"), "it was there");
    stopped(&f, &again, &beat).await;
    assert!(!again.end_group(&f.cx, &stored).await.expect("second end"), "it is gone");
}

async fn put(f: &ConnectorFixture, c: &Arc<dyn Connection>, bytes: &[u8], path: &str) {
    let source = Source::Bytes(Bytes::copy_from_slice(bytes));
    c.put(&f.cx, source, path, &PutOptions::default()).await.expect("put");
}

/// Empty, small, large, with every byte value.
pub async fn put_and_get_give_the_same_bytes(f: ConnectorFixture) {
    let c = connect(&f).await;
    for size in [0usize, 1, 70_000, 1_000_000] {
        let bytes: Vec<u8> = (0..size).map(|i| (i % 256) as u8).collect();
        let path = format!("{}/it's {size}", f.dir);
        put(&f, &c, &bytes, &path).await;
        let read = c.get(&f.cx, &path, 2_000_000).await.expect("get");
        assert!(read == bytes, "{} of {size} bytes", read.len());
    }
}

async fn mode(f: &ConnectorFixture, c: &Arc<dyn Connection>, path: &str) -> String {
    sh(f, c, &format!("ls -l {} | cut -c1-10", shell_quote(path))).await.stdout_text()
}

/// A new file is private, a replaced one keeps its mode.
pub async fn put_replaces_and_keeps_the_mode(f: ConnectorFixture) {
    let c = connect(&f).await;
    let path = format!("{}/kept", f.dir);
    put(&f, &c, b"first", &path).await;
    assert_eq!(mode(&f, &c, &path).await, "-rw-------");
    sh(&f, &c, &format!("chmod 755 {}", shell_quote(&path))).await;
    put(&f, &c, b"2", &path).await;
    assert_eq!(mode(&f, &c, &path).await, "-rwxr-xr-x");
    assert_eq!(c.get(&f.cx, &path, 100).await.expect("get"), "2".as_bytes(), "no rest of the longer file");
    // A link's own bits say that everybody may do everything.
    let (folder, link) = (shell_quote(&f.dir), format!("{}/link", f.dir));
    sh(&f, &c, &format!("cd {folder} && chmod 640 kept && ln -s kept link")).await;
    put(&f, &c, b"3", &link).await;
    let through = sh(&f, &c, &format!("ls -lL {} | cut -c1-10", shell_quote(&link))).await.stdout_text();
    assert_eq!(through, "-rw-r-----", "the mode of what the link led to");
}

/// Exactly, whatever the umask is.
pub async fn put_sets_the_mode_it_is_told(f: ConnectorFixture) {
    let c = connect(&f).await;
    let path = format!("{}/told", f.dir);
    let options = PutOptions { mode: Some(0o644), ..PutOptions::default() };
    c.put(&f.cx, Source::Bytes("x".into()), &path, &options).await.expect("put");
    assert_eq!(mode(&f, &c, &path).await, "-rw-r--r--");
}

/// The temporary is gone, and the file is a new one: a reader has the old or the new, never half.
pub async fn put_leaves_no_torn_or_spare_file(f: ConnectorFixture) {
    let c = connect(&f).await;
    let path = format!("{}/only", f.dir);
    put(&f, &c, b"old", &path).await;
    let quoted = shell_quote(&path);
    sh(&f, &c, &format!("ln {quoted} {}/link", shell_quote(&f.dir))).await;
    put(&f, &c, b"new", &path).await;
    let link = format!("{}/link", f.dir);
    assert_eq!(c.get(&f.cx, &link, 100).await.expect("get"), "old".as_bytes(), "it was renamed, not written over");
    let left = sh(&f, &c, &format!("ls -A {}", shell_quote(&f.dir))).await.stdout_text();
    assert_eq!(left, "link\nonly");
}

/// Straight from this machine's disk.
pub async fn put_of_a_local_file(f: ConnectorFixture) {
    let c = connect(&f).await;
    let local = std::env::temp_dir().join(format!("towpath-put-{}-{}", std::process::id(), f.host.name));
    std::fs::write(&local, b"from a file").unwrap();
    let path = format!("{}/copied", f.dir);
    let copied = c.put(&f.cx, Source::File(local.clone()), &path, &PutOptions::default()).await;
    std::fs::remove_file(&local).unwrap();
    copied.expect("put");
    assert_eq!(c.get(&f.cx, &path, 100).await.expect("get"), "from a file".as_bytes());
}

/// Directories are not made by the way.
pub async fn put_into_a_missing_directory_is_not_found(f: ConnectorFixture) {
    let c = connect(&f).await;
    let path = format!("{}/no/such/file", f.dir);
    let error =
        fails(ErrorKind::NotFound, c.put(&f.cx, Source::Bytes("x".into()), &path, &PutOptions::default()).await);
    assert!(error.report().contains(&path), "it names the path: {error:?}");
}

/// Not an empty file.
pub async fn get_of_a_missing_file_is_not_found(f: ConnectorFixture) {
    let c = connect(&f).await;
    fails(ErrorKind::NotFound, c.get(&f.cx, &format!("{}/missing", f.dir), 100).await);
}

/// Not a cut one.
pub async fn get_beyond_its_limit_is_refused(f: ConnectorFixture) {
    let c = connect(&f).await;
    let path = format!("{}/long", f.dir);
    put(&f, &c, &[b'x'; 1001], &path).await;
    fails(ErrorKind::InvalidInput, c.get(&f.cx, &path, 1000).await);
    assert_eq!(c.get(&f.cx, &path, 1001).await.expect("just as long").len(), 1001);
}

/// From the host's own view.
pub async fn dial_reaches_what_listens_on_the_host(f: ConnectorFixture) {
    let c = connect(&f).await;
    if !can(&f, "dial") {
        return lacks("dial", c.dial(&f.cx, &Endpoint::Tcp("127.0.0.1".into(), 9)).await);
    }
    let (endpoint, greeting) = f.listens.clone().expect("a fixture of a connector that can dial has a listener");
    let mut stream = c.dial(&f.cx, &endpoint).await.expect("dial");
    let mut read = vec![0u8; greeting.len()];
    let all = stream.read_exact(&mut read);
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("a greeting").unwrap();
    assert_eq!(String::from_utf8_lossy(&read), greeting);
}

/// At once, not at the first byte.
pub async fn dial_of_a_dead_port_is_unreachable(f: ConnectorFixture) {
    let c = connect(&f).await;
    let dialled = c.dial(&f.cx, &Endpoint::Tcp("127.0.0.1".into(), 9)).await;
    if !can(&f, "dial") {
        return lacks("dial", dialled);
    }
    fails(ErrorKind::Unreachable, dialled);
}

/// Output, status and input are the command's own.
pub async fn a_command_becomes_another_user(f: ConnectorFixture) {
    let c = connect(&f).await;
    if !can(&f, "become") {
        let run = Exec::argv(["id", "-un"]).become_user(Become::root());
        return lacks("become", c.exec(&f.cx, &run).await);
    }
    let Some((user, name)) = f.r#become.clone() else {
        let run = Exec::script("echo ran").become_user(Become::root());
        let refused = match c.exec(&f.cx, &run).await {
            Ok(out) => !out.status.is_success() && out.stdout.is_empty(),
            Err(_) => true,
        };
        assert!(refused, "nobody can be become there, so the command must not run as the one who asks");
        return;
    };
    let run = Exec::script("id -un; cat; echo err >&2; exit 5").stdin("input").become_user(user);
    let out = c.exec(&f.cx, &run).await.expect("exec");
    assert_eq!((out.stdout_text(), out.status.clone()), (format!("{name}\ninput"), ExitStatus::Code(5)));
    assert_eq!(out.stderr_text(), "err", "no prompt in the output");
}
