//! What is wrong is told with its place, and bad input before anything is touched.

use std::error::Error as _;

use towpath_core::{ErrorKind, Provisioner, Retry};
use towpath_terraform::{Diagnostics, Terraform};

use crate::module::{Module, terraform};

#[tokio::test]
async fn a_wrong_configuration_is_bad_input_with_its_place() {
    if !terraform() {
        return;
    }
    for (main, place, said) in [
        ("resource \"terraform_data\" \"a\" {\n  input = \n}\n", "main.tf:2:11", "Invalid expression"),
        ("resource \"terraform_data\" \"a\" {\n  input = var.nope\n}\n", "main.tf:2:11", "undeclared"),
        ("resource \"terraform_data\" \"a\" {\n  inputt = 1\n}\n", "main.tf:2:3", "Unsupported argument"),
        ("variable \"size\" {}\n", "main.tf:1:1", "No value for required variable"),
    ] {
        let module = Module::new(main);
        let error = module.terraform().apply(&module.cx).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{main}: {error:?}");
        assert!(error.get("file").unwrap().ends_with(&format!("infra/{place}")), "{error}");
        assert!(error.report().contains(said), "{main}: {}", error.report());
        let typed = error.source().unwrap().downcast_ref::<Diagnostics>().unwrap();
        assert_eq!(typed.0[0].file.as_deref(), Some("main.tf"));
        assert!(!module.path("terraform.tfstate").exists(), "nothing was touched");
    }
}

#[tokio::test]
async fn a_variable_that_is_not_declared_is_an_error() {
    if !terraform() {
        return;
    }
    let module = Module::new("variable \"count_of_hosts\" { default = 1 }\n");
    let fleet = Terraform::new(module.config().var("count_of_host", 3)).unwrap();
    let error = fleet.plan(&module.cx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("`count_of_host`; did you mean `count_of_hosts`?"), "{error}");
}

#[tokio::test]
async fn a_failed_resource_names_itself_and_the_rest_is_kept() {
    if !terraform() {
        return;
    }
    let module = Module::new(
        r#"
        resource "terraform_data" "first" {
          provisioner "local-exec" { command = "echo made >>made" }
        }
        resource "terraform_data" "second" {
          depends_on = [terraform_data.first]
          provisioner "local-exec" { command = "echo 'no room left' >&2; test -e mended" }
        }
        "#,
    );
    let fleet = module.terraform();
    let error = fleet.apply(&module.cx).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::ToolFailed, Retry::Never));
    assert_eq!(error.get("resource"), Some("terraform_data.second"), "{error:?}");
    assert!(error.get("file").unwrap().ends_with("main.tf:7:38"), "{error:?}");
    assert!(error.report().contains("no room left"), "{}", error.report());
    assert!(module.told().contains("terraform_data.second: no room left"), "its lines are events too");

    module.write("mended", "");
    assert_eq!(fleet.apply(&module.cx).await.unwrap().changed, 1, "only the tainted one is made anew");
    assert_eq!(module.read("made"), "made\n", "the first one was made once");
}

#[tokio::test]
async fn a_missing_module_or_program_says_what_to_do() {
    let module = Module::new("");
    let mut config = module.config();
    config.program = Some("/nowhere/terraform".into());
    let error = Terraform::new(config).unwrap().preflight(&module.cx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ToolMissing);
    assert!(error.to_string().contains("/nowhere/terraform") && error.to_string().contains("install"), "{error}");
    if !terraform() {
        return;
    }
    let fleet = Terraform::new(Terraform::module(module.folder().join("infar"))).unwrap();
    for error in [fleet.preflight(&module.cx).await.unwrap_err(), fleet.plan(&module.cx).await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        assert!(error.to_string().contains("infar"), "{error}");
    }
    assert!(!module.folder().join("infar").exists(), "it was not made either");
    let found = module.terraform().preflight(&module.cx).await.unwrap();
    assert!(found.ok[0].starts_with("terraform 1.") || found.ok[0].starts_with("tofu 1."), "{found:?}");
}

#[tokio::test]
async fn a_lock_names_its_owner_and_can_be_waited_for() {
    if !terraform() {
        return;
    }
    let module = Module::new(
        r#"
        resource "terraform_data" "slow" {
          provisioner "local-exec" { command = "touch started; while [ ! -e go ]; do sleep 0.05; done" }
        }
        "#,
    );
    let (first, second) = (module.terraform(), module.terraform());
    let apply = first.apply(&module.cx);
    let meanwhile = async {
        while !module.path("started").exists() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let error = second.plan(&module.cx).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Later), "{error:?}");
        let user = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
        assert!(error.to_string().contains(&format!("locked by {user}@")), "{error}");
        assert!(
            error.to_string().contains("OperationTypeApply since 20") && error.to_string().contains("force-unlock"),
            "{error}"
        );
        let mut patient = module.config();
        patient.lock_timeout_s = 60;
        let patient = Terraform::new(patient).unwrap();
        let (planned, ()) = tokio::join!(patient.plan(&module.cx), async { module.write("go", "") });
        assert!(planned.unwrap().is_empty(), "it came after the apply");
    };
    let (applied, ()) = tokio::join!(apply, meanwhile);
    assert_eq!(applied.unwrap().changed, 1);
}
