//! The same playbook by Ansible itself, into another container: same end state, same counts.

use std::process::Command;

use towpath_core::Configurator as _;
use towpath_playbook::Playbook;

use crate::support::World;

const SITE: &str = r#"
- hosts: all
  become: yes
  vars: {items_: [{n: a, v: 1}, {n: b, v: 2}], title: "{{ items_ | map(attribute='n') | join('-') }}"}
  tasks:
    - file: {path: /srv/d/e, state: directory, mode: 'u=rwx,g=rx,o='}
    - copy: {content: "{{ items_ }}\n", dest: /srv/d/list, mode: 0640}
      notify: [two, one]
    - copy: {content: "{{ {'a': true, 'b': none} | to_nice_json }}\n", dest: /srv/d/json}
    - template: src=t.j2 dest=/srv/d/t
    - lineinfile: {path: /srv/d/t, regexp: '^k(\d)=', line: 'k\1=new', backrefs: yes}
    - lineinfile: {path: /srv/d/t, line: first, insertbefore: BOF}
    - file: {src: /srv/d/t, dest: /srv/d/link, state: link}
    - user: {name: svc, shell: /usr/sbin/nologin, system: yes, create_home: no}
    - stat: path=/srv/d/link
      register: s
    - shell: echo {{ s.stat.islnk }} $X | tee /srv/d/out
      environment: {X: "q'u"}
      when: s.stat.exists
    - command: echo no
      when: false
    - command: touch /srv/d/once
      args: {creates: /srv/d/once}
    - command: /bin/false
      ignore_errors: yes
    - file: {path: "/srv/d/{{ item.n }}", state: touch}
      loop: "{{ items_ }}"
      when: item.v > 1
    - block:
        - fail: msg=x
      rescue:
        - debug: msg="{{ ansible_failed_result.msg }}"
  handlers:
    - name: one
      shell: echo one >> /srv/d/order
    - name: two
      shell: echo two >> /srv/d/order
"#;

const TEMPLATE: &str = "{{ title | upper }} {{ ansible_hostname | length > 0 }}\n{% for i in items_ %}\n  {% if i.v > 1 %}\nk{{ i.v }}=old\n  {% endif %}\n{% endfor %}\n{{ none }}|{{ true }}|{{ 1.5 }}|{{ items_[0] }}\n\n";

#[tokio::test(flavor = "multi_thread")]
async fn ends_as_with_ansible() {
    let Some(ansible) = std::env::var_os("TOWPATH_TEST_ANSIBLE") else {
        eprintln!("NOT RUN: Ansible: set TOWPATH_TEST_ANSIBLE to an ansible-playbook");
        return;
    };
    let Some(world) = World::new(2) else { return };
    let site = world.write("site.yml", SITE);
    world.write("templates/t.j2", TEMPLATE);
    let (ours, theirs) = (&world.servers[0], &world.servers[1]);
    let key = theirs.key();
    let inventory = world.write(
        "hosts",
        &format!(
            "web-1 ansible_host=127.0.0.1 ansible_port={} ansible_user=deploy ansible_ssh_private_key_file={} ansible_ssh_common_args='-o UserKnownHostsFile={} -o IdentitiesOnly=yes'\n",
            theirs.port,
            key.display(),
            theirs.known_hosts().display()
        ),
    );
    let targets = towpath_core::Targets { limit: Some("web-1".into()), ..world.targets.clone() };
    let playbook = world.playbook(Playbook::file("site.yml"));
    for round in 1..=2 {
        let out =
            Command::new(&ansible).arg("-i").arg(&inventory).arg(&site).env("ANSIBLE_NOCOLOR", "1").output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        if text.contains("UNREACHABLE") || text.contains("MODULE FAILURE") || text.contains("No python interpreters") {
            eprintln!("NOT RUN: Ansible can't work on the container (no Python there?)");
            return;
        }
        let recap = text.lines().rev().find(|l| l.starts_with("web-1 ")).unwrap_or_else(|| panic!("{text}"));
        let count = |name: &str| -> usize {
            recap.split_whitespace().find_map(|w| w.strip_prefix(&format!("{name}="))).unwrap().parse().unwrap()
        };
        let sums = playbook.apply(&world.cx, &targets).await.unwrap().hosts["web-1"];
        assert_eq!(
            [sums.ok, sums.changed, sums.failed, sums.skipped, sums.rescued, sums.ignored],
            ["ok", "changed", "failed", "skipped", "rescued", "ignored"].map(count),
            "round {round}: {text}"
        );
        let state = "cd /srv/d; ls -l --time-style=+ | tail -n +2; for f in list json t out order; do echo \"== $f\"; cat $f; done; getent passwd svc | cut -d: -f1,6,7";
        assert_eq!(ours.sh(state), theirs.sh(state), "round {round}");
    }
}
