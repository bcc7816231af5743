use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ErrorRecord, FaultPoint, Faults, Fence, Json, Result, RunId, RunState, Store, Timestamp};

/// One line of a run's journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number in the run, from 1.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// What it says.
    pub record: Record,
}

/// What a journal says. Replaying all of them gives the run's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Record {
    /// A step's attempt starts.
    StepStarted {
        /// The step.
        step: String,
        /// From 1.
        attempt: u32,
    },
    /// A step is finished for good.
    StepFinished {
        /// The step.
        step: String,
        /// How.
        state: StepState,
        /// Its outputs by name. Never a secret.
        outputs: BTreeMap<String, Json>,
    },
    /// An attempt failed.
    StepFailed {
        /// The step.
        step: String,
        /// The attempt.
        attempt: u32,
        /// Why.
        error: ErrorRecord,
        /// Whether another attempt follows.
        again: bool,
    },
    /// A step is to run again, since somebody resumed the run after it had ended. Its open effects count as failed.
    StepReset {
        /// The step.
        step: String,
        /// Whether its finished effects are to happen again, too.
        forget_done: bool,
    },
    /// An effect is about to happen.
    EffectIntent {
        /// Where: step and keys, joined by `/`.
        path: String,
        /// What.
        intent: Json,
    },
    /// Something about a running effect that must survive: a process group, an id.
    EffectNote {
        /// Where.
        path: String,
        /// Its name.
        name: String,
        /// Its value; `null` removes it.
        value: Json,
    },
    /// An effect has happened.
    EffectDone {
        /// Where.
        path: String,
        /// What came of it, as it is replayed.
        result: Json,
    },
    /// An effect has not happened, and is known not to go on.
    EffectFailed {
        /// Where.
        path: String,
        /// Why.
        error: ErrorRecord,
    },
    /// Somebody allowed or refused a step that asks.
    Approval {
        /// The step.
        step: String,
        /// Whether it may go on.
        granted: bool,
        /// Who said so.
        by: String,
    },
    /// The run is over.
    RunFinished {
        /// How.
        state: RunState,
    },
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// It changed something, or had something to do.
    Done,
    /// It found everything as it should be.
    Unchanged,
    /// It failed, and its options say that the run goes on.
    Ignored,
    /// It was not needed, since a step before it failed.
    Skipped,
    /// It failed.
    Failed,
    /// A rollout failed and was rolled back.
    RolledBack,
}

/// What a journal knows of one effect.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EffectState {
    /// The intent was written and no end after it: a crash lies between.
    pub open: bool,
    /// The result, if it is done.
    pub result: Option<Json>,
    /// Notes that it left.
    pub notes: BTreeMap<String, Json>,
}

/// The journal of one run: written through to a store, or in memory only.
#[derive(Debug)]
pub struct Journal {
    target: Option<(Arc<dyn Store>, RunId, Option<Fence>)>,
    effects: Mutex<HashMap<String, EffectState>>,
    faults: Faults,
}

impl Journal {
    /// A journal that ends with the process.
    pub fn in_memory() -> Self {
        Self { target: None, effects: Mutex::default(), faults: Faults::none() }
    }

    /// Continues the journal of a run in a store. `entries` is what is there already.
    pub fn in_store(
        store: Arc<dyn Store>,
        run: RunId,
        fence: Option<Fence>,
        entries: &[Entry],
        faults: Faults,
    ) -> Self {
        let journal = Self { target: Some((store, run, fence)), effects: Mutex::default(), faults };
        for entry in entries {
            journal.learn(&entry.record);
        }
        journal
    }

    /// Appends records; they are durable when this returns.
    pub async fn append(&self, records: Vec<Record>) -> Result<()> {
        if let Some((store, run, fence)) = &self.target {
            for record in &records {
                self.faults.reach(&FaultPoint::BeforeAppend(record));
            }
            store.append(run, fence.as_ref(), &records).await?;
            for record in &records {
                self.faults.reach(&FaultPoint::AfterAppend(record));
            }
        }
        for record in &records {
            self.learn(record);
        }
        Ok(())
    }

    /// What is known of the effect at `path`.
    pub fn effect(&self, path: &str) -> EffectState {
        self.lock().get(path).cloned().unwrap_or_default()
    }

    /// All open effects whose path starts with `prefix`.
    pub fn open_effects(&self, prefix: &str) -> Vec<(String, EffectState)> {
        self.lock()
            .iter()
            .filter(|(p, s)| s.open && p.starts_with(prefix))
            .map(|(p, s)| (p.clone(), s.clone()))
            .collect()
    }

    /// All notes below `prefix`, with the path of the effect that left them.
    pub fn notes(&self, prefix: &str) -> Vec<(String, BTreeMap<String, Json>)> {
        let below = format!("{prefix}/");
        self.lock()
            .iter()
            .filter(|(p, s)| !s.notes.is_empty() && (p.as_str() == prefix || p.starts_with(&below)))
            .map(|(p, s)| (p.clone(), s.notes.clone()))
            .collect()
    }

    /// The points at which a test may end this process.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, EffectState>> {
        self.effects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, record: &Record) {
        let mut effects = self.lock();
        match record {
            Record::EffectIntent { path, .. } => {
                let state = effects.entry(path.clone()).or_default();
                state.open = true;
                state.result = None;
            }
            Record::EffectNote { path, name, value } => {
                let notes = &mut effects.entry(path.clone()).or_default().notes;
                if value.is_null() {
                    notes.remove(name);
                } else {
                    notes.insert(name.clone(), value.clone());
                }
            }
            Record::EffectDone { path, result } => {
                let state = effects.entry(path.clone()).or_default();
                state.open = false;
                state.result = Some(result.clone());
            }
            Record::EffectFailed { path, .. } => {
                let state = effects.entry(path.clone()).or_default();
                state.open = false;
                state.notes.clear();
            }
            Record::StepReset { step, forget_done } => {
                let prefix = format!("{step}/");
                effects.retain(|path, state| {
                    let inside = path.starts_with(&prefix) || path == step;
                    state.open &= !inside;
                    !(inside && (*forget_done || state.result.is_none()))
                });
            }
            Record::StepStarted { .. }
            | Record::StepFinished { .. }
            | Record::StepFailed { .. }
            | Record::Approval { .. }
            | Record::RunFinished { .. } => {}
        }
    }
}
