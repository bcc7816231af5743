use std::fmt;
use std::sync::Arc;

use crate::Record;

/// A point at which a test or a demonstration may end this process, to show that nothing is lost.
#[derive(Debug)]
pub enum FaultPoint<'a> {
    /// A record is about to be written.
    BeforeAppend(&'a Record),
    /// A record was written durably.
    AfterAppend(&'a Record),
    /// An effect is about to act; its intent is written. Its path.
    BeforeAct(&'a str),
    /// An effect has acted; its result is not written yet. Its path.
    AfterAct(&'a str),
}

/// What happens at fault points; nothing by default.
#[derive(Clone, Default)]
pub struct Faults(Option<Arc<AtPoint>>);

type AtPoint = dyn Fn(&FaultPoint<'_>) + Send + Sync;

impl Faults {
    /// Nothing happens.
    pub fn none() -> Self {
        Self(None)
    }

    /// Calls `f` at every point.
    pub fn at_every_point(f: impl Fn(&FaultPoint<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(f)))
    }

    /// Ends the process (SIGABRT) inside `step`, after the intent of its first effect is written; if it has none, before its
    /// end is written.
    pub fn abort_in_step(step: impl Into<String>) -> Self {
        let step = step.into();
        let prefix = format!("{step}/");
        Self::at_every_point(move |point| {
            let here = match point {
                FaultPoint::BeforeAct(path) => path.starts_with(&prefix),
                FaultPoint::BeforeAppend(Record::StepFinished { step: ended, .. }) => *ended == step,
                _ => false,
            };
            if here {
                std::process::abort();
            }
        })
    }

    pub(crate) fn reach(&self, point: &FaultPoint<'_>) {
        if let Some(f) = &self.0 {
            f(point);
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Faults(armed)" } else { "Faults(none)" })
    }
}
