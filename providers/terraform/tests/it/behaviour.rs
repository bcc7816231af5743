//! The behaviour suite of provisioners.

use std::process::Command;
use std::sync::Arc;

use towpath_core::testkit::provisioner::ProvisionerFixture;

use crate::module::{Module, terraform};

async fn fixture() -> Option<ProvisionerFixture> {
    if !terraform() {
        return None;
    }
    let module = Module::new(
        r#"
        resource "terraform_data" "web" {
          count = 2
          input = "web-${count.index}"
        }
        output "names" { value = terraform_data.web[*].output }
        "#,
    );
    let dir = module.path("");
    Some(ProvisionerFixture {
        provider: Arc::new(module.terraform()),
        cx: module.cx.clone(),
        // As if somebody had found it broken.
        disturb: Box::new(move |_| {
            let dir = dir.clone();
            Box::pin(async move {
                let done = Command::new("terraform").args(["taint", "terraform_data.web[1]"]).current_dir(dir).output();
                assert!(done.unwrap().status.success());
            })
        }),
        keep: Box::new(module),
    })
}

mod provisioner {
    towpath_core::provisioner_behaviour!(super::fixture);
}
