//! Telling what happens, in the order of the strategy.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use towpath_core::{Context, EventKind, Json};

use super::lock;
use crate::report::{HostResult, PlaybookEvent, Report};

/// What Ansible shows in place of an item under `no_log`.
const HIDDEN: &str = "(censored due to no_log)";

/// Where everything that happens is told.
#[derive(Clone)]
pub(super) struct Out {
    pub(super) cx: Context,
    pub(super) report: Option<Arc<dyn Report>>,
}

impl Out {
    /// Tells one thing now.
    pub(super) fn say(&self, event: &PlaybookEvent) {
        match event {
            PlaybookEvent::TaskFinished(result) => self.core(result, result.item.clone()),
            PlaybookEvent::ItemFinished(result) => {
                // Nothing as a label would make it the result of the whole task.
                let nothing = if result.result.contains_key("censored") { HIDDEN } else { "None" };
                let label = result.item.clone().filter(|i| !i.is_null()).unwrap_or_else(|| nothing.into());
                self.core(result, Some(label));
            }
            PlaybookEvent::Warning(text) => self.cx.warn(text.clone()),
            _ => {}
        }
        if let Some(report) = &self.report {
            report.on(event);
        }
    }

    fn core(&self, result: &HostResult, item: Option<Json>) {
        self.cx.for_host(&result.host).emit(EventKind::TaskResult {
            task: result.task.name.clone(),
            file: Some(format!("{}:{}", result.task.file.display(), result.task.line)),
            item,
            status: result.status,
            result: Json::Object(result.result.clone()),
            seconds: result.seconds,
        });
    }
}

#[derive(Default)]
struct Lanes {
    head: usize,
    lanes: Vec<(VecDeque<PlaybookEvent>, bool)>,
}

/// Several hosts that work at the same time: what the first of them does is told at once, the others wait for their turn.
pub(super) struct Ordered {
    out: Out,
    lanes: Mutex<Lanes>,
}

impl Ordered {
    pub(super) fn new(out: Out, lanes: usize) -> Arc<Self> {
        let lanes = (0..lanes).map(|_| (VecDeque::new(), false)).collect();
        Arc::new(Self { out, lanes: Mutex::new(Lanes { head: 0, lanes }) })
    }

    /// Tells something of a lane.
    pub(super) fn say(&self, lane: usize, event: PlaybookEvent) {
        let mut lanes = lock(&self.lanes);
        if lanes.head == lane {
            self.out.say(&event);
        } else if let Some((queue, _)) = lanes.lanes.get_mut(lane) {
            queue.push_back(event);
        }
    }

    /// A lane has nothing more to tell.
    pub(super) fn done(&self, lane: usize) {
        let mut lanes = lock(&self.lanes);
        if let Some((_, done)) = lanes.lanes.get_mut(lane) {
            *done = true;
        }
        loop {
            let head = lanes.head;
            let Some((queue, done)) = lanes.lanes.get_mut(head) else { break };
            while let Some(event) = queue.pop_front() {
                self.out.say(&event);
            }
            if !*done {
                break;
            }
            lanes.head += 1;
        }
    }
}

/// Where one host's task tells what it does.
#[derive(Clone)]
pub(super) struct Lane {
    pub(super) to: Arc<Ordered>,
    pub(super) lane: usize,
}

impl Lane {
    pub(super) fn say(&self, event: PlaybookEvent) {
        self.to.say(self.lane, event);
    }
}
