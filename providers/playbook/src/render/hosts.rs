//! `hostvars` and `vars`.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use super::scope::Scope;
use super::value::{Object, Value, lock};

type Make = dyn Fn(&str) -> Option<Arc<Scope>> + Send + Sync;
type Names = dyn Fn() -> Vec<String> + Send + Sync;

/// The variables of all hosts, of which each is made when it is asked for.
pub(crate) struct HostVars {
    names: Box<Names>,
    make: Box<Make>,
    made: Mutex<HashMap<String, Value>>,
}

impl HostVars {
    pub(crate) fn value(
        names: impl Fn() -> Vec<String> + Send + Sync + 'static,
        make: impl Fn(&str) -> Option<Arc<Scope>> + Send + Sync + 'static,
    ) -> Value {
        Value::object(Self { names: Box::new(names), make: Box::new(make), made: Mutex::default() })
    }
}

impl fmt::Debug for HostVars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostVars").finish_non_exhaustive()
    }
}

impl Object for HostVars {
    fn type_name(&self) -> &'static str {
        "HostVars"
    }

    fn is_mapping(&self) -> bool {
        true
    }

    fn get_value(&self, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        if let Some(known) = lock(&self.made).get(name) {
            return Some(known.clone());
        }
        let value = (self.make)(name)?.as_value();
        lock(&self.made).insert(name.to_owned(), value.clone());
        Some(value)
    }

    fn missing(&self, name: &str) -> Value {
        let shown = format!("hostvars['{name}']");
        Value::undefined(format!("\"{shown}\" is undefined"), shown)
    }

    fn iter(&self) -> Option<Vec<Value>> {
        Some((self.names)().into_iter().map(Value::from).collect())
    }
}

/// The variables of one host as a mapping.
#[derive(Debug)]
pub(super) struct VarsOf {
    pub(super) scope: Arc<Scope>,
    pub(super) name: &'static str,
}

impl Object for VarsOf {
    fn type_name(&self) -> &'static str {
        self.name
    }

    fn is_mapping(&self) -> bool {
        true
    }

    fn get_value(&self, key: &Value) -> Option<Value> {
        match self.scope.find(key.as_str()?) {
            Ok(found) => found,
            // It can't be known here whether the value is used at all.
            Err(e) => Some(Value::undefined(e.message, text_of(key))),
        }
    }

    fn iter(&self) -> Option<Vec<Value>> {
        Some(self.scope.names().into_iter().map(Value::from).collect())
    }
}

fn text_of(key: &Value) -> String {
    super::value::text(key)
}
