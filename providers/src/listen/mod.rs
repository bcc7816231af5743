//! Listeners: the progress display and the journal in JSON lines.

mod json_lines;
mod progress;

pub use json_lines::JsonLines;
pub use progress::Progress;
#[cfg(feature = "cli")]
pub(crate) use progress::{run_state, step_state};
