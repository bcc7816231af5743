//! What connectors send to a host of which they know only that it has `/bin/sh`: around commands, and for files.

mod control;
mod files;
mod patience;
mod tracked;
mod wrapper;

pub use control::*;
pub use files::{check_path, get_command, open_local, put_command, transferred};
pub use patience::*;
pub use tracked::*;
pub use wrapper::*;
