//! Configurations that share a folder, a context or a backend do not get in each other's way.

use towpath_core::{ErrorKind, Provisioner};
use towpath_terraform::{Terraform, TerraformConfig};

use crate::module::{Module, program, terraform};

/// State in a file that the config names.
const WITH_BACKEND: &str = r#"
terraform {
  backend "local" {}
}
resource "terraform_data" "one" {}
"#;

fn with_state(module: &Module, file: &str) -> TerraformConfig {
    let mut config = module.config();
    config.backend.insert("path".into(), file.into());
    config
}

#[tokio::test]
async fn two_backends_of_one_module_take_neither_each_others_state_nor_work() {
    if !terraform() {
        return;
    }
    let module = Module::new(WITH_BACKEND);
    let blue = Terraform::new(with_state(&module, "blue.tfstate")).unwrap();
    let green = Terraform::new(with_state(&module, "green.tfstate")).unwrap();
    // One context, as of one step.
    let (first, second) = tokio::join!(blue.apply(&module.cx), green.apply(&module.cx));
    assert_eq!((first.unwrap().changed, second.unwrap().changed), (1, 1));
    for state in ["blue.tfstate", "green.tfstate"] {
        assert!(module.read(state).contains("terraform_data"), "{state}");
    }
    blue.destroy(&module.cx).await.unwrap();
    assert!(!module.read("blue.tfstate").contains("terraform_data"));
    assert!(module.read("green.tfstate").contains("terraform_data"));
}

#[tokio::test]
async fn a_module_that_somebody_prepared_by_hand_for_another_state_does_not_redirect_it() {
    if !terraform() {
        return;
    }
    let module = Module::new(WITH_BACKEND);
    let site = Terraform::new(with_state(&module, "ours.tfstate")).unwrap();
    site.apply(&module.cx).await.unwrap();
    let by_hand = std::process::Command::new(program())
        .args(["init", "-input=false", "-reconfigure", "-backend-config=path=theirs.tfstate"])
        .current_dir(module.path(""))
        .env("TF_CLI_CONFIG_FILE", module.folder().join("terraformrc"))
        .output()
        .unwrap();
    assert!(by_hand.status.success(), "{by_hand:?}");
    assert!(site.plan(&module.cx).await.unwrap().is_empty(), "its state is where it was");
    assert!(!module.path("theirs.tfstate").exists());
}

#[tokio::test]
async fn a_state_that_could_not_be_saved_is_not_run_over() {
    if !terraform() {
        return;
    }
    let module = Module::new("resource \"terraform_data\" \"one\" {}\n");
    let site = module.terraform();
    module.write("errored.tfstate", "{}");
    let error = site.apply(&module.cx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.get("unsaved_state").unwrap().contains("state push errored.tfstate"), "{error}");
    assert!(!module.path("terraform.tfstate").exists());
    std::fs::remove_file(module.path("errored.tfstate")).unwrap();
    assert_eq!(site.apply(&module.cx).await.unwrap().changed, 1);
}

#[tokio::test]
async fn paths_of_the_config_start_where_it_was_made() {
    if !terraform() {
        return;
    }
    let module = Module::new("variable \"x\" {}\noutput \"x\" { value = var.x }\n");
    let vars = tempfile::NamedTempFile::with_suffix_in(".tfvars", ".").unwrap();
    std::fs::write(vars.path(), "x = \"found\"\n").unwrap();
    let mut config = module.config();
    config.var_files = vec![vars.path().file_name().unwrap().into()];
    let applied = Terraform::new(config).unwrap().apply(&module.cx).await.unwrap();
    assert_eq!(applied.environment.outputs["x"], "found");
}
