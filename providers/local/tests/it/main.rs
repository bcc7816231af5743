//! Everything against real processes, OpenSSH's client and the kernel.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, missing_docs)]

mod balancer;
mod behaviour;
mod broken;
mod hosts;
mod image_builder;
mod logs;
mod plain;
mod unprivileged;

/// What hosts and balancers of these tests run as: this test binary again, told to run the test below only, where `init`
/// takes over and never comes back. Run as an ordinary test it only installs the launcher.
#[test]
fn launched() {
    towpath_local::init();
}

fn launcher() {
    let own = std::env::current_exe().unwrap();
    towpath_local::Launcher::with_args(own, ["--exact", "launched", "--nocapture"]).install();
}
