#![doc = include_str!("../README.md")]

mod fault;
mod open;
mod read;
mod store;
mod write;

pub use open::open;
pub use store::SqliteStore;
