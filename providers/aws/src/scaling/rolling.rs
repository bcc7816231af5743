//! Replaces the instances of a group without an instance refresh.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use towpath_core::{Context, Error, ErrorKind, EventKind, Result};

use super::config::RollingConfig;
use super::group::{Member, Place, Seen, Template};
use super::next::{Moving, Step, next, progress};
use crate::client::Balancing;
use crate::tags::MOVING;
use crate::target_group::healthy;
use crate::wait::{Patience, Unanswered};

/// One replacement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Replace<'a> {
    pub(super) place: Place<'a>,
    pub(super) balancing: &'a Balancing,
    pub(super) config: &'a RollingConfig,
    pub(super) patience: Patience,
}

impl Replace<'_> {
    /// Has new instances start from `version`, and says on the group where it is moved to.
    pub(super) async fn start(&self, cx: &Context, seen: &Seen, template: &Template, version: i64) -> Result<()> {
        // After a crash the number of before is the note's: what is wanted now may have room for a batch in it.
        let before = seen.tags.get(MOVING).and_then(|note| Moving::read(note));
        let batch = i32::try_from(self.config.batch).unwrap_or(i32::MAX);
        // More than a batch away, somebody has scaled the group since: an old note must not shrink it.
        let near = |m: &Moving| (m.desired..=m.desired.saturating_add(batch)).contains(&seen.desired);
        let before = before.filter(near);
        let moving = Moving { version, desired: before.map_or(seen.desired, |m| m.desired) };
        if self.config.surge && moving.desired > 0 && seen.max <= moving.desired {
            let at = self.place.scaling.at(self.place.operation, "UpdateAutoScalingGroup", self.place.group);
            let says = "the group's maximum leaves no room for a new instance beside the old ones: raise it, or set `rolling.surge: false`";
            return Err(at.error(ErrorKind::InvalidInput, says).with("desired", moving.desired).with("max", seen.max));
        }
        self.place.mark(MOVING, &moving.note()).await?;
        let done = self.place.set_template(cx, template, version).await;
        if done.as_ref().is_err_and(|e| e.kind() == ErrorKind::Denied) {
            // It was not done, so nothing is moved. Who may not do this either leaves a note, which the next move replaces.
            let _ = self.place.unmark(MOVING).await;
        }
        done
    }

    /// The instances that get requests.
    async fn serving(&self, cx: &Context, seen: &Seen) -> Result<BTreeSet<String>> {
        let mut serving: BTreeSet<String> = seen.counted().filter(|m| m.serves()).map(|m| m.id.clone()).collect();
        for arn in &seen.target_groups {
            let well = healthy(cx, self.balancing, self.place.operation, arn).await?;
            serving.retain(|id| well.contains(id));
        }
        Ok(serving)
    }

    /// Replaces until all is new.
    pub(super) async fn follow(&self, cx: &Context, version: i64) -> Result<()> {
        let place = &self.place;
        let (begun, limit) = (Instant::now(), Duration::from_secs(self.config.limit_s));
        let (mut since, mut last, mut unanswered) = (Instant::now(), None, Unanswered::default());
        loop {
            cx.check(crate::PROVIDER, place.operation)?;
            let looked = async {
                let seen = place.look(cx).await?;
                let serving = self.serving(cx, &seen).await?;
                Ok((seen, serving))
            };
            let (seen, serving) = match looked.await {
                Ok(looked) => looked,
                Err(e) if unanswered.bears(&e) => {
                    cx.sleep(crate::PROVIDER, place.operation, self.patience.pause()).await?;
                    continue;
                }
                Err(e) => return Err(e),
            };
            unanswered = Unanswered::default();
            let moving = seen.tags.get(MOVING).and_then(|note| Moving::read(note));
            let Some(moving) = moving.filter(|m| m.version == version) else {
                // Ended before: by an earlier process, by a cancel, or for another release.
                let all_new = seen.counted().all(|m| m.version == Some(version));
                if all_new && seen.is_whole() {
                    return Ok(());
                }
                let at = place.scaling.at(place.operation, "DescribeAutoScalingGroups", place.group);
                let says = "the replacement was cancelled, or somebody moves the group elsewhere";
                return Err(at.error(ErrorKind::Conflict, says));
            };
            let now = progress(&seen, moving, &serving);
            if last != Some(now) {
                (since, last) = (Instant::now(), Some(now));
                let message = format!("{}: {} new instances serve, {} old ones are left", place.group, now.1, now.0);
                let total = u64::try_from(now.0 + now.1).ok();
                cx.emit(EventKind::Progress { message, done: u64::try_from(now.1).ok(), total });
            }
            match next(&seen, moving, self.config, &serving) {
                Step::Done => return place.unmark(MOVING).await,
                Step::Want(n) => place.set_desired(n).await?,
                Step::End(ids, shrink) => {
                    for id in ids {
                        place.end(&id, shrink).await?;
                    }
                }
                Step::Wait if since.elapsed() > limit || begun.elapsed() > self.patience.limit() => {
                    return Err(self.give_up(cx, &seen, &serving, since.elapsed()).await);
                }
                Step::Wait => {}
            }
            cx.sleep(crate::PROVIDER, place.operation, self.patience.pause()).await?;
        }
    }

    /// The new instances do not come into service: what was started in vain goes, and the group wants what it wanted before.
    async fn give_up(&self, cx: &Context, seen: &Seen, serving: &BTreeSet<String>, waited: Duration) -> Error {
        let place = &self.place;
        let said = place.last_failure(cx).await;
        let stuck: Vec<&Member> = seen.counted().filter(|m| !serving.contains(&m.id)).collect();
        let names: Vec<&str> = stuck.iter().map(|m| m.id.as_str()).collect();
        let at = place.scaling.at(place.operation, "DescribeAutoScalingGroups", place.group);
        let says = format!(
            "no new instance came into service for {} s: look at the group's activities and the instances' console",
            waited.as_secs()
        );
        let mut error = at.error(ErrorKind::Unhealthy, says).with("not_in_service", names.join(" "));
        if let Some(said) = said {
            error = error.caused_by(said);
        }
        match self.withdraw(cx).await {
            Ok(()) => error,
            Err(e) => error.with("left", format!("what was started in vain: {}", e.message())),
        }
    }

    /// Ends a replacement where it is: what is not in service yet goes as far as it is more than was wanted before, and the note goes.
    pub(super) async fn withdraw(&self, cx: &Context) -> Result<()> {
        let place = &self.place;
        let seen = place.look(cx).await?;
        let Some(moving) = seen.tags.get(MOVING).and_then(|note| Moving::read(note)) else { return Ok(()) };
        let serving = self.serving(cx, &seen).await?;
        let more = usize::try_from(seen.desired - moving.desired).unwrap_or_default();
        let idle = |m: &&Member| m.version == Some(moving.version) && !serving.contains(&m.id);
        let ends: Vec<&Member> = seen.counted().filter(idle).take(more).collect();
        for member in &ends {
            place.end(&member.id, true).await?;
        }
        // Whom Auto Scaling ends then is its policy's business: all of the others serve.
        if more > ends.len() {
            place.set_desired(moving.desired).await?;
        }
        place.unmark(MOVING).await
    }
}
