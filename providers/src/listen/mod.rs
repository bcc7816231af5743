//! Listeners: the progress display, the journal in JSON lines, the page about a run.

mod json_lines;
mod progress;
mod run_page;

pub use json_lines::JsonLines;
pub use progress::Progress;
pub(crate) use progress::{run_state, step_state};
pub use run_page::RunPage;
