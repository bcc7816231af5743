//! Jinja as Ansible uses it: Python's values and messages, Ansible's filters, tests and lookups.
//!
//! The evaluator is our own. Ansible's templates change lists in place, chain comparisons, format with `%`, and their
//! undefined values carry a message until they are used; an evaluator for another language's values can't be taught that.

#[cfg(test)]
mod cases;
#[cfg(test)]
mod checks;
mod dates;
mod engine;
mod error;
mod eval;
mod filters;
mod format;
#[cfg(test)]
mod fuzz;
mod hosts;
mod literal;
mod lookups;
mod methods;
mod native;
mod pretty;
mod random;
mod reads;
mod scalars;
mod scope;
mod search;
mod source;
mod syntax;
mod tests;
mod value;

pub(crate) use engine::Engine;
pub(crate) use hosts::HostVars;
pub(crate) use native::{OMIT, drop_omitted, truthy};
pub(crate) use reads::OnlyReads;
pub(crate) use scope::{RenderError, Scope};
pub(crate) use search::Search;
pub(crate) use value::{Value, text, to_json};

use filters::expand_user;
