//! What is there, and how it differs from what is to be.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Image, Instance, InstanceStateName as State};
use serde_json::{Value, json};
use towpath_core::{Action, Change, Context, Plan, Result, digest_json};

use super::{AwsEnvironmentConfig, HostGroup};
use crate::PROVIDER;
use crate::ami::{id as ami_id, resolve};
use crate::client::{Clients, Ec2};
use crate::tags::{ENVIRONMENT, GENERATION, HOST, OWNER, SPEC, Tags, get, tagged};
use crate::user_data::{Resolved, UserData};

/// An instance that the environment has made.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) id: String,
    pub(super) host: String,
    pub(super) generation: u64,
    pub(super) state: State,
    pub(super) instance: Instance,
}

impl Seen {
    fn of(instance: Instance) -> Option<Self> {
        Some(Self {
            id: instance.instance_id()?.to_owned(),
            host: get(instance.tags(), HOST)?.to_owned(),
            generation: get(instance.tags(), GENERATION).and_then(|g| g.parse().ok()).unwrap_or_default(),
            state: instance.state().and_then(|s| s.name()).cloned().unwrap_or(State::Pending),
            instance,
        })
    }

    pub(super) fn is_ending(&self) -> bool {
        self.state == State::ShuttingDown
    }
}

/// Everything that is there of an environment.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    /// By host: those that live.
    pub(super) hosts: BTreeMap<String, Seen>,
    /// A host's older instances, beside its newest.
    pub(super) doubles: Vec<Seen>,
    /// Those that are gone, or that AWS is still ending.
    pub(super) gone: Vec<Seen>,
    /// The highest generation of each host, of those too that are gone.
    generations: BTreeMap<String, u64>,
}

impl World {
    pub(super) fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.doubles.is_empty()
    }

    /// All that live.
    pub(super) fn all(&self) -> impl Iterator<Item = &Seen> {
        self.hosts.values().chain(&self.doubles)
    }

    /// Looks.
    pub(super) async fn of(cx: &Context, ec2: &Ec2, operation: &'static str, owner: &str) -> Result<Self> {
        let request = ec2
            .api
            .describe_instances()
            .filters(tagged(OWNER, &[owner]))
            .filters(tagged(ENVIRONMENT, &[cx.environment()]))
            .into_paginator()
            .send();
        let pages =
            cx.guard(PROVIDER, operation, Box::pin(async { Ok(request.collect::<Result<Vec<_>, _>>().await) })).await?;
        let pages = pages.map_err(|e| ec2.at(operation, "DescribeInstances", cx.environment()).failed(e))?;
        let mut found: Vec<Seen> = pages
            .into_iter()
            .flat_map(|p| p.reservations.unwrap_or_default())
            .flat_map(|r| r.instances.unwrap_or_default())
            .filter_map(Seen::of)
            .collect();
        found.sort_by(|a, b| (a.generation, &a.id).cmp(&(b.generation, &b.id)));
        let mut world = Self::default();
        for seen in found {
            let generation = world.generations.entry(seen.host.clone()).or_default();
            *generation = (*generation).max(seen.generation);
            match seen.state {
                State::Terminated | State::ShuttingDown => world.gone.push(seen),
                _ => world.doubles.extend(world.hosts.insert(seen.host.clone(), seen)),
            }
        }
        Ok(world)
    }
}

/// A host as it is to be.
#[derive(Clone)]
pub(super) struct Wanted<'a> {
    pub(super) host: String,
    pub(super) group: &'a str,
    pub(super) spec: &'a HostGroup,
    /// Its own tags.
    pub(super) tags: Tags,
}

/// What a group's instances are made from.
pub(super) struct Source {
    pub(super) ami: Image,
    pub(super) user_data: Resolved,
    /// Digests by field.
    pub(super) fields: BTreeMap<&'static str, String>,
}

impl Source {
    async fn of(cx: &Context, clients: &Clients, ec2: &Ec2, operation: &'static str, spec: &HostGroup) -> Result<Self> {
        let ami = resolve(cx, clients, ec2, operation, &spec.ami).await?;
        let user_data = UserData::resolve(cx, operation, spec.instance.user_data.as_ref()).await?;
        let mut fields = spec.instance.fields(&user_data);
        let meant = if spec.follow_ami { json!([spec.ami, ami_id(&ami)]) } else { json!(spec.ami) };
        fields.insert("ami", digest_json(&meant).chars().take(8).collect());
        Ok(Self { ami, user_data, fields })
    }

    /// The digests as a tag holds them.
    pub(super) fn tag(&self) -> String {
        self.fields.iter().map(|(k, v)| format!("{k}:{v}")).collect::<Vec<_>>().join(",")
    }

    /// The fields that differ from those of an instance.
    fn differs(&self, instance: &Instance) -> Vec<&'static str> {
        let Some(tag) = get(instance.tags(), SPEC) else { return vec!["everything: its tag `towpath:spec` is gone"] };
        let old: BTreeMap<&str, &str> = tag.split(',').filter_map(|f| f.split_once(':')).collect();
        // A field that an older towpath did not know was not decided then.
        let other = |(name, digest): &(&&'static str, &String)| old.get(**name).is_some_and(|o| o != digest);
        self.fields.iter().filter(other).map(|(name, _)| *name).collect()
    }
}

/// One thing to do.
pub(super) enum Step<'a> {
    /// `old`: what is ended first.
    Create {
        wanted: Wanted<'a>,
        generation: u64,
        old: Option<String>,
    },
    Start {
        host: String,
        id: String,
    },
    Tag {
        host: String,
        id: String,
        tags: Tags,
    },
    End {
        host: String,
        id: String,
    },
}

/// How the world differs from the config.
pub(super) struct Difference<'a> {
    pub(super) plan: Plan,
    pub(super) steps: Vec<Step<'a>>,
    pub(super) sources: BTreeMap<&'a str, Source>,
    /// All hosts that are to be, in their order.
    pub(super) wanted: Vec<Wanted<'a>>,
}

fn subject(host: &str) -> String {
    format!("ec2 instance {host}")
}

fn shown(source: &Source, wanted: &Wanted<'_>) -> Value {
    json!({"ami": ami_id(&source.ami), "type": wanted.spec.instance.instance_type})
}

fn there(seen: &Seen) -> Value {
    let i = &seen.instance;
    json!({"id": seen.id, "ami": i.image_id(), "type": i.instance_type().map(|t| t.as_str()), "state": seen.state.as_str()})
}

impl<'a> Difference<'a> {
    pub(super) async fn of(
        cx: &Context,
        clients: &Clients,
        ec2: &Ec2,
        operation: &'static str,
        config: &'a AwsEnvironmentConfig,
        world: &World,
    ) -> Result<Self> {
        let mut this =
            Self { plan: Plan::default(), steps: Vec::new(), sources: BTreeMap::new(), wanted: wanted(config) };
        for (name, spec) in &config.groups {
            let source = Source::of(cx, clients, ec2, operation, spec).await;
            this.sources.insert(name, source.map_err(|e| e.with("group", name))?);
        }
        for wanted in this.wanted.clone() {
            this.compare(world, wanted);
        }
        for seen in world.all() {
            let wanted = this.wanted.iter().any(|w| w.host == seen.host);
            let newest = world.hosts.get(&seen.host).is_some_and(|s| s.id == seen.id);
            if wanted && newest {
                continue;
            }
            let why = if wanted { "the host has a newer instance" } else { "the config has no such host" };
            let mut change = Change::will(&seen.host, subject(&seen.host), Action::Delete);
            change.reason = Some(why.to_owned());
            this.plan.changes.push(change.from_to(Some(there(seen)), None));
            this.steps.push(Step::End { host: seen.host.clone(), id: seen.id.clone() });
        }
        Ok(this)
    }

    fn compare(&mut self, world: &World, wanted: Wanted<'a>) {
        let Some(source) = self.sources.get(wanted.group) else { return };
        let (host, subject) = (wanted.host.clone(), subject(&wanted.host));
        let generation = world.generations.get(&host).copied().unwrap_or_default() + 1;
        let after = shown(source, &wanted);
        let Some(seen) = world.hosts.get(&host) else {
            self.plan.changes.push(Change::will(&host, subject, Action::Create).from_to(None, Some(after)));
            self.steps.push(Step::Create { wanted, generation, old: None });
            return;
        };
        let mut differs = source.differs(&seen.instance);
        let kind = seen.instance.instance_type().map(|t| t.as_str());
        if kind.is_some_and(|t| t != wanted.spec.instance.instance_type) && !differs.contains(&"type") {
            // Somebody resized it.
            differs.push("type");
        }
        // One more subnet to try moves nobody; one that is no longer named does.
        let subnets = &wanted.spec.instance.subnets;
        let subnet = seen.instance.subnet_id();
        if !subnets.is_empty() && subnet.is_some_and(|s| !subnets.iter().any(|w| w == s)) {
            differs.push("subnets");
        }
        if !differs.is_empty() {
            let mut change = Change::will(&host, &subject, Action::Replace).from_to(Some(there(seen)), Some(after));
            change.reason = Some(format!("changed: {}", differs.join(", ")));
            self.plan.changes.push(change);
            self.steps.push(Step::Create { wanted, generation, old: Some(seen.id.clone()) });
            return;
        }
        let before = there(seen);
        if matches!(seen.state, State::Stopped | State::Stopping) {
            let mut change = Change::will(&host, &subject, Action::Update).from_to(Some(before.clone()), Some(after));
            change.reason = Some("it is stopped, and is started".to_owned());
            self.plan.changes.push(change);
            self.steps.push(Step::Start { host: host.clone(), id: seen.id.clone() });
        }
        let missing: Tags = wanted
            .tags
            .iter()
            .filter(|(k, v)| get(seen.instance.tags(), k) != Some(v))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        if !missing.is_empty() {
            let old: BTreeMap<&String, Option<&str>> =
                missing.keys().map(|k| (k, get(seen.instance.tags(), k))).collect();
            let change = Change::will(&host, format!("tags of {subject}"), Action::Update);
            self.plan.changes.push(change.from_to(Some(json!(old)), Some(json!(missing))));
            self.steps.push(Step::Tag { host: host.clone(), id: seen.id.clone(), tags: missing });
        }
        if !self.plan.changes.iter().any(|c| c.target == host) {
            self.plan.changes.push(Change::will_not(&host, subject).from_to(Some(before), None));
        }
    }
}

/// The hosts that the config wants.
fn wanted(config: &AwsEnvironmentConfig) -> Vec<Wanted<'_>> {
    let mut all = Vec::new();
    for (group, spec) in &config.groups {
        for n in 1..=spec.count {
            let host = format!("{group}-{n}");
            let mut tags = Tags::from([("Name".to_owned(), host.clone())]);
            tags.extend(config.tags.clone());
            tags.extend(spec.tags.clone());
            all.push(Wanted { host, group, spec, tags });
        }
    }
    all
}
