//! Names of temporary containers: each says which process made it, so that one is left in peace as long as that lives.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use towpath_core::LocalProcess;

use crate::random_name;

/// Starts the names of all temporary containers: boot and PID namespace, process, its start, and random letters follow.
const PREFIX: &str = "towpath-build-";

/// Temporary containers that builds of this very process work with. Process-wide, since any builder in it may sweep: one that
/// belongs to this process and is not here was left by a build that was dropped.
static IN_USE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn in_use() -> MutexGuard<'static, BTreeSet<String>> {
    IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn enter(name: &str) {
    in_use().insert(name.to_owned());
}

pub(super) fn leave(name: &str) {
    in_use().remove(name);
}

/// This boot of this machine, as much of it as a name needs, and the PID namespace: what a process id means is known in its own
/// namespace only, and containers that share an engine's socket have one each.
///
/// Source: pid_namespaces(7), namespaces(7).
fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let hex: String = id.chars().filter(char::is_ascii_hexdigit).take(12).collect();
    let link = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let namespace: String = link.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    let or_none = |text: String| if text.is_empty() { "0".to_owned() } else { text };
    format!("{}.{}", or_none(hex), or_none(namespace))
}

/// Start time of a process, so that a reused id is not mistaken for it.
fn started(pid: u32) -> Option<u64> {
    LocalProcess::of(pid).map(LocalProcess::started)
}

/// A new name for a temporary container of this process.
pub(super) fn name() -> String {
    let pid = std::process::id();
    format!("{PREFIX}{}-{pid}-{}-{}", boot(), started(pid).unwrap_or_default(), random_name())
}

/// What is known about the maker of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Maker {
    /// It works with it.
    Lives,
    /// It is gone.
    Gone,
    /// It ran on another machine, before this one was started, or in another PID namespace: whether it lives can't be told.
    Elsewhere,
}

/// The maker of the container of this name; `None`: it is no temporary one.
pub(super) fn maker(container: &str) -> Option<Maker> {
    let mut words = container.strip_prefix(PREFIX)?.split('-');
    let (its_boot, pid, start) = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().filter(|random| !random.is_empty())?;
    let lives = started(pid) == Some(start);
    Some(match its_boot == boot() {
        false => Maker::Elsewhere,
        true if lives && (pid != std::process::id() || in_use().contains(container)) => Maker::Lives,
        true => Maker::Gone,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_container_lives_as_long_as_its_process_works_with_it() {
        let name = name();
        enter(&name);
        assert_eq!(maker(&name), Some(Maker::Lives));
        leave(&name);
        assert_eq!(maker(&name), Some(Maker::Gone), "this process goes on, its build does not");
    }

    #[test]
    fn a_reused_process_id_is_another_process() {
        let (boot, pid) = (boot(), std::process::id());
        assert_eq!(maker(&format!("{PREFIX}{boot}-{pid}-1-ab")), Some(Maker::Gone));
        assert_eq!(maker(&format!("{PREFIX}{boot}-1-{}-ab", started(1).unwrap())), Some(Maker::Lives));
        assert_eq!(maker(&format!("{PREFIX}0123-{pid}-1-ab")), Some(Maker::Elsewhere));
        let (machine, namespace) = boot.split_once('.').unwrap();
        assert!(namespace.parse::<u64>().unwrap() > 0, "{boot}");
        let elsewhere = format!("{PREFIX}{machine}.1-{pid}-1-ab");
        assert_eq!(maker(&elsewhere), Some(Maker::Elsewhere), "that process id means another process there");
        for other in ["web", "towpath-build-", "towpath-build-mine", "towpath-build-a-b-c-d"] {
            assert_eq!(maker(other), None, "{other}");
        }
    }
}
