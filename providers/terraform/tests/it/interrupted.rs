//! Cancels and deaths in the middle of an apply.

use std::time::Duration;

use towpath_core::{ErrorKind, EventKind, Provisioner};
use towpath_terraform::Terraform;

use crate::module::{Module, program, terraform};

/// One resource is made at once, the other waits until the test lets it go on.
const SLOW: &str = r#"
resource "terraform_data" "quick" {
  provisioner "local-exec" { command = "echo quick >>made" }
}
resource "terraform_data" "slow" {
  depends_on = [terraform_data.quick]
  provisioner "local-exec" { command = "touch started; while [ ! -e go ]; do sleep 0.05; done; echo slow >>made" }
}
"#;

async fn started(module: &Module) {
    while !module.path("started").exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Tools that work in the module's folder. A `sleep` of the provisioner that was ended with it may be there for a moment longer.
fn at_work(module: &Module) -> Vec<String> {
    let dir = module.path("").canonicalize().unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        if std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == dir) {
            found.push(std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default().replace('\0', " "));
        }
    }
    found.retain(|line| line.contains("terraform") || line.contains("tofu"));
    found
}

#[tokio::test]
async fn a_cancel_leaves_a_state_that_the_next_apply_continues() {
    if !terraform() {
        return;
    }
    let module = Module::new(SLOW);
    let fleet = module.terraform();
    let (cx, token) = module.cx.child();
    let (applied, ()) = tokio::join!(fleet.apply(&cx), async {
        started(&module).await;
        token.cancel();
    });
    let error = applied.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
    assert_eq!(at_work(&module), Vec::<String>::new(), "it was awaited");
    let there = fleet.probe(&module.cx).await.unwrap().environment.unwrap();
    assert!(there.resources.iter().any(|r| r.address == "terraform_data.quick"), "{there:?}");

    module.write("go", "");
    assert_eq!(fleet.apply(&module.cx).await.unwrap().changed, 1);
    assert_eq!(module.read("made"), "quick\nslow\n", "what was made was not made again");
}

#[tokio::test]
async fn an_apply_that_outlives_its_caller_is_found_again_and_awaited() {
    if !terraform() {
        return;
    }
    let module = Module::new(SLOW);
    let fleet = module.terraform();
    tokio::select! {
        _ = fleet.apply(&module.cx) => panic!("it waits for the test"),
        // The future is dropped in the middle, as by a death of the process.
        () = started(&module) => {}
    }
    assert_ne!(at_work(&module), Vec::<String>::new(), "the tool works on");
    let waited =
        |e: &towpath_core::Event| matches!(&e.kind, EventKind::Warning { message } if message.contains("still runs"));
    let said = || module.events.lock().unwrap().iter().any(waited);
    let (applied, ()) = tokio::join!(fleet.apply(&module.cx), async {
        while !said() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        module.write("go", "");
    });
    let applied = applied.unwrap();
    assert_eq!((applied.changed, applied.environment.resources.len()), (2, 2), "what the surviving tool did");
    assert_eq!(module.read("made"), "quick\nslow\n", "each once");
    assert!(fleet.plan(&module.cx).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_apply_that_died_with_its_tool_is_made_anew_from_the_state() {
    if !terraform() {
        return;
    }
    let module = Module::new(SLOW);
    let fleet = module.terraform();
    tokio::select! {
        _ = fleet.apply(&module.cx) => panic!("it waits for the test"),
        () = started(&module) => {}
    }
    // As by a power cut: nothing is told, nothing is saved.
    let dir = module.path("").canonicalize().unwrap();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry.file_name().to_string_lossy().parse::<i32>();
        if let (Ok(pid), Ok(cwd)) = (pid, std::fs::read_link(entry.path().join("cwd")))
            && cwd == dir
        {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
    module.write("go", "");
    let applied = fleet.apply(&module.cx).await.unwrap();
    assert_eq!(applied.environment.resources.len(), 2);
    assert!(fleet.plan(&module.cx).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_tool_that_does_not_end_is_named_and_not_killed() {
    use std::os::unix::fs::PermissionsExt as _;
    if !terraform() {
        return;
    }
    let module = Module::new(SLOW);
    // One that does not care about the interrupt.
    let deaf = module.folder().join(std::path::Path::new(&program()).file_name().unwrap());
    std::fs::write(&deaf, format!("#!/bin/sh\ntrap '' INT\n'{}' \"$@\"\n", program())).unwrap();
    std::fs::set_permissions(&deaf, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut config = module.config();
    config.program = Some(deaf);
    config.interrupt_s = 1;
    let fleet = Terraform::new(config).unwrap();
    let (cx, token) = module.cx.child();
    let (applied, ()) = tokio::join!(fleet.apply(&cx), async {
        started(&module).await;
        token.cancel();
    });
    let error = applied.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(error.to_string().contains("still runs as process"), "{error}");
    module.write("go", "");
    // The effect is still open: the same call waits for what is left of it.
    assert_eq!(fleet.apply(&module.cx).await.unwrap().changed, 2);
    assert_eq!(module.read("made"), "quick\nslow\n", "each once");
    assert_eq!(at_work(&module), Vec::<String>::new());
}
