//! What configurators share that work on each host apart from the others.

use std::future::Future;

use futures::StreamExt as _;

use crate::{Error, ErrorKind, HostSummary, TaskStatus};

/// How many hosts are worked on at the same time if nobody says another number.
pub const FORKS: usize = 50;

/// Does the work of all hosts, of `forks` at the same time, at least of one. Gives what came of it in the order of the hosts.
pub async fn each_host<T>(forks: usize, work: Vec<impl Future<Output = T>>) -> Vec<T> {
    futures::stream::iter(work).buffered(forks.max(1)).collect().await
}

impl TaskStatus {
    /// How a task counts that ended with this error, as Ansible counts: a host that can't be reached, that lets nobody in, or whose
    /// way is set wrong is unreachable. `None` for a cancel: that is no failure.
    ///
    /// `connecting`: it was the way to the host that failed, not what was to be done there.
    pub fn of_failure(error: &Error, connecting: bool) -> Option<Self> {
        match error.kind() {
            ErrorKind::Cancelled => None,
            ErrorKind::Unreachable => Some(Self::Unreachable),
            _ if connecting => Some(Self::Unreachable),
            _ => Some(Self::Failed),
        }
    }
}

impl HostSummary {
    /// Counts one task.
    pub fn count(&mut self, status: TaskStatus) {
        match status {
            TaskStatus::Ok => self.ok += 1,
            TaskStatus::Changed => {
                self.ok += 1;
                self.changed += 1;
            }
            TaskStatus::Skipped => self.skipped += 1,
            TaskStatus::Failed => self.failed += 1,
            TaskStatus::Ignored => {
                self.ok += 1;
                self.ignored += 1;
            }
            TaskStatus::Unreachable => self.unreachable = 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_lets_nobody_in_is_unreachable() {
        let of = |kind, connecting| TaskStatus::of_failure(&Error::new(kind, "test", "test", "it failed"), connecting);
        assert_eq!(of(ErrorKind::Denied, true), Some(TaskStatus::Unreachable));
        // sudo, or a file.
        assert_eq!(of(ErrorKind::Denied, false), Some(TaskStatus::Failed));
        assert_eq!(of(ErrorKind::Unreachable, false), Some(TaskStatus::Unreachable));
        assert_eq!(of(ErrorKind::Cancelled, true), None);
    }

    #[tokio::test]
    async fn results_come_in_the_order_of_the_hosts() {
        let work: Vec<_> = (0..5u64)
            .map(|n| async move {
                tokio::time::sleep(std::time::Duration::from_millis(50 - 10 * n)).await;
                n
            })
            .collect();
        assert_eq!(each_host(3, work).await, [0, 1, 2, 3, 4]);
    }
}
