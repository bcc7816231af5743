use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use towpath_core::{Context, Event};
use towpath_terraform::{Terraform, TerraformConfig};

/// A folder with a root module, and the events of everything that is done there.
pub(crate) struct Module {
    dir: tempfile::TempDir,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
    pub(crate) cx: Context,
}

/// The program that is tested: `TOWPATH_TEST_TERRAFORM`, or `terraform`.
pub(crate) fn program() -> String {
    std::env::var("TOWPATH_TEST_TERRAFORM").unwrap_or_else(|_| "terraform".to_owned())
}

/// Whether the tool is there. Says what to install if not.
pub(crate) fn terraform() -> bool {
    let there = Command::new(program()).arg("version").output().is_ok_and(|o| o.status.success());
    if !there {
        let what = "NOT RUN: Terraform: install terraform 1.9 or later and put it on PATH";
        // No Debian package has it, so a test command can't install it.
        eprintln!("{what}");
    }
    there
}

impl Module {
    pub(crate) fn new(main: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("infra")).unwrap();
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let to = Arc::clone(&events);
        let listener = move |event: &Event| to.lock().unwrap().push(event.clone());
        let cx = Context::builder().listener(Arc::new(listener)).build();
        let module = Self { dir, events, cx };
        module.write("main.tf", main);
        module
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("infra").join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A config that no setting of this machine gets into.
    pub(crate) fn config(&self) -> TerraformConfig {
        let rc = self.dir.path().join("terraformrc");
        std::fs::write(&rc, "").unwrap();
        let mut config = Terraform::module(self.path("")).env("TF_CLI_CONFIG_FILE", rc.to_str().unwrap());
        config.program = Some(program().into());
        config
    }

    /// The same, and providers come from this folder only.
    pub(crate) fn config_with_mirror(&self, mirror: &OsStr) -> TerraformConfig {
        let rc = self.dir.path().join("mirror.rc");
        let mirror = mirror.to_str().unwrap();
        let text = format!(
            "provider_installation {{\n  filesystem_mirror {{\n    path = {mirror:?}\n    include = [\"*/*/*\"]\n  }}\n}}\n"
        );
        std::fs::write(&rc, text).unwrap();
        self.config().env("TF_CLI_CONFIG_FILE", rc.to_str().unwrap())
    }

    pub(crate) fn terraform(&self) -> Terraform {
        Terraform::new(self.config()).unwrap()
    }

    /// All events as text.
    pub(crate) fn told(&self) -> String {
        serde_json::to_string(&*self.events.lock().unwrap()).unwrap()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }
}
