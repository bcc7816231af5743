//! Commands, shells and connections, beyond the behaviour suite.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use towpath_core::{
    Become, Connector as _, Context, Endpoint, ErrorKind, Exec, ExitStatus, Host, Json, MemoryStore, RunId, SecretRef,
};
use towpath_docker::{DockerConnector, DockerConnectorConfig};

use crate::{Container, engine, shared, until};

/// As the playbook engine drives its hosts: one shell, scripts written ahead of their answers.
async fn thousand(user: Option<&str>, to: Option<Become>) {
    let Some(container) = shared().await else { return };
    let mut host = container.host("web");
    host.connection.user = user.map(Into::into);
    let cx = Context::new();
    let c = DockerConnector::default().connect(&cx, &host).await.unwrap();
    let mut exec = Exec::argv(["/bin/sh"]);
    exec.r#become = to;
    let mut shell = c.spawn(&cx, &exec).await.unwrap();
    let write = async {
        for n in 0..1000 {
            let command = format!("( x=$(printf '%s' {n}); echo \"answer $x\" ) </dev/null\n");
            shell.stdin.write_all(command.as_bytes()).await.unwrap();
        }
        shell.stdin.write_all(b"id -un; exit 7\n").await.unwrap();
        shell.stdin.flush().await.unwrap();
    };
    let read = async {
        let mut lines = BufReader::new(shell.stdout).lines();
        for n in 0..1000 {
            assert_eq!(lines.next_line().await.unwrap(), Some(format!("answer {n}")));
        }
        lines.next_line().await.unwrap()
    };
    let ((), name) = tokio::join!(write, read);
    let wanted = exec.r#become.as_ref().map(|b| b.user.as_str()).or(user).unwrap_or("root");
    assert_eq!(name.as_deref(), Some(wanted));
    assert_eq!(shell.control.wait().await.unwrap(), ExitStatus::Code(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_commands_go_through_one_shell() {
    thousand(None, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_commands_go_through_one_shell_of_another_user() {
    thousand(Some("deploy"), Some(Become::root())).await;
}

/// Much output that nobody reads yet holds the command up, and is not lost.
#[tokio::test(flavor = "multi_thread")]
async fn output_waits_until_it_is_read() {
    let Some(container) = shared().await else { return };
    let cx = Context::new();
    let c = DockerConnector::default().connect(&cx, &container.host("web")).await.unwrap();
    let mut process = c.spawn(&cx, &Exec::script("head -c 200000000 /dev/zero; echo done >&2")).await.unwrap();
    let mut total = 0_u64;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = process.stdout.read(&mut buffer).await.unwrap();
        total += n as u64;
        if n == 0 {
            break;
        }
    }
    assert_eq!(total, 200_000_000);
    assert_eq!(process.control.wait().await.unwrap(), ExitStatus::Code(0));
    let mut errors = String::new();
    process.stderr.read_to_string(&mut errors).await.unwrap();
    assert_eq!(errors, "done\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_call_ends_its_command() {
    let Some(container) = shared().await else { return };
    let cx = Context::new();
    let c = DockerConnector::default().connect(&cx, &container.host("web")).await.unwrap();
    let file = format!("/tmp/dropped-{}", crate::number());
    let exec = Exec::script(format!("while :; do echo >>{file}; sleep 0.1; done"));
    let running = tokio::spawn(async move { c.exec(&cx, &exec).await });
    let size = || container.sh(&format!("wc -c <{file} 2>/dev/null || echo 0")).parse::<u64>().unwrap();
    until("it runs", || size() > 2).await;
    running.abort();
    until("it has ended", || {
        let before = size();
        std::thread::sleep(Duration::from_millis(500));
        size() == before
    })
    .await;
}

/// A run that was killed finds the group in its journal.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_group_is_in_the_journal_and_out_of_it_afterwards() {
    let Some(container) = shared().await else { return };
    let store = std::sync::Arc::new(MemoryStore::new());
    let run = RunId::new();
    let journal = towpath_core::Journal::in_store(store, run.clone(), None, &[], towpath_core::Faults::none());
    let cx = Context::builder().journal(run, journal).build().for_step("site");
    let c = DockerConnector::default().connect(&cx, &container.host("web")).await.unwrap();
    let (child, token) = cx.child();
    let running = tokio::spawn({
        let c = std::sync::Arc::clone(&c);
        async move { c.exec(&child, &Exec::argv(["sleep", "300"])).await }
    });
    let groups =
        || -> Vec<Json> { cx.journal().notes("site").into_iter().flat_map(|(_, notes)| notes.into_values()).collect() };
    until("the group is noted", || !groups().is_empty()).await;
    let group: towpath_core::RemoteGroup = serde_json::from_value(groups()[0].clone()).unwrap();
    assert_eq!((group.host.as_str(), group.command.as_str()), ("web", "sleep 300"));
    token.cancel();
    let error = running.await.unwrap().expect_err("cancelled");
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
    assert_eq!(groups(), Vec::<Json>::new());
    assert!(!c.end_group(&cx, &group).await.unwrap(), "it is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_ends_takes_its_commands_with_it() {
    if !engine() {
        return;
    }
    let container = Container::start();
    let cx = Context::new();
    let connector = DockerConnector::default();
    let c = connector.connect(&cx, &container.host("web")).await.unwrap();
    let mut process = c.spawn(&cx, &Exec::argv(["sleep", "300"])).await.unwrap();
    let group = process.control.group().expect("its group is known");
    crate::docker(&["kill", &container.id]);
    match process.control.wait().await {
        // The engine has seen how it ended, or has forgotten it with the container.
        Ok(status) => assert_eq!(status, ExitStatus::Code(137)),
        Err(e) => assert_eq!(e.kind(), ErrorKind::Unreachable, "{e:?}"),
    }
    assert!(!c.end_group(&cx, &group).await.unwrap(), "nothing runs in a container that does not run");
    let error = c.exec(&cx, &Exec::script(":")).await.expect_err("it does not run");
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
    let error = connector.connect(&cx, &container.host("web")).await.expect_err("it does not run");
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
    assert!(error.message().contains("start it"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dial_goes_through_perl_where_there_is_no_python_and_says_where_there_is_neither() {
    if !engine() {
        return;
    }
    let container = Container::start();
    container.sh("mv /usr/bin/python3 /usr/bin/python3.away");
    let cx = Context::new();
    let c = DockerConnector::default().connect(&cx, &container.host("web")).await.unwrap();
    let mut stream = c.dial(&cx, &Endpoint::Tcp("localhost".into(), 22)).await.unwrap();
    let mut greeting = [0; 8];
    stream.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"SSH-2.0-");
    drop(stream);
    let dead = c.dial(&cx, &Endpoint::Tcp("127.0.0.1".into(), 9)).await.err().expect("nobody listens");
    assert_eq!(dead.kind(), ErrorKind::Unreachable, "{dead:?}");
    container.sh("mv /usr/bin/perl /usr/bin/perl.away");
    let none = c.dial(&cx, &Endpoint::Tcp("127.0.0.1".into(), 22)).await.err().expect("no relay");
    assert_eq!(none.kind(), ErrorKind::Unsupported, "{none:?}");
    assert!(none.message().contains("python3 nor perl"), "{none:?}");
}

/// Both relays carry bytes both ways, and the end of one way.
#[tokio::test(flavor = "multi_thread")]
async fn dial_reaches_a_unix_socket_both_ways() {
    if !engine() {
        return;
    }
    let container = Container::start();
    let server = r#"
import socket
s = socket.socket(socket.AF_UNIX); s.bind('/tmp/echo'); s.listen(); open('/tmp/ready', 'w')
while True:
    c, _ = s.accept(); d = b''
    while True:
        p = c.recv(65536)
        if not p: break
        d += p
    c.sendall(d[::-1]); c.close()
"#;
    crate::docker(&["exec", "-d", &container.id, "python3", "-c", server]);
    until("the server listens", || container.sh("test -e /tmp/ready && echo yes || echo no") == "yes").await;
    let cx = Context::new();
    let c = DockerConnector::default().connect(&cx, &container.host("web")).await.unwrap();
    let bytes: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
    for relay in ["python3", "perl"] {
        if relay == "perl" {
            container.sh("mv /usr/bin/python3 /usr/bin/python3.away");
        }
        let stream = c.dial(&cx, &Endpoint::Unix("/tmp/echo".into())).await.unwrap();
        let (mut read, mut write) = tokio::io::split(stream);
        let send = async {
            write.write_all(&bytes).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let mut back = Vec::new();
        let receive = read.read_to_end(&mut back);
        let ((), got) = tokio::join!(send, receive);
        got.unwrap();
        back.reverse();
        assert!(back == bytes, "{relay}: {} of {} bytes", back.len(), bytes.len());
    }
}

/// Leads to the engine's socket over TCP, until it is aborted with all its connections.
async fn proxy() -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let told = std::env::var("DOCKER_HOST").unwrap_or_default();
    let socket = told.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").to_owned();
    let task = tokio::spawn(async move {
        let mut all = tokio::task::JoinSet::new();
        while let Ok((mut from, _)) = listener.accept().await {
            let mut to = tokio::net::UnixStream::connect(&socket).await.unwrap();
            all.spawn(async move { tokio::io::copy_bidirectional(&mut from, &mut to).await });
        }
    });
    (address, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_is_reached_over_tcp() {
    let Some(container) = shared().await else { return };
    let (address, _proxy) = proxy().await;
    let cx = Context::new();
    let mut host = container.host("web");
    host.connection.options.insert("host".into(), address.as_str().into());
    let c = DockerConnector::default().connect(&cx, &host).await.unwrap();
    let out = c.exec(&cx, &Exec::script("cat; echo end").stdin("given ")).await.unwrap();
    assert_eq!(out.stdout_text(), "given end");
    let config = DockerConnectorConfig { host: Some(address.clone()) };
    let said = DockerConnector::new(config).preflight(&cx).await.unwrap();
    assert!(said.ok[0].contains(&address), "{said:?}");
}

/// The command runs on; a resumed run finds it in the journal and ends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_is_no_end_of_a_command() {
    let Some(container) = shared().await else { return };
    let (address, proxy) = proxy().await;
    let (store, run) = (std::sync::Arc::new(MemoryStore::new()), RunId::new());
    let journal = towpath_core::Journal::in_store(store, run.clone(), None, &[], towpath_core::Faults::none());
    let cx = Context::builder().journal(run, journal).build().for_step("site");
    let mut host = container.host("web");
    host.connection.options.insert("host".into(), address.as_str().into());
    let connector = DockerConnector::default();
    let c = connector.connect(&cx, &host).await.unwrap();
    let (own, task_cx) = (std::sync::Arc::clone(&c), cx.clone());
    let running = tokio::spawn(async move { own.exec(&task_cx, &Exec::argv(["sleep", "300"])).await });
    let noted =
        || -> Vec<Json> { cx.journal().notes("site").into_iter().flat_map(|(_, notes)| notes.into_values()).collect() };
    until("the group is noted", || !noted().is_empty()).await;
    proxy.abort();
    let error = running.await.unwrap().expect_err("nobody can tell");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unreachable, towpath_core::Retry::Later), "{error:?}");
    let group = serde_json::from_value(noted()[0].clone()).unwrap();
    let again = connector.connect(&cx, &container.host("web")).await.unwrap();
    assert!(again.end_group(&cx, &group).await.unwrap(), "it had gone on");
    assert!(!again.end_group(&cx, &group).await.unwrap());
}

#[tokio::test]
async fn what_the_connector_does_not_know_is_refused_by_name() {
    let cx = Context::new();
    let refuse = async |change: &dyn Fn(&mut Host), kind: ErrorKind, word: &str| {
        let mut host = Host { name: "web".into(), ..Host::default() };
        host.connection.kind = "docker".into();
        change(&mut host);
        let error = DockerConnector::default().connect(&cx, &host).await.expect_err(word);
        assert_eq!((error.kind(), error.get("host")), (kind, Some("web")), "{error:?}");
        assert!(error.report().contains(word), "{word}: {error:?}");
    };
    let option = |name: &'static str, value: Json| {
        move |h: &mut Host| drop(h.connection.options.insert(name.to_owned(), value.clone()))
    };
    let bad = ErrorKind::InvalidInput;
    refuse(&option("hots", "unix:///x".into()), bad, "did you mean `host`?").await;
    refuse(&option("host", 5.into()), bad, "must be text").await;
    refuse(&option("host", "ssh://build".into()), ErrorKind::Unsupported, "forward its socket").await;
    refuse(&option("host", "unix:///no/such.sock".into()), ErrorKind::Unreachable, "start dockerd").await;
    refuse(&|h| h.connection.port = Some(22), bad, "remove `port`").await;
    refuse(&|h| h.connection.password = Some(SecretRef::Env("X".into())), bad, "remove `password`").await;
    refuse(&|h| h.connection.kind = "ssh".into(), bad, "`ssh`").await;
    refuse(&|h| h.connection.address = Some("../images/x".into()), bad, "no name or id").await;
}
