//! Real containers by the Docker provider. It is built by `.ci/tofu`, which takes its time: the full tier has it.

use std::process::Command;

use towpath_core::{Action, Provisioner};
use towpath_terraform::{HostsFrom, Terraform};

use crate::module::{Module, terraform};

const IMAGE: &str = "towpath/debian:bookworm-5";

fn containers(name: &str) -> String {
    let out = Command::new("docker").args(["ps", "-aq", "--filter", &format!("name=^{name}$")]).output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn containers_come_are_mended_and_go() {
    let Some(mirror) = std::env::var_os("TOWPATH_TEST_TERRAFORM_MIRROR") else {
        eprintln!("NOT RUN: the Docker provider of Terraform: ./test full builds it with Go 1.25 or later");
        return;
    };
    if !terraform() {
        return;
    }
    let name = format!("towpath-terraform-{}", std::process::id());
    let module = Module::new(&format!(
        r#"
        terraform {{
          required_providers {{
            docker = {{ source = "mirror.test/kreuzwerker/docker" }}
          }}
        }}
        resource "docker_container" "web" {{
          count        = 2
          name         = "{name}-${{count.index + 1}}"
          image        = "{IMAGE}"
          command      = ["sleep", "infinity"]
          network_mode = "none"
          must_run     = true
        }}
        output "web" {{
          value = {{ for c in docker_container.web : c.name => {{ address = c.id, image = c.image }} }}
        }}
        "#
    ));
    let config = module.config_with_mirror(&mirror).hosts(HostsFrom::output("web"));
    let fleet = Terraform::new(config).unwrap();

    let made = fleet.apply(&module.cx).await.unwrap();
    assert_eq!((made.changed, made.environment.inventory.hosts.len()), (2, 2));
    let first = made.environment.inventory.host(&format!("{name}-1")).unwrap();
    let id = first.connection.address.clone().unwrap();
    assert!(id.starts_with(&containers(&format!("{name}-1"))), "{id}");
    assert!(fleet.plan(&module.cx).await.unwrap().is_empty());

    let gone = Command::new("docker").args(["rm", "-f", &id]).output().unwrap();
    assert!(gone.status.success(), "{gone:?}");
    let drift = fleet.drift(&module.cx).await.unwrap();
    // The provider may also find defaults of the other one that it had not written down.
    let gone: Vec<&str> =
        drift.changes.iter().filter(|c| c.action == Action::Delete).map(|c| c.subject.as_str()).collect();
    assert_eq!(gone, ["docker_container.web[0]"], "{drift:?}");
    assert_eq!(fleet.apply(&module.cx).await.unwrap().changed, 1);
    assert_ne!(containers(&format!("{name}-1")), "");

    assert_eq!(fleet.destroy(&module.cx).await.unwrap().changed, 2);
    assert_eq!(containers(&format!("{name}-1")) + &containers(&format!("{name}-2")), "");
}
