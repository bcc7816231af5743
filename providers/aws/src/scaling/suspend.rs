//! Suspends processes of Auto Scaling, and remembers on the group itself which ones, so that whoever resumes resumes just those.

use towpath_core::{Context, Result};

use super::group::{Place, Seen};
use crate::tags::SUSPENDED;

/// Those that towpath suspended, as the group's tag has them.
fn noted(seen: &Seen) -> Option<Vec<String>> {
    seen.tags.get(SUSPENDED).map(|names| names.split_whitespace().map(str::to_owned).collect())
}

impl Place<'_> {
    /// Suspends these processes, but for those that somebody else has suspended.
    pub(super) async fn suspend(&self, cx: &Context, names: &[&str]) -> Result<()> {
        let seen = self.look(cx).await?;
        // A note that is there is from before a crash: what it names is ours, suspended by now or not.
        let ours = match noted(&seen) {
            Some(ours) => ours,
            None => {
                let free = |n: &&&str| !seen.suspended.iter().any(|s| s == **n);
                let ours: Vec<String> = names.iter().filter(free).map(|n| (*n).to_owned()).collect();
                if ours.is_empty() {
                    return Ok(());
                }
                // First the note: suspended without one, they would stay so.
                self.mark(SUSPENDED, &ours.join(" ")).await?;
                ours
            }
        };
        if ours.is_empty() || ours.iter().all(|n| seen.suspended.contains(n)) {
            return Ok(());
        }
        let at = self.scaling.at(self.operation, "SuspendProcesses", self.group);
        let request =
            self.scaling.api.suspend_processes().auto_scaling_group_name(self.group).set_scaling_processes(Some(ours));
        request.send().await.map(drop).map_err(|e| at.failed(e))
    }

    /// Resumes what towpath suspended. Nothing, and no group any more, is a success.
    pub(super) async fn resume(&self, cx: &Context) -> Result<()> {
        let Some(seen) = self.find(cx).await? else { return Ok(()) };
        let Some(ours) = noted(&seen) else { return Ok(()) };
        // Without a name AWS would resume all.
        if !ours.is_empty() {
            let at = self.scaling.at(self.operation, "ResumeProcesses", self.group);
            let request = self
                .scaling
                .api
                .resume_processes()
                .auto_scaling_group_name(self.group)
                .set_scaling_processes(Some(ours));
            request.send().await.map_err(|e| at.failed(e))?;
        }
        self.unmark(SUSPENDED).await
    }
}
