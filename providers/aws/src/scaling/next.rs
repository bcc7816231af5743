//! What a replacement by towpath does next, told from what is there alone: whoever looks, after a crash, too, comes to the same step.

use std::collections::BTreeSet;

use super::config::RollingConfig;
use super::group::{Member, Seen};

/// Where a group is moved to, as its tag has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moving {
    /// The version of its launch template.
    pub(super) version: i64,
    /// How many instances it had wanted before.
    pub(super) desired: i32,
}

impl Moving {
    pub(super) fn note(self) -> String {
        format!("{} {}", self.version, self.desired)
    }

    pub(super) fn read(note: &str) -> Option<Self> {
        let (version, desired) = note.split_once(' ')?;
        Some(Self { version: version.parse().ok()?, desired: desired.parse().ok()? })
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Wants so many instances.
    Want(i32),
    /// Ends instances; `true`: without others in their place.
    End(Vec<String>, bool),
    /// Something has to come into service first.
    Wait,
    /// All instances are new and serve.
    Done,
}

/// How far it is, to see whether it gets on: instances to replace, new ones that serve.
pub(super) fn progress(seen: &Seen, moving: Moving, serving: &BTreeSet<String>) -> (usize, usize) {
    let (new, old): (Vec<&Member>, Vec<&Member>) = seen.counted().partition(|m| m.version == Some(moving.version));
    (old.len(), new.iter().filter(|m| serving.contains(&m.id)).count())
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// The next step. `serving`: the instances that get requests.
pub(super) fn next(seen: &Seen, moving: Moving, config: &RollingConfig, serving: &BTreeSet<String>) -> Step {
    let (new, old): (Vec<&Member>, Vec<&Member>) = seen.counted().partition(|m| m.version == Some(moving.version));
    let serves = |m: &&&Member| serving.contains(&m.id);
    let total = count(new.iter().chain(&old).filter(serves).count());
    if old.is_empty() {
        return if seen.desired > moving.desired {
            Step::Want(moving.desired)
        } else if new.iter().all(|m| serves(&m)) && count(new.len()) >= seen.desired {
            Step::Done
        } else {
            Step::Wait
        };
    }
    let batch = i32::try_from(config.batch).unwrap_or(i32::MAX);
    let some = |old: Vec<&&Member>, most: i32| -> Vec<String> {
        old.into_iter().take(usize::try_from(most).unwrap_or_default()).map(|m| m.id.clone()).collect()
    };
    // Nobody misses an old one that does not serve.
    let idle = some(old.iter().filter(|m| !serves(m)).collect(), batch);
    if !idle.is_empty() {
        return Step::End(idle, false);
    }
    if !config.surge {
        let missing = (moving.desired - total).max(0);
        let ends = some(old.iter().collect(), batch - missing);
        return if ends.is_empty() { Step::Wait } else { Step::End(ends, false) };
    }
    let ends = some(old.iter().collect(), (total - moving.desired).min(seen.desired - moving.desired));
    if !ends.is_empty() {
        return Step::End(ends, true);
    }
    let wanted = moving.desired.saturating_add(batch.min(count(old.len()))).min(seen.max.max(moving.desired));
    if seen.desired < wanted { Step::Want(wanted) } else { Step::Wait }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use aws_sdk_autoscaling::types::LifecycleState;

    use super::*;

    fn member(id: usize, version: i64, serves: bool) -> Member {
        let state = if serves { LifecycleState::InService } else { LifecycleState::Pending };
        Member { id: format!("i-{id}"), state, healthy: true, version: Some(version), protected: false }
    }

    /// A group whose new instances serve one look after they were started.
    struct Model {
        seen: Seen,
        next: usize,
        template: i64,
    }

    impl Model {
        fn new(desired: i32, max: i32) -> Self {
            let members = (0..usize::try_from(desired).unwrap()).map(|n| member(n, 1, true)).collect();
            let seen = Seen {
                desired,
                max,
                template: None,
                members,
                suspended: Vec::new(),
                tags: Default::default(),
                target_groups: Vec::new(),
            };
            Self { seen, next: 100, template: 2 }
        }

        fn serving(&self) -> BTreeSet<String> {
            self.seen.counted().filter(|m| m.serves()).map(|m| m.id.clone()).collect()
        }

        fn act(&mut self, step: &Step) {
            match step {
                Step::Want(n) => self.seen.desired = *n,
                Step::End(ids, shrink) => {
                    self.seen.members.retain(|m| !ids.contains(&m.id));
                    if *shrink {
                        self.seen.desired -= count(ids.len());
                    }
                }
                Step::Wait => {
                    for m in &mut self.seen.members {
                        m.state = LifecycleState::InService;
                    }
                }
                Step::Done => {}
            }
            assert!(self.seen.desired <= self.seen.max, "{step:?}");
            while count(self.seen.members.len()) < self.seen.desired {
                self.next += 1;
                self.seen.members.push(member(self.next, self.template, false));
            }
        }
    }

    #[test]
    fn it_ends_with_new_instances_only_and_never_serves_with_less_than_it_may() {
        for (desired, max, batch, surge) in
            [(1, 2, 1, true), (3, 4, 1, true), (5, 9, 4, true), (3, 3, 1, false), (4, 4, 3, false), (2, 2, 5, false)]
        {
            let config = RollingConfig { batch, surge, limit_s: 1 };
            let (mut model, moving) = (Model::new(desired, max), Moving { version: 2, desired });
            let least = if surge { desired } else { (desired - i32::try_from(batch).unwrap()).max(0) };
            for turn in 0.. {
                assert!(turn < 100, "it never ends: {:?}", model.seen);
                let step = next(&model.seen, moving, &config, &model.serving());
                if step == Step::Done {
                    break;
                }
                model.act(&step);
                assert!(count(model.serving().len()) >= least, "{step:?} leaves {:?}", model.serving());
            }
            assert_eq!((model.seen.desired, count(model.seen.members.len())), (desired, desired));
            assert!(model.seen.members.iter().all(|m| m.version == Some(2)));
        }
    }

    #[test]
    fn what_does_not_serve_goes_first_and_costs_nothing() {
        let mut model = Model::new(3, 4);
        model.seen.members[1].healthy = false;
        let step = next(&model.seen, Moving { version: 2, desired: 3 }, &RollingConfig::default(), &model.serving());
        assert_eq!(step, Step::End(vec!["i-1".into()], false));
    }

    #[test]
    fn an_empty_group_is_done() {
        let model = Model::new(0, 4);
        let moving = Moving { version: 2, desired: 0 };
        assert_eq!(next(&model.seen, moving, &RollingConfig::default(), &model.serving()), Step::Done);
        assert_eq!(Moving::read(&moving.note()), Some(moving));
        assert_eq!(Moving::read("x"), None);
    }
}
