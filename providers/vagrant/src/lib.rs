#![doc = include_str!("../README.md")]

mod boxes;
mod disk;
mod files;
mod machines;
mod register;
mod system;
mod tree;

pub use boxes::{BoxProvider, VagrantBox, VagrantBoxConfig};
pub use machines::*;
pub use register::register;
