//! A secret that goes in by every route comes out by none.

use towpath_core::{Provisioner, Secret, SecretRef};
use towpath_terraform::Terraform;

use crate::module::{Module, terraform};

const SENTINEL: &str = "S3NTINEL-in-every-route";

#[tokio::test]
async fn a_secret_is_in_no_plan_event_environment_or_command_line() {
    if !terraform() {
        return;
    }
    let module = Module::new(
        r#"
        variable "password" { sensitive = true }
        resource "terraform_data" "db" {
          input = { user = "app", password = var.password }
          provisioner "local-exec" { command = "tr '\\0' ' ' </proc/$PPID/cmdline >cmdline; echo ${var.password}; echo \"$PROVIDER_TOKEN\"" }
        }
        output "password" {
          value     = var.password
          sensitive = true
        }
        output "user" { value = terraform_data.db.output.user }
        "#,
    );
    let (cx, config) = secrets(&module);
    let db = Terraform::new(config).unwrap();
    let plan = db.plan(&cx).await.unwrap();
    assert_eq!(plan.changes[0].after.as_ref().unwrap()["input"]["password"], "(sensitive)");
    assert_eq!(plan.changes[0].after.as_ref().unwrap()["input"]["user"], "app");
    let applied = db.apply(&cx).await.unwrap();
    assert_eq!(applied.environment.sensitive, ["password"]);
    assert_eq!(applied.environment.outputs["user"], "app");
    let probed = db.probe(&cx).await.unwrap();
    for (what, text) in [
        ("plan", serde_json::to_string(&plan).unwrap()),
        ("applied", serde_json::to_string(&applied).unwrap()),
        ("probed", serde_json::to_string(&probed).unwrap()),
        ("events", module.told()),
        ("debug", format!("{db:?} {plan:?} {applied:?}")),
        ("command line", module.read("cmdline")),
    ] {
        assert!(!text.is_empty() && !text.contains(SENTINEL), "{what}: {text}");
    }
    assert!(module.read("terraform.tfstate").contains(SENTINEL), "it did arrive");
    let left: Vec<_> =
        std::fs::read_dir(module.path(".terraform/towpath")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["init"], "no plan and no variables are left");
}

/// A context that knows both secrets, and the config that hands them over.
fn secrets(module: &Module) -> (towpath_core::Context, towpath_terraform::TerraformConfig) {
    let told = std::sync::Arc::clone(&module.events);
    let cx = towpath_core::Context::builder()
        .secret("password", Secret::new(SENTINEL))
        .secret("token", Secret::new(format!("{SENTINEL}-token")))
        .listener(std::sync::Arc::new(move |e: &towpath_core::Event| told.lock().unwrap().push(e.clone())))
        .build();
    let mut config = module.config().secret_var("password", SecretRef::Given("password".into()));
    config.secret_env.insert("PROVIDER_TOKEN".into(), SecretRef::Given("token".into()));
    (cx, config)
}

#[tokio::test]
async fn what_a_failing_command_prints_is_masked_in_the_error() {
    if !terraform() {
        return;
    }
    let module = Module::new(
        r#"
        variable "password" { sensitive = true }
        resource "terraform_data" "db" {
          input = var.password
          provisioner "local-exec" { command = "echo \"no way in with $PROVIDER_TOKEN\" >&2; exit 1" }
        }
        "#,
    );
    let (cx, config) = secrets(&module);
    let error = Terraform::new(config).unwrap().apply(&cx).await.unwrap_err();
    let report = error.report();
    assert!(report.contains("no way in with") && !report.contains(SENTINEL), "{report}");
    assert!(!format!("{error:?}").contains(SENTINEL), "{error:?}");
}

#[tokio::test]
async fn a_secret_for_a_variable_that_is_not_sensitive_is_refused() {
    if !terraform() {
        return;
    }
    let module = Module::new("variable \"password\" {}\nresource \"terraform_data\" \"db\" { input = var.password }\n");
    let (cx, config) = secrets(&module);
    let error = Terraform::new(config).unwrap().apply(&cx).await.unwrap_err();
    assert_eq!(error.kind(), towpath_core::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("`password`") && error.to_string().contains("sensitive = true"), "{error}");
    assert!(!module.path("terraform.tfstate").exists(), "nothing was touched");
}
