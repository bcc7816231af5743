//! One configuration, written four times: a play, the same for pyinfra, and by hand as a script that checks and mends.

use std::fmt::Write as _;
use std::path::Path;

/// Something that is to be on a host.
enum Item {
    Group(&'static str),
    User { name: &'static str, group: &'static str },
    Directory { path: String, mode: &'static str, group: &'static str },
    Template { n: usize },
    Copy { n: usize },
    Line { n: usize },
    Link { n: usize },
    Absent { n: usize },
    Creates { n: usize },
    Stat { n: usize },
    Started(&'static str),
}

const GROUPS: [&str; 3] = ["app", "ops", "data"];
const USERS: [(&str, &str); 5] = [("ann", "app"), ("bob", "app"), ("cid", "ops"), ("dot", "ops"), ("eve", "data")];
const DIRECTORIES: [(&str, &str, &str); 9] = [
    ("/etc/bench", "0755", "root"),
    ("/etc/bench/services", "0750", "app"),
    ("/etc/bench/lines", "0755", "root"),
    ("/etc/bench/links", "0755", "root"),
    ("/srv/bench", "0755", "root"),
    ("/srv/bench/data", "2770", "data"),
    ("/srv/bench/logs", "0775", "ops"),
    ("/srv/bench/spool", "0755", "root"),
    ("/srv/bench/marks", "0755", "root"),
];
const TEMPLATE: &str = "# {{ service }} on {{ inventory_hostname }}\nport = {{ 8000 + number }}\n\
     workers = {{ workers | default(4) }}\n{% for person in people %}\nallow = {{ person.name }}\n{% endfor %}\n\
     hosts = {{ groups['all'] | length }}\n";
const LINES: usize = 10;

fn items() -> Vec<Item> {
    let mut all = Vec::new();
    all.extend(GROUPS.map(Item::Group));
    all.extend(USERS.map(|(name, group)| Item::User { name, group }));
    all.extend(DIRECTORIES.map(|(path, mode, group)| Item::Directory { path: path.into(), mode, group }));
    all.extend((0..12).map(|n| Item::Template { n }));
    all.extend((0..12).map(|n| Item::Copy { n }));
    all.extend((0..LINES).map(|n| Item::Line { n }));
    all.extend((0..6).map(|n| Item::Link { n }));
    all.extend((0..3).map(|n| Item::Absent { n }));
    all.extend((0..4).map(|n| Item::Stat { n }));
    all.extend((0..5).map(|n| Item::Creates { n }));
    all.push(Item::Started("cron"));
    all
}

fn content(n: usize) -> String {
    (0..20).map(|i| format!("setting_{i} = value {n}-{i}\n")).collect()
}

/// How many results a host has in a run that changes nothing, and tasks and items there are on it.
pub(crate) struct Size {
    pub(crate) ok: usize,
    pub(crate) skipped: usize,
    pub(crate) tasks: usize,
    pub(crate) items: usize,
}

/// Writes the play with its template and gives its size.
pub(crate) fn write(dir: &Path) -> Size {
    std::fs::create_dir_all(dir.join("templates")).unwrap();
    std::fs::write(dir.join("templates/service.conf.j2"), TEMPLATE).unwrap();
    let (text, size) = site();
    std::fs::write(dir.join("site.yml"), text).unwrap();
    size
}

/// The play, and its size.
pub(crate) fn site() -> (String, Size) {
    let mut text = String::from("- hosts: all\n  become: yes\n  vars:\n    people:\n");
    USERS.iter().for_each(|(name, group)| writeln!(text, "      - {{name: {name}, group: {group}}}").unwrap());
    text.push_str("  tasks:\n    - group: {name: \"{{ item }}\"}\n      loop: [app, ops, data]\n");
    text.push_str("    - user: {name: \"{{ item.name }}\", group: \"{{ item.group }}\", shell: /bin/sh}\n      loop: \"{{ people }}\"\n");
    text.push_str("    - file: {path: \"{{ item.0 }}\", state: directory, mode: \"{{ item.1 }}\", owner: root, group: \"{{ item.2 }}\"}\n      loop:\n");
    DIRECTORIES.iter().for_each(|(p, m, g)| writeln!(text, "        - [{p}, \"{m}\", {g}]").unwrap());
    let (mut tasks, mut ok, mut skipped, mut on_target) = (3, 4, 0, 0);
    for item in items() {
        on_target += 1;
        match item {
            Item::Group(_) | Item::User { .. } | Item::Directory { .. } => continue,
            Item::Template { n } => {
                writeln!(text, "    - template: {{src: service.conf.j2, dest: /etc/bench/services/s{n}.conf, mode: \"0640\", group: app}}\n      \
                     vars: {{service: s{n}, number: {n}}}\n      notify: restart").unwrap();
            }
            Item::Copy { n } => {
                let body: String = content(n).lines().map(|l| format!("          {l}\n")).collect();
                write!(
                    text,
                    "    - copy:\n        dest: /srv/bench/c{n}\n        mode: \"0644\"\n        content: |\n{body}"
                )
                .unwrap();
            }
            Item::Line { n } => {
                writeln!(text, "    - lineinfile: {{path: /etc/bench/lines/l{n}, regexp: \"^key=\", line: \"key={{{{ inventory_hostname }}}}\", create: yes, mode: \"0644\"}}").unwrap();
            }
            Item::Link { n } => {
                writeln!(text, "    - file: {{src: /srv/bench/c{n}, dest: /etc/bench/links/k{n}, state: link}}")
                    .unwrap();
            }
            Item::Absent { n } => {
                writeln!(text, "    - file: {{path: /etc/bench/old{n}, state: absent}}").unwrap();
            }
            Item::Stat { n } => {
                writeln!(text, "    - stat: {{path: /srv/bench/c{n}}}\n      register: stat{n}").unwrap();
            }
            Item::Creates { n } => {
                let when = if n < 4 { format!("\n      when: stat{n}.stat.exists") } else { String::new() };
                writeln!(
                    text,
                    "    - command: touch /srv/bench/marks/m{n}\n      args: {{creates: /srv/bench/marks/m{n}}}{when}"
                )
                .unwrap();
            }
            Item::Started(name) => {
                writeln!(text, "    - service: {{name: {name}, state: started}}").unwrap();
            }
        }
        tasks += 1;
        ok += 1;
    }
    text.push_str("    - shell: id -un\n      register: me\n      changed_when: false\n");
    text.push_str("    - assert: {that: \"me.stdout == 'root'\"}\n");
    text.push_str("    - debug: msg=never\n      when: me.stdout == 'nobody'\n");
    text.push_str("  handlers:\n    - name: restart\n      shell: date >> /srv/bench/restarts\n");
    ok += 2;
    skipped += 1;
    tasks += 3;
    on_target += 1;
    assert!(tasks >= 50 && on_target >= 70, "{tasks} tasks, {on_target} items");
    (text, Size { ok, skipped, tasks, items: on_target })
}

/// Writes what pyinfra runs.
pub(crate) fn write_pyinfra(dir: &Path, hosts: usize) {
    let mut text = String::from(
        "from io import StringIO\nfrom pyinfra import host\nfrom pyinfra.operations import files, server\n",
    );
    writeln!(text, "people = [{}]", USERS.map(|(n, g)| format!("{{'name': '{n}', 'group': '{g}'}}")).join(", "))
        .unwrap();
    for item in items() {
        match item {
            Item::Group(name) => writeln!(text, "server.group(group='{name}')"),
            Item::User { name, group } => {
                writeln!(text, "server.user(user='{name}', group='{group}', shell='/bin/sh', create_home=True)")
            }
            Item::Directory { path, mode, group } => {
                let mode = mode.trim_start_matches('0');
                writeln!(text, "files.directory(path='{path}', mode='{mode}', user='root', group='{group}')")
            }
            Item::Template { n } => writeln!(
                text,
                "files.template(src='templates/service.conf.j2', dest='/etc/bench/services/s{n}.conf', mode='640', group='app', \
                 service='s{n}', number={n}, people=people, inventory_hostname=host.name, groups={{'all': [0] * {hosts}}})"
            ),
            Item::Copy { n } => {
                writeln!(text, "files.put(src=StringIO({:?}), dest='/srv/bench/c{n}', mode='644')", content(n))
            }
            Item::Line { n } => writeln!(
                text,
                "files.line(path='/etc/bench/lines/l{n}', line='^key=.*$', replace='key=' + host.name, ensure_newline=True)"
            ),
            Item::Link { n } => {
                writeln!(text, "files.link(path='/etc/bench/links/k{n}', target='/srv/bench/c{n}')")
            }
            Item::Absent { n } => writeln!(text, "files.file(path='/etc/bench/old{n}', present=False)"),
            // Facts are what pyinfra has for it.
            Item::Stat { n } => {
                writeln!(text, "from pyinfra.facts.files import File\nstat{n} = host.get_fact(File, path='/srv/bench/c{n}')")
            }
            Item::Creates { n } => writeln!(
                text,
                "from pyinfra.facts.files import File\nif not host.get_fact(File, path='/srv/bench/marks/m{n}'):\n    \
                 server.shell(commands=['touch /srv/bench/marks/m{n}'])"
            ),
            Item::Started(name) => {
                writeln!(text, "server.service(service='{name}', running=True)")
            }
        }
        .unwrap();
    }
    text.push_str(
        "from pyinfra.facts.server import Command\nassert host.get_fact(Command, command='id -un') == 'root'\n",
    );
    std::fs::write(dir.join("deploy.py"), text).unwrap();
}

/// The script of somebody who knows the shell: it checks everything and mends what differs; `$1` is the host's name, `$2` how many there are.
pub(crate) fn script() -> String {
    let mut text = String::from(
        r#"set -eu
h=$1 all=$2 c=0 n=0
did() { c=$((c+1)); }
attrs() { [ "$(stat -c '%a %U %G' "$1")" = "$2 $3 $4" ] || { chown "$3:$4" "$1"; chmod "$2" "$1"; did; }; }
content() { n=$((n+1)); if printf '%s\n' "$2" | cmp -s - "$1"; then :; else printf '%s\n' "$2" >"$1.new"; mv "$1.new" "$1"; did; fi; }
"#,
    );
    let people: String = USERS.iter().map(|(name, _)| format!("allow = {name}\n")).collect();
    for item in items() {
        match item {
            Item::Group(name) => writeln!(text, "getent group {name} >/dev/null || {{ groupadd {name}; did; }}"),
            Item::User { name, group } => writeln!(
                text,
                "[ \"$(getent passwd {name} | cut -d: -f7)\" = /bin/sh ] && [ \"$(id -gn {name})\" = {group} ] || {{ useradd -m -g {group} -s /bin/sh {name}; did; }}"
            ),
            Item::Directory { path, mode, group } => {
                let mode = mode.trim_start_matches('0');
                writeln!(text, "[ -d {path} ] || {{ mkdir {path}; did; }}\nattrs {path} {mode} root {group}")
            }
            Item::Template { n } => writeln!(
                text,
                "content /etc/bench/services/s{n}.conf \"# s{n} on $h\nport = {}\nworkers = 4\n{people}hosts = $all\"\nattrs /etc/bench/services/s{n}.conf 640 root app",
                8000 + n
            ),
            Item::Copy { n } => writeln!(
                text,
                "content /srv/bench/c{n} '{}'\nattrs /srv/bench/c{n} 644 root root",
                content(n).trim_end()
            ),
            Item::Line { n } => writeln!(
                text,
                "grep -qx \"key=$h\" /etc/bench/lines/l{n} 2>/dev/null || {{ echo \"key=$h\" >/etc/bench/lines/l{n}; did; }}\nattrs /etc/bench/lines/l{n} 644 root root"
            ),
            Item::Link { n } => writeln!(
                text,
                "[ \"$(readlink /etc/bench/links/k{n})\" = /srv/bench/c{n} ] || {{ ln -sfn /srv/bench/c{n} /etc/bench/links/k{n}; did; }}"
            ),
            Item::Absent { n } => writeln!(text, "[ ! -e /etc/bench/old{n} ] || {{ rm -rf /etc/bench/old{n}; did; }}"),
            Item::Stat { n } => writeln!(text, "stat -c %s /srv/bench/c{n} >/dev/null"),
            Item::Creates { n } => {
                writeln!(text, "[ -e /srv/bench/marks/m{n} ] || {{ touch /srv/bench/marks/m{n}; did; }}")
            }
            Item::Started(name) => {
                writeln!(text, "service {name} status >/dev/null || {{ service {name} start >/dev/null; did; }}")
            }
        }
        .unwrap();
    }
    text.push_str(
        "[ \"$(id -un)\" = root ]\n[ -e /srv/bench/restarts ] || date >/srv/bench/restarts\necho changed=$c\n",
    );
    text
}

/// A smaller play for many hosts on one machine, each below a folder of its own, without sudo.
pub(crate) fn write_many(dir: &Path, base: &Path) {
    let base = base.display();
    let mut text = format!(
        "- hosts: all\n  vars: {{base: \"{base}/{{{{ inventory_hostname }}}}\"}}\n  tasks:\n    \
         - file: {{path: \"{{{{ base }}}}/{{{{ item }}}}\", state: directory, mode: \"0755\"}}\n      loop: [a, b, c]\n"
    );
    for n in 0..6 {
        writeln!(
            text,
            "    - copy: {{dest: \"{{{{ base }}}}/a/c{n}\", content: \"{n} on {{{{ inventory_hostname }}}}\\n\"}}"
        )
        .unwrap();
        writeln!(text, "    - lineinfile: {{path: \"{{{{ base }}}}/b/l{n}\", line: \"key={n}\", regexp: \"^key=\", create: yes, mode: \"0644\"}}").unwrap();
        writeln!(text, "    - file: {{src: ../a/c{n}, dest: \"{{{{ base }}}}/c/k{n}\", state: link}}").unwrap();
    }
    std::fs::write(dir.join("many.yml"), text).unwrap();
}
