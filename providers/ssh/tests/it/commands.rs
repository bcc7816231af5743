use std::sync::Arc;
use std::time::Duration;

use towpath_core::testkit::Sshd;
use towpath_core::{Become, Connection, Connector as _, Context, ErrorKind, Exec, PutOptions, RunId, Secret, Source};
use towpath_ssh::{Ssh, SshConfig};

fn ssh() -> Ssh {
    Ssh::new(SshConfig { ssh_config: Some("none".into()), ..SshConfig::default() })
}

async fn connect(sshd: &Sshd, user: &str) -> Arc<dyn Connection> {
    ssh().connect(&Context::new(), &sshd.host_as("web1", user)).await.unwrap()
}

fn root(password: &str) -> Become {
    Become { password: Some(Secret::new(password)), ..Become::root() }
}

#[tokio::test]
async fn a_wrong_password_is_denied() {
    let Some(sshd) = crate::sshd().await else { return };
    let c = connect(&sshd, "asks").await;
    let cx = Context::new();
    let error = c.exec(&cx, &Exec::argv(["id"]).become_user(root("wrong one"))).await.expect_err("denied");
    assert_eq!((error.kind(), error.get("host"), error.get("user")), (ErrorKind::Denied, Some("web1"), Some("root")));
    assert!(!format!("{error:?} {}", error.report()).contains("wrong one"));
    let error = c.exec(&cx, &Exec::argv(["id"]).become_user(Become::root())).await.expect_err("no password");
    assert_eq!(error.kind(), ErrorKind::Denied);
    let mut to = root(Sshd::PASSWORD);
    to.user = "no-such-user".into();
    let error = c.exec(&cx, &Exec::argv(["id"]).become_user(to)).await.expect_err("no such user");
    assert_eq!(error.kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn nothing_secret_is_seen_in_the_list_of_processes() {
    let Some(sshd) = crate::sshd().await else { return };
    let c = connect(&sshd, "asks").await;
    let cx = Context::new();
    let mut run = Exec::script(
        "ps -eo args ww; cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c battery\n: stapled",
    )
    .become_user(root(Sshd::PASSWORD));
    run.env = vec![("TOKEN".into(), "battery".into())];
    let seen = c.exec(&cx, &run).await.unwrap().stdout_text();
    assert!(seen.contains("sudo"), "{seen}");
    assert!(!seen.contains(Sshd::PASSWORD), "the password: {seen}");
    assert!(!seen.contains("stapled"), "the script: {seen}");
}

#[tokio::test]
async fn a_cancel_ends_what_runs_as_root_and_clears_the_journal() {
    let Some(sshd) = crate::sshd().await else { return };
    let c = connect(&sshd, "asks").await;
    let mark = format!("10{:04}", crate::number() + 1000);
    let cx = Context::builder().journal(RunId::new(), towpath_core::Journal::in_memory()).build().for_step("deploy");
    let (inner, token) = cx.child();
    let running = tokio::spawn({
        let (c, run) = (Arc::clone(&c), Exec::argv(["sleep", &mark]).become_user(root(Sshd::PASSWORD)));
        async move { c.exec(&inner, &run).await }
    });
    let alive = || sshd.sh(&format!("ps -eo args | grep -cx 'sleep {mark}' || :"));
    while alive() != "1" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let notes = format!("{:?}", cx.journal().effect("deploy"));
    assert!(notes.contains("group/"), "it is in the journal while it runs: {notes}");
    token.cancel();
    let error = running.await.unwrap().expect_err("cancelled");
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{}", error.report());
    assert!(error.message().contains("was ended"), "{}", error.report());
    assert_eq!(alive(), "0");
}

/// As sudo does from 1.9.14 on unless told otherwise.
#[tokio::test]
async fn sudo_that_gives_a_terminal_changes_nothing() {
    let Some(sshd) = tokio::task::spawn_blocking(Sshd::start).await.unwrap() else { return };
    sshd.sh("echo 'Defaults use_pty' >/etc/sudoers.d/pty; chmod 440 /etc/sudoers.d/pty");
    let c = connect(&sshd, "asks").await;
    let cx = Context::new();
    let bytes: Vec<u8> = (0..100_000u32).map(|i| (i % 256) as u8).collect();
    let run = Exec::script("cat; echo err >&2; exit 5").stdin(bytes.clone()).become_user(root(Sshd::PASSWORD));
    let out = c.exec(&cx, &run).await.unwrap();
    assert!(out.stdout == bytes, "{} bytes", out.stdout.len());
    assert_eq!((out.stderr_text().as_str(), out.status), ("err", towpath_core::ExitStatus::Code(5)));
    let slow = Exec::script("sleep 300321 & sleep 300321; :").timeout(Duration::from_secs(2));
    let error = c.exec(&cx, &slow.become_user(root(Sshd::PASSWORD))).await.expect_err("too slow");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{}", error.report());
    assert_eq!(sshd.sh("ps -eo args | grep -cx 'sleep 300321' || :"), "0", "{}", error.report());
}

#[tokio::test]
async fn a_dropped_command_is_ended() {
    let Some(sshd) = crate::sshd().await else { return };
    let c = connect(&sshd, "deploy").await;
    let mark = format!("20{:04}", crate::number() + 1000);
    let running = tokio::spawn({
        let (c, run) = (Arc::clone(&c), Exec::argv(["sleep", &mark]));
        async move { c.exec(&Context::new(), &run).await }
    });
    let alive = || sshd.sh(&format!("ps -eo args | grep -cx 'sleep {mark}' || :"));
    while alive() != "1" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running.abort();
    for _ in 0..200 {
        if alive() == "0" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it runs on");
}

#[tokio::test]
async fn a_command_dropped_while_it_starts_is_ended() {
    let Some(sshd) = crate::sshd().await else { return };
    let c = connect(&sshd, "deploy").await;
    let mark = format!("20{:04}", crate::number() + 3000);
    // Many at once, so that every moment of a start is met, from before it is sent until it runs.
    for round in 0..8_u32 {
        let starts = (0..40_u32).map(|i| {
            let (c, run) = (Arc::clone(&c), Exec::argv(["sleep", &mark]));
            let limit = Duration::from_micros(u64::from(1000 * i + 125 * round));
            async move { drop(tokio::time::timeout(limit, c.exec(&Context::new(), &run)).await) }
        });
        futures::future::join_all(starts).await;
    }
    for _ in 0..200 {
        if sshd.sh(&format!("ps -eo args | grep -cx 'sleep {mark}' || :")) == "0" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} run on", sshd.sh(&format!("ps -eo args | grep -cx 'sleep {mark}' || :")));
}

#[tokio::test]
async fn awkward_text_arrives() {
    let Some(sshd) = crate::sshd().await else { return };
    let c = connect(&sshd, "deploy").await;
    let cx = Context::new();
    // Bytes that some shells use inside: 0x81 to 0x88.
    let odd = "Łódź \u{81}\u{82}\u{88} \\n \t x";
    let out = c.exec(&cx, &Exec::argv(["printf", "%s", odd])).await.unwrap();
    assert_eq!(out.stdout_text(), odd);
    let long = format!("x='{}'\nprintf %s \"${{#x}}\"", "ab\n".repeat(100_000));
    assert_eq!(c.exec(&cx, &Exec::script(long)).await.unwrap().stdout_text(), "300000");
}

#[tokio::test]
async fn more_sessions_than_one_transport_carries() {
    let Some(sshd) = tokio::task::spawn_blocking(Sshd::start).await.unwrap() else { return };
    sshd.sh("sed -i 's/^MaxSessions.*/MaxSessions 2/' /etc/ssh/sshd_config");
    sshd.reload();
    let ssh = ssh();
    let cx = Context::new();
    let c = ssh.connect(&cx, &sshd.host("web1")).await.unwrap();
    let all = (0..12).map(|n| {
        let (c, cx) = (Arc::clone(&c), cx.clone());
        tokio::spawn(
            async move { c.exec(&cx, &Exec::script(format!("sleep 0.3; echo {n}"))).await.unwrap().stdout_text() },
        )
    });
    for (n, out) in all.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(out.await.unwrap(), n.to_string());
    }
    // A transport that broke is replaced.
    sshd.sh("pkill -f 'sshd: deploy' || :; sleep 0.5");
    assert_eq!(c.exec(&cx, &Exec::argv(["echo", "again"])).await.unwrap().stdout_text(), "again");
    for _ in 0..300 {
        drop(ssh.connect(&cx, &sshd.host("web1")).await.unwrap());
    }
    c.close().await;
}

#[tokio::test]
async fn files_of_root() {
    let Some(sshd) = crate::sshd().await else { return };
    let c = connect(&sshd, "asks").await;
    let cx = Context::new();
    let path = format!("/root/it-{}", crate::number());
    let mut options = PutOptions { mode: Some(0o640), group: Some("deploy".into()), ..PutOptions::default() };
    let error = c.put(&cx, Source::Bytes("x".into()), &path, &options).await.expect_err("not ours");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    options.r#become = Some(root(Sshd::PASSWORD));
    c.put(&cx, Source::Bytes("x".into()), &path, &options).await.unwrap();
    assert_eq!(sshd.sh(&format!("stat -c '%a %U %G' {path}; cat {path}")), "640 root deploy\nx");
    // A file that has no size until it is read, by whichever way files travel.
    let comm = c.get(&cx, "/proc/self/comm", 100).await.unwrap();
    assert!(comm == "cat\n" || comm == "sftp-server\n", "{comm:?}");
    // Behind a folder that may not be entered nobody can tell what is absent.
    assert_eq!(c.get(&cx, "/root/x", 100).await.expect_err("not ours").kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn a_password_that_nobody_asks_for_is_no_command() {
    let Some(sshd) = crate::sshd().await else { return };
    // su asks root for nothing, and warns with a colon and a blank: as if it did.
    sshd.sh("useradd -M -d /no/such/home noone; mkdir -p /root/.ssh; cp /home/deploy/.ssh/authorized_keys /root/.ssh/");
    let c = connect(&sshd, "root").await;
    let to = Become {
        user: "noone".into(),
        method: towpath_core::BecomeMethod::Su,
        password: Some(Secret::new("echo-nothing-of-this")),
        flags: vec!["-l".into()],
    };
    let out = c.exec(&Context::new(), &Exec::argv(["id", "-un"]).become_user(to)).await.unwrap();
    assert_eq!(out.stdout_text(), "noone");
    assert!(!out.stderr_text().contains("echo-nothing-of-this"), "{}", out.stderr_text());
}
