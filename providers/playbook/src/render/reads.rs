//! Rendering before a task's turn, which must leave no trace.

use std::cell::Cell;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// While one of these lives, templates rendered by this thread only read: a lookup that does something (`pipe`, `password`, ...)
/// is an error.
#[derive(Debug)]
pub(crate) struct OnlyReads(());

impl OnlyReads {
    pub(crate) fn enter() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self(())
    }

    /// Whether one lives.
    pub(crate) fn now() -> bool {
        DEPTH.get() > 0
    }
}

impl Drop for OnlyReads {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}
