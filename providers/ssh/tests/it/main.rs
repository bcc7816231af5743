#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, missing_docs, clippy::print_stderr)]
//! Against real OpenSSH servers.

mod commands;
mod connector;
mod deployer;
mod files;
mod identities;
mod sources;
mod trust;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use towpath_core::testkit::Sshd;

static SHARED: Mutex<Weak<Sshd>> = Mutex::new(Weak::new());
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// A server that tests which run at the same time share.
pub(crate) async fn sshd() -> Option<Arc<Sshd>> {
    tokio::task::spawn_blocking(|| {
        let mut shared = SHARED.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(running) = shared.upgrade() {
            return Some(running);
        }
        let new = Arc::new(Sshd::start()?);
        *shared = Arc::downgrade(&new);
        Some(new)
    })
    .await
    .unwrap()
}

/// A number of its own for each test.
pub(crate) fn number() -> usize {
    NEXT.fetch_add(1, Ordering::Relaxed)
}
