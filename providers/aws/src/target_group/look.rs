//! A target group as it is now: its targets, and the names that hosts have in it.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::operation::describe_instances::builders::DescribeInstancesFluentBuilder;
use aws_sdk_ec2::types::Instance;
use aws_sdk_elasticloadbalancingv2::types::{
    Tag, TargetDescription, TargetGroup, TargetHealthDescription, TargetHealthStateEnum as Health, TargetTypeEnum,
};
use towpath_core::{Context, Error, ErrorKind, Result};

use super::AwsTargetGroupConfig;
use crate::client::{Balancing, Clients, Ec2};
use crate::tags;

/// Starts the tags that remember who was drained: a target that has left the group is not listed by AWS any more.
const DRAINED: &str = "towpath:drained/";

/// A target group in one region.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) balancing: Balancing,
    pub(super) clients: &'a Clients,
    pub(super) config: &'a AwsTargetGroupConfig,
    /// towpath's verb, for errors.
    pub(super) operation: &'static str,
    pub(super) group: TargetGroup,
    pub(super) arn: String,
}

/// What is registered: an instance or an address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) port: u16,
}

/// A target.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) key: Key,
    /// Its host's address, or the instance's id where nobody has looked.
    pub(super) address: String,
    /// `None`: it has left the group.
    pub(super) health: Option<Health>,
    pub(super) why: String,
    /// towpath has noted that it drains it.
    pub(super) drained: bool,
}

impl Key {
    fn note(&self) -> String {
        format!("{} {}", self.id, self.port)
    }

    fn read(note: &str) -> Option<Self> {
        let (id, port) = note.split_once(' ')?;
        Some(Self { id: id.to_owned(), port: port.parse().ok()? })
    }

    pub(super) fn description(&self) -> TargetDescription {
        TargetDescription::builder().id(&self.id).port(self.port.into()).build()
    }
}

impl Seen {
    /// Requests that it was sent are not all answered, as far as the load balancer tells.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.health, Some(Health::Draining | Health::UnhealthyDraining))
    }

    /// It gets no new requests. The note of a drain says nothing of that: a process may have died before it took the target out, or before
    /// it took the note off again.
    pub(super) fn is_out(&self) -> bool {
        self.health.is_none() || self.is_busy()
    }

    /// As far in service as it will get: healthy, or nobody checks it.
    pub(super) fn is_well(&self) -> bool {
        is_well(self.health.as_ref())
    }

    pub(super) fn says(&self) -> String {
        let state = self.health.as_ref().map_or("not registered", Health::as_str);
        format!("{state} {}", self.why).trim_end().to_owned()
    }
}

/// `unused`: no load balancer sends requests to the group, so none is checked; `unavailable`: its checks are switched off.
fn is_well(health: Option<&Health>) -> bool {
    matches!(health, Some(Health::Healthy | Health::Unused | Health::Unavailable))
}

fn health(seen: &TargetHealthDescription) -> Option<Health> {
    seen.target_health()?.state().cloned()
}

async fn healths(
    cx: &Context,
    balancing: &Balancing,
    operation: &'static str,
    arn: &str,
) -> Result<Vec<TargetHealthDescription>> {
    let at = balancing.at(operation, "DescribeTargetHealth", arn);
    let found = at.ask(cx, balancing.api.describe_target_health().target_group_arn(arn).send()).await?;
    Ok(found.target_health_descriptions.unwrap_or_default())
}

/// Ids of the targets of a group that get requests.
pub(crate) async fn healthy(
    cx: &Context,
    balancing: &Balancing,
    operation: &'static str,
    arn: &str,
) -> Result<BTreeSet<String>> {
    let all = healths(cx, balancing, operation, arn).await?;
    let well = all.iter().filter(|t| is_well(health(t).as_ref()));
    Ok(well.filter_map(|t| Some(t.target()?.id()?.to_owned())).collect())
}

impl<'a> Place<'a> {
    /// Finds the group.
    pub(super) async fn find(
        cx: &Context,
        clients: &'a Clients,
        config: &'a AwsTargetGroupConfig,
        operation: &'static str,
    ) -> Result<Self> {
        let balancing = clients.balancing(cx, operation).await?;
        let wanted = &config.target_group;
        let request = balancing.api.describe_target_groups();
        let request = if config.is_arn() { request.target_group_arns(wanted) } else { request.names(wanted) };
        let at = balancing.at(operation, "DescribeTargetGroups", wanted);
        let found = at.ask(cx, request.send()).await?.target_groups.unwrap_or_default().into_iter().next();
        let group = found.ok_or_else(|| at.error(ErrorKind::NotFound, "there is no such target group"))?;
        let usable = matches!(group.target_type(), None | Some(TargetTypeEnum::Instance | TargetTypeEnum::Ip));
        if !usable {
            let says = "hosts are in target groups of instances or of addresses: this one is of another kind";
            let kind = group.target_type().map(TargetTypeEnum::as_str).unwrap_or_default();
            return Err(at.error(ErrorKind::Unsupported, says).with("kind", kind));
        }
        let arn = group.target_group_arn().unwrap_or(wanted).to_owned();
        Ok(Self { balancing, clients, config, operation, group, arn })
    }

    /// Whether its targets are addresses.
    pub(super) fn of_addresses(&self) -> bool {
        self.group.target_type() == Some(&TargetTypeEnum::Ip)
    }

    pub(super) fn error(&self, api: &'static str, kind: ErrorKind, says: impl std::fmt::Display) -> Error {
        self.balancing.at(self.operation, api, &self.config.target_group).error(kind, says)
    }

    /// Its tags, those of drained targets among them.
    async fn notes(&self, cx: &Context) -> Result<BTreeMap<String, Key>> {
        let at = self.balancing.at(self.operation, "DescribeTags", &self.arn);
        let found = at.ask(cx, self.balancing.api.describe_tags().resource_arns(&self.arn).send()).await?;
        let all = found.tag_descriptions.unwrap_or_default().into_iter().flat_map(|d| d.tags.unwrap_or_default());
        let note = |t: Tag| {
            let name = t.key()?.strip_prefix(DRAINED)?.to_owned();
            Some((name, Key::read(t.value()?)?))
        };
        Ok(all.filter_map(note).collect())
    }

    /// Remembers that a target was drained.
    pub(super) async fn note(&self, name: &str, key: &Key) -> Result<()> {
        let at = self.balancing.at(self.operation, "AddTags", &self.arn);
        let tag = Tag::builder().key(format!("{DRAINED}{name}")).value(key.note()).build();
        let request = self.balancing.api.add_tags().resource_arns(&self.arn).tags(tag).send();
        request.await.map(drop).map_err(|e| at.failed(e))
    }

    /// Forgets it. Not there is a success.
    pub(super) async fn forget(&self, name: &str) -> Result<()> {
        let at = self.balancing.at(self.operation, "RemoveTags", &self.arn);
        let request = self.balancing.api.remove_tags().resource_arns(&self.arn).tag_keys(format!("{DRAINED}{name}"));
        request.send().await.map(drop).map_err(|e| at.failed(e))
    }

    async fn instances(
        &self,
        cx: &Context,
        ask: impl FnOnce(DescribeInstancesFluentBuilder) -> DescribeInstancesFluentBuilder,
    ) -> Result<Vec<Instance>> {
        let ec2: Ec2 = self.clients.ec2(cx, self.operation).await?;
        crate::environment::describe(cx, &ec2, self.operation, ask).await
    }

    /// All targets by the names of their hosts: those of the config, of the instances' tags, or else their ids.
    pub(super) async fn look(&self, cx: &Context) -> Result<Vec<Seen>> {
        let listed = healths(cx, &self.balancing, self.operation, &self.arn).await?;
        let notes = self.notes(cx).await?;
        let default_port = self.group.port().unwrap_or_default();
        let port = |t: &TargetDescription| u16::try_from(t.port().unwrap_or(default_port)).unwrap_or_default();
        let key = |d: &TargetHealthDescription| {
            let target = d.target()?;
            Some(Key { id: target.id()?.to_owned(), port: port(target) })
        };
        let listed: BTreeMap<Key, &TargetHealthDescription> =
            listed.iter().filter_map(|d| Some((key(d)?, d))).collect();
        let ids = listed.keys().chain(notes.values()).map(|k| k.id.as_str()).collect();
        let hosts = self.hosts(cx, ids).await?;
        let drained: BTreeMap<&Key, &String> = notes.iter().map(|(name, key)| (key, name)).collect();
        let ports = |id: &str| listed.keys().filter(|k| k.id == id).count();
        let address = |key: &Key| hosts.get(&key.id).and_then(|h| h.1.clone()).unwrap_or_else(|| key.id.clone());
        let mut all: Vec<Seen> = Vec::new();
        for (key, seen) in &listed {
            let host = hosts.get(&key.id);
            let named = host.map_or(&key.id, |h| &h.0);
            let name = match drained.get(key) {
                Some(name) => (*name).clone(),
                // A host that serves on two ports is two targets.
                None if ports(&key.id) > 1 => format!("{named}:{}", key.port),
                None => named.clone(),
            };
            let why = seen.target_health().map(|h| {
                let code = h.reason().map(|r| r.as_str()).unwrap_or_default();
                format!("{code} {}", h.description().unwrap_or_default()).trim().to_owned()
            });
            all.push(Seen {
                name,
                key: key.clone(),
                address: address(key),
                health: health(seen),
                why: why.unwrap_or_default(),
                drained: drained.contains_key(key),
            });
        }
        for (name, key) in notes.iter().filter(|(_, key)| !listed.contains_key(key)) {
            all.push(Seen {
                name: name.clone(),
                key: key.clone(),
                address: address(key),
                health: None,
                why: String::new(),
                drained: true,
            });
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some([one, other]) = all.windows(2).find(|w| matches!(w, [a, b] if a.name == b.name)) {
            let says = "two targets have the same name: give one of the instances another tag `Name`, or name both in `targets`";
            return Err(self
                .error("DescribeTargetHealth", ErrorKind::Conflict, says)
                .with("backend", &one.name)
                .with("targets", format!("{} {}", one.key.id, other.key.id)));
        }
        Ok(all)
    }

    /// Names and addresses of the hosts behind these ids, as far as they are known.
    async fn hosts(&self, cx: &Context, ids: BTreeSet<&str>) -> Result<BTreeMap<String, (String, Option<String>)>> {
        let mut hosts: BTreeMap<String, (String, Option<String>)> =
            self.config.targets.iter().map(|(host, id)| (id.clone(), (host.clone(), None))).collect();
        let unknown: Vec<&str> = ids.into_iter().filter(|id| !hosts.contains_key(*id)).collect();
        // 200 values are the most that a filter takes.
        for some in unknown.chunks(200) {
            let filter = if self.of_addresses() { "private-ip-address" } else { "instance-id" };
            let found = self.instances(cx, |r| r.filters(tags::filter(filter, some))).await?;
            for instance in &found {
                let address = instance.private_ip_address().map(str::to_owned);
                let id = if self.of_addresses() { address.clone() } else { instance.instance_id().map(str::to_owned) };
                if let (Some(id), Some(name)) = (id, name(instance)) {
                    hosts.insert(id, (name.to_owned(), address));
                }
            }
        }
        Ok(hosts)
    }

    /// The target that a host is which is not in the group: by the config, by its address, by the instances' tags.
    pub(super) async fn resolve(&self, cx: &Context, host: &str, address: &str) -> Result<String> {
        if let Some(id) = self.config.targets.get(host) {
            return Ok(id.clone());
        }
        if address.starts_with("i-") || (self.of_addresses() && address.parse::<std::net::IpAddr>().is_ok()) {
            let hosts = self.hosts(cx, BTreeSet::from([address])).await?;
            let named = hosts.get(address).map_or(address, |h| h.0.as_str());
            if named != host {
                // Registered, it would be listed under its own name, and never be found again under this one.
                let says = format!("this target is called `{named}`, not as the host: name it in `targets`");
                let error = self.error("RegisterTargets", ErrorKind::Conflict, says);
                return Err(error.with("backend", host).with("target", address));
            }
            return Ok(address.to_owned());
        }
        for tag in [tags::HOST, "Name"] {
            let found = self
                .instances(cx, |r| {
                    r.filters(tags::tagged(tag, &[host]))
                        .filters(tags::filter("instance-state-name", &["pending", "running"]))
                })
                .await?;
            match found.as_slice() {
                [] => {}
                [one] => {
                    let id = if self.of_addresses() { one.private_ip_address() } else { one.instance_id() };
                    return Ok(id.unwrap_or_default().to_owned());
                }
                several => {
                    let ids: Vec<&str> = several.iter().filter_map(Instance::instance_id).collect();
                    let says = "several instances have this host's name: say in `targets` which one it is";
                    return Err(self
                        .error("RegisterTargets", ErrorKind::Conflict, says)
                        .with("backend", host)
                        .with("instances", ids.join(" ")));
                }
            }
        }
        let says = "no running instance has this host's name as its tag `towpath:host` or `Name`: name it in `targets`";
        Err(self.error("RegisterTargets", ErrorKind::NotFound, says).with("backend", host))
    }
}

fn name(instance: &Instance) -> Option<&str> {
    let tag = |name| tags::get(instance.tags(), name).filter(|n| !n.is_empty());
    tag(tags::HOST).or_else(|| tag("Name"))
}
