//! Connections, their shells, and the answers to probes that were sent before their turn.
//!
//! An early answer is used only for the same script, on the same host, as the same user, and only if nothing has changed there
//! since it was asked for. So whoever looks ahead may be wrong about what comes: the answer is then dropped, and what is right
//! is asked at its turn.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use towpath_core::{Become, BecomeMethod, Connection, Connector, Context, Host, Result};

use super::lock;
use super::sessions::Sessions;
use crate::carry::{LocalConnection, Output, Script, Shell, Ticket};

/// Which shell: user, method and flags; `None` for the connection's own user.
pub(super) type ShellKey = Option<(String, BecomeMethod, Vec<String>)>;

/// The connections of a run.
#[derive(Default)]
pub(super) struct Pools {
    by_name: Mutex<HashMap<String, Vec<Arc<Pool>>>>,
    /// Counts what makes every early answer of the run useless.
    epoch: AtomicU64,
    next: AtomicU64,
}

/// A connection to a host as one user, and its shells.
pub(super) struct Pool {
    host: Host,
    connection: tokio::sync::Mutex<Option<Arc<dyn Connection>>>,
    shells: Mutex<Shells>,
}

#[derive(Default)]
struct Shells {
    open: HashMap<ShellKey, Vec<Slot>>,
    early: HashMap<(ShellKey, String), Early>,
    epoch: u64,
    /// The shell that makes a change just now. Only what is sent through it comes after the change.
    changing: Option<u64>,
    /// The task that changed what a session takes from the host when it begins, and whose sessions are to begin again.
    stale: Option<(usize, Vec<Sessions>)>,
}

#[derive(Clone)]
struct Slot {
    shell: Arc<Shell>,
    id: u64,
    busy: bool,
}

struct Early {
    ticket: Ticket,
    slot: u64,
}

impl Pools {
    pub(super) fn get(&self, host: Host) -> Arc<Pool> {
        let mut all = lock(&self.by_name);
        let pools = all.entry(host.name.clone()).or_default();
        if let Some(pool) = pools.iter().find(|p| p.host.connection == host.connection) {
            return pool.clone();
        }
        let pool = Arc::new(Pool { host, connection: tokio::sync::Mutex::default(), shells: Mutex::default() });
        pools.push(pool.clone());
        pool
    }

    fn of(&self, host: &str) -> Vec<Arc<Pool>> {
        lock(&self.by_name).get(host).cloned().unwrap_or_default()
    }

    pub(super) async fn close(&self) {
        let all: Vec<Arc<Pool>> = lock(&self.by_name).values().flatten().cloned().collect();
        futures::future::join_all(all.iter().map(|p| p.close())).await;
    }

    pub(super) async fn reset(&self, host: &str) {
        futures::future::join_all(self.of(host).iter().map(|p| p.close())).await;
    }

    /// Drops the early answers of all hosts.
    pub(super) fn forget_all(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Drops the early answers of one host, those apart that came through one shell.
    fn forget(&self, host: &str, but: Option<u64>) {
        for pool in self.of(host) {
            lock(&pool.shells).early.retain(|_, e| Some(e.slot) == but);
        }
    }
}

impl Pool {
    pub(super) async fn connection(&self, cx: &Context, connector: &dyn Connector) -> Result<Arc<dyn Connection>> {
        let mut held = self.connection.lock().await;
        if let Some(c) = &*held {
            return Ok(c.clone());
        }
        let new = if self.host.connection.kind == "local" {
            LocalConnection::open(&self.host.name)
        } else {
            connector.connect(cx, &self.host).await?
        };
        *held = Some(new.clone());
        Ok(new)
    }

    pub(super) async fn close(&self) {
        let shells: Vec<Slot> = {
            let mut shells = lock(&self.shells);
            shells.early.clear();
            shells.open.drain().flat_map(|(_, s)| s).collect()
        };
        futures::future::join_all(shells.into_iter().filter_map(|s| Arc::into_inner(s.shell)).map(Shell::close)).await;
        if let Some(c) = self.connection.lock().await.take() {
            c.close().await;
        }
    }
}

/// A host as one task on it sees it.
pub(super) struct Link<'a> {
    pub(super) pools: &'a Pools,
    pub(super) pool: Arc<Pool>,
    pub(super) connector: &'a dyn Connector,
    pub(super) become_: Option<Become>,
    pub(super) key: ShellKey,
    pub(super) cx: Context,
    /// Which task it is for.
    pub(super) task: usize,
    /// Whether what it changes may be seen on other hosts: a task that is delegated, that runs once, or that runs here.
    pub(super) everywhere: bool,
}

/// A probe that was sent.
pub(super) struct Asked {
    ticket: Ticket,
    /// Whether that was before its turn.
    pub(super) early: bool,
}

/// A change under way.
pub(super) struct Changing {
    ticket: Ticket,
    slot: Slot,
    /// Which sessions have to begin again after it.
    sessions: Option<Sessions>,
}

impl Link<'_> {
    pub(super) fn key(become_: Option<&Become>) -> ShellKey {
        become_.map(|b| (b.user.clone(), b.method, b.flags.clone()))
    }

    /// A shell that is not busy, opened if need be; taken for a change, it is busy until that is done.
    async fn slot(&self, take: bool) -> Result<Slot> {
        let idle = {
            let mut shells = lock(&self.pool.shells);
            if let Some((_, whose)) = shells.stale.take_if(|(task, _)| *task != self.task) {
                let concerned = |key: &ShellKey| whose.iter().any(|w| w.concerns(key));
                // Those that are busy go on with what they have.
                shells.open.iter_mut().filter(|(k, _)| concerned(k)).for_each(|(_, all)| all.retain(|s| s.busy));
                shells.early.retain(|(k, _), _| !concerned(k));
            }
            let open = shells.open.entry(self.key.clone()).or_default();
            open.retain(|s| !s.shell.has_ended());
            let idle = open.iter_mut().find(|s| !s.busy);
            idle.map(|s| {
                s.busy = take;
                s.clone()
            })
        };
        if let Some(slot) = idle {
            return Ok(slot);
        }
        let connection = self.pool.connection(&self.cx, self.connector).await?;
        let shell = Arc::new(Shell::open(&self.cx, &*connection, self.become_.clone()).await?);
        let slot = Slot { shell, id: self.pools.next.fetch_add(1, Ordering::Relaxed), busy: take };
        lock(&self.pool.shells).open.entry(self.key.clone()).or_default().push(slot.clone());
        Ok(slot)
    }

    /// Takes the early answer to a probe, or sends it now.
    pub(super) async fn ask(&self, text: &str) -> Result<Asked> {
        let epoch = self.pools.epoch.load(Ordering::Acquire);
        {
            let mut shells = lock(&self.pool.shells);
            if shells.epoch != epoch {
                shells.epoch = epoch;
                shells.early.clear();
            }
            if let Some(early) = shells.early.remove(&(self.key.clone(), text.to_owned())) {
                return Ok(Asked { ticket: early.ticket, early: true });
            }
        }
        let slot = self.slot(false).await?;
        Ok(Asked { ticket: slot.shell.send(&Script { text: text.to_owned(), foreign: false }), early: false })
    }

    /// The answer to a probe.
    pub(super) async fn answer(&self, asked: Asked, text: &str) -> Result<Output> {
        let early = asked.early;
        match asked.ticket.wait(&self.cx).await {
            Err(_) if early && self.cx.check(crate::PLAYBOOK, "apply").is_ok() => {
                // Whatever ended that shell was another task's business.
                let asked = self.ask(text).await?;
                self.mend(asked.ticket.wait(&self.cx).await).await
            }
            answer => self.mend(answer).await,
        }
    }

    /// Sends a probe before its turn. Says whether it is on its way.
    pub(super) async fn ahead(&self, text: String) -> Result<bool> {
        let epoch = self.pools.epoch.load(Ordering::Acquire);
        let key = (self.key.clone(), text);
        let changing = {
            let mut shells = lock(&self.pool.shells);
            if shells.epoch != epoch {
                shells.epoch = epoch;
                shells.early.clear();
            }
            if shells.early.contains_key(&key) {
                return Ok(true);
            }
            shells.changing
        };
        let slot = match changing {
            None => self.slot(false).await?,
            Some(id) => {
                let shells = lock(&self.pool.shells);
                let same = shells.open.get(&self.key).into_iter().flatten().find(|s| s.id == id).cloned();
                match same {
                    Some(slot) => slot,
                    None => return Ok(false),
                }
            }
        };
        let mut shells = lock(&self.pool.shells);
        if shells.changing != changing || shells.epoch != epoch {
            return Ok(false);
        }
        let ticket = slot.shell.send_early(&Script { text: key.1.clone(), foreign: false });
        shells.early.insert(key, Early { ticket, slot: slot.id });
        Ok(true)
    }

    /// How many early answers the host owes.
    pub(super) fn owed(&self) -> usize {
        lock(&self.pool.shells).early.len()
    }

    /// The user whose connection it is, if that is known.
    pub(super) fn user(&self) -> Option<&str> {
        self.pool.host.connection.user.as_deref()
    }

    /// Sends a script that may change anything. `sessions`: for which sessions that counts only when they begin again.
    pub(super) async fn begin(&self, script: &Script, sessions: Option<Sessions>) -> Result<Changing> {
        let slot = self.slot(true).await?;
        let mut shells = lock(&self.pool.shells);
        // Before it is sent: what is sent from here on comes after it, or is dropped when it is done.
        shells.changing = Some(slot.id);
        drop(shells);
        self.pools.forget(&self.pool.host.name, None);
        if self.everywhere {
            self.pools.forget_all();
        }
        Ok(Changing { ticket: slot.shell.send(script), slot, sessions })
    }

    /// Waits for a change.
    pub(super) async fn end(&self, changing: Changing) -> Result<Output> {
        let Changing { ticket, slot, sessions } = changing;
        let answer = ticket.wait(&self.cx).await;
        if self.everywhere {
            self.pools.forget_all();
        }
        let own = sessions.as_ref().is_some_and(|s| s.concerns(&self.key));
        self.pools.forget(&self.pool.host.name, (!own).then_some(slot.id));
        {
            let mut shells = lock(&self.pool.shells);
            if shells.changing == Some(slot.id) {
                shells.changing = None;
            }
            if let Some(whose) = sessions {
                let stale = shells.stale.get_or_insert_with(|| (self.task, Vec::new()));
                stale.0 = self.task;
                stale.1.push(whose);
            }
            let open = shells.open.entry(self.key.clone()).or_default();
            open.retain(|s| !s.shell.has_ended());
            open.iter_mut().filter(|s| s.id == slot.id).for_each(|s| s.busy = false);
        }
        drop(slot);
        self.mend(answer).await
    }

    /// Runs a script that may change anything.
    pub(super) async fn send(&self, script: Script) -> Result<Output> {
        let changing = self.begin(&script, None).await?;
        self.end(changing).await
    }

    /// What was left of a connection that is lost is of no use; the next one to need it connects again.
    async fn mend(&self, answer: Result<Output>) -> Result<Output> {
        if let Err(e) = &answer {
            if e.kind() == towpath_core::ErrorKind::Unreachable {
                self.pool.close().await;
            }
        }
        answer
    }
}
