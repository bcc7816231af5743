//! The suite that every configurator runs.

use std::sync::Arc;

use towpath_core::testkit::configurator::ConfiguratorFixture;
use towpath_core::{Inventory, Targets};
use towpath_playbook::Playbook;

use crate::support::{World, host};

const SITE: &str = r#"
- hosts: all
  become: yes
  vars:
    greeting: hello
  tasks:
    - name: Folder
      file: path=/srv/app state=directory mode=0750 owner=deploy
    - name: Greeting
      copy:
        content: "{{ greeting }} from {{ inventory_hostname }}\n"
        dest: /srv/app/motd
      notify: Mark
    - name: Setting
      lineinfile: {path: /srv/app/conf, line: "port=80", regexp: "^port=", create: yes}
  handlers:
    - name: Mark
      file: {path: /srv/app/marked, state: touch}
"#;

async fn fixture() -> Option<ConfiguratorFixture> {
    let world = World::new(2)?;
    world.write("site.yml", SITE);
    world.write(
        "failing.yml",
        "- hosts: all\n  gather_facts: no\n  tasks:\n    - name: Break\n      command: sh -c 'echo no >&2; exit 3'\n",
    );
    let provider = Arc::new(world.playbook(Playbook::file("site.yml")));
    let other = Arc::new(world.playbook(Playbook::file("site.yml").var("greeting", "hi")));
    let failing = Arc::new(world.playbook(Playbook::file("failing.yml")));
    let gone = Inventory { hosts: vec![host("gone-1", "towpath-no-such-container")], ..Inventory::default() };
    let unreachable = Targets { inventory: gone, ..world.targets.clone() };
    let ids: Vec<(String, String)> =
        world.targets.inventory.hosts.iter().map(|h| (h.name.clone(), h.connection.address.clone().unwrap())).collect();
    Some(ConfiguratorFixture {
        provider,
        other,
        failing,
        targets: world.targets.clone(),
        unreachable,
        cx: world.cx.clone(),
        disturb: Box::new(move |name| {
            let id = ids.iter().find(|(n, _)| *n == name).unwrap().1.clone();
            Box::pin(async move {
                let done =
                    tokio::process::Command::new("docker").args(["exec", &id, "rm", "/srv/app/motd"]).status().await;
                assert!(done.unwrap().success());
            })
        }),
        keep: Box::new(world),
    })
}

towpath_core::configurator_behaviour!(fixture);
