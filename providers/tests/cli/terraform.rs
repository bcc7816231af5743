//! The real `terraform` as a step of a pipeline.

use serde_json::json;

use crate::place::{Place, said};

const MAIN: &str = r#"
variable "greeting" { default = "hello" }
resource "terraform_data" "host" {
  input = { address = "here", greeting = var.greeting }
}
resource "terraform_data" "slow" {
  depends_on = [terraform_data.host]
  provisioner "local-exec" { command = "touch begun; while [ ! -e go ]; do sleep 0.05; done; echo made >>made" }
}
output "web" { value = { web-1 = terraform_data.host.output } }
output "greeting" { value = terraform_data.host.output.greeting }
"#;

const PIPELINE: &str = "
name: site
parameters: { greeting: hello }
steps:
  fleet:
    provision:
      terraform:
        module: infra
        vars: { greeting: { param: greeting } }
        hosts: [{ output: web, connection: { kind: local } }]
    outputs: { greeting: string }
  site:
    configure: { playbook: { file: site.yml } }
    inventory: { from: fleet.inventory }
    vars: { said: { from: fleet.greeting } }
";

/// `None` after it was said what is missing.
fn place() -> Option<Place> {
    if std::process::Command::new("terraform").arg("version").output().is_err() {
        println!("NOT RUN: Terraform in a pipeline: install terraform 1.9 or later and put it on PATH");
        return None;
    }
    let place = Place::new().with("p.yml", PIPELINE);
    let file = place.path().join("motd").display().to_string();
    place.write(
        "site.yml",
        &format!("- hosts: web\n  gather_facts: false\n  tasks:\n    - copy: {{ dest: {file}, content: \"{{{{ said }}}} {{{{ greeting }}}}\\n\" }}\n"),
    );
    std::fs::create_dir(place.path().join("infra")).unwrap();
    place.write("infra/main.tf", MAIN);
    place.write("infra/go", "");
    Some(place)
}

fn read(place: &Place, name: &str) -> String {
    std::fs::read_to_string(place.path().join(name)).unwrap_or_default()
}

#[test]
fn hosts_of_terraform_are_configured_in_the_next_step() {
    let Some(place) = place() else { return };
    let plan = place.towpath(&["plan", "p.yml"]).ends(0).out;
    assert!(plan.contains("terraform_data.host") && plan.contains("site"), "{plan}");
    assert!(!place.path().join("infra/terraform.tfstate").exists(), "a plan makes nothing");

    place.towpath(&["run", "p.yml"]).ends(0);
    assert_eq!(read(&place, "motd"), "hello hello\n", "an output of the step, and a field of the host");
    let again = place.towpath(&["run", "p.yml", "--json"]).ends(0).json();
    assert_eq!((&again["steps"][0]["state"], &again["steps"][1]["state"]), (&json!("unchanged"), &json!("unchanged")));

    // Exactly what was planned, or nothing.
    place.towpath(&["plan", "p.yml", "--set", "greeting=hi", "--out", "plan.json"]).ends(0);
    place.write("infra/main.tf", &MAIN.replace("touch begun", "touch begin"));
    place.write("infra/more.tf", "resource \"terraform_data\" \"more\" {}\n");
    let refused = place.towpath(&["run", "--plan", "plan.json"]).ends(1);
    assert!(refused.err.contains("the world changed since the plan was made"), "{refused:?}");
    assert!(refused.err.contains("terraform_data.more: Create"), "what it would be now: {refused:?}");
    assert_eq!(read(&place, "motd"), "hello hello\n");

    place.towpath(&["destroy", "p.yml"]).ends(0);
    assert!(!read(&place, "infra/terraform.tfstate").contains("terraform_data"), "nothing is left");
}

#[test]
fn a_run_that_is_killed_during_an_apply_finds_it_again() {
    let Some(place) = place() else { return };
    std::fs::remove_file(place.path().join("infra/go")).unwrap();
    let mut first = place.command(&["run", "p.yml"]).spawn().unwrap();
    place.wait_for("infra/begun", &mut first);
    first.kill().unwrap();
    assert_eq!(said(first).code, None);

    let mut second = place.command(&["run", "p.yml", "--json", "--journal", "second.jsonl"]).spawn().unwrap();
    place.wait_for("second.jsonl", &mut second);
    // Every event is in it when it happens.
    while !read(&place, "second.jsonl").contains("still runs as process") {
        assert!(second.try_wait().unwrap().is_none(), "it waits for the tool");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    place.write("infra/go", "");
    let second = said(second).ends(0);
    assert!(second.err.contains("terraform still runs as process"), "{second:?}");
    let json = second.json();
    assert_eq!((&json["resumed"], &json["steps"][0]["state"]), (&json!(true), &json!("done")));
    assert_eq!(read(&place, "infra/made"), "made\n", "it was made once");
    assert_eq!(read(&place, "motd"), "hello hello\n");
}

#[test]
fn a_mistake_in_the_module_is_told_with_its_place() {
    let Some(place) = place() else { return };
    place.write("infra/main.tf", "output \"web\" {\n  value = vaar.x\n}\n");
    let failed = place.towpath(&["run", "p.yml"]).ends(1);
    assert!(failed.err.contains("fleet FAILED") && failed.err.contains("infra/main.tf:2:11"), "{failed:?}");
    assert_eq!(place.towpath(&["plan", "p.yml"]).ends(2).err.matches("infra/main.tf:2:11").count(), 1);
    let text = PIPELINE.replace("module: infra", "modul: infra");
    place.write("p.yml", &text);
    place.towpath(&["run", "p.yml"]).ends(2).complains(&["modul", "p.yml:7"]);
}
