//! Jinja as Ansible uses it.

#[cfg(test)]
mod cases;
mod filters;
mod lookups;
mod python;
mod reads;
mod scope;
mod tests;

pub(crate) use filters::replacement;
pub(crate) use python::{text, to_json, truthy};
pub(crate) use reads::OnlyReads;
pub(crate) use scope::{OMIT, RenderError, Scope, Search, drop_omitted};

use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};

/// Environments that know Ansible's filters, tests and lookups.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) strict: Environment<'static>,
    /// Lets attributes of undefined values be undefined, for `a.b.c | default(x)`.
    pub(crate) chain: Environment<'static>,
}

impl Engine {
    pub(crate) fn new() -> Self {
        let mut strict = environment();
        strict.set_undefined_behavior(UndefinedBehavior::Strict);
        let mut chain = environment();
        chain.set_undefined_behavior(UndefinedBehavior::Chainable);
        Self { strict, chain }
    }
}

fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    env.set_trim_blocks(true);
    env.set_keep_trailing_newline(true);
    env.set_recursion_limit(200);
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    env.set_formatter(|out, _, value: &Value| {
        if value.is_undefined() {
            return Err(ErrorKind::UndefinedError.into());
        }
        if value.is_none() {
            return Ok(());
        }
        out.write_str(&python::text(value)).map_err(|_| minijinja::Error::new(ErrorKind::WriteFailure, "can't write"))
    });
    filters::add(&mut env);
    tests::add(&mut env);
    lookups::add(&mut env);
    env
}
