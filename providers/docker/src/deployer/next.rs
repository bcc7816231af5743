//! What is to be done next, told from what is there alone.
//!
//! An activate looks, does one step, and looks again. So it has no place in which it can be interrupted without the next one going on
//! from there, whoever runs it.

use super::look::{Seen, World};
use super::names::Owner;

/// What is wanted.
#[derive(Debug, Clone)]
pub(super) struct Want {
    pub(super) version: String,
    pub(super) spec: String,
    /// Old and new run at once for a moment.
    pub(super) beside: bool,
    /// Stopped containers that stay.
    pub(super) keep: usize,
}

/// What this process has seen or done that no look can tell.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Did {
    pub(super) created: bool,
    pub(super) started: bool,
    pub(super) ready: bool,
    pub(super) switched: bool,
    pub(super) lingered: bool,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Makes the wanted container.
    Create,
    /// Starts the wanted container.
    Start(String),
    /// Waits until the wanted container works.
    Ready(String),
    /// Tells the proxy.
    Switch(String),
    /// Gives the old container's requests time.
    Linger,
    /// Stops a container.
    Stop(String),
    /// Gives a container another name.
    Rename(String, String),
    /// Removes a container that is not kept, or may be half made.
    Remove(String),
}

/// The next step; `None`: all is as wanted.
pub(super) fn next(world: &World, owner: &Owner, want: &Want, did: Did) -> Option<Step> {
    let Some(me) = world.made(&want.version, &want.spec) else { return Some(Step::Create) };
    if !me.was_started() && !did.created {
        // Whether the process that made it came to join all networks is not known.
        return Some(Step::Remove(me.id.clone()));
    }
    let others = || world.all.iter().filter(|c| c.id != me.id);
    let old = others().find(|c| c.runs());
    if did.started && !did.ready && !me.runs() {
        // It has ended since, maybe before the first look: what waits for it tells why. Starting it again and again would tell nothing.
        return Some(Step::Ready(me.id.clone()));
    }
    if !me.runs() || me.is_paused() {
        return Some(match old {
            Some(old) if !want.beside => Step::Stop(old.id.clone()),
            _ => Step::Start(me.id.clone()),
        });
    }
    if !did.ready {
        return Some(Step::Ready(me.id.clone()));
    }
    if want.beside && !did.switched {
        return Some(Step::Switch(me.id.clone()));
    }
    // The name is given when the container is known to work: until then the old one has it, which is the way back.
    if me.name != owner.name {
        return Some(match world.called(&owner.name) {
            Some(holder) => Step::Rename(holder.id.clone(), owner.aside(&holder.version, &holder.spec)),
            None => Step::Rename(me.id.clone(), owner.name.clone()),
        });
    }
    if let Some(old) = old {
        return Some(if want.beside && !did.lingered { Step::Linger } else { Step::Stop(old.id.clone()) });
    }
    // One that never ran is nobody's way back.
    let useless = others().find(|c| !c.was_started());
    let too_many = others().filter(|c| c.was_started()).nth(want.keep);
    useless.or(too_many).map(|c: &Seen| Step::Remove(c.id.clone()))
}

#[cfg(test)]
mod tests {
    use bollard::models::ContainerState;
    use towpath_core::Context;

    use super::super::config::DockerDeployConfig;
    use super::*;

    fn owner() -> Owner {
        Owner::of(
            &Context::new(),
            &DockerDeployConfig { name: Some("web".into()), ..DockerDeployConfig::new("web") },
            "h",
        )
    }

    /// A model of the engine: what a step does to the containers.
    fn act(world: &mut World, want: &Want, did: &mut Did, step: &Step, clock: &mut u32) {
        *clock += 1;
        let mut all = std::mem::take(&mut world.all);
        let on = |all: &mut Vec<Seen>, id: &str, f: &mut dyn FnMut(&mut Seen)| {
            all.iter_mut().filter(|c| c.id == id).for_each(f);
        };
        match step {
            Step::Create => all.push({
                did.created = true;
                Seen {
                    id: format!("id{clock}"),
                    name: owner().aside(&want.version, &want.spec),
                    version: want.version.clone(),
                    spec: want.spec.clone(),
                    state: ContainerState {
                        running: Some(false),
                        started_at: Some("0001-01-01".into()),
                        ..Default::default()
                    },
                    ..Seen::default()
                }
            }),
            Step::Start(id) => on(&mut all, id, &mut |c| {
                did.started = true;
                c.state.running = Some(true);
                c.state.started_at = Some(format!("2026-01-01T{clock:08}"));
            }),
            Step::Stop(id) => on(&mut all, id, &mut |c| c.state.running = Some(false)),
            Step::Rename(id, to) => {
                assert!(!all.iter().any(|c| c.name == *to), "the name is taken: {step:?}");
                on(&mut all, id, &mut |c| c.name.clone_from(to));
            }
            Step::Remove(id) => all.retain(|c| c.id != *id),
            Step::Ready(_) => did.ready = true,
            Step::Switch(_) => did.switched = true,
            Step::Linger => did.lingered = true,
        }
        *world = World::sorted(all);
    }

    fn want(version: &str, beside: bool) -> Want {
        Want { version: version.into(), spec: format!("{version}-spec"), beside, keep: 1 }
    }

    /// Does at most `steps`, as a process that dies then. Gives the steps, and whether it came to the end.
    fn run(world: &mut World, want: &Want, steps: usize, clock: &mut u32) -> (Vec<Step>, bool) {
        let (mut did, mut done) = (Did::default(), Vec::new());
        while let Some(step) = next(world, &owner(), want, did) {
            if done.len() == steps {
                return (done, false);
            }
            let running = world.all.iter().filter(|c| c.runs()).count();
            act(world, want, &mut did, &step, clock);
            let now = world.all.iter().filter(|c| c.runs()).count();
            assert!(now <= if want.beside { 2 } else { 1 }, "{now} run after {step:?}");
            assert!(!want.beside || running == 0 || now > 0, "nothing serves after {step:?}");
            done.push(step);
            assert!(done.len() < 50, "it never ends: {done:?}");
        }
        (done, true)
    }

    /// From wherever a process was killed, the next one comes to the same end: to the new version, or back to the old one.
    #[test]
    fn whoever_goes_on_from_any_point_comes_to_the_same_end() {
        for beside in [false, true] {
            for goes_back in [false, true] {
                let mut steps = 0;
                loop {
                    let (mut world, mut clock) = (World::default(), 0);
                    assert!(run(&mut world, &want("v0", beside), usize::MAX, &mut clock).1);
                    assert!(run(&mut world, &want("v1", beside), usize::MAX, &mut clock).1);
                    let (_, whole) = run(&mut world, &want("v2", beside), steps, &mut clock);
                    let last = if goes_back { "v1" } else { "v2" };
                    assert!(run(&mut world, &want(last, beside), usize::MAX, &mut clock).1);
                    let current = world.current(&owner()).map(|c| (c.version.as_str(), c.name.as_str(), c.runs()));
                    assert_eq!(current, Some((last, "web", true)), "after {steps} steps: {world:?}");
                    assert_eq!(world.all.iter().filter(|c| c.runs()).count(), 1, "{world:?}");
                    assert!(world.all.len() <= 2, "{world:?}");
                    if whole {
                        break;
                    }
                    steps += 1;
                }
                assert!(steps >= 6, "only {steps} points");
            }
        }
    }

    /// An engine may report a short life as over before anybody has looked at it once.
    #[test]
    fn what_has_ended_before_the_first_look_is_judged_and_not_started_again() {
        for beside in [false, true] {
            let (mut world, mut clock) = (World::default(), 0);
            let (want, mut did) = (want("v1", beside), Did::default());
            while !did.started {
                let step = next(&world, &owner(), &want, did).expect("it is not started yet");
                act(&mut world, &want, &mut did, &step, &mut clock);
            }
            let me = world.all.first_mut().expect("it was made");
            me.state.running = Some(false);
            let id = me.id.clone();
            assert_eq!(next(&world, &owner(), &want, did), Some(Step::Ready(id)));
        }
    }

    #[test]
    fn going_back_starts_the_kept_container_and_makes_none() {
        let (mut world, mut clock) = (World::default(), 0);
        for version in ["v1", "v2"] {
            run(&mut world, &want(version, false), usize::MAX, &mut clock);
        }
        let (back, _) = run(&mut world, &want("v1", false), usize::MAX, &mut clock);
        assert!(!back.contains(&Step::Create), "{back:?}");
        let (again, _) = run(&mut world, &want("v1", false), usize::MAX, &mut clock);
        assert!(matches!(again.as_slice(), [Step::Ready(_)]), "it runs already: {again:?}");
    }
}
