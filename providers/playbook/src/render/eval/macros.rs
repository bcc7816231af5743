//! Macros and call blocks.

use std::sync::{Arc, Weak};

use super::{Deeper, Frame, State};
use crate::render::error::{Error, Out};
use crate::render::syntax::{Expr, MacroDef, Node, Template};
use crate::render::value::{Args, Object, Value};

#[derive(Debug)]
struct Macro {
    def: Arc<MacroDef>,
    /// The frame around holds the macro, so this must not hold the frame.
    frame: Weak<Frame>,
    template: Arc<Template>,
    file: Option<Arc<str>>,
}

impl Object for Macro {
    fn type_name(&self) -> &'static str {
        "Macro"
    }

    fn truth(&self) -> bool {
        true
    }

    fn callable(&self) -> bool {
        true
    }

    fn get_value(&self, key: &Value) -> Option<Value> {
        Some(match key.as_str()? {
            "name" => Value::from(self.def.name.as_ref()),
            "arguments" => Value::tuple(self.def.args.iter().map(|(n, _)| Value::from(n.as_ref())).collect()),
            "catch_kwargs" => Value::Bool(self.def.kwargs),
            "catch_varargs" => Value::Bool(self.def.varargs),
            "caller" => Value::Bool(self.def.caller),
            _ => return None,
        })
    }

    fn repr(&self) -> String {
        format!("<Macro '{}'>", self.def.name)
    }

    fn call(&self, state: &mut State, args: Args) -> Out {
        let _deeper = Deeper::enter(4)?;
        let Some(around) = self.frame.upgrade() else {
            return Err(Error::other(format!("the macro '{}' is used after its template", self.def.name)));
        };
        let frame = Frame::child(&around);
        let template = std::mem::replace(&mut state.template, self.template.clone());
        let file = std::mem::replace(&mut state.file, self.file.clone());
        let done = state.framed(frame, |s| {
            self.bind(s, args)?;
            s.capture(&self.def.body)
        });
        let done = done.map_err(|e| state.placed(e));
        state.template = template;
        state.file = file;
        let text = done?;
        Ok(if state.escape { Value::safe(text) } else { Value::from(text) })
    }
}

impl Macro {
    /// Gives the arguments their names.
    fn bind(&self, state: &mut State, args: Args) -> Result<(), Error> {
        let def = &self.def;
        let mut pos = args.pos.into_iter();
        let mut named = args.named;
        for (name, default) in &def.args {
            let value = match pos.next() {
                Some(v) => v,
                None => match named.iter().position(|(n, _)| n == name) {
                    Some(at) => named.remove(at).1,
                    None => match default {
                        Some(e) => state.eval(e)?,
                        None => Value::undefined(format!("parameter '{name}' was not provided"), name.as_ref()),
                    },
                },
            };
            state.frame.set(name.clone(), value);
        }
        let caller = named.iter().position(|(n, _)| n.as_ref() == "caller");
        if let Some(at) = caller {
            let (name, value) = named.remove(at);
            if !def.caller {
                return Err(Error::typed(format!(
                    "macro '{}' was invoked with two values for the special caller argument or takes no caller",
                    def.name
                )));
            }
            state.frame.set(name, value);
        } else if def.caller {
            state.frame.set("caller".into(), Value::undefined("No caller defined", "caller"));
        }
        let rest: Vec<Value> = pos.collect();
        if def.varargs {
            state.frame.set("varargs".into(), Value::tuple(rest));
        } else if !rest.is_empty() {
            return Err(Error::typed(format!(
                "macro '{}' takes not more than {} argument(s)",
                def.name,
                def.args.len()
            )));
        }
        if def.kwargs {
            let pairs = named.into_iter().map(|(k, v)| (Value::from(k.as_ref()), v));
            state.frame.set("kwargs".into(), Value::pairs(pairs));
        } else if let Some((name, _)) = named.first() {
            return Err(Error::typed(format!("macro '{}' takes no keyword argument '{name}'", def.name)));
        }
        Ok(())
    }
}

impl State {
    pub(super) fn macro_value(&self, def: &Arc<MacroDef>) -> Value {
        Value::object(Macro {
            def: def.clone(),
            frame: Arc::downgrade(&self.frame),
            template: self.template.clone(),
            file: self.file.clone(),
        })
    }

    pub(super) fn call_block(&mut self, call: &Expr, def: &Arc<MacroDef>) -> Result<(), Error> {
        let caller = self.macro_value(def);
        let Node::Call(callee, args) = &call.node else { return Ok(()) };
        let mut values = self.args(args)?;
        values.named.push(("caller".into(), caller));
        let out = match &callee.node {
            Node::Attr(value, name) => {
                let value = self.eval(value)?;
                self.call_method(&value, name, values)
            }
            _ => {
                let f = self.eval(callee)?;
                self.call(&f, values)
            }
        }
        .map_err(|e| e.or_at(call.at))?;
        self.write(&super::expression::shown(&out)?)
    }
}
