//! `lookup` and `query`.

mod csv;
mod files;
mod found;
mod ini;
mod inventory;
mod lists;
mod password;
mod run;
mod sequence;
mod subelements;
mod template;
mod variables;

use std::sync::Arc;

use super::error::{Error, Out, Why};
use super::eval::{State, shown};
use super::reads::OnlyReads;
use super::scope::Scope;
use super::value::{Args, Value, text};

/// What a lookup is asked.
pub(crate) struct Query {
    pub(crate) terms: Vec<Value>,
    pub(crate) options: Args,
    pub(crate) scope: Arc<Scope>,
}

impl Query {
    /// The terms as texts.
    fn texts(&self) -> Result<Vec<String>, Error> {
        self.terms.iter().map(shown).collect()
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, Error> {
        match self.options.named(name) {
            None | Some(Value::None) => Ok(None),
            Some(v) => shown(&v).map(Some),
        }
    }

    fn flag(&mut self, name: &str, default: bool) -> Result<bool, Error> {
        match self.options.named(name) {
            None | Some(Value::None) => Ok(default),
            Some(v) => match super::truthy(&super::value::to_json(&v)) {
                Some(b) => Ok(b),
                None => v.truth(),
            },
        }
    }

    /// Options after the first word of a term, as `key=value`.
    fn split_term(term: &str) -> (String, Vec<(String, String)>) {
        let words = crate::load::split_words(term);
        let mut key = Vec::new();
        let mut options = Vec::new();
        for word in words {
            match word.split_once('=') {
                Some((k, v)) if !k.is_empty() && !key.is_empty() => options.push((k.to_owned(), v.to_owned())),
                _ => key.push(word),
            }
        }
        (key.join(" "), options)
    }
}

type Lookup = fn(&mut Query) -> Result<Vec<Value>, Error>;

fn get(name: &str) -> Option<Lookup> {
    Some(match name {
        "pipe" | "lines" | "password" | "random_choice" if OnlyReads::now() => {
            |_| Err(Error::other("this lookup does something, and waits for its task's turn"))
        }
        "env" => variables::env,
        "vars" => variables::vars,
        "varnames" => variables::names,
        "config" => variables::config,
        "file" => files::file,
        "unvault" => files::unvault,
        "fileglob" => files::glob,
        "first_found" => found::first_found,
        "template" => template::template,
        "csvfile" => csv::csvfile,
        "ini" => ini::ini,
        "items" => lists::items,
        "list" => lists::list,
        "dict" => lists::dict,
        "nested" => lists::nested,
        "together" => lists::together,
        "flattened" => lists::flattened,
        "indexed_items" => lists::indexed,
        "random_choice" => lists::random_choice,
        "subelements" => subelements::subelements,
        "sequence" => sequence::sequence,
        "inventory_hostnames" => inventory::hostnames,
        "pipe" => run::pipe,
        "lines" => run::lines,
        "password" => password::password,
        "url" => |_| {
            Err(Error::other(
                "the lookup `url` is not supported yet; use the module `uri` or the lookup `pipe` with curl",
            ))
        },
        _ => return None,
    })
}

fn short(name: &str) -> &str {
    name.strip_prefix("ansible.builtin.").or(name.strip_prefix("ansible.legacy.")).unwrap_or(name)
}

/// Runs a lookup for what it gives as a list, as `with_NAME` does.
pub(crate) fn run(name: &str, terms: Vec<Value>, scope: &Arc<Scope>) -> Result<Vec<Value>, Error> {
    let Some(f) = get(short(name)) else { return Err(Error::other(format!("lookup plugin ({name}) not found"))) };
    let mut query = Query { terms, options: Args::default(), scope: scope.clone() };
    f(&mut query).map_err(|e| worded(name, e))
}

fn worded(name: &str, e: Error) -> Error {
    if e.why == Why::Undefined
        || e.message.starts_with("The 'file' lookup")
        || e.message.starts_with("No file was found")
    {
        return e;
    }
    let message = format!(
        "An unhandled exception occurred while running the lookup plugin '{name}'. Error was a <class 'ansible.errors.AnsibleError'>, original message: {}",
        e.message
    );
    Error { why: Why::Other, message, ..e }
}

/// The function of both names.
pub(crate) fn lookup(state: &mut State, mut args: Args, wants_list: bool) -> Out {
    let name = args.text("name")?.unwrap_or_default();
    let Some(f) = get(short(&name)) else {
        return Err(Error::other(format!("lookup plugin ({name}) not found")));
    };
    let wants_list = match args.named("wantlist") {
        Some(v) => v.truth()?,
        None => wants_list,
    };
    let errors = match args.named("errors") {
        Some(v) => text(&v),
        None => "strict".into(),
    };
    let terms = args.rest();
    let mut query = Query { terms, options: args, scope: state.scope.clone() };
    for term in &query.terms {
        if short(&name) != "first_found" {
            super::eval::check(term, 0)?;
        }
    }
    let found = match f(&mut query) {
        Ok(found) => found,
        Err(e) if errors != "strict" && e.why != Why::Undefined => {
            return Ok(if wants_list { Value::list(Vec::new()) } else { Value::None });
        }
        Err(e) => return Err(if name == "config" { e } else { worded(&name, e) }),
    };
    if wants_list || found.is_empty() {
        return Ok(Value::list(found));
    }
    if let [one] = found.as_slice() {
        return Ok(one.clone());
    }
    if found.iter().all(|v| v.as_str().is_some()) {
        return Ok(Value::outside(found.iter().map(text).collect::<Vec<_>>().join(",")));
    }
    Ok(Value::list(found))
}
