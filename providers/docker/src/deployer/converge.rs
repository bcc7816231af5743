//! Does one step after the other until all is as wanted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bollard::query_parameters::{
    CreateContainerOptions, RenameContainerOptions, StartContainerOptions, StopContainerOptions,
};
use serde_json::json;
use towpath_core::{Context, Error, ErrorKind, EventKind, Exec, PutOptions, Release, Result, Source};

use super::body::{Plan, SLOTS, body, endpoint};
use super::config::{DockerDeployConfig, Switch};
use super::image;
use super::look::{Seen, World};
use super::names::Owner;
use super::next::{Did, Step, Want, next};
use super::reach::Place;
use super::{before, ready};
use crate::PROVIDER;
use crate::errors::{failed, status};

const ACTIVATE: &str = "activate";

/// More steps than any activate needs: then somebody else works against it.
const MOST_STEPS: usize = 60;

/// The work of one activate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) place: &'a Place<'a>,
    pub(super) owner: &'a Owner,
    pub(super) config: &'a DockerDeployConfig,
}

impl Work<'_> {
    async fn look(&self) -> Result<World> {
        World::of(&self.place.engine, ACTIVATE, self.owner).await
    }

    /// Makes a release the one that runs. `image`: its id on the target; `None`: what is kept of it is all there is.
    pub(super) async fn activate(&self, cx: &Context, release: &Release, image: Option<&str>) -> Result<()> {
        let world = self.look().await?;
        let plan = match image {
            Some(image) => self.plan(&world, release, image)?,
            None => Plan::kept(self.config, image::kept(ACTIVATE, &world, release)?)?,
        };
        let want = Want {
            version: plan.version.clone(),
            spec: plan.spec.clone(),
            beside: matches!(self.config.switch, Switch::Beside(_)),
            keep: usize::try_from(self.config.keep).unwrap_or(usize::MAX),
        };
        if world.made(&want.version, &want.spec).is_none_or(|me| !me.runs()) {
            before::check(cx, self.place, self.owner, &self.config.container, (&plan, &world)).await?;
        }
        // What served before, which a process that was killed since may have stopped already.
        let serving: Vec<&Seen> = world.all.iter().filter(|c| c.runs()).collect();
        let serving: Vec<String> = serving.into_iter().map(|c| c.id.clone()).collect();
        let served: Vec<String> =
            cx.effect_idempotent("before", json!({"serving": serving}), |_| async { Ok(serving.clone()) }).await?;
        let (mut did, mut touched) = (Did::default(), false);
        let calm = cx.shielded();
        for turn in 0..MOST_STEPS {
            let world = self.look().await?;
            let Some(step) = next(&world, self.owner, &want, did) else { return Ok(()) };
            // Until it works there is a way back. From then on the way forward is the safe one, whatever the context says.
            let cx = if did.ready { &calm } else { cx };
            let stopped = if touched { cx.check(PROVIDER, ACTIVATE) } else { Ok(()) };
            let result = match (&stopped, &step) {
                (Err(_), _) => stopped.map(|()| false),
                (_, Step::Ready(id)) => {
                    ready::wait(cx, self.place, self.owner, self.config, (id, touched)).await.map(|()| true)
                }
                (_, Step::Linger) => self.linger(cx).await.map(|()| true),
                _ => self.step(cx, turn, &step, &plan, &world).await,
            };
            touched |= matches!(step, Step::Create | Step::Start(_) | Step::Stop(_));
            match (result, &step) {
                (Ok(true), Step::Create) => did.created = true,
                (Ok(true), Step::Start(_)) => did.started = true,
                (Ok(true), Step::Ready(_)) => did.ready = true,
                (Ok(true), Step::Switch(_)) => did.switched = true,
                (Ok(true), Step::Linger) => did.lingered = true,
                // Done, or journalled as done: the next look tells.
                (Ok(_), _) => {}
                (Err(e), _) if did.ready => return Err(e.with_missing("version", &plan.version)),
                (Err(e), _) => return Err(self.give_up(&want, &served, touched, e).await),
            }
        }
        let message =
            "it never becomes as wanted: does somebody else start and stop these containers at the same time?";
        Err(Error::new(ErrorKind::Conflict, PROVIDER, ACTIVATE, message).with("container", &self.owner.name))
    }

    /// What container the release is to be.
    fn plan(&self, world: &World, release: &Release, image: &str) -> Result<Plan> {
        let of = |slot| Plan::of(self.config, release, image, slot);
        if !matches!(self.config.switch, Switch::Beside(_)) {
            return of(None);
        }
        let current = world.current(self.owner).filter(|c| c.runs());
        let both = [of(Some(0))?, of(Some(1))?];
        // One that runs stays in its slot; else it goes where the current one is not, to a container that is kept there if there is one.
        if let Some(running) = both.iter().find(|p| world.made(&p.version, &p.spec).is_some_and(Seen::runs)) {
            return Ok(running.clone());
        }
        let used = current.and_then(|c| SLOTS.iter().position(|s| c.slot.as_deref() == Some(s)));
        let free = |p: &&Plan| p.slot != used;
        let kept = both.iter().filter(free).find(|p| world.made(&p.version, &p.spec).is_some());
        let any = kept.or_else(|| both.iter().find(free));
        any.cloned().ok_or_else(|| Error::new(ErrorKind::Internal, PROVIDER, ACTIVATE, "both slots are used"))
    }

    /// One step that changes something. Gives `false` where the journal says that it is done. Its key has its turn: a run that goes on skips what is journalled as done, looks, and sees what is
    /// still to do.
    async fn step(&self, cx: &Context, turn: usize, step: &Step, plan: &Plan, world: &World) -> Result<bool> {
        let (verb, id) = match step {
            Step::Create => ("create", ""),
            Step::Start(id) => ("start", id.as_str()),
            Step::Stop(id) => ("stop", id.as_str()),
            Step::Switch(id) => ("switch", id.as_str()),
            Step::Rename(id, _) => ("rename", id.as_str()),
            Step::Remove(id) => ("remove", id.as_str()),
            Step::Ready(_) | Step::Linger => return Ok(true),
        };
        let shown = world.all.iter().find(|c| c.id == id).map_or(plan.version.as_str(), |c| c.version.as_str());
        let message = format!("{}: {verb} {shown}", self.owner.service);
        cx.emit(EventKind::Progress { message, done: None, total: None });
        let intent = json!({"step": verb, "container": id, "version": shown, "service": self.owner.service});
        // In a run that goes on the same turn may be another step.
        let key = format!("{turn:02}-{verb}-{}", id.get(..12).unwrap_or(id));
        let acted = AtomicBool::new(false);
        let act = async |cx: Context| {
            acted.store(true, Ordering::Relaxed);
            match step {
                Step::Create => self.create(&cx, plan).await,
                Step::Start(id) => self.start(id, world).await,
                Step::Stop(id) => self.stop(id).await,
                Step::Switch(id) => self.switch(&cx, plan, id).await,
                Step::Rename(id, to) => self.rename(id, to).await,
                Step::Remove(id) => self.remove(id, world).await,
                Step::Ready(_) | Step::Linger => Ok(()),
            }
        };
        cx.effect_idempotent(&key, intent, act).await?;
        Ok(acted.into_inner())
    }

    async fn rename(&self, id: &str, to: &str) -> Result<()> {
        let done = self.place.engine.docker.rename_container(id, RenameContainerOptions { name: to.to_owned() }).await;
        done.map_err(|e| failed(ACTIVATE, "a container can't be renamed", e).with("container", id).with("to", to))
    }

    /// Removes a container, and what is staged of its version if no other one has it.
    async fn remove(&self, id: &str, world: &World) -> Result<()> {
        let (engine, owner) = (&self.place.engine, self.owner);
        engine.remove_container(ACTIVATE, id).await?;
        let Some(gone) = world.all.iter().find(|c| c.id == id && c.was_started()) else { return Ok(()) };
        if world.all.iter().any(|c| c.id != id && c.version == gone.version) {
            return Ok(());
        }
        for (digest, version) in image::marks(ACTIVATE, engine, owner).await? {
            if version == gone.version {
                image::unmark(ACTIVATE, engine, owner, &digest, &version).await?;
            }
        }
        Ok(())
    }

    async fn create(&self, cx: &Context, plan: &Plan) -> Result<()> {
        let (docker, container) = (&self.place.engine.docker, &self.config.container);
        let name = self.owner.aside(&plan.version, &plan.spec);
        let Some(image) = &plan.image else {
            let message = "the container that was kept of this version is gone: somebody removed it; give the release its artifact";
            return Err(Error::new(ErrorKind::NotFound, PROVIDER, ACTIVATE, message).with("container", name));
        };
        let body = body(cx, self.owner, container, plan, image).await?;
        let options = CreateContainerOptions { name: Some(name.clone()), ..CreateContainerOptions::default() };
        let made = docker.create_container(Some(options), body).await.map_err(|e| {
            failed(ACTIVATE, "the container can't be made: see what the engine says", e).with("container", &name)
        })?;
        // Engines take one network when a container is made. The others come before its name is known to work: what dies here has
        // made a container that was never started, and is made anew.
        for network in container.networks.iter().skip(1) {
            let request = bollard::models::NetworkConnectRequest {
                container: made.id.clone(),
                endpoint_config: Some(endpoint(self.owner, plan)),
            };
            docker.connect_network(network, request).await.map_err(|e| {
                failed(ACTIVATE, "the container can't join a network", e)
                    .with("container", &name)
                    .with("network", network)
            })?;
        }
        Ok(())
    }

    async fn start(&self, id: &str, world: &World) -> Result<()> {
        let docker = &self.place.engine.docker;
        let paused = world.all.iter().any(|c| c.id == id && c.is_paused());
        let done = match paused {
            true => docker.unpause_container(id).await,
            false => docker.start_container(id, None::<StartContainerOptions>).await,
        };
        done.map_err(|e| {
            failed(ACTIVATE, "the container can't be started: see what the engine says", e).with("container", id)
        })
    }

    pub(super) async fn stop(&self, id: &str) -> Result<()> {
        // Long is the engine's wait, not ours.
        let options =
            StopContainerOptions { t: i32::try_from(self.config.container.stop_timeout_s).ok(), signal: None };
        match self.place.engine.docker.stop_container(id, Some(options)).await {
            Ok(()) => Ok(()),
            // Stopped already, or gone.
            Err(e) if matches!(status(&e), Some(304 | 404)) => Ok(()),
            Err(e) => Err(failed(ACTIVATE, "a container can't be stopped: `docker kill` it", e).with("container", id)),
        }
    }

    /// Tells the proxy where the service is.
    async fn switch(&self, cx: &Context, plan: &Plan, id: &str) -> Result<()> {
        let Switch::Beside(beside) = &self.config.switch else { return Ok(()) };
        let mut host = self.place.target.host.clone();
        let port = plan.ports.last().map(|p| p.published.clone()).unwrap_or_default();
        let known = [("port", port.as_str()), ("slot", plan.slot_name().unwrap_or_default()), ("container", id)];
        for (name, value) in known.into_iter().chain([("version", plan.version.as_str())]) {
            host.vars.insert(format!("towpath_{name}"), value.into());
        }
        let connection = self.place.connection(cx).await?;
        let to = match &host.connection.r#become {
            Some(spec) => Some(spec.resolve(cx).await?),
            None => None,
        };
        let at = |e: Error| e.with("still_running", "both versions; the next activate goes on from here");
        if let Some(file) = &beside.on_switch.file {
            let (path, content) = (host.fill(&file.path)?, host.fill(&file.content)?);
            let mode = if connection.get(cx, &path, 1 << 20).await.is_ok() { None } else { Some(0o644) };
            let options = PutOptions { mode, r#become: to.clone(), ..PutOptions::default() };
            connection.put(cx, Source::Bytes(content.into()), &path, &options).await.map_err(at)?;
        }
        if let Some(command) = &beside.on_switch.command {
            let mut exec = Exec::argv(command.iter().map(|w| host.fill(w)).collect::<Result<Vec<_>>>()?);
            exec.r#become = to;
            let said = connection.exec(cx, &exec).await.map_err(at)?;
            said.success(PROVIDER, ACTIVATE, self.place.host(), &exec).map_err(at)?;
        }
        Ok(())
    }

    async fn linger(&self, cx: &Context) -> Result<()> {
        match &self.config.switch {
            Switch::Beside(beside) => cx.sleep(PROVIDER, ACTIVATE, Duration::from_secs(beside.linger_s.into())).await,
            Switch::Recreate => Ok(()),
        }
    }

    /// The new container does not work, or is not wanted any more: it goes, and what served before it serves again.
    async fn give_up(&self, want: &Want, served: &[String], touched: bool, why: Error) -> Error {
        let why = why.with_missing("version", &want.version);
        let world = match self.look().await {
            Ok(world) => world,
            Err(e) => return why.with("left", format!("the old version may be stopped: {}", e.message())),
        };
        let me = world.made(&want.version, &want.spec);
        // The one that has the name was seen working: it is what served, or would.
        if let Some(me) = me.filter(|me| me.name != self.owner.name && (touched || me.runs()))
            && let Err(e) = self.discard(me).await
        {
            return why.with("left", format!("the new container is still there: {}", e.message()));
        }
        let mine = me.map(|me| me.id.as_str());
        let Some(old) = world.all.iter().find(|c| Some(c.id.as_str()) != mine && served.contains(&c.id)) else {
            return why;
        };
        if old.runs() {
            return why.with("serves_on", &old.version);
        }
        let again = async {
            self.start(&old.id, &world).await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, Error>(self.look().await?.all.iter().any(|c| c.id == old.id && c.runs()))
        };
        match again.await {
            Ok(true) => why.with("started_again", &old.version),
            Ok(false) => why.with("left", format!("the old version {} ends at once, too", old.version)),
            Err(e) => why.with("left", format!("the old version {} does not start again: {e}", old.version)),
        }
    }

    /// Ends and removes a container that nobody needs.
    async fn discard(&self, container: &Seen) -> Result<()> {
        if container.runs() {
            self.stop(&container.id).await?;
        }
        self.place.engine.remove_container(ACTIVATE, &container.id).await.map(drop)
    }

    /// Stops whatever runs.
    pub(super) async fn deactivate(&self, cx: &Context) -> Result<()> {
        let world = self.look().await?;
        for running in world.all.iter().filter(|c| c.runs()) {
            let id = running.id.clone();
            let intent = json!({"step": "stop", "container": id, "version": running.version});
            let key = format!(
                "stop-{}-{}",
                id.get(..12).unwrap_or(&id),
                running.state.started_at.as_deref().unwrap_or_default()
            );
            cx.effect_idempotent(&key, intent, |_| async { self.stop(&id).await }).await?;
        }
        Ok(())
    }

    /// Removes containers that were never started, and stops those that run beside the one that has the name.
    pub(super) async fn sweep(&self, cx: &Context) -> Result<Vec<String>> {
        let world = self.look().await?;
        let serves = world.called(&self.owner.name).filter(|c| c.runs());
        let mut swept = Vec::new();
        for c in &world.all {
            let beside = c.runs() && serves.is_some_and(|s| s.id != c.id);
            if !beside && c.was_started() {
                continue;
            }
            let intent = json!({"step": "sweep", "container": c.id, "version": c.version});
            cx.effect_idempotent(&format!("sweep-{}", c.id), intent, |_| async { self.discard(c).await }).await?;
            swept.push(c.name.clone());
        }
        if let (Some(serves), Switch::Beside(_)) = (serves, &self.config.switch)
            && !swept.is_empty()
        {
            cx.warn(format!("if the proxy was told of a container that was swept, activate {} again", serves.version));
        }
        Ok(swept)
    }

    /// Removes every container, and whatever is staged.
    pub(super) async fn remove_all(&self, cx: &Context) -> Result<()> {
        for c in &self.look().await?.all {
            let intent = json!({"step": "forget", "container": c.id, "version": c.version});
            cx.effect_idempotent(&format!("forget-{}", c.id), intent, |_| async { self.discard(c).await }).await?;
        }
        let (engine, owner) = (&self.place.engine, self.owner);
        for (digest, version) in image::marks("forget", engine, owner).await? {
            image::unmark("forget", engine, owner, &digest, &version).await?;
        }
        Ok(())
    }
}
