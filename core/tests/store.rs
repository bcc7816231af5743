//! The store in memory does what every store does.
#![allow(missing_docs)]

use std::sync::Arc;

use towpath_core::MemoryStore;
use towpath_core::testkit::store::StoreFixture;

#[allow(clippy::unused_async, reason = "the suite awaits it")]
async fn new_store() -> Option<StoreFixture> {
    Some(StoreFixture { store: Arc::new(MemoryStore::new()), keep: Box::new(()) })
}

mod behaviour {
    towpath_core::store_behaviour!(super::new_store);
}
