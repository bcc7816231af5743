//! The language, on a real host.

mod differential;
pub(crate) mod local;

use towpath_core::{Certainty, Configurator as _, ErrorKind, EventKind, TaskStatus};
use towpath_playbook::Playbook;

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn roles_handlers_loops_and_services() {
    let Some(world) = World::new(1) else { return };
    world.write(
        "site.yml",
        r#"
- name: Base
  hosts: web-*
  become: true
  roles: [base, {role: web, web_port: 8081}]
  post_tasks:
    - name: Look
      stat: path=/etc/towpath-web.conf
      register: conf
    - assert:
        that: [conf.stat.exists, "conf.stat.mode == '0640'"]
    - debug: msg="{{ ansible_os_family }} {{ port }} {{ users | map(attribute='name') | join(',') }}"
      register: said
    - assert: {that: "said.msg == 'Debian 8080 ann,bob'"}
    - command: echo {{ item }}
      loop: [a, b]
      register: out
      changed_when: false
      when: item != 'b'
    - assert: {that: ["out.results[0].stdout == 'a'", 'out.results[1] is skipped', out is not changed]}
    - block:
        - fail: msg=oops
      rescue:
        - set_fact: rescued="{{ ansible_failed_task is defined }}"
      always:
        - shell: 'echo "always" > /tmp/always; sleep 300 & echo done'
"#,
    );
    world.write(
        "roles/base/defaults/main.yml",
        "users: [{name: ann, shell: /bin/sh}, {name: bob}]\nport: 8080\nweb_port: 1\n",
    );
    world.write(
        "roles/base/tasks/main.yml",
        "- user: {name: '{{ item.name }}', shell: '{{ item.shell | default(omit) }}'}\n  loop: '{{ users }}'\n  loop_control: {label: '{{ item.name }}'}\n- include_tasks: more.yml\n",
    );
    world.write("roles/base/tasks/more.yml", "- group: name=crew\n");
    world.write("roles/web/meta/main.yml", "dependencies: [base]\n");
    world.write(
        "roles/web/tasks/main.yml",
        "- template: src=web.conf.j2 dest=/etc/towpath-web.conf mode=u=rw,g=r,o= group=crew\n  notify: [restart web]\n- copy: {src: init, dest: /etc/init.d/towpath-web, mode: 0755}\n- meta: flush_handlers\n- service: name=towpath-web state=started\n",
    );
    world.write(
        "roles/web/handlers/main.yml",
        "- name: restart web\n  service: {name: towpath-web, state: restarted}\n",
    );
    world.write("roles/web/templates/web.conf.j2", "# {{ ansible_managed }}\n{% for u in users %}\nuser {{ u.name }}\n{% endfor %}\nport {{ web_port }} 'quo\\ted' ü\n");
    world.write(
        "roles/web/files/init",
        "#!/bin/sh\nP=/run/towpath-web.pid\ncase $1 in\nstart) sleep 1000 & echo $! >$P; echo r >>/tmp/restarts;;\nstop) kill $(cat $P) && rm -f $P;;\nrestart) [ -f $P ] && $0 stop; $0 start;;\nstatus) [ -f $P ] && kill -0 $(cat $P);;\nesac\n",
    );
    let playbook = world.playbook(Playbook::file("site.yml"));
    let plan = playbook.plan(&world.cx, &world.targets).await.unwrap();
    assert!(
        plan.changes.iter().any(|c| c.certainty == Certainty::Will && c.subject.contains("towpath-web.conf")),
        "{plan:#?}"
    );
    let first = playbook.apply(&world.cx, &world.targets).await.unwrap();
    let sums = first.hosts["web-1"];
    assert_eq!((sums.failed, sums.rescued), (0, 1), "{sums:?}");
    let server = &world.servers[0];
    assert_eq!(server.sh("cat /etc/towpath-web.conf"), "# Ansible managed\nuser ann\nuser bob\nport 8081 'quo\\ted' ü");
    assert_eq!(
        server.sh("stat -c '%a %G' /etc/towpath-web.conf; cat /tmp/restarts; cat /tmp/always"),
        "640 crew\nr\nalways"
    );
    assert_eq!(server.sh("getent passwd ann bob | cut -d: -f7"), "/bin/sh\n/bin/sh");
    let second = playbook.apply(&world.cx, &world.targets).await.unwrap();
    assert_eq!(second.hosts["web-1"].changed, 1, "only the shell command: {second:?}");
    let events = world.events.lock().unwrap();
    let at = events.iter().find_map(|e| match &e.kind {
        EventKind::TaskResult { task, file, status: TaskStatus::Changed, .. } if task.contains("template") => {
            file.clone()
        }
        _ => None,
    });
    assert!(at.is_some_and(|f| f.ends_with("roles/web/tasks/main.yml:1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_name_their_place() {
    let Some(world) = World::new(1) else { return };
    for (tasks, kind, says) in [
        ("- name: T\n      debug: msg={{ nope.x }}", ErrorKind::ToolFailed, "nope"),
        ("- template: src=gone.j2 dest=/x", ErrorKind::ToolFailed, "templates/gone.j2"),
        ("- frobnicate: {}", ErrorKind::ToolFailed, "frobnicate"),
        ("- command: sh -c 'echo why >&2; exit 4'", ErrorKind::ToolFailed, "why"),
        ("- debug: msg=x\n      ignore_error: true", ErrorKind::InvalidInput, "did you mean `ignore_errors`"),
        ("- {debug: {msg: x}, command: ls}", ErrorKind::InvalidInput, "one action"),
        ("- debug: msg=x\n  seriel: 1", ErrorKind::InvalidInput, "did you mean `serial`"),
        ("- {block: [], rescues: []}", ErrorKind::InvalidInput, "did you mean `rescue`"),
        ("- {debug: , loop: [], loop_control: {lable: x}}", ErrorKind::InvalidInput, "bad.yml:4:"),
        ("- debug: msg=x\n      debugger: always", ErrorKind::InvalidInput, "debugger"),
        ("- debug: msg=x\n  order: upwards", ErrorKind::InvalidInput, "upwards"),
        ("- debug: msg=x\n  strategy: fast", ErrorKind::InvalidInput, "fast"),
        ("- file: {path: /x, colour: red}", ErrorKind::ToolFailed, "colour"),
    ] {
        world.write("bad.yml", &format!("- hosts: all\n  gather_facts: no\n  tasks:\n    {tasks}\n"));
        let error = world.playbook(Playbook::file("bad.yml")).apply(&world.cx, &world.targets).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        let report = error.report();
        assert!(report.contains(says) && report.contains("bad.yml:"), "{says}: {report}");
    }
    world.write("bad.yml", "- hosts: all\n  tasks:\n  - a: [\n");
    let error = world.playbook(Playbook::file("bad.yml")).apply(&world.cx, &world.targets).await.unwrap_err();
    assert!(error.report().contains("bad.yml:"), "{error:?}");
}
