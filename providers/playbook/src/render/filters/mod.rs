//! Ansible's and Jinja's filters.

mod codec;
mod combine;
mod comment;
mod crypt;
mod emit;
mod groups;
mod hash;
mod html;
mod json;
mod numbers;
mod paths;
mod pick;
mod regex;
mod sequences;
mod sets;
mod text;
mod times;
mod units;
mod urls;
mod yaml;

use super::error::{Error, Out};
use super::eval::State;
use super::value::{Args, Value};

pub(crate) use crypt::sha_crypt;
pub(crate) use html::escape_html;
pub(crate) use paths::expand_user;
pub(crate) use regex::Pattern;
pub(crate) use sequences::by_attribute;
pub(crate) use urls::parts as url_parts;

pub(crate) type Filter = fn(&mut State, Value, Args) -> Out;

/// The filter of a name.
pub(crate) fn get(name: &str) -> Option<Filter> {
    let name = name.strip_prefix("ansible.builtin.").or(name.strip_prefix("ansible.legacy.")).unwrap_or(name);
    text::get(name)
        .or_else(|| sequences::get(name))
        .or_else(|| pick::get(name))
        .or_else(|| groups::get(name))
        .or_else(|| numbers::get(name))
        .or_else(|| paths::get(name))
        .or_else(|| regex::get(name))
        .or_else(|| json::get(name))
        .or_else(|| yaml::get(name))
        .or_else(|| sets::get(name))
        .or_else(|| hash::get(name))
        .or_else(|| crypt::get(name))
        .or_else(|| codec::get(name))
        .or_else(|| urls::get(name))
        .or_else(|| html::get(name))
        .or_else(|| times::get(name))
        .or_else(|| units::get(name))
        .or_else(|| comment::get(name))
        .or_else(|| combine::get(name))
}

/// The text of a filter's input.
fn input(v: &Value) -> Result<String, Error> {
    super::eval::shown(v)
}

/// The elements of a filter's input.
fn items(v: &Value) -> Result<Vec<Value>, Error> {
    let items = v.iter()?;
    super::eval::spend(items.len())?;
    Ok(items)
}

fn texts(all: impl IntoIterator<Item = String>) -> Value {
    Value::list(all.into_iter().map(Value::from).collect())
}
