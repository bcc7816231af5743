//! Tests behind `is`.

mod files;
mod values;
mod version;

use super::error::Out;
use super::eval::State;
use super::value::{Args, Value};

pub(crate) type Test = fn(&mut State, Value, Args) -> Out;

/// The test of a name.
pub(crate) fn get(name: &str) -> Option<Test> {
    let name = name.strip_prefix("ansible.builtin.").or(name.strip_prefix("ansible.legacy.")).unwrap_or(name);
    values::get(name).or_else(|| files::get(name)).or_else(|| version::get(name))
}
