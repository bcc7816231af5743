#![doc = include_str!("../README.md")]

pub use towpath_core::*;

mod forward;

pub use forward::{Forward, forward};

#[cfg(any(feature = "cli", feature = "playbook-cli"))]
pub mod cli;
#[cfg(feature = "sqlite")]
mod guardian;
pub mod listen;

#[cfg(feature = "aws")]
pub use towpath_aws as aws;
#[cfg(feature = "chef")]
pub use towpath_chef as chef;
#[cfg(feature = "docker")]
pub use towpath_docker as docker;
#[cfg(feature = "haproxy")]
pub use towpath_haproxy as haproxy;
#[cfg(feature = "local")]
pub use towpath_local as local;
#[cfg(feature = "nginx")]
pub use towpath_nginx as nginx;
#[cfg(feature = "packer")]
pub use towpath_packer as packer;
#[cfg(feature = "playbook")]
pub use towpath_playbook as playbook;
#[cfg(feature = "script")]
pub use towpath_script as script;
#[cfg(feature = "sqlite")]
pub use towpath_sql as sql;
#[cfg(feature = "ssh")]
pub use towpath_ssh as ssh;
#[cfg(feature = "strider")]
pub use towpath_strider as strider;
#[cfg(feature = "terraform")]
pub use towpath_terraform as terraform;
#[cfg(feature = "vagrant")]
pub use towpath_vagrant as vagrant;

/// What most programs need.
pub mod prelude {
    pub use towpath_core::pipeline::{
        Engine, ImageSpec, OnFailure, PipelineBuilder, ProviderSpec, ReleaseSpec, ResumeOptions, RetryPolicy,
        RunOptions, Values, rollback,
    };
    pub use towpath_core::rollout::Rolling;
    pub use towpath_core::{
        Artifact, ArtifactKind, Check, Context, Error, ErrorKind, Gate, Result, RunState, SecretRef, StepState,
    };
}

/// A registry of every provider that is compiled in. Add functions of your own to it.
pub fn registry() -> Registry {
    #[allow(unused_mut, reason = "without features there is nothing to add")]
    let mut registry = Registry::new();
    #[cfg(feature = "local")]
    towpath_local::register(&mut registry);
    #[cfg(feature = "playbook")]
    towpath_playbook::register(&mut registry);
    #[cfg(feature = "packer")]
    towpath_packer::register(&mut registry);
    #[cfg(feature = "script")]
    towpath_script::register(&mut registry);
    #[cfg(feature = "chef")]
    towpath_chef::register(&mut registry);
    #[cfg(feature = "aws")]
    towpath_aws::register(&mut registry);
    #[cfg(feature = "docker")]
    towpath_docker::register(&mut registry);
    #[cfg(feature = "haproxy")]
    towpath_haproxy::register(&mut registry);
    #[cfg(feature = "nginx")]
    towpath_nginx::register(&mut registry);
    #[cfg(feature = "ssh")]
    towpath_ssh::register(&mut registry);
    #[cfg(feature = "strider")]
    towpath_strider::register(&mut registry);
    #[cfg(feature = "terraform")]
    towpath_terraform::register(&mut registry);
    #[cfg(feature = "vagrant")]
    towpath_vagrant::register(&mut registry);
    registry
}

/// Opens a store: `sqlite:PATH`, or `memory:` for one that ends with the process.
///
/// # Errors
///
/// As [`towpath_sql::open`].
#[cfg(feature = "sqlite")]
pub async fn open_store(url: &str) -> Result<std::sync::Arc<dyn Store>> {
    towpath_sql::open(url).await
}

#[cfg(feature = "sqlite")]
pub use guardian::Guardian;

/// Takes over where this program was started as a host, service or balancer of the `local` provider or as a [`Guardian`], and
/// does not come back then. Call it first in `main`, before threads are started.
pub fn init() {
    // First: what a guardian starts, a balancer that had died, inherits the guardian's environment.
    #[cfg(feature = "local")]
    towpath_local::init();
    #[cfg(feature = "sqlite")]
    guardian::init();
}
