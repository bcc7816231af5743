//! What connectors send to a host of which they know only that it has `/bin/sh`: around commands, and for files.

mod files;
mod wrapper;

pub use files::*;
pub use wrapper::*;
