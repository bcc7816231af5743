//! Suites tell broken implementations from correct ones: each behaviour must fail where it alone is broken.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod balancer;
mod configurator;
mod deployer;
mod image_builder;
mod log_sink;
mod monitor;
mod provisioner;
mod store;

use std::sync::atomic::{AtomicUsize, Ordering};

use towpath_core::{Capabilities, Error, ErrorKind};

/// What is broken, by the name of the behaviour that must notice, and what happened so far.
#[derive(Debug)]
struct Defect {
    name: &'static str,
    calls: AtomicUsize,
}

impl Defect {
    fn new(name: &'static str) -> Self {
        Self { name, calls: AtomicUsize::new(0) }
    }

    fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// How often this was called before.
    fn before(&self) -> usize {
        self.calls.fetch_add(1, Ordering::SeqCst)
    }

    fn capabilities(&self, mut real: Capabilities) -> Capabilities {
        if self.is("capabilities_are_known_names") {
            real.verbs.push("fly".into());
        }
        real
    }

    fn preflight<T>(&self, real: T) -> Result<T, Error> {
        if self.is("preflight_answers") { Err(error(ErrorKind::Internal)) } else { Ok(real) }
    }
}

fn error(kind: ErrorKind) -> Error {
    Error::new(kind, "broken", "test", "broken on purpose")
}

#[tokio::test]
#[should_panic(expected = "nobody said what breaks it")]
async fn a_behaviour_that_nobody_broke_fails_the_trial() {
    use towpath_core::testkit::{log_sink::behaviours, reference, trial};
    trial(behaviours(), async || reference::log_sink(), async |_| reference::log_sink()).await;
}
