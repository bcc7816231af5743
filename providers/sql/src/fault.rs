//! The only place that maps a failure of SQLite to an [`ErrorKind`].

use towpath_core::{Error, ErrorKind};

/// Says what a failure means and what to do about it.
pub(crate) fn storage(location: &str, operation: &'static str, error: sqlx::Error) -> Error {
    let code = match &error {
        sqlx::Error::Database(e) => e.code().and_then(|c| c.parse::<u32>().ok()).unwrap_or_default(),
        _ => 0,
    };
    // The low byte of an extended code is its class. Source: SQLite, "Result and Error Codes".
    let (message, later) = match code & 0xff {
        5 | 6 => ("another process writes to the store; try again", true),
        8 => (
            "the store can't be written: give this user write access to the file and its folder, then run again",
            false,
        ),
        10 => ("reading or writing the store's disk failed; nothing of this was written", false),
        11 => (TORN, false),
        13 => ("the disk is full: free some space, then run again; nothing of this was written", false),
        14 => ("the store can't be opened: look at the path and its permissions", false),
        26 => (FOREIGN, false),
        _ => ("the store failed; nothing of this was written", false),
    };
    let out = Error::new(ErrorKind::Storage, "sql", operation, message).with("store", location).caused_by(error);
    if later { out.retry_later() } else { out }
}

pub(crate) const TORN: &str = "the store is damaged: put a copy of it back, or move it away to begin with an empty one (running systems are probed again)";
pub(crate) const FOREIGN: &str = "the file is no store of towpath: name another path with --store";

/// A stored value that this version can't read.
pub(crate) fn unreadable(location: &str, what: &'static str, error: serde_json::Error) -> Error {
    Error::new(
        ErrorKind::Storage,
        "sql",
        "read",
        format!("{what} in the store can't be read: it was written by another version, or damaged"),
    )
    .with("store", location)
    .caused_by(error)
}
