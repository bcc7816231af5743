//! The backends of a balancer: who is next, who is busy.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use towpath_core::{Backend, BackendMode, BackendState};

use super::http::Sender;
use crate::files::{read_json, write_json};
use crate::{BalancerPolicy, LocalBalancerConfig};

/// After a failed connection a backend comes last for this long.
const SHUNNED: Duration = Duration::from_millis(500);
/// Idle connections kept for reuse per backend.
const IDLE: usize = 64;

/// All backends.
#[derive(Debug)]
pub(super) struct Pool {
    slots: Mutex<Slots>,
    /// Something became idle, or a backend came.
    changed: Notify,
    file: PathBuf,
    pub(super) config: LocalBalancerConfig,
    pub(super) counts: Counts,
}

/// What the balancer has done since it was started.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: AtomicU64,
    pub(super) retried: AtomicU64,
    pub(super) failed: AtomicU64,
}

#[derive(Debug, Default)]
struct Slots {
    list: Vec<Slot>,
    turn: usize,
}

#[derive(Debug)]
struct Slot {
    backend: Backend,
    mode: BackendMode,
    live: Arc<Live>,
}

/// The moving part of a backend.
#[derive(Debug, Default)]
pub(super) struct Live {
    active: AtomicU64,
    total: AtomicU64,
    failed_at: Mutex<Option<Instant>>,
    idle: Mutex<VecDeque<Sender>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    backend: Backend,
    mode: BackendMode,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// Starts with the backends that the last process left.
    pub(super) fn open(file: PathBuf, config: LocalBalancerConfig) -> io::Result<Self> {
        let saved: Vec<Saved> = read_json(&file)?.unwrap_or_default();
        let list = saved.into_iter().map(|s| Slot { backend: s.backend, mode: s.mode, live: Arc::default() }).collect();
        let slots = Mutex::new(Slots { list, turn: 0 });
        Ok(Self { slots, changed: Notify::new(), file, config, counts: Counts::default() })
    }

    fn save(&self, slots: &Slots) -> io::Result<()> {
        let saved: Vec<Saved> = slots.list.iter().map(|s| Saved { backend: s.backend.clone(), mode: s.mode }).collect();
        write_json(&self.file, &saved)
    }

    /// Puts a backend into service. It is durable on return.
    pub(super) fn add(&self, backend: &Backend) -> io::Result<()> {
        let mut slots = lock(&self.slots);
        match slots.list.iter_mut().find(|s| s.backend.name == backend.name) {
            Some(slot) => {
                if slot.backend != *backend {
                    // Connections to the old address are of no use for the new one.
                    lock(&slot.live.idle).clear();
                }
                slot.backend = backend.clone();
                slot.mode = BackendMode::Serving;
                *lock(&slot.live.failed_at) = None;
            }
            None => {
                slots.list.push(Slot { backend: backend.clone(), mode: BackendMode::Serving, live: Arc::default() });
            }
        }
        self.save(&slots)?;
        drop(slots);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Sends nothing new to a backend. Gives `false` if there is none of this name.
    pub(super) fn drain(&self, name: &str) -> io::Result<bool> {
        let mut slots = lock(&self.slots);
        let Some(slot) = slots.list.iter_mut().find(|s| s.backend.name == name) else { return Ok(false) };
        slot.mode = BackendMode::Draining;
        lock(&slot.live.idle).clear();
        self.save(&slots)?;
        Ok(true)
    }

    /// Takes a backend out; its connections go on.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        let mut slots = lock(&self.slots);
        slots.list.retain(|s| s.backend.name != name);
        self.save(&slots)
    }

    /// Lists all.
    pub(super) fn states(&self) -> Vec<BackendState> {
        let state = |s: &Slot| BackendState {
            backend: s.backend.clone(),
            mode: s.mode,
            connections: s.live.active.load(Ordering::SeqCst),
        };
        lock(&self.slots).list.iter().map(state).collect()
    }

    /// Requests or connections that each backend has had, by name.
    pub(super) fn totals(&self) -> Vec<(String, u64)> {
        let total = |s: &Slot| (s.backend.name.clone(), s.live.total.load(Ordering::SeqCst));
        lock(&self.slots).list.iter().map(total).collect()
    }

    /// Waits until a backend has nothing left. `None`: there is none of this name.
    pub(super) async fn wait_idle(&self, name: &str, limit: Duration) -> Option<u64> {
        let live = lock(&self.slots).list.iter().find(|s| s.backend.name == name).map(|s| Arc::clone(&s.live))?;
        let until = tokio::time::Instant::now() + limit;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that an end in between is not missed.
            changed.as_mut().enable();
            let left = live.active.load(Ordering::SeqCst);
            if left == 0 || tokio::time::timeout_at(until, changed).await.is_err() {
                return Some(if left == 0 { 0 } else { live.active.load(Ordering::SeqCst) });
            }
        }
    }

    /// The next backend that is in service and not among `tried`.
    pub(super) fn next(self: &Arc<Self>, tried: &[Arc<Live>]) -> Option<Turn> {
        let mut slots = lock(&self.slots);
        let count = slots.list.len();
        let turn = slots.turn;
        let now = Instant::now();
        let fit = |slot: &Slot| slot.mode == BackendMode::Serving && !tried.iter().any(|t| Arc::ptr_eq(t, &slot.live));
        let weight = |at: usize, slot: &Slot| {
            let shunned = lock(&slot.live.failed_at).is_some_and(|t| now.duration_since(t) < SHUNNED);
            let busy = match self.config.policy {
                BalancerPolicy::RoundRobin => 0,
                BalancerPolicy::LeastConnections => slot.live.active.load(Ordering::SeqCst),
            };
            (shunned, busy, (at + count - turn % count) % count)
        };
        let best = slots.list.iter().enumerate().filter(|(_, s)| fit(s)).min_by_key(|(at, s)| weight(*at, s))?;
        let (at, slot) = best;
        // Counted under the lock that `drain` takes: whoever sees the drain sees this one too.
        slot.live.active.fetch_add(1, Ordering::SeqCst);
        let turn = Turn { backend: slot.backend.clone(), live: Arc::clone(&slot.live), pool: Arc::clone(self) };
        slots.turn = at + 1;
        Some(turn)
    }

    /// Waits until another backend could have come, or a little.
    pub(super) async fn pause(&self) {
        let _ = tokio::time::timeout(Duration::from_millis(20), self.changed.notified()).await;
    }

    /// How long something is held while no backend takes it.
    pub(super) fn hold(&self) -> Duration {
        Duration::from_millis(u64::from(self.config.hold_ms))
    }
}

/// A backend that has been chosen; it counts as busy until this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) backend: Backend,
    pub(super) live: Arc<Live>,
    pool: Arc<Pool>,
}

impl Turn {
    /// Connects. A failure sends others elsewhere for a while.
    pub(super) async fn connect(&self) -> io::Result<TcpStream> {
        let limit = Duration::from_millis(u64::from(self.pool.config.connect_timeout_ms));
        let connect = TcpStream::connect((self.backend.address.as_str(), self.backend.port));
        let result = match tokio::time::timeout(limit, connect).await {
            Ok(result) => result,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        match result {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                *lock(&self.live.failed_at) = None;
                Ok(stream)
            }
            Err(e) => {
                *lock(&self.live.failed_at) = Some(Instant::now());
                Err(e)
            }
        }
    }

    /// Counts it as served.
    pub(super) fn served(&self) {
        self.live.total.fetch_add(1, Ordering::SeqCst);
    }

    /// A connection that an earlier request left and that is fit for another one.
    pub(super) fn reuse(&self) -> Option<Sender> {
        let mut idle = lock(&self.live.idle);
        idle.retain(|s| !s.is_closed());
        let at = idle.iter().rposition(Sender::is_ready)?;
        idle.remove(at)
    }

    /// Leaves a connection for the next request, unless the backend is drained.
    pub(super) fn give_back(&self, sender: Sender) {
        let slots = lock(&self.pool.slots);
        let serving = slots.list.iter().any(|s| Arc::ptr_eq(&s.live, &self.live) && s.mode == BackendMode::Serving);
        let mut idle = lock(&self.live.idle);
        if serving && !sender.is_closed() && idle.len() < IDLE {
            idle.push_back(sender);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.live.active.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.pool.changed.notify_waiters();
        }
    }
}

/// The backends that a process left, none of them busy.
pub(super) fn saved(file: &std::path::Path) -> io::Result<Vec<BackendState>> {
    let saved: Vec<Saved> = read_json(file)?.unwrap_or_default();
    Ok(saved.into_iter().map(|s| BackendState { backend: s.backend, mode: s.mode, connections: 0 }).collect())
}
