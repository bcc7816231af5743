//! Puts files on a host, where they are not there yet.

mod backup;
mod change;
mod look;
mod ready;
mod shown;

use serde::{Deserialize, Serialize};

pub(crate) use look::{Found, Seen};
pub(crate) use ready::{Upload, Wanted};
pub(crate) use shown::states;

impl Upload {
    /// Folders below the upload's own that are links to other ones: what is in them is elsewhere.
    pub(crate) fn linked<'a>(&'a self, seen: &'a Seen) -> impl Iterator<Item = &'a str> {
        let linked = |w: &&Wanted| w.file.is_none() && seen.found.get(&w.path) == Some(&Found::Other(look::LINKED));
        self.wanted.iter().filter(linked).map(|w| w.path.as_str()).filter(|p| p.len() > self.path.len())
    }
}

/// How an upload went on a host, as journals keep it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Uploaded {
    /// Paths that were made or changed, the first [`LISTED`] of them.
    pub(crate) changed: Vec<String>,
    /// How many there were.
    pub(crate) count: usize,
}

/// Most paths that a result lists.
pub(crate) const LISTED: usize = 50;
