//! What every [`Balancer`] does.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::suite::{Act, Keep, cancelled, fails, known, lacks, suite};
use crate::{Backend, BackendMode, Balancer, Context, ErrorKind};

/// A connection through the balancer: which backend answered, and what keeps it open.
pub type Opened = (String, Box<dyn Any + Send>);

/// A balancer without any of the fixture's backends.
pub struct BalancerFixture {
    /// The provider.
    pub provider: Arc<dyn Balancer>,
    /// Two backends that answer.
    pub backends: [Backend; 2],
    /// Opens a connection through the balancer; `None`: refused or closed, since nothing serves. It has reached the backend
    /// when this returns.
    pub open: Act<(), Option<Opened>>,
    /// Where it works.
    pub cx: Context,
    /// Kept until the test is over.
    pub keep: Keep,
}

suite!($ balancer balancer_behaviour BalancerFixture {
    preflight_answers,
    capabilities_are_known_names,
    an_added_backend_serves,
    add_is_idempotent,
    both_backends_get_connections,
    a_drained_backend_gets_no_new_connection,
    a_drained_backend_keeps_its_connections,
    a_drained_backend_serves_again_after_add,
    drain_is_idempotent,
    drain_of_an_unknown_backend_is_not_found,
    an_idle_backend_is_idle_at_once,
    waiting_for_idle_ends_at_its_limit,
    waiting_for_idle_ends_with_the_last_connection,
    a_cancelled_wait_says_so,
    a_removed_backend_is_gone,
    remove_is_idempotent,
});

async fn fill(f: &BalancerFixture) -> [&str; 2] {
    for backend in &f.backends {
        f.provider.add(&f.cx, backend).await.expect("add");
    }
    [&f.backends[0].name, &f.backends[1].name]
}

async fn mode(f: &BalancerFixture, name: &str) -> Option<BackendMode> {
    let all = f.provider.backends(&f.cx).await.expect("backends");
    all.iter().find(|b| b.backend.name == name).map(|b| b.mode)
}

async fn open(f: &BalancerFixture) -> Opened {
    (f.open)(()).await.expect("a backend serves, so a connection opens")
}

/// Opens connections until this backend got one, and closes the others.
async fn open_to(f: &BalancerFixture, name: &str) -> Opened {
    for _ in 0..100 {
        let opened = open(f).await;
        if opened.0 == name {
            return opened;
        }
    }
    panic!("none of 100 connections reached {name}");
}

/// Says what it found, or what to install.
pub async fn preflight_answers(f: BalancerFixture) {
    f.provider.preflight(&f.cx).await.expect("preflight");
}

/// Names only verbs of the trait.
pub async fn capabilities_are_known_names(f: BalancerFixture) {
    known(&f.provider.capabilities(), &["add", "drain", "remove", "wait_idle"]);
    let can = f.provider.capabilities();
    assert!(can.has("add") && can.has("drain"), "a balancer that takes nobody out and back");
}

/// Before there is one, nobody answers.
pub async fn an_added_backend_serves(f: BalancerFixture) {
    assert!((f.open)(()).await.is_none(), "no backend, no answer");
    f.provider.add(&f.cx, &f.backends[0]).await.expect("add");
    assert_eq!(mode(&f, &f.backends[0].name).await, Some(BackendMode::Serving));
    assert_eq!(open(&f).await.0, f.backends[0].name);
}

/// Serves already is a success, and it is not there twice.
pub async fn add_is_idempotent(f: BalancerFixture) {
    f.provider.add(&f.cx, &f.backends[0]).await.expect("add");
    f.provider.add(&f.cx, &f.backends[0]).await.expect("second add");
    let all = f.provider.backends(&f.cx).await.expect("backends");
    assert_eq!(all.iter().map(|b| &b.backend).collect::<Vec<_>>(), [&f.backends[0]]);
}

/// It spreads.
pub async fn both_backends_get_connections(f: BalancerFixture) {
    let names = fill(&f).await;
    let mut seen = BTreeSet::new();
    let mut kept = Vec::new();
    for _ in 0..50 {
        let opened = open(&f).await;
        seen.insert(opened.0.clone());
        kept.push(opened);
    }
    assert_eq!(seen, names.map(str::to_owned).into());
}

/// From the moment at which `drain` returns.
pub async fn a_drained_backend_gets_no_new_connection(f: BalancerFixture) {
    let names = fill(&f).await;
    f.provider.drain(&f.cx, names[0]).await.expect("drain");
    for _ in 0..50 {
        assert_eq!(open(&f).await.0, names[1]);
    }
    assert_eq!(mode(&f, names[0]).await, Some(BackendMode::Draining));
    assert_eq!(mode(&f, names[1]).await, Some(BackendMode::Serving));
}

/// Drained is not cut off.
pub async fn a_drained_backend_keeps_its_connections(f: BalancerFixture) {
    let names = fill(&f).await;
    let kept = open_to(&f, names[0]).await;
    f.provider.drain(&f.cx, names[0]).await.expect("drain");
    let all = f.provider.backends(&f.cx).await.expect("backends");
    let state = all.iter().find(|b| b.backend.name == names[0]).expect("it is listed");
    assert!(state.connections >= 1, "the open connection is counted: {state:?}");
    drop(kept);
}

/// The way back into service.
pub async fn a_drained_backend_serves_again_after_add(f: BalancerFixture) {
    let names = fill(&f).await;
    f.provider.drain(&f.cx, names[0]).await.expect("drain");
    f.provider.add(&f.cx, &f.backends[0]).await.expect("add");
    assert_eq!(mode(&f, names[0]).await, Some(BackendMode::Serving));
    open_to(&f, names[0]).await;
}

/// Drained already is a success.
pub async fn drain_is_idempotent(f: BalancerFixture) {
    let names = fill(&f).await;
    f.provider.drain(&f.cx, names[0]).await.expect("drain");
    f.provider.drain(&f.cx, names[0]).await.expect("second drain");
    assert_eq!(mode(&f, names[0]).await, Some(BackendMode::Draining));
}

/// A typo must not look like a drained backend.
pub async fn drain_of_an_unknown_backend_is_not_found(f: BalancerFixture) {
    fill(&f).await;
    fails(ErrorKind::NotFound, f.provider.drain(&f.cx, "no-such-backend").await);
}

/// No connection, no wait.
pub async fn an_idle_backend_is_idle_at_once(f: BalancerFixture) {
    let names = fill(&f).await;
    f.provider.drain(&f.cx, names[0]).await.expect("drain");
    let wait = f.provider.wait_idle(&f.cx, names[0], Duration::from_secs(60));
    if !f.provider.capabilities().has("wait_idle") {
        return lacks("wait_idle", wait.await);
    }
    let left = tokio::time::timeout(Duration::from_secs(30), wait).await.expect("it does not wait for its limit");
    assert_eq!(left.expect("wait"), 0);
}

/// It gives how many are left.
pub async fn waiting_for_idle_ends_at_its_limit(f: BalancerFixture) {
    let names = fill(&f).await;
    let kept = open_to(&f, names[0]).await;
    f.provider.drain(&f.cx, names[0]).await.expect("drain");
    let left = f.provider.wait_idle(&f.cx, names[0], Duration::from_millis(300)).await;
    if !f.provider.capabilities().has("wait_idle") {
        return lacks("wait_idle", left);
    }
    assert_eq!(left.expect("the limit is not an error"), 1);
    drop(kept);
}

/// And not before.
pub async fn waiting_for_idle_ends_with_the_last_connection(f: BalancerFixture) {
    let names = fill(&f).await;
    if !f.provider.capabilities().has("wait_idle") {
        return lacks("wait_idle", f.provider.wait_idle(&f.cx, names[0], Duration::ZERO).await);
    }
    let kept = open_to(&f, names[0]).await;
    f.provider.drain(&f.cx, names[0]).await.expect("drain");
    let wait = f.provider.wait_idle(&f.cx, names[0], Duration::from_secs(60));
    tokio::pin!(wait);
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut wait).await.is_err(), "a connection is open still");
    drop(kept);
    let left = tokio::time::timeout(Duration::from_secs(30), wait).await.expect("it does not wait for its limit");
    assert_eq!(left.expect("wait"), 0);
}

/// A wait is not worth a blocked cancel.
pub async fn a_cancelled_wait_says_so(f: BalancerFixture) {
    let names = fill(&f).await;
    let kept = open_to(&f, names[0]).await;
    f.provider.drain(&f.cx, names[0]).await.expect("drain");
    let cx = cancelled(&f.cx);
    let wait = f.provider.wait_idle(&cx, names[0], Duration::from_secs(60));
    if !f.provider.capabilities().has("wait_idle") {
        return lacks("wait_idle", wait.await);
    }
    let ended = tokio::time::timeout(Duration::from_secs(30), wait).await.expect("a cancelled wait goes on");
    fails(ErrorKind::Cancelled, ended);
    drop(kept);
}

/// Neither listed nor served.
pub async fn a_removed_backend_is_gone(f: BalancerFixture) {
    let names = fill(&f).await;
    let removed = f.provider.remove(&f.cx, names[0]).await;
    if !f.provider.capabilities().has("remove") {
        return lacks("remove", removed);
    }
    removed.expect("remove");
    assert_eq!(mode(&f, names[0]).await, None);
    for _ in 0..20 {
        assert_eq!(open(&f).await.0, names[1]);
    }
}

/// Not there is a success.
pub async fn remove_is_idempotent(f: BalancerFixture) {
    let names = fill(&f).await;
    let removed = f.provider.remove(&f.cx, names[0]).await;
    if !f.provider.capabilities().has("remove") {
        return lacks("remove", removed);
    }
    removed.expect("remove");
    f.provider.remove(&f.cx, names[0]).await.expect("second remove");
    assert_eq!(mode(&f, names[1]).await, Some(BackendMode::Serving), "the other one serves on");
}
