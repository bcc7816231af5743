#![doc = include_str!("../README.md")]

mod boxes;
mod disk;
mod files;
mod register;
mod system;
mod tree;

pub use boxes::{BoxProvider, VagrantBox, VagrantBoxConfig};
pub use register::register;
