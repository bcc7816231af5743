//! Probes travel ahead: while a host's answer is awaited, what its next tasks will ask is sent.
//!
//! Only questions are sent early, never a change, and an early answer counts only under the conditions of [`super::pool`]. So
//! nothing here decides what a task does: a wrong guess costs a question that nobody needed.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as Poller, Poll};

use towpath_core::Vars;

use super::loops::Items;
use super::pool::Link;
use super::task::On;
use super::vars::View;
use super::walk::Walk;
use super::world::Known;
use super::{Mode, Run, lock};
use crate::load::Task;
use crate::modules::{self, Decision, Place};
use crate::render;

/// How many answers a host may owe at first, and at most. The number grows with each early answer that was of use. Behind a change
/// only the next question travels, and more only once its answer was that nothing changes: a host where everything changes is
/// asked nothing in vain.
const FIRST: usize = 16;
const AFTER_CHANGE: usize = 3;
const MOST: usize = 256;

/// Where each host was looked ahead to.
#[derive(Default)]
pub(super) struct Ahead(Mutex<HashMap<String, Arc<tokio::sync::Mutex<Lookout>>>>);

/// A host as it will be if its next tasks change nothing.
struct Lookout {
    width: usize,
    /// Whether the last thing that happened on the host was a change.
    changed: bool,
    walk: Walk,
    known: Known,
    now: Option<(Arc<Task>, Option<Items>, usize)>,
    over: bool,
}

/// What happened at a task's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Its probe was on its way already.
    Early,
    /// It was not.
    Late,
    /// It makes a change.
    Change,
    /// It turned out to change nothing.
    Calm,
}

/// What looking at one item of a later task gave.
enum Next {
    /// Go on.
    On,
    /// The item's result is not known before its turn, nor what is behind it.
    Stop,
}

/// Work that only reads, this machine included: lookups that do something refuse to.
struct OnlyReads<F>(Pin<Box<F>>);

impl<F: Future> Future for OnlyReads<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Poller<'_>) -> Poll<F::Output> {
        let _only = render::OnlyReads::enter();
        self.0.as_mut().poll(cx)
    }
}

impl Run<'_> {
    /// Looks ahead of an item whose turn has come.
    pub(super) async fn look_ahead(&self, on: &On<'_>, link: &Link<'_>, seen: Seen) {
        let Some(known) = on.known else { return };
        let lookout = {
            let mut all = lock(&self.ahead.0);
            let new = || {
                let none = Lookout {
                    width: FIRST,
                    changed: false,
                    walk: Walk::default(),
                    known: Known::default(),
                    now: None,
                    over: true,
                };
                Arc::new(tokio::sync::Mutex::new(none))
            };
            all.entry(on.host.to_owned()).or_insert_with(new).clone()
        };
        // Another task of this host looks already.
        let Ok(mut lookout) = lookout.try_lock() else { return };
        match (seen, lookout.changed) {
            // Whether it changes something is what its answer is awaited for.
            (Seen::Early | Seen::Late, true) | (Seen::Calm, false) => return,
            (Seen::Change, _) => (lookout.width, lookout.changed) = (1, true),
            (Seen::Calm, true) => (lookout.width, lookout.changed) = (AFTER_CHANGE, false),
            _ => {}
        }
        match seen {
            Seen::Early => {
                lookout.width = (lookout.width + 2).min(MOST);
                if lookout.over || link.owed() * 2 > lookout.width {
                    return;
                }
            }
            Seen::Late | Seen::Change | Seen::Calm => {
                let walk = lock(&on.playing.state).walks.get(on.host).cloned();
                let Some(walk) = walk else { return };
                lookout.walk = walk;
                lookout.known = known.clone();
                lookout.over = false;
                lookout.now = self.items_ahead(on, on.task, &lookout.known).map(|i| (on.task.clone(), i, on.at + 1));
            }
        }
        let lookout = &mut *lookout;
        OnlyReads(Box::pin(async move {
            while link.owed() < lookout.width {
                if !self.step_ahead(on, lookout).await {
                    lookout.over = true;
                    return;
                }
            }
        }))
        .await;
    }

    fn items_ahead(&self, on: &On<'_>, task: &Arc<Task>, known: &Known) -> Option<Option<Items>> {
        let view = View { host: on.host, known, task: Some(task), locals: Arc::default(), delegated: None };
        let scope = self.scope(on.playing, &view);
        let items = self.items(task, &scope).ok()?;
        scope.touched().is_none().then_some(items)
    }

    /// One item further. Says whether there is more to see.
    async fn step_ahead(&self, on: &On<'_>, lookout: &mut Lookout) -> bool {
        if let Some((task, items, at)) = lookout.now.take() {
            let count = items.as_ref().map_or(1, |i| i.all.len());
            if at < count {
                let locals = match (&items, &task.loop_) {
                    (Some(items), Some(l)) => Arc::new(items.locals(l, at)),
                    _ => Arc::default(),
                };
                let next = self.item_ahead(on, &task, lookout, locals).await;
                lookout.now = Some((task, items, at + 1));
                return matches!(next, Next::On);
            }
            if let Some(name) = &task.register {
                lookout.known.doubt(name, format!("`{name}` is not known yet"));
            }
        }
        let wanted = |task: &Task| self.wanted(on.playing, task);
        let Some((_, task)) = lookout.walk.peek(&wanted).cloned() else { return false };
        lookout.walk.take();
        match task.meta() {
            Some("flush_handlers") if lookout.walk.notified.is_empty() => return true,
            Some("noop") => return true,
            Some(_) => return false,
            None => {}
        }
        let waits = task.until.is_some() || task.retries.is_some() || task.async_.is_some();
        let pauses = task.loop_.as_ref().is_some_and(|l| l.pause.is_some());
        if task.includes() || waits || pauses {
            return false;
        }
        lookout.now = match self.items_ahead(on, &task, &lookout.known) {
            Some(items) => Some((task, items, 0)),
            // Nothing of it can be asked; its result is as little known as its items.
            None => Some((task, None, 1)),
        };
        true
    }

    async fn item_ahead(&self, on: &On<'_>, task: &Arc<Task>, lookout: &mut Lookout, locals: Arc<Vars>) -> Next {
        let host = on.host;
        let view = |known, delegated| View { host, known, task: Some(&**task), locals: locals.clone(), delegated };
        let mut scope = self.scope(on.playing, &view(&lookout.known, None));
        let mut delegated = None;
        if task.inherit.delegate_to.is_some() {
            let on = On { task, ..*on };
            match self.delegation(&on, &scope) {
                Ok(to) if scope.touched().is_none() => delegated = to,
                _ => return Next::On,
            }
            scope = self.scope(on.playing, &view(&lookout.known, delegated.as_deref()));
        }
        let mut perhaps = false;
        for (condition, _) in &task.inherit.when {
            match scope.test(condition) {
                _ if scope.touched().is_some() => {
                    perhaps = true;
                    break;
                }
                Ok(true) => {}
                Ok(false) => return Next::On,
                Err(_) => return Next::Stop,
            }
        }
        if perhaps {
            scope = self.scope(on.playing, &view(&lookout.known, delegated.as_deref()));
        }
        let to = delegated.as_deref();
        let module = modules::find(&task.action);
        let Some(module) = module else { return Next::Stop };
        match (module.place, task.action.as_str()) {
            (Place::Here, "debug" | "assert") => return Next::On,
            (Place::Here, "set_fact") => {}
            (Place::Here, _) => return if perhaps { Next::On } else { Next::Stop },
            (Place::Host, _) => {}
        }
        let args = self.arguments(task, &scope);
        let doubtful = scope.touched().is_some() || args.is_err() || perhaps && module.place == Place::Here;
        let args = match args {
            Ok(args) if !doubtful => args,
            _ => {
                if module.place == Place::Here {
                    for name in task.args.keys() {
                        lookout.known.doubt(name, format!("`{name}` is not known yet"));
                    }
                }
                return Next::On;
            }
        };
        let this = On { task, ..*on };
        let Ok(ready) = self.prepare(&this, &scope, to, self.cx, module, args).await else { return Next::On };
        if scope.touched().is_some() {
            return Next::On;
        }
        match (ready.decision, ready.link) {
            (Ok(Decision::Probe(text, _)), Some(link)) => match link.ahead(text).await {
                Ok(true) => Next::On,
                _ => Next::Stop,
            },
            (Ok(Decision::Done(fields)), _) => {
                super::result::facts(task, &fields, &mut lookout.known);
                Next::On
            }
            // Behind a change that is certain nothing can be asked yet; one that check mode holds back is none.
            (Ok(Decision::Change(_)), _) if perhaps || ready.check || self.mode == Mode::Plan => Next::On,
            (Ok(_), _) => Next::Stop,
            (Err(_), _) => Next::Stop,
        }
    }
}
