//! Files through commands and through SFTP, against servers that offer one, both or neither.

use std::sync::Arc;
use std::time::Duration;

use towpath_core::testkit::Sshd;
use towpath_core::{Become, Connection, Connector as _, Context, ErrorKind, Exec, PutOptions, Source};
use towpath_ssh::{Files, Ssh, SshConfig};

const WAYS: [Files; 3] = [Files::Sftp, Files::Shell, Files::Auto];

async fn connect(sshd: &Sshd, user: &str, files: Files) -> Arc<dyn Connection> {
    let config = SshConfig { ssh_config: Some("none".into()), files: Some(files), ..SshConfig::default() };
    Ssh::new(config).connect(&Context::new(), &sshd.host_as("web1", user)).await.unwrap()
}

async fn own() -> Option<Sshd> {
    tokio::task::spawn_blocking(Sshd::start).await.unwrap()
}

/// Content that differs everywhere, so that a part in the wrong place is seen.
fn bytes(length: u32) -> Vec<u8> {
    (0..length.div_ceil(4)).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).take(length as usize).collect()
}

fn dir(sshd: &Sshd) -> String {
    let dir = format!("/srv/files-{}", crate::number());
    sshd.sh(&format!("mkdir {dir}; chown deploy:deploy {dir}"));
    dir
}

async fn put(c: &Arc<dyn Connection>, path: &str, content: impl Into<Vec<u8>>) -> towpath_core::Result<()> {
    c.put(&Context::new(), Source::Bytes(content.into().into()), path, &PutOptions::default()).await
}

fn failed(result: towpath_core::Result<()>, kind: ErrorKind, path: &str) -> towpath_core::Error {
    let error = result.expect_err("refused");
    assert_eq!((error.kind(), error.get("host"), error.get("path")), (kind, Some("web1"), Some(path)), "{error:?}");
    error
}

#[tokio::test]
async fn all_ways_give_the_same() {
    let Some(sshd) = crate::sshd().await else { return };
    let cx = Context::new();
    for files in WAYS {
        let (c, dir) = (connect(&sshd, "deploy", files).await, dir(&sshd));
        for length in [0, 1, 32_768, 131_072, 131_073, 5_000_001] {
            let (path, content) = (format!("{dir}/it's {length}"), bytes(length));
            put(&c, &path, content.clone()).await.unwrap();
            assert!(c.get(&cx, &path, 10 << 20).await.unwrap() == content, "{files:?} {length}");
            let error = c.get(&cx, &path, u64::from(length).saturating_sub(1)).await;
            assert_eq!(error.err().map(|e| e.kind()), (length > 0).then_some(ErrorKind::InvalidInput), "{length}");
        }
        let path = format!("{dir}/modes");
        let stat = || sshd.sh(&format!("stat -c '%a %U %G' '{path}'"));
        put(&c, &path, "1").await.unwrap();
        assert_eq!(stat(), "600 deploy deploy", "{files:?}");
        sshd.sh(&format!("chmod 754 {path}"));
        put(&c, &path, "2").await.unwrap();
        assert_eq!(stat(), "754 deploy deploy", "{files:?}: that of the file it replaces");
        let mut options = PutOptions { mode: Some(0o4711), ..PutOptions::default() };
        options.group = Some("deploy".into());
        c.put(&cx, Source::Bytes("3".into()), &path, &options).await.unwrap();
        assert_eq!(stat(), "4711 deploy deploy", "{files:?}");
        options.owner = Some("root".into());
        let error = failed(c.put(&cx, Source::Bytes("4".into()), &path, &options).await, ErrorKind::ToolFailed, &path);
        assert!(error.message().contains("owner"), "{error}");
        assert_eq!(c.get(&cx, &path, 10).await.unwrap(), "3", "{files:?}");
        // Relative to the home directory, and a link is replaced, not followed.
        put(&c, "beside", "home").await.unwrap();
        sshd.sh(&format!("ln -s modes {dir}/link"));
        put(&c, &format!("{dir}/link"), "new").await.unwrap();
        assert_eq!(sshd.sh(&format!("cat /home/deploy/beside {dir}/link {path}")), "homenew3");
        assert_eq!(c.get(&cx, "/proc/self/comm", 100).await.unwrap().last(), Some(&b'\n'), "no size is told there");
        assert_eq!(sshd.sh(&format!("find {dir} /home/deploy -name '.towpath-*'")), "", "{files:?}");
    }
}

#[tokio::test]
async fn root_gives_files_to_others() {
    let Some(sshd) = own().await else { return };
    sshd.sh("mkdir -p /root/.ssh; cp /home/deploy/.ssh/authorized_keys /root/.ssh/; chown -R root:root /root/.ssh");
    for files in WAYS {
        let c = connect(&sshd, "root", files).await;
        for (owner, group, want) in [
            (Some("deploy"), None, "deploy root"),
            (None, Some("deploy"), "root deploy"),
            (Some("65534"), Some("asks"), "nobody asks"),
        ] {
            let options = PutOptions {
                mode: Some(0o2755),
                owner: owner.map(Into::into),
                group: group.map(Into::into),
                ..PutOptions::default()
            };
            c.put(&Context::new(), Source::Bytes("x".into()), "/srv/owned", &options).await.unwrap();
            assert_eq!(sshd.sh("stat -c '%a %U %G' /srv/owned"), format!("2755 {want}"), "{files:?}");
        }
        let options = PutOptions { owner: Some("nobody-such".into()), ..PutOptions::default() };
        let error = c.put(&Context::new(), Source::Bytes("x".into()), "/srv/owned", &options).await;
        let error = failed(error, ErrorKind::ToolFailed, "/srv/owned");
        assert!(error.report().contains("nobody-such") || error.report().contains("owner"), "{}", error.report());
    }
}

#[tokio::test]
async fn what_can_t_be_written_or_read_is_said_with_its_cause() {
    let Some(sshd) = crate::sshd().await else { return };
    let cx = Context::new();
    for files in WAYS {
        let (c, dir) = (connect(&sshd, "deploy", files).await, dir(&sshd));
        let path = format!("{dir}/no/such/file");
        assert!(failed(put(&c, &path, "x").await, ErrorKind::NotFound, &path).message().contains("directory"));
        failed(put(&c, "/etc/towpath", "x").await, ErrorKind::Denied, "/etc/towpath");
        failed(put(&c, &dir, "x").await, ErrorKind::InvalidInput, &dir);
        failed(put(&c, "", "x").await, ErrorKind::InvalidInput, "");
        let full = "/dev/shm/full";
        put(&c, full, "old").await.unwrap();
        // 64 MiB are there.
        let error = failed(put(&c, full, bytes(70 << 20)).await, ErrorKind::ToolFailed, full);
        let said = error.report().to_lowercase();
        assert!(said.contains("disk is full") || said.contains("no space"), "{said}");
        assert_eq!(c.get(&cx, full, 10).await.unwrap(), "old");
        assert_eq!(sshd.sh("ls -A /dev/shm"), "full", "{files:?}: nothing is left of it");
        sshd.sh("rm /dev/shm/full");

        let read = |path: &str| {
            let (c, cx, path) = (Arc::clone(&c), cx.clone(), path.to_owned());
            async move { c.get(&cx, &path, 1000).await.map(drop) }
        };
        failed(read(&path).await, ErrorKind::NotFound, &path);
        failed(read(&dir).await, ErrorKind::InvalidInput, &dir);
        failed(read("/etc/shadow").await, ErrorKind::Denied, "/etc/shadow");
        let local = Source::File("/nonexistent/file".into());
        let error = c.put(&cx, local, &path, &PutOptions::default()).await.expect_err("not there");
        assert_eq!((error.kind(), error.get("file")), (ErrorKind::NotFound, Some("/nonexistent/file")));
    }
}

#[tokio::test]
async fn a_reader_sees_one_whole_file_or_the_other() {
    let Some(sshd) = crate::sshd().await else { return };
    let cx = Context::new();
    for files in WAYS {
        let (c, dir) = (connect(&sshd, "deploy", files).await, dir(&sshd));
        let path = format!("{dir}/contested");
        put(&c, &path, vec![b'0'; 300_000]).await.unwrap();
        let writers = (1..=8u8).map(|n| {
            let (c, path) = (Arc::clone(&c), path.clone());
            tokio::spawn(async move {
                for _ in 0..4 {
                    put(&c, &path, vec![b'0' + n; 300_000 + usize::from(n)]).await.unwrap();
                }
            })
        });
        let writers: Vec<_> = writers.collect();
        let mut seen = 0;
        while writers.iter().any(|w| !w.is_finished()) || seen == 0 {
            let all = c.exec(&cx, &Exec::argv(["cat", &path])).await.unwrap().stdout;
            let first = all[0];
            assert_eq!(all.len(), 300_000 + usize::from(first - b'0'), "{files:?}");
            assert!(all.iter().all(|b| *b == first), "{files:?}: torn");
            seen += 1;
        }
        for writer in writers {
            writer.await.unwrap();
        }
        assert_eq!(sshd.sh(&format!("ls -A {dir}")), "contested", "{files:?}");
    }
}

#[tokio::test]
async fn a_transfer_that_is_ended_leaves_nothing_under_the_name() {
    let Some(sshd) = own().await else { return };
    let big = tempfile::NamedTempFile::new().unwrap();
    big.as_file().set_len(3 << 30).unwrap();
    for files in WAYS {
        let dir = dir(&sshd);
        let path = format!("{dir}/big");
        let start = |cx: Context, c: Arc<dyn Connection>| {
            let (source, path) = (Source::File(big.path().to_owned()), path.clone());
            tokio::spawn(async move { c.put(&cx, source, &path, &PutOptions::default()).await })
        };
        let under_way = || async {
            while sshd.sh(&format!("find {dir} -name '.towpath-*' -size +1M")).is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // Cancelled: gone when the call returns.
        let c = connect(&sshd, "deploy", files).await;
        let (cx, token) = Context::new().child();
        let running = start(cx, Arc::clone(&c));
        under_way().await;
        token.cancel();
        failed_with(running.await.unwrap(), ErrorKind::Cancelled);
        assert_eq!(sshd.sh(&format!("ls -A {dir}")), "", "{files:?}");
        // Dropped: gone soon.
        let running = start(Context::new(), Arc::clone(&c));
        under_way().await;
        running.abort();
        gone(&sshd, &dir, files).await;
        // The connection breaks: never under the name, and the next transfer works.
        let running = start(Context::new(), Arc::clone(&c));
        under_way().await;
        sshd.sh("pkill -KILL -u deploy -x sshd; pkill -KILL -x sftp-server || :");
        failed_with(running.await.unwrap(), ErrorKind::Unreachable);
        assert_eq!(sshd.sh(&format!("ls {dir}")), "", "{files:?}");
        sshd.sh(&format!("rm -rf {dir}/.towpath-*"));
        put(&c, &path, "small").await.unwrap();
        assert_eq!(sshd.sh(&format!("cat {path}")), "small");
    }
}

fn failed_with(result: towpath_core::Result<()>, kind: ErrorKind) {
    let error = result.expect_err("ended");
    assert_eq!((error.kind(), error.get("host")), (kind, Some("web1")), "{}", error.report());
}

async fn gone(sshd: &Sshd, dir: &str, files: Files) {
    for _ in 0..200 {
        if sshd.sh(&format!("ls -A {dir}")).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{files:?}: {}", sshd.sh(&format!("ls -lA {dir}")));
}

#[tokio::test]
async fn without_an_sftp_server_commands_carry_files() {
    let Some(sshd) = own().await else { return };
    for how in ["mv /usr/lib/openssh/sftp-server /root/", "sed -i '/^Subsystem/d' /etc/ssh/sshd_config"] {
        sshd.sh(how);
        sshd.reload();
        let dir = dir(&sshd);
        let path = format!("{dir}/x");
        let c = connect(&sshd, "deploy", Files::Auto).await;
        put(&c, &path, "x").await.unwrap();
        assert_eq!(c.get(&Context::new(), &path, 10).await.unwrap(), "x");
        let c = connect(&sshd, "deploy", Files::Sftp).await;
        let error = put(&c, &path, "y").await.expect_err("no server");
        assert_eq!((error.kind(), error.get("host")), (ErrorKind::Unsupported, Some("web1")), "{}", error.report());
        assert!(error.message().contains("files: shell"), "{}", error.report());
    }
}

#[tokio::test]
async fn an_account_that_runs_no_commands_gets_files_through_sftp() {
    let Some(sshd) = own().await else { return };
    sshd.sh("cat > /etc/ssh/towpath.d/sftp.conf <<'E'\nMatch User asks\n  ForceCommand internal-sftp\nE\n\
             usermod -s /usr/sbin/nologin deploy; mkdir -m 777 /srv/in");
    let cx = Context::new();
    // A login shell that refuses would refuse the SFTP server of a program, too.
    sshd.sh("sed -i 's|^Subsystem.*|Subsystem sftp internal-sftp|' /etc/ssh/sshd_config");
    sshd.reload();
    for user in ["asks", "deploy"] {
        let c = connect(&sshd, user, Files::Auto).await;
        for content in ["one", "two"] {
            put(&c, &format!("/srv/in/{user}"), content).await.unwrap_or_else(|e| panic!("{}", e.report()));
            assert_eq!(c.get(&cx, &format!("/srv/in/{user}"), 10).await.unwrap(), content);
        }
        assert_eq!(sshd.sh(&format!("stat -c %a /srv/in/{user}")), "600");
        let error = c.exec(&cx, &Exec::argv(["true"])).await.expect_err("no commands");
        assert_eq!(error.kind(), ErrorKind::Protocol, "{}", error.report());
        let c = connect(&sshd, user, Files::Shell).await;
        assert_eq!(put(&c, "/srv/in/x", "x").await.expect_err("no commands").kind(), ErrorKind::Protocol);
    }
}

#[tokio::test]
async fn sftp_refuses_what_it_can_t_do_safely() {
    let Some(sshd) = own().await else { return };
    let (cx, dir) = (Context::new(), dir(&sshd));
    let path = format!("{dir}/x");
    let c = connect(&sshd, "deploy", Files::Sftp).await;
    let options = PutOptions { r#become: Some(Become::root()), ..PutOptions::default() };
    let error = c.put(&cx, Source::Bytes("x".into()), &path, &options).await;
    assert!(failed(error, ErrorKind::Unsupported, &path).message().contains("files: auto"));
    // Without posix-rename a file can be made, and not replaced in one step.
    sshd.sh("sed -i 's|^Subsystem.*|Subsystem sftp internal-sftp -P posix-rename|' /etc/ssh/sshd_config");
    sshd.reload();
    let c = connect(&sshd, "deploy", Files::Sftp).await;
    put(&c, &path, "first").await.unwrap_or_else(|e| panic!("{}", e.report()));
    let error = failed(put(&c, &path, "second").await, ErrorKind::Unsupported, &path);
    assert!(error.message().contains("posix-rename"), "{error}");
    assert_eq!(sshd.sh(&format!("cat {path}; ls -A {dir}")), "firstx");
    // Of the two ways the one that works is taken.
    let c = connect(&sshd, "deploy", Files::Auto).await;
    for how in ["-P posix-rename", "-R"] {
        sshd.sh(&format!("sed -i 's|^Subsystem.*|Subsystem sftp internal-sftp {how}|' /etc/ssh/sshd_config"));
        sshd.reload();
        put(&c, &path, how).await.unwrap_or_else(|e| panic!("{}", e.report()));
        put(&connect(&sshd, "deploy", Files::Auto).await, &path, how)
            .await
            .unwrap_or_else(|e| panic!("{}", e.report()));
        assert_eq!(c.get(&cx, &path, 100).await.unwrap(), how);
    }
}

/// Many at once through one session, and a session that ends between two.
#[tokio::test]
async fn transfers_share_a_session_that_is_replaced_when_it_ends() {
    let Some(sshd) = own().await else { return };
    let (cx, dir) = (Context::new(), dir(&sshd));
    let c = connect(&sshd, "deploy", Files::Sftp).await;
    let all = (0..30u32).map(|n| {
        let (c, path) = (Arc::clone(&c), format!("{dir}/{n}"));
        async move { put(&c, &path, bytes(n * 10_000)).await.unwrap() }
    });
    futures::future::join_all(all).await;
    assert_eq!(sshd.sh("pgrep -c sftp-server || :"), "1");
    sshd.sh("pkill -x sftp-server; sleep 0.5");
    assert!(c.get(&cx, &format!("{dir}/29"), 1 << 20).await.unwrap() == bytes(290_000));
    c.close().await;
    for _ in 0..100 {
        if sshd.sh("pgrep -c sftp-server || :") == "0" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the session stays open");
}
