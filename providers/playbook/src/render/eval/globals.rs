//! Functions that every template has.

use std::sync::Mutex;

use crate::render::error::{Error, Out};
use crate::render::value::{Args, Dict, Key, Object, Value, lock, native, native_pure};
use crate::render::{dates, lookups};

/// Longest list that `range` makes.
const LONGEST: i128 = 1_000_000;

fn range(args: Args) -> Out {
    let mut numbers = Vec::new();
    for v in &args.pos {
        let n = v
            .defined()?
            .as_int()
            .ok_or_else(|| Error::typed(format!("'{}' object cannot be interpreted as an integer", v.type_name())))?;
        numbers.push(n);
    }
    let (from, to, step) = match numbers.as_slice() {
        [to] => (0, *to, 1),
        [from, to] => (*from, *to, 1),
        [from, to, step] => (*from, *to, *step),
        other => return Err(Error::typed(format!("range expected 1 to 3 arguments, got {}", other.len()))),
    };
    if step == 0 {
        return Err(Error::other("range() arg 3 must not be zero"));
    }
    if to.saturating_sub(from) / step > LONGEST {
        return Err(Error::other("the range is too long"));
    }
    let mut out = Vec::new();
    let mut at = from;
    while if step > 0 { at < to } else { at > to } {
        out.push(Value::Int(at));
        at = at.saturating_add(step);
    }
    Ok(Value::object(Range { items: out, shown: (from, to, step) }))
}

#[derive(Debug)]
struct Range {
    items: Vec<Value>,
    shown: (i128, i128, i128),
}

impl Object for Range {
    fn type_name(&self) -> &'static str {
        "range"
    }

    fn iter(&self) -> Option<Vec<Value>> {
        Some(self.items.clone())
    }

    fn repr(&self) -> String {
        match self.shown {
            (from, to, 1) => format!("range({from}, {to})"),
            (from, to, step) => format!("range({from}, {to}, {step})"),
        }
    }
}

fn dict(args: Args) -> Out {
    let mut out = Dict::new();
    if let Some(first) = args.pos.first() {
        match first.defined()?.entries() {
            Some(pairs) => {
                for (k, v) in pairs {
                    out.insert(Key::new(k)?, v);
                }
            }
            None => {
                for (i, pair) in first.iter()?.iter().enumerate() {
                    let mut pair = pair.iter()?.into_iter();
                    match (pair.next(), pair.next(), pair.next()) {
                        (Some(k), Some(v), None) => {
                            out.insert(Key::new(k)?, v);
                        }
                        _ => {
                            return Err(Error::other(format!(
                                "dictionary update sequence element #{i} has the wrong length; 2 is required"
                            )));
                        }
                    }
                }
            }
        }
    }
    for (k, v) in args.named {
        out.insert(Key(Value::from(k.as_ref())), v);
    }
    Ok(Value::dict(out))
}

#[derive(Debug)]
struct Namespace(Mutex<Dict>);

impl Object for Namespace {
    fn type_name(&self) -> &'static str {
        "Namespace"
    }

    fn get_value(&self, key: &Value) -> Option<Value> {
        lock(&self.0).get(key.as_str()?).cloned()
    }

    fn set(&self, name: &str, value: Value) -> Result<(), Error> {
        lock(&self.0).insert(Key(Value::from(name)), value);
        Ok(())
    }

    fn truth(&self) -> bool {
        true
    }

    fn repr(&self) -> String {
        "<Namespace {...}>".into()
    }
}

#[derive(Debug)]
struct Cycler {
    items: Vec<Value>,
    at: Mutex<usize>,
}

impl Object for Cycler {
    fn type_name(&self) -> &'static str {
        "Cycler"
    }

    fn get_value(&self, key: &Value) -> Option<Value> {
        (key.as_str()? == "current").then(|| self.items.get(*lock(&self.at)).cloned().unwrap_or(Value::None))
    }

    fn truth(&self) -> bool {
        true
    }

    fn method(&self, _: &mut super::State, name: &str, _: Args) -> Out {
        let mut at = lock(&self.at);
        match name {
            "next" => {
                let value = self.items.get(*at).cloned().unwrap_or(Value::None);
                *at = (*at + 1).checked_rem(self.items.len()).unwrap_or(0);
                Ok(value)
            }
            "reset" => {
                *at = 0;
                Ok(Value::None)
            }
            other => self.missing(other).defined().cloned(),
        }
    }
}

fn joiner(mut args: Args) -> Out {
    let sep = args.text("sep")?.unwrap_or_else(|| ", ".into());
    let used = Mutex::new(false);
    Ok(native_pure("joiner", move |_| {
        let first = !std::mem::replace(&mut *lock(&used), true);
        Ok(Value::from(if first { "" } else { sep.as_str() }))
    }))
}

/// A function that is there without any variable.
pub(crate) fn global(name: &str) -> Option<Value> {
    Some(match name {
        "range" => native_pure("range", range),
        "dict" => native_pure("dict", dict),
        "namespace" => native_pure("namespace", |args| {
            let Value::Dict(d) = dict(args)? else { return Err(Error::other("no mapping")) };
            let inner = lock(&d).clone();
            Ok(Value::object(Namespace(Mutex::new(inner))))
        }),
        "cycler" => native_pure("cycler", |args| {
            if args.pos.is_empty() {
                return Err(Error::other("at least one item has to be provided"));
            }
            Ok(Value::object(Cycler { items: args.pos, at: Mutex::new(0) }))
        }),
        "joiner" => native_pure("joiner", joiner),
        "lipsum" => native_pure("lipsum", |mut args| {
            let n = args.int("n", 5)?.clamp(0, 100);
            let text = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor.";
            Ok(Value::from(vec![text; n as usize].join("\n\n")))
        }),
        "now" => native("now", |state, mut args| {
            let utc = args.flag("utc", false)?;
            let format = args.text("fmt")?;
            state.scope.note_effect()?;
            dates::now(utc, format.as_deref())
        }),
        "undef" => native_pure("undef", |mut args| {
            let hint = args.text("hint")?.unwrap_or_else(|| "Mandatory variable has not been overridden".into());
            Ok(Value::undefined(hint, ""))
        }),
        "lookup" => native("lookup", |state, args| lookups::lookup(state, args, false)),
        "query" | "q" => native("query", |state, args| lookups::lookup(state, args, true)),
        _ => return None,
    })
}
