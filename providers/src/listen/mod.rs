//! Listeners: the progress display, the journal in JSON lines, the page about a run.

mod json_lines;
#[cfg(feature = "cli")]
mod live;
mod progress;
mod run_files;
mod run_page;

pub use json_lines::JsonLines;
#[cfg(feature = "cli")]
pub use live::LiveProgress;
pub use progress::Progress;
#[cfg(feature = "cli")]
pub(crate) use progress::run_state;
pub(crate) use progress::step_state;
pub use run_files::{Left, RunFiles};
pub use run_page::RunPage;
