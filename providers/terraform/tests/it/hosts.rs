//! Outputs, hosts, workspaces, `init`.

use serde_json::json;
use towpath_core::{Action, Certainty, Context, ErrorKind, EventKind, Provisioner};
use towpath_terraform::{HostsFrom, Terraform};

use crate::module::{Module, program, terraform};

const FLEET: &str = r#"
variable "n" { type = number }
resource "terraform_data" "web" {
  count = var.n
  input = { name = "web-${count.index + 1}", address = "127.0.0.${count.index + 1}", zone = "z${count.index}" }
}
output "web" { value = [for r in terraform_data.web : r.output] }
"#;

#[tokio::test]
async fn hosts_are_in_the_inventory_and_resources_are_listed() {
    if !terraform() {
        return;
    }
    let module = Module::new(FLEET);
    let config = module.config().var("n", 2).hosts(HostsFrom::output("web").group("frontend"));
    let fleet = Terraform::new(config).unwrap();
    let planned = fleet.plan(&module.cx).await.unwrap();
    let subjects: Vec<(&str, Action)> = planned.changes.iter().map(|c| (c.subject.as_str(), c.action)).collect();
    assert_eq!(
        subjects,
        [
            ("terraform_data.web[0]", Action::Create),
            ("terraform_data.web[1]", Action::Create),
            ("output web", Action::Create)
        ]
    );
    assert_eq!(planned.changes[0].target, "infra");
    assert_eq!(planned.changes[0].after.as_ref().unwrap()["input"]["address"], "127.0.0.1");
    assert_eq!(planned.changes[0].after.as_ref().unwrap()["id"], "(known after apply)");

    let applied = fleet.apply(&module.cx).await.unwrap();
    assert_eq!(applied.changed, 2);
    let hosts = &applied.environment.inventory.hosts;
    assert_eq!(hosts.iter().map(|h| h.name.as_str()).collect::<Vec<_>>(), ["web-1", "web-2"]);
    assert_eq!(hosts[1].connection.address.as_deref(), Some("127.0.0.2"));
    assert_eq!(hosts[1].vars["zone"], "z1");
    assert_eq!(applied.environment.inventory.groups["frontend"].hosts, ["web-1", "web-2"]);
    let resources = &applied.environment.resources;
    assert_eq!(
        resources.iter().map(|r| r.address.as_str()).collect::<Vec<_>>(),
        ["terraform_data.web[0]", "terraform_data.web[1]"]
    );
    assert!(!resources[0].id.is_empty());
    let made = |event: &towpath_core::Event| matches!(&event.kind, EventKind::Change { made: true, .. });
    assert_eq!(module.events.lock().unwrap().iter().filter(|e| made(e)).count(), 2, "an event for each resource");

    let fewer = Terraform::new(module.config().var("n", 1).hosts(HostsFrom::output("web"))).unwrap();
    let planned = fewer.plan(&module.cx).await.unwrap();
    let removed = planned.changes.iter().find(|c| c.subject == "terraform_data.web[1]").unwrap();
    assert_eq!((removed.action, &removed.after), (Action::Delete, &None));
    let stays = planned.changes.iter().find(|c| c.subject == "terraform_data.web[0]").unwrap();
    assert_eq!(stays.certainty, Certainty::WillNot);
    assert_eq!(fewer.apply(&module.cx).await.unwrap().environment.inventory.hosts.len(), 1);
    assert_eq!(fewer.destroy(&module.cx).await.unwrap().changed, 1);
    // Nothing of ours stays but the stamp of `init`.
    let left: Vec<_> =
        std::fs::read_dir(module.path(".terraform/towpath")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["init"]);
}

#[tokio::test]
async fn wrong_hosts_are_told_before_anything_is_made() {
    if !terraform() {
        return;
    }
    let module = Module::new(FLEET);
    let fleet = Terraform::new(module.config().var("n", 1).hosts(HostsFrom::output("wep"))).unwrap();
    let error = fleet.apply(&module.cx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("did you mean `web`?"), "{error}");
    assert!(!module.path("terraform.tfstate").exists());
}

#[tokio::test]
async fn a_workspace_of_its_own_for_each_environment() {
    if !terraform() {
        return;
    }
    let module = Module::new(FLEET);
    let fleet = |n: u32| Terraform::new(module.config().workspace("{environment}").var("n", n)).unwrap();
    let (a, b) = (Context::builder().environment("a").build(), Context::builder().environment("b").build());
    assert_eq!(fleet(1).apply(&a).await.unwrap().changed, 1);
    assert_eq!(fleet(2).apply(&b).await.unwrap().changed, 2);
    assert_eq!(fleet(1).apply(&a).await.unwrap().changed, 0, "the other's apply is none of its business");
    let planned = fleet(2).plan(&a).await.unwrap();
    assert_eq!(planned.changes[0].target, "infra/a");
    fleet(1).destroy(&a).await.unwrap();
    assert_eq!(fleet(2).probe(&b).await.unwrap().environment.unwrap().resources.len(), 2);
    assert!(!module.path("terraform.tfstate").exists(), "the default workspace was not touched");
}

/// A program that writes down how it was called, then is the real one.
fn recording(module: &Module) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = module.folder().join(std::path::Path::new(&program()).file_name().unwrap());
    let calls = module.folder().join("calls");
    let script = format!("#!/bin/sh\necho \"$1\" >>'{}'\nexec '{}' \"$@\"\n", calls.display(), program());
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn init_runs_only_where_something_changed() {
    if !terraform() {
        return;
    }
    let module = Module::new(FLEET);
    let program = recording(&module);
    let fleet = || {
        let mut config = module.config().var("n", 1);
        config.program = Some(program.clone());
        Terraform::new(config).unwrap()
    };
    let calls = || {
        let file = module.folder().join("calls");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, "").unwrap();
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    fleet().plan(&module.cx).await.unwrap();
    assert_eq!(calls(), "version init plan show");
    let again = fleet();
    again.plan(&module.cx).await.unwrap();
    assert_eq!(calls(), "version plan show");
    again.apply(&module.cx).await.unwrap();
    assert_eq!(calls(), "plan show apply show");
    again.apply(&module.cx).await.unwrap();
    assert_eq!(calls(), "plan show show", "nothing to apply");

    // A module of its own needs an init, and so does every change of it.
    std::fs::create_dir(module.path("part")).unwrap();
    module.write("part/part.tf", "output \"x\" { value = 1 }\n");
    module.write("more.tf", "module \"part\" { source = \"./part\" }\n");
    again.plan(&module.cx).await.unwrap();
    assert_eq!(calls(), "init plan show");
    module.write("part/part.tf", "output \"x\" { value = 2 }\n");
    again.plan(&module.cx).await.unwrap();
    assert_eq!(calls(), "init plan show");
    // What it had prepared is gone: a plan fails, and then it helps itself.
    std::fs::remove_dir_all(module.path(".terraform/modules")).unwrap();
    again.plan(&module.cx).await.unwrap();
    assert_eq!(calls(), "init plan show");
}

#[tokio::test]
async fn outputs_alone_can_change() {
    if !terraform() {
        return;
    }
    let module = Module::new("output \"v\" { value = 1 }\n");
    let fleet = module.terraform();
    let applied = fleet.apply(&module.cx).await.unwrap();
    assert_eq!((applied.changed, &applied.environment.outputs["v"]), (0, &json!(1)));
    module.write("main.tf", "output \"v\" { value = 2 }\n");
    assert!(!fleet.plan(&module.cx).await.unwrap().is_empty());
    assert_eq!(fleet.apply(&module.cx).await.unwrap().environment.outputs["v"], json!(2));
    assert!(fleet.plan(&module.cx).await.unwrap().is_empty());
}
