//! Hosts with systemd as process 1: cases with a line `# host: systemd` run there.

use std::process::Command;

use towpath_core::testkit::Sshd;

/// The image of `.ci/systemd-image`.
const IMAGE: &str = "towpath/debian:systemd-2";

fn docker(args: &[&str]) -> String {
    let out = Command::new("docker").args(args).output().unwrap();
    assert!(out.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// Starts one, and waits until its units are up. `None`, said aloud, where the image is not there and need not be.
pub(crate) fn start() -> Option<Sshd> {
    let there = Command::new("docker").args(["image", "inspect", IMAGE]).output().is_ok_and(|o| o.status.success());
    if !there {
        let what = "NOT RUN: hosts with systemd: run .ci/systemd-image";
        eprintln!("{what}");
        assert!(std::env::var_os("TOWPATH_TEST_REQUIRE").is_none(), "{what}");
        return None;
    }
    // Started anew when it has gone down, at the same port: so it can reboot.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).unwrap().port();
    let published = format!("127.0.0.1:{port}:22");
    let args = "run -d --restart always --label towpath-test --tmpfs /run --tmpfs /run/lock --tmpfs /tmp:exec --cap-add SYS_ADMIN --cap-add NET_ADMIN \
        --security-opt seccomp=unconfined --security-opt apparmor=unconfined -e container=docker \
        -v /sys/fs/cgroup:/sys/fs/cgroup:ro -p";
    let mut words: Vec<&str> = args.split_whitespace().collect();
    words.extend([published.as_str(), IMAGE, "/sbin/init"]);
    let id = docker(&words);
    let dir = std::env::temp_dir().join(format!("towpath-systemd-{}", &id[..12]));
    std::fs::create_dir_all(&dir).unwrap();
    let server = Sshd { id, port, dir };
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(server.key()).status();
    assert!(made.unwrap().success());
    let public = std::fs::read_to_string(server.key().with_extension("pub")).unwrap();
    server.sh(&format!(
        "n=0; until systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded'; do n=$((n+1)); [ $n -lt 60 ]; sleep 1; done\n\
         cat >/home/deploy/.ssh/authorized_keys <<'K'\n{public}K\nchown deploy: /home/deploy/.ssh/authorized_keys\n"
    ));
    let key = server.sh("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub");
    std::fs::write(server.known_hosts(), format!("[127.0.0.1]:{} {key}\n", server.port)).unwrap();
    Some(server)
}
