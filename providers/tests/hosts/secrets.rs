//! A secret that is given by every route appears nowhere: not in the store, plans, pages, journals, output, or `ps` of a host.

use std::path::{Path, PathBuf};

use super::{Place, text};
use towpath_core::testkit::Sshd;

/// Secrets of tasks; the passwords are [`Sshd::PASSWORD`].
const IN_TASK: &str = "sentinel/in=task+Zq9";

/// What must be found nowhere: the value, and what it looks like in a URL, in JSON and in base64.
fn forms(secret: &str) -> Vec<String> {
    use base64::Engine as _;
    let url: String = secret
        .bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect();
    vec![secret.to_owned(), url, base64::engine::general_purpose::STANDARD.encode(secret)]
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

fn assert_absent(what: &str, bytes: &[u8]) {
    for secret in [Sshd::PASSWORD, IN_TASK] {
        for form in forms(secret) {
            let at = bytes.windows(form.len()).position(|w| w == form.as_bytes());
            let around =
                at.map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(80)..(at + form.len()).min(bytes.len())]));
            assert!(around.is_none(), "{what} holds {form:?}: {around:?}");
        }
    }
}

#[test]
fn secrets_of_every_route_stay_where_they_were_given() {
    let Some(place) = Place::new() else { return };
    // Login and sudo passwords, by environment, file and command; a task's own through a lookup, hidden by `no_log`; and the
    // known password in a message that nobody hid.
    let secrets = tempfile::tempdir().unwrap();
    std::fs::write(secrets.path().join("password"), format!("{}\n", Sshd::PASSWORD)).unwrap();
    let file = secrets.path().join("password").display().to_string();
    let host = |name: &str, login: &str, sudo: &str| {
        format!(
            "        - name: {name}\n          connection: {{ address: 127.0.0.1, port: {}, user: asks, password: {login}, become: {{ password: {sudo} }}, \
             options: {{ known_hosts: {}, identities_only: true, identity_file: /nonexistent }} }}\n",
            place.server.port,
            place.server.known_hosts().display()
        )
    };
    let (by_env, by_file, by_command) =
        ("{ env: LOGIN }", format!("{{ file: {file} }}"), format!("{{ command: [cat, {file}] }}"));
    let hosts = host("app-1", by_env, &by_file) + &host("app-2", &by_command, by_env);
    place.write(
        "pipeline.yml",
        &format!("name: secrets\nsteps:\n  site:\n    configure: {{ playbook: {{ file: site.yml }} }}\n    inventory:\n      hosts:\n{hosts}"),
    );
    place.write(
        "site.yml",
        "- name: App\n  hosts: all\n  gather_facts: false\n  become: true\n  tasks:\n    \
         - name: Watched\n      command: sleep 1\n    \
         - name: Told\n      debug: { msg: \"it is {{ lookup('env', 'LOGIN') }}\" }\n    \
         - name: Hidden\n      copy: { content: \"{{ lookup('env', 'IN_TASK') }}\", dest: /root/token, mode: \"0600\" }\n      no_log: true\n    \
         - name: Failed\n      shell: echo {{ lookup('env', 'IN_TASK') | quote }}; exit 3\n      no_log: true\n      ignore_errors: true\n",
    );
    // Sees every process on the host, as often as it can.
    place.server.sh(
        "(set +e; while [ ! -e /tmp/enough ]; do for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; tr '\\0' ' ' <$p/environ; echo; done; done) \
         >/tmp/seen 2>/dev/null </dev/null &",
    );
    let run = |arguments: &[&str]| {
        let mut command = place.towpath(arguments);
        command.env("LOGIN", Sshd::PASSWORD).env("IN_TASK", IN_TASK);
        command.output().unwrap()
    };
    let plan = run(&["plan", "pipeline.yml", "--out", "plan.json"]);
    assert!(plan.status.success(), "{}", text(&plan));
    let out = run(&["run", "--plan", "plan.json"]);
    assert!(out.status.success(), "{}", text(&out));
    assert!(
        text(&out).contains("***") || journal(&place).contains("it is ***"),
        "the message was shown, masked: {}",
        text(&out)
    );
    assert_eq!(place.server.sh("cat /root/token"), IN_TASK, "the secret arrived");
    let status = run(&["status", "--json"]);

    for out in [&plan, &out, &status] {
        assert_absent("the output", text(out).as_bytes());
    }
    let kept = files(place.dir.path());
    for wanted in ["store.db", ".html", ".jsonl", "plan.json"] {
        assert!(kept.iter().any(|f| f.to_string_lossy().contains(wanted)), "no {wanted} among {kept:?}");
    }
    for file in kept {
        assert_absent(&file.display().to_string(), &std::fs::read(&file).unwrap());
    }
    place.server.sh("touch /tmp/enough");
    let seen = place.server.sh("cat /tmp/seen");
    assert!(seen.contains("sleep 1"), "the watcher has seen the task");
    // The failed task's own command line holds its secret for a moment, since the playbook put it there.
    let seen: String = seen.lines().filter(|l| !l.contains("echo 'sentinel")).collect();
    assert_absent("ps of the host", seen.as_bytes());
}

fn journal(place: &Place) -> String {
    let all = files(place.dir.path());
    let found = all.iter().find(|f| f.extension().is_some_and(|e| e == "jsonl")).unwrap();
    std::fs::read_to_string(found).unwrap()
}
