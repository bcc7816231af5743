//! An apply of 10 seconds: what towpath adds to Terraform.
//!
//! By hand that is `init`, `plan -out`, `apply` of that plan and `output -json`, one after the other, in a fresh folder. towpath runs these too, and two times `show`:
//! its plan has values, its environment has hosts. The module has 40 resources, each of which takes 2.5 seconds, ten at a
//! time. Prints the medians of the rounds, taken in turns, and what towpath adds. Then the same with nothing to do, where the tool's own start is all there is.
//!
//! `cargo bench -p towpath-benches --features terraform --bench terraform`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use towpath::terraform::{HostsFrom, Terraform};
use towpath::{Context, Provisioner as _};

const ROUNDS: usize = 5;
const MODULE: &str = r#"
resource "terraform_data" "host" {
  count = 40
  input = { name = "host-${count.index}", address = "10.0.0.${count.index}" }
  provisioner "local-exec" { command = "sleep 2.5" }
}
output "web" { value = terraform_data.host[*].output }
"#;

fn by_hand(module: &Path) -> f64 {
    let from = Instant::now();
    for args in [
        &["init", "-input=false"][..],
        &["plan", "-input=false", "-out=plan"],
        &["apply", "-input=false", "plan"],
        &["output", "-json"],
    ] {
        let status = Command::new("terraform").args(args).current_dir(module).stdout(Stdio::null()).status().unwrap();
        assert!(status.success(), "{args:?}");
    }
    from.elapsed().as_secs_f64()
}

async fn towpath(module: &Path) -> f64 {
    let from = Instant::now();
    let mut config = Terraform::module(module).hosts(HostsFrom::output("web"));
    config.program = Some("terraform".into());
    let applied = Terraform::new(config).unwrap().apply(&Context::new()).await.unwrap();
    assert_eq!(applied.environment.inventory.hosts.len(), 40);
    from.elapsed().as_secs_f64()
}

fn module() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("main.tf"), MODULE).unwrap();
    dir
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    *times.get(times.len() / 2).unwrap()
}

fn main() {
    if Command::new("terraform").arg("version").stdout(Stdio::null()).status().is_err() {
        println!("NOT RUN: what towpath adds to an apply: install terraform 1.9 or later and put it on PATH");
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut times: [Vec<f64>; 4] = Default::default();
    let [hand, own, hand_again, own_again] = &mut times;
    for round in 0..ROUNDS {
        let (a, b) = (module(), module());
        let mut first = || hand.push(by_hand(a.path()));
        let mut second = || own.push(runtime.block_on(towpath(b.path())));
        // Neither always comes second.
        if round % 2 == 0 {
            first();
            second();
        } else {
            second();
            first();
        }
        hand_again.push(by_hand(a.path()));
        own_again.push(runtime.block_on(towpath(b.path())));
    }
    let [hand, own, hand_again, own_again] = &mut times;
    for (what, hand, own) in [("apply, 40 resources", hand, own), ("nothing to do", hand_again, own_again)] {
        let (hand, own) = (median(hand), median(own));
        println!("{what}: by hand {hand:.2} s, towpath {own:.2} s: {:+.1} %", (own / hand - 1.0) * 100.0);
    }
}
