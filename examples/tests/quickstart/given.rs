//! Hosts that exist already: real OpenSSH servers, of which only the SSH port can be reached.

use towpath_core::testkit::Sshd;

use super::{Home, assert_well, outcomes};

fn inventory(home: &Home, servers: &[Sshd], known: bool) -> String {
    let mut text = "[web]\n".to_owned();
    for (i, server) in servers.iter().enumerate() {
        let known_hosts = if known { server.known_hosts() } else { home.0.path().join("known-hosts") };
        text.push_str(&format!(
            "web-{} ansible_host=127.0.0.1 ansible_port={} ansible_ssh_private_key_file={} ansible_ssh_common_args='-o UserKnownHostsFile={}'\n",
            i + 1,
            server.port,
            server.key().display(),
            known_hosts.display(),
        ));
    }
    text.push_str("\n[web:vars]\nansible_user=deploy\nansible_become=true\nhttp_port=8080\n");
    let path = home.0.path().join("hosts");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn the_same_runs_on_given_hosts_and_refuses_unknown_keys() {
    let Some(servers) = (0..3).map(|_| Sshd::start()).collect::<Option<Vec<_>>>() else { return };
    let home = Home::new();

    let file = inventory(&home, &servers, false);
    let refused = home.run(&["--json", "--inventory", &file]);
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains("web-1") && text.contains("key"), "{text}");
    assert_eq!(servers[0].sh("ls -A /srv"), "", "nothing was touched");

    let file = inventory(&home, &servers, true);
    let first = home.json(&["--inventory", &file]);
    assert_well(&first);
    assert_eq!(outcomes(&first), [("v1", "deployed"), ("v2", "deployed"), ("v3", "rolled_back")]);
    for server in &servers {
        assert_eq!(server.sh("readlink /srv/web/current"), "releases/v2");
        assert_eq!(server.sh("cat /etc/web/web.conf | tail -n 1"), "PORT=8080");
    }
    let second = home.json(&["--inventory", &file]);
    assert_well(&second);
    assert_eq!(outcomes(&second), [("v1", "superseded"), ("v2", "unchanged"), ("v3", "refused")]);
}
