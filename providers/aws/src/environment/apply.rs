//! Makes the difference go away.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{Instance, InstanceStateName as State, SummaryStatus};
use serde_json::json;
use towpath_core::{Context, Error, ErrorKind, EventKind, Result, Retry};

use super::AwsEnvironmentConfig;
use super::look::{Difference, Seen, Source, Step, Wanted, World};
use crate::PROVIDER;
use crate::ami::id as ami_id;
use crate::client::Ec2;
use crate::errors::{is, of_reason};
use crate::instance::{Launch, token};
use crate::tags::{ENVIRONMENT, GENERATION, HOST, OWNER, SPEC, Tags, filter, list};
use crate::wait::{Look, Patience, Wait};

pub(super) struct Work<'a> {
    pub(super) cx: &'a Context,
    pub(super) ec2: &'a Ec2,
    pub(super) config: &'a AwsEnvironmentConfig,
    pub(super) todo: &'a Difference<'a>,
}

fn progress(cx: &Context, message: String) {
    cx.emit(EventKind::Progress { message, done: None, total: None });
}

impl Work<'_> {
    pub(super) async fn run(&self) -> Result<()> {
        let mut ended = Vec::new();
        for step in &self.todo.steps {
            self.cx.check(PROVIDER, "apply")?;
            match step {
                Step::Create { wanted, generation, old } => {
                    if let Some(id) = old {
                        end(self.cx, self.ec2, "apply", std::slice::from_ref(id))
                            .await
                            .map_err(|e| e.with("host", &wanted.host))?;
                        ended.push(id.clone());
                    }
                    Box::pin(self.create(wanted, *generation)).await?;
                }
                Step::Start { host, id } => Box::pin(self.start(host, id)).await?,
                Step::Tag { host, id, tags } => self.tag(host, id, tags).await?,
                Step::End { host, id } => {
                    end(self.cx, self.ec2, "apply", std::slice::from_ref(id))
                        .await
                        .map_err(|e| e.with("host", host))?;
                    ended.push(id.clone());
                }
            }
        }
        wait_ended(self.cx, self.ec2, "apply", self.config.wait, &ended).await
    }

    async fn create(&self, wanted: &Wanted<'_>, generation: u64) -> Result<()> {
        // AWS remembers tokens longer than it shows instances that are gone: then the next generation's is free.
        for next in generation..generation + 50 {
            match self.create_as(wanted, next).await {
                Err(e) if is(&e, &["IdempotentInstanceTerminated", "IdempotentParameterMismatch"]) => {}
                other => return other.map_err(|e| e.with_missing("host", &wanted.host)),
            }
        }
        let message =
            "AWS remembers too many earlier instances of this host: take another name for the environment or the group";
        Err(Error::new(ErrorKind::Conflict, PROVIDER, "apply", message).with("host", &wanted.host))
    }

    async fn create_as(&self, wanted: &Wanted<'_>, generation: u64) -> Result<()> {
        let Some(source) = self.todo.sources.get(wanted.group) else { return Ok(()) };
        let (cx, host) = (self.cx, &wanted.host);
        let (environment, owner) = (cx.environment(), self.config.owner());
        let number = generation.to_string();
        // The same for the same instance, whoever asks for it how often.
        let token = token(&["host", owner, environment, host, &number]);
        let mut tags = wanted.tags.clone();
        for (name, value) in
            [(OWNER, owner), (ENVIRONMENT, environment), (HOST, host), (GENERATION, &number), (SPEC, &source.tag())]
        {
            tags.insert(name.to_owned(), value.to_owned());
        }
        let instance = &wanted.spec.instance;
        let ami = ami_id(&source.ami);
        let intent = json!({"run": host, "ami": ami, "type": instance.instance_type, "client_token": token});
        let launch = Launch {
            ec2: self.ec2,
            operation: "apply",
            name: host,
            ami: &source.ami,
            config: instance,
            user_data: &source.user_data,
            tags: &tags,
            token: &token,
            key_name: None,
            security_groups: &[],
        };
        progress(cx, format!("starting {host}: {} from {ami}", instance.instance_type));
        let (launch, token) = (&launch, &token);
        let id: String = cx
            .effect(
                &format!("run/{host}/{generation}"),
                intent,
                |cx| Box::pin(async move { launch.run(&cx).await }),
                |cx| Box::pin(async move { self.by_token(&cx, token).await }),
            )
            .await?;
        progress(cx, format!("{host} is {id}"));
        Ok(())
    }

    /// The instance that a request of this token has made.
    async fn by_token(&self, cx: &Context, token: &str) -> Result<Option<String>> {
        let found = describe(cx, self.ec2, "apply", |r| r.filters(filter("client-token", &[token]))).await?;
        let lives = |i: &&Instance| !matches!(state(i), State::Terminated | State::ShuttingDown);
        Ok(found.iter().find(lives).and_then(|i| i.instance_id()).map(str::to_owned))
    }

    async fn start(&self, host: &str, id: &str) -> Result<()> {
        // One that is stopping can't be started.
        let wait = self.wait(format!("{host} ({id}) to stop"));
        wait.until(|| async {
            let found = describe(self.cx, self.ec2, "apply", |r| r.instance_ids(id)).await?;
            Ok(match found.first().map(state) {
                Some(State::Stopping) => Look::NotYet("stopping".to_owned()),
                _ => Look::Done(()),
            })
        })
        .await?;
        progress(self.cx, format!("starting {host} again"));
        let at = self.ec2.at("apply", "StartInstances", id);
        let act = |_| {
            Box::pin(async move {
                self.ec2.api.start_instances().instance_ids(id).send().await.map(drop).map_err(|e| at.failed(e))
            })
        };
        let key = format!("start/{id}/{}", crate::tags::seconds());
        self.cx.effect_idempotent(&key, json!({"start": id, "host": host}), act).await
    }

    async fn tag(&self, host: &str, id: &str, tags: &Tags) -> Result<()> {
        let at = self.ec2.at("apply", "CreateTags", id);
        let act = |_| {
            Box::pin(async move {
                let request = self.ec2.api.create_tags().resources(id).set_tags(Some(list(tags)));
                request.send().await.map(drop).map_err(|e| at.failed(e))
            })
        };
        let digest = towpath_core::digest_json(&json!(tags));
        let key = format!("tag/{id}/{}", digest.get(..12).unwrap_or_default());
        self.cx.effect_idempotent(&key, json!({"tag": id, "host": host, "tags": tags}), act).await
    }

    fn wait(&self, goal: String) -> Wait<'_> {
        Wait { cx: self.cx, region: &self.ec2.region, operation: "apply", goal, patience: self.config.wait }
    }

    /// Waits until every host that is to be runs.
    pub(super) async fn wait_running(&self) -> Result<World> {
        let wanted: BTreeSet<&str> = self.todo.wanted.iter().map(|w| w.host.as_str()).collect();
        self.wait("the instances to run".to_owned())
            .until(|| async {
                let world = World::of(self.cx, self.ec2, "apply", self.config.owner()).await?;
                let mut waits = Vec::new();
                for host in &wanted {
                    match world.hosts.get(*host) {
                        Some(seen) if seen.state == State::Running => {}
                        Some(seen) => waits.push(format!("{host} is {}", seen.state.as_str())),
                        None => {
                            self.died(host, &world)?;
                            waits.push(format!("{host} is not seen yet"));
                        }
                    }
                }
                Ok(if waits.is_empty() { Look::Done(world) } else { Look::NotYet(waits.join(", ")) })
            })
            .await
    }

    /// Fails if a host that was started now is gone.
    fn died(&self, host: &str, world: &World) -> Result<()> {
        // Beyond those that were there before.
        let first = self.todo.steps.iter().find_map(|s| match s {
            Step::Create { wanted, generation, .. } if wanted.host == host => Some(*generation),
            _ => None,
        });
        match first.and_then(|first| world.gone.iter().find(|s| s.host == host && s.generation >= first)) {
            Some(seen) => Err(ended_early(self.ec2, "apply", &seen.id, &seen.instance).with("host", host)),
            None => Ok(()),
        }
    }

    /// Waits until AWS's checks of these hosts are well.
    pub(super) async fn wait_status(&self, world: &World) -> Result<()> {
        let checked = |w: &&Wanted<'_>| w.spec.wait_for_status;
        let ids: Vec<String> = self
            .todo
            .wanted
            .iter()
            .filter(checked)
            .filter_map(|w| world.hosts.get(&w.host).map(|s| s.id.clone()))
            .collect();
        if ids.is_empty() {
            return Ok(());
        }
        progress(self.cx, format!("waiting for the status checks of {} instances", ids.len()));
        self.wait("the status checks to be well".to_owned())
            .until(|| async {
                let at = self.ec2.at("apply", "DescribeInstanceStatus", "the instances");
                let request = self.ec2.api.describe_instance_status().set_instance_ids(Some(ids.clone()));
                let found = request.send().await.map_err(|e| at.failed(e))?;
                let good = |s: Option<&aws_sdk_ec2::types::InstanceStatusSummary>| {
                    s.and_then(|s| s.status()) == Some(&SummaryStatus::Ok)
                };
                let well: BTreeSet<&str> = found
                    .instance_statuses()
                    .iter()
                    .filter(|s| good(s.instance_status()) && good(s.system_status()))
                    .filter_map(|s| s.instance_id())
                    .collect();
                let waits: Vec<&str> = ids.iter().map(String::as_str).filter(|id| !well.contains(id)).collect();
                Ok(if waits.is_empty() {
                    Look::Done(())
                } else {
                    Look::NotYet(format!("not yet well: {}", waits.join(", ")))
                })
            })
            .await
    }
}

pub(crate) fn state(instance: &Instance) -> State {
    instance.state().and_then(|s| s.name()).cloned().unwrap_or(State::Pending)
}

/// Why AWS ended an instance just after its start: no capacity, a quota, a disk that can't be decrypted.
pub(crate) fn ended_early(ec2: &Ec2, operation: &'static str, id: &str, instance: &Instance) -> Error {
    let reason = instance.state_reason();
    let code = reason.and_then(|r| r.code()).unwrap_or("unknown");
    // `Server.InsufficientInstanceCapacity`: whose fault it was, then the code.
    let plain = code.split_once('.').map_or(code, |(_, code)| code);
    let at = ec2.at(operation, "RunInstances", id);
    let error = match of_reason(plain) {
        Some((kind, retry, says)) => {
            let error = at.error(kind, says);
            if retry == Retry::Later { error.retry_later() } else { error }
        }
        None => at.error(ErrorKind::ToolFailed, "the instance was ended; the reason that AWS gives follows"),
    };
    error.with("code", code).caused_by(reason.and_then(|r| r.message()).unwrap_or("it gives no reason").to_owned())
}

type Request = aws_sdk_ec2::operation::describe_instances::builders::DescribeInstancesFluentBuilder;

/// Describes instances. An id that is not known yet, or no longer, is no error.
pub(crate) async fn describe(
    cx: &Context,
    ec2: &Ec2,
    operation: &'static str,
    which: impl FnOnce(Request) -> Request,
) -> Result<Vec<Instance>> {
    let request = which(ec2.api.describe_instances()).into_paginator().send();
    let pages =
        cx.guard(PROVIDER, operation, Box::pin(async { Ok(request.collect::<Result<Vec<_>, _>>().await) })).await?;
    let pages = match pages {
        Ok(pages) => pages,
        Err(e) => {
            let error = ec2.at(operation, "DescribeInstances", "the instances").failed(e);
            return if error.kind() == ErrorKind::NotFound { Ok(Vec::new()) } else { Err(error) };
        }
    };
    let reservations = pages.into_iter().flat_map(|p| p.reservations.unwrap_or_default());
    Ok(reservations.flat_map(|r| r.instances.unwrap_or_default()).collect())
}

/// Terminates instances. Those that are gone are no error.
pub(crate) async fn end(cx: &Context, ec2: &Ec2, operation: &'static str, ids: &[String]) -> Result<()> {
    for id in ids {
        let at = ec2.at(operation, "TerminateInstances", id);
        let act = |_| {
            Box::pin(async move {
                match ec2.api.terminate_instances().instance_ids(id).send().await {
                    Ok(_) => Ok(()),
                    Err(e) => {
                        let error = at.failed(e);
                        if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }
                    }
                }
            })
        };
        cx.effect_idempotent(&format!("end/{id}"), json!({"terminate": id, "region": ec2.region}), act).await?;
    }
    Ok(())
}

/// Waits until instances are terminated.
pub(crate) async fn wait_ended(
    cx: &Context,
    ec2: &Ec2,
    operation: &'static str,
    patience: Patience,
    ids: &[String],
) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let wait =
        Wait { cx, region: &ec2.region, operation, goal: format!("{} to be terminated", ids.join(", ")), patience };
    wait.until(|| async {
        let found = describe(cx, ec2, operation, |r| {
            r.filters(filter("instance-id", &ids.iter().map(String::as_str).collect::<Vec<_>>()))
        })
        .await?;
        let left: Vec<String> = found
            .iter()
            .filter(|i| state(i) != State::Terminated)
            .map(|i| format!("{} is {}", i.instance_id().unwrap_or_default(), state(i).as_str()))
            .collect();
        Ok(if left.is_empty() { Look::Done(()) } else { Look::NotYet(left.join(", ")) })
    })
    .await
}

/// Used by hosts of a group, for their instances' facts.
pub(super) fn facts(seen: &Seen, source: Option<&Source>) -> serde_json::Value {
    let i = &seen.instance;
    json!({
        "instance_id": seen.id,
        "ami": i.image_id().or(source.map(|s| ami_id(&s.ami))),
        "instance_type": i.instance_type().map(|t| t.as_str()),
        "private_ip": i.private_ip_address(),
        "public_ip": i.public_ip_address(),
        "availability_zone": i.placement().and_then(|p| p.availability_zone()),
    })
}
