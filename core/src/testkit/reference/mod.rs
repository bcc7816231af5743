//! The simplest correct implementation of each trait, in memory: what the suites are tried out on, and what a provider
//! looks like without a system behind it. The store's is [`MemoryStore`].

mod balancer;
mod configurator;
mod deployer;
mod image_builder;
mod log_sink;
mod monitor;
mod provisioner;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

pub use balancer::*;
pub use configurator::*;
pub use deployer::*;
pub use image_builder::*;
pub use log_sink::*;
pub use monitor::*;
pub use provisioner::*;

use crate::{
    Capabilities, Connection, Connector, Context, Error, ErrorKind, Host, Inventory, MemoryStore, Preflight, Result,
    Targets,
};

/// A store's fixture.
pub fn store() -> super::store::StoreFixture {
    super::store::StoreFixture { store: Arc::new(MemoryStore::default()), keep: Box::new(()) }
}

/// Reaches no host: for providers whose hosts are in memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nowhere;

#[async_trait]
impl Connector for Nowhere {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&[])
    }

    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        Ok(Preflight::default())
    }

    async fn connect(&self, _: &Context, host: &Host) -> Result<Arc<dyn Connection>> {
        Err(error(ErrorKind::Unreachable, "connect", "there is no such host").with("host", &host.name))
    }
}

fn error(kind: ErrorKind, operation: &'static str, message: &str) -> Error {
    Error::new(kind, "memory", operation, message)
}

fn host(name: &str) -> Host {
    Host { name: name.to_owned(), ..Host::default() }
}

/// Hosts in memory of these names.
fn targets(names: &[&str]) -> Targets {
    let hosts = names.iter().map(|n| host(n)).collect();
    Targets::new(Inventory { hosts, ..Inventory::default() }, Arc::new(Nowhere))
}

/// State that a provider and its fixture share.
#[derive(Debug, Default)]
struct Shared<T>(Arc<Mutex<T>>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
