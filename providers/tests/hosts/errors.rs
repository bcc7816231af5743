//! What a person reads when something is wrong on a host: what happened, on which host, in which task, where it stands.

use super::{Place, text};

const HEAD: &str = "- name: App\n  hosts: all\n  gather_facts: false\n  tasks:\n";

/// Runs, and expects a failure that says all of these.
fn fails(place: &Place, wanted: &[&str]) {
    let out = place.run();
    let said = text(&out);
    assert_eq!(out.status.code(), Some(1), "{said}");
    for part in wanted {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
}

#[test]
fn a_failed_command_shows_its_output_and_status() {
    let Some(place) = Place::new() else { return };
    place.write(
        "site.yml",
        &format!("{HEAD}    - name: Migrate\n      shell: echo moved 3 of 9; echo lost it >&2; exit 7\n"),
    );
    fails(&place, &["app-1", "Migrate", "site.yml:5", "moved 3 of 9", "lost it", "exit_status=7"]);
}

#[test]
fn a_missing_template_is_named() {
    let Some(place) = Place::new() else { return };
    place.write(
        "site.yml",
        &format!("{HEAD}    - name: Settings\n      template: {{ src: app.conf.j2, dest: /tmp/app.conf }}\n"),
    );
    fails(&place, &["app-1", "Settings", "site.yml:5", "app.conf.j2"]);
}

#[test]
fn an_undefined_variable_is_named() {
    let Some(place) = Place::new() else { return };
    place.write("site.yml", &format!("{HEAD}    - name: Greet\n      command: echo {{{{ greeting }}}}\n"));
    fails(&place, &["app-1", "Greet", "site.yml:5", "greeting"]);
}

#[test]
fn a_wrong_sudo_password_is_not_a_lost_host() {
    let Some(place) = Place::new() else { return };
    let (key, known) = (place.server.key(), place.server.known_hosts());
    place.inventory(&format!(
        "ansible_user=asks ansible_ssh_private_key_file={} ansible_ssh_common_args='-o UserKnownHostsFile={}'",
        key.display(),
        known.display()
    ));
    place.write(
        "site.yml",
        "- name: App\n  hosts: all\n  gather_facts: false\n  become: true\n  vars: { ansible_become_password: tr0ubador-3 }\n  tasks:\n    - name: Look\n      command: id\n",
    );
    fails(&place, &["app-1", "sudo", "password"]);
    let said = text(&place.run());
    assert!(!said.contains("tr0ubador-3"), "the password is shown:\n{said}");
}

#[test]
fn a_key_that_the_host_refuses_is_told_from_an_unknown_host() {
    let Some(place) = Place::new() else { return };
    place.write("site.yml", &format!("{HEAD}    - name: Look\n      command: id\n"));
    let known = place.server.known_hosts();
    let other = place.path("other");
    let made =
        std::process::Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&other).status();
    assert!(made.unwrap().success());
    let vars = |key: &std::path::Path, known: &std::path::Path| {
        format!(
            "ansible_user=deploy ansible_ssh_private_key_file={} ansible_ssh_common_args='-o IdentitiesOnly=yes -o UserKnownHostsFile={}'",
            key.display(),
            known.display()
        )
    };
    place.inventory(&vars(&other, &known));
    fails(&place, &["app-1", "deploy", "other"]);
    place.inventory(&vars(&place.server.key(), &place.path("nobody")));
    fails(&place, &["app-1", "the host key is unknown", "SHA256:", "nobody"]);
}

#[test]
fn a_host_that_is_not_there_is_unreachable() {
    let Some(place) = Place::new() else { return };
    place.write("site.yml", &format!("{HEAD}    - name: Look\n      command: id\n"));
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    place.write("hosts", &format!("app-1 ansible_host=127.0.0.1 ansible_port={dead} ansible_user=deploy\n"));
    fails(&place, &["app-1", &dead.to_string(), "refused"]);
}
