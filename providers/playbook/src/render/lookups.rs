//! `lookup` and `query`.

use std::sync::Arc;

use minijinja::value::Kwargs;
use minijinja::value::{Rest, Value};
use minijinja::{Environment, Error, ErrorKind, State};

use super::filters::wrong;
use super::python::text;
use super::scope::Scope;

fn scope(state: &State<'_, '_>) -> Result<Arc<Scope>, Error> {
    let me = state.lookup("__towpath__").ok_or_else(|| wrong("lookup outside a playbook"))?;
    me.downcast_object::<Scope>().ok_or_else(|| wrong("lookup outside a playbook"))
}

fn all(state: &State<'_, '_>, kind: &str, terms: Vec<Value>) -> Result<Vec<Value>, Error> {
    let scope = scope(state)?;
    let mut terms = terms;
    let kwargs = terms.last().and_then(|t| Kwargs::try_from(t.clone()).ok());
    if kwargs.is_some() {
        terms.pop();
    }
    let default = match &kwargs {
        Some(k) => k.get::<Option<Value>>("default")?,
        None => None,
    };
    let mut out = Vec::new();
    for term in terms {
        let name = text(&term);
        let file = |folder: &str| {
            let path = scope
                .search
                .find(folder, &name)
                .map_err(|s| wrong(format!("lookup {kind}: no `{name}`; searched {s}")))?;
            crate::vault::read(&path)
                .and_then(|b| String::from_utf8(b).map_err(std::io::Error::other))
                .map_err(|e| wrong(format!("lookup {kind}: {}: {e}", path.display())))
        };
        match kind {
            "env" => out.push(match std::env::var(&name) {
                Ok(v) => Value::from(v),
                Err(_) => default.clone().unwrap_or_else(|| Value::from("")),
            }),
            "file" => out.push(Value::from(file("files")?.trim_end_matches('\n'))),
            "template" => {
                out.push(Value::from(scope.render_file(&file("templates")?).map_err(|e| wrong(e.message))?));
            }
            "vars" => match scope.variable(&name).or_else(|| default.clone()) {
                Some(v) => out.push(v),
                None => return Err(Error::new(ErrorKind::UndefinedError, format!("`{name}` is undefined"))),
            },
            "items" => match term.try_iter() {
                Ok(items) if term.as_str().is_none() => out.extend(items),
                _ => out.push(term),
            },
            "list" => out.push(term),
            "dict" => {
                for k in term.try_iter()? {
                    let value = term.get_item(&k)?;
                    out.push(Value::from_iter([("key", k), ("value", value)]));
                }
            }
            "first_found" => {
                if let Ok(p) = scope.search.find("files", &name) {
                    return Ok(vec![Value::from(p.display().to_string())]);
                }
            }
            other => {
                return Err(wrong(format!(
                    "the lookup `{other}` is not supported; there are env, file, template, vars, items, list, dict, first_found"
                )));
            }
        }
    }
    Ok(out)
}

fn short(kind: &str) -> &str {
    kind.strip_prefix("ansible.builtin.").unwrap_or(kind)
}

pub(super) fn add(env: &mut Environment<'static>) {
    env.add_function("lookup", |state: &State<'_, '_>, kind: String, terms: Rest<Value>| -> Result<Value, Error> {
        let mut found = all(state, short(&kind), terms.0)?;
        Ok(match found.len() {
            1 => found.remove(0),
            _ if matches!(short(&kind), "items" | "list" | "dict") => Value::from(found),
            _ => Value::from(found.iter().map(text).collect::<Vec<_>>().join(",")),
        })
    });
    for name in ["query", "q"] {
        env.add_function(name, |state: &State<'_, '_>, kind: String, terms: Rest<Value>| {
            all(state, short(&kind), terms.0).map(Value::from)
        });
    }
}
