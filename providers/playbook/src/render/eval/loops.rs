//! `for`, and the `loop` inside.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::{Deeper, Flow, Frame, State, spend};
use crate::render::error::{Error, Out};
use crate::render::syntax::{Expr, Stmt, Target};
use crate::render::value::{Args, Object, Value, equal, lock, native};

/// A loop's parts.
pub(super) struct Each<'a> {
    pub(super) target: &'a Target,
    pub(super) filter: Option<&'a Expr>,
    pub(super) recursive: bool,
    pub(super) body: &'a Arc<Vec<Stmt>>,
    pub(super) otherwise: &'a [Stmt],
}

/// What `loop(...)` needs to run the body again.
#[derive(Debug)]
struct Again {
    target: Target,
    filter: Option<Expr>,
    body: Arc<Vec<Stmt>>,
    frame: std::sync::Weak<Frame>,
}

#[derive(Debug)]
struct LoopVar {
    items: Arc<Vec<Value>>,
    index: AtomicUsize,
    depth: usize,
    last: Mutex<Option<Vec<Value>>>,
    again: Option<Again>,
}

impl Object for LoopVar {
    fn type_name(&self) -> &'static str {
        "LoopContext"
    }

    fn get_value(&self, key: &Value) -> Option<Value> {
        let at = self.index.load(Ordering::Relaxed);
        let length = self.items.len();
        let near = |i: Option<usize>, which: &str| {
            i.and_then(|i| self.items.get(i).cloned())
                .unwrap_or_else(|| Value::undefined(format!("there is no {which} item"), which))
        };
        Some(match key.as_str()? {
            "index" => Value::from(at + 1),
            "index0" => Value::from(at),
            "revindex" => Value::from(length - at),
            "revindex0" => Value::from(length - at - 1),
            "first" => Value::Bool(at == 0),
            "last" => Value::Bool(at + 1 == length),
            "length" => Value::from(length),
            "depth" => Value::from(self.depth),
            "depth0" => Value::from(self.depth - 1),
            "previtem" => near(at.checked_sub(1), "previous"),
            "nextitem" => near(Some(at + 1), "next"),
            _ => return None,
        })
    }

    fn truth(&self) -> bool {
        true
    }

    fn callable(&self) -> bool {
        true
    }

    fn method(&self, _: &mut State, name: &str, args: Args) -> Out {
        match name {
            "cycle" => {
                let n = args.pos.len();
                let at = self
                    .index
                    .load(Ordering::Relaxed)
                    .checked_rem(n)
                    .ok_or_else(|| Error::typed("no items for cycling given"))?;
                Ok(args.pos.get(at).cloned().unwrap_or(Value::None))
            }
            "changed" => {
                let mut last = lock(&self.last);
                let same = last
                    .as_ref()
                    .is_some_and(|l| l.len() == args.pos.len() && l.iter().zip(&args.pos).all(|(a, b)| equal(a, b)));
                *last = Some(args.pos);
                Ok(Value::Bool(!same))
            }
            other => self.missing(other).defined().cloned(),
        }
    }

    fn call(&self, state: &mut State, mut args: Args) -> Out {
        let Some(again) = &self.again else {
            return Err(Error::typed("The loop must have the 'recursive' marker to be called recursively."));
        };
        let _deeper = Deeper::enter(4)?;
        let items = args.need("iterable")?;
        let Some(frame) = again.frame.upgrade() else { return Err(Error::other("the loop has ended")) };
        let each = Each {
            target: &again.target,
            filter: again.filter.as_ref(),
            recursive: true,
            body: &again.body,
            otherwise: &[],
        };
        let outer = std::mem::take(&mut state.out);
        let done = state.framed(frame, |s| s.for_(&each, &items, self.depth + 1));
        let text = std::mem::replace(&mut state.out, outer);
        done?;
        Ok(Value::safe(text))
    }
}

impl State {
    pub(super) fn for_(&mut self, each: &Each<'_>, items: &Value, depth: usize) -> Result<(), Error> {
        let _deeper = Deeper::enter(2)?;
        let mut items = items.iter()?;
        spend(items.len())?;
        if let Some(filter) = each.filter {
            let mut kept = Vec::new();
            for item in items {
                let frame = Frame::child(&self.frame);
                let yes = self.framed(frame, |s| {
                    s.assign(each.target, item.clone())?;
                    s.eval(filter)?.truth()
                })?;
                if yes {
                    kept.push(item);
                }
            }
            items = kept;
        }
        if items.is_empty() {
            let frame = Frame::child(&self.frame);
            self.framed(frame, |s| s.statements(each.otherwise))?;
            return Ok(());
        }
        let items = Arc::new(items);
        let again = each.recursive.then(|| Again {
            target: each.target.clone(),
            filter: each.filter.cloned(),
            body: each.body.clone(),
            frame: Arc::downgrade(&self.frame),
        });
        let own = Arc::new(LoopVar {
            items: items.clone(),
            index: AtomicUsize::new(0),
            depth,
            last: Mutex::default(),
            again,
        });
        let name: Arc<str> = "loop".into();
        for (i, item) in items.iter().enumerate() {
            own.index.store(i, Ordering::Relaxed);
            let frame = Frame::child(&self.frame);
            frame.set(name.clone(), Value::Object(own.clone()));
            let flow = self.framed(frame, |s| {
                s.assign(each.target, item.clone())?;
                s.statements(each.body)
            })?;
            if flow == Flow::Break {
                break;
            }
        }
        Ok(())
    }

    /// The outermost frame of a template.
    pub(super) fn outermost(&self) -> Arc<Frame> {
        self.kept.first().cloned().unwrap_or_else(|| self.frame.clone())
    }
}

/// `super()` of a block.
pub(super) fn super_function(state: &State) -> Option<Value> {
    let (name, version) = state.block.clone()?;
    Some(native("super", move |state, _| {
        let outer = std::mem::take(&mut state.out);
        let frame = Frame::child(&state.frame);
        let done = state.block_version(&name, version + 1, frame);
        let text = std::mem::replace(&mut state.out, outer);
        done?;
        Ok(Value::safe(text))
    }))
}
