use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::pipeline::{ProviderRef, ProviderSpec};
use crate::{Balancer, Error, ErrorKind, Gate, Host, Inventory, Monitor, PortSpec, Result};

/// How a release moves over the hosts: a batch at a time.
///
/// For each target: drain at the balancer, wait until idle, activate, health gate, back to service; after each batch the
/// watch. The release was staged on all targets before the first one was drained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rolling {
    /// How many targets are changed at once: a count (`2`) or a share (`"25%"`, rounded down, at least one). `1` by default.
    pub batch: Batch,
    /// In which order the targets take their turn.
    pub order: Order,
    /// Only these hosts or groups of the inventory; all if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// Pause between two batches, in seconds. `0` by default.
    #[schemars(range(min = 0.0))]
    pub pause_s: f64,
    /// Longest wait for a drained target's connections to end, in seconds; what is left then is cut off, with a warning.
    /// `30` by default.
    #[schemars(range(min = 0.0))]
    pub drain_limit_s: f64,
    /// Longest time of one activation, in seconds. `600` by default.
    #[schemars(range(min = 0.0))]
    pub activate_limit_s: f64,
    /// How many targets may fail before the rollout has failed. They are left out of service and named in the report. `0` by
    /// default.
    pub failure_budget: u32,
    /// What a changed target must pass before it serves again. Without it, the deployer's own look at the target counts.
    /// In its checks `{{ release_version }}` is the version that shall run, in a rollback the former one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Gate>,
    /// What a batch must pass while it serves again: give it a `hold_s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch: Option<Gate>,
    /// What happens when more targets fail than the budget allows.
    pub on_failure: OnFailure,
    /// Tries a release again that was rolled back in this environment with the same content. `false` by default: it is refused.
    pub retry_refused: bool,
    /// What happens to a release that was deployed here once, and that a later one has replaced.
    pub superseded: Superseded,
    /// How long a drained target may stay out of service after this process died, in seconds: the end of the lease whose undo
    /// puts it back. `30` by default.
    #[schemars(range(min = 1.0))]
    pub drain_lease_s: f64,
    /// The balancer that the targets are behind. By name, so that a dead process's drain can be undone by another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balancer: Option<ProviderRef>,
    /// Port under which a target is added to the balancer that does not know it yet. Without it, a backend must be there for
    /// every target, named after its host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_port: Option<PortSpec>,
    /// What a deployer that moves a whole group calls it; the service's name if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The monitor that judges `health` and `watch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<ProviderRef>,
}

impl Default for Rolling {
    fn default() -> Self {
        Self {
            batch: Batch::Count(1),
            order: Order::Inventory,
            only: Vec::new(),
            pause_s: 0.0,
            drain_limit_s: 30.0,
            activate_limit_s: 600.0,
            failure_budget: 0,
            health: None,
            watch: None,
            on_failure: OnFailure::Rollback,
            retry_refused: false,
            superseded: Superseded::Deploy,
            drain_lease_s: 30.0,
            balancer: None,
            backend_port: None,
            group: None,
            monitor: None,
        }
    }
}

impl Rolling {
    /// Changes `count` targets at once. `0` is refused when the rollout starts.
    pub fn batches_of(count: u32) -> Self {
        Self { batch: Batch::Count(count), ..Self::default() }
    }

    /// Changes this share of the targets at once, 1 to 100, at least one target.
    pub fn percent(share: u32) -> Self {
        Self { batch: Batch::Percent(share), ..Self::default() }
    }

    /// Drains and returns the targets at this balancer.
    #[must_use]
    pub fn behind(mut self, balancer: impl Into<ProviderSpec<dyn Balancer>>) -> Self {
        self.balancer = Some(balancer.into().to_ref());
        self
    }

    /// Adds targets that the balancer does not know yet under this port of theirs.
    #[must_use]
    pub fn backend_port(mut self, port: PortSpec) -> Self {
        self.backend_port = Some(port);
        self
    }

    /// Judges the gates with this monitor.
    #[must_use]
    pub fn monitor(mut self, monitor: impl Into<ProviderSpec<dyn Monitor>>) -> Self {
        self.monitor = Some(monitor.into().to_ref());
        self
    }

    /// Asks this of a changed target before it serves again.
    #[must_use]
    pub fn health(mut self, gate: Gate) -> Self {
        self.health = Some(gate);
        self
    }

    /// Asks this of a batch while it serves again.
    #[must_use]
    pub fn watch(mut self, gate: Gate) -> Self {
        self.watch = Some(gate);
        self
    }

    /// Sets the order.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Limits the rollout to these hosts or groups.
    #[must_use]
    pub fn only<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.only = names.into_iter().map(Into::into).collect();
        self
    }

    /// Waits between batches.
    #[must_use]
    pub fn pause(mut self, d: Duration) -> Self {
        self.pause_s = d.as_secs_f64();
        self
    }

    /// Limits the wait for a drained target's connections.
    #[must_use]
    pub fn drain_limit(mut self, d: Duration) -> Self {
        self.drain_limit_s = d.as_secs_f64();
        self
    }

    /// Lets so many targets fail.
    #[must_use]
    pub fn failure_budget(mut self, targets: u32) -> Self {
        self.failure_budget = targets;
        self
    }

    /// Says what happens when more fail.
    #[must_use]
    pub fn on_failure(mut self, then: OnFailure) -> Self {
        self.on_failure = then;
        self
    }

    /// Tries a refused release again.
    #[must_use]
    pub fn retry_refused(mut self, yes: bool) -> Self {
        self.retry_refused = yes;
        self
    }

    /// Says what happens to a release that a later one has replaced.
    #[must_use]
    pub fn superseded(mut self, then: Superseded) -> Self {
        self.superseded = then;
        self
    }

    /// Checks what a schema can't say. Touches nothing.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): names the field.
    pub fn validate(&self) -> Result<()> {
        let bad = |field: &'static str, why: &str| Err(invalid(why).with("field", field));
        match self.batch {
            Batch::Count(0) => {
                return bad("batch", "a batch of 0 targets never gets anywhere: give a count from 1 or a share");
            }
            Batch::Percent(p) if p == 0 || p > 100 => return bad("batch", "a batch's share must be 1% to 100%"),
            _ => {}
        }
        for (field, value, least) in [
            ("pause_s", self.pause_s, 0.0),
            ("drain_limit_s", self.drain_limit_s, 0.0),
            ("activate_limit_s", self.activate_limit_s, 0.001),
            ("drain_lease_s", self.drain_lease_s, 1.0),
        ] {
            seconds(field, value, least)?;
        }
        for (field, gate) in [("health", &self.health), ("watch", &self.watch)] {
            if let Some(gate) = gate {
                validate_gate(field, gate)?;
            }
        }
        if self.backend_port.is_some() && self.balancer.is_none() {
            return bad("backend_port", "a backend port without a balancer has no meaning");
        }
        Ok(())
    }

    /// Picks the hosts in their order.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): a name in `only` is neither host nor group; two hosts have one name; none is left.
    pub fn select<'a>(&self, inventory: &'a Inventory) -> Result<Vec<&'a Host>> {
        let mut seen = BTreeSet::new();
        if let Some(twice) = inventory.hosts.iter().find(|h| !seen.insert(h.name.as_str())) {
            return Err(invalid("two hosts of the inventory have the same name").with("host", &twice.name));
        }
        let mut wanted = BTreeSet::new();
        for name in &self.only {
            if inventory.host(name).is_some() {
                wanted.insert(name.as_str());
            } else if name == "all" {
                wanted.extend(inventory.hosts.iter().map(|h| h.name.as_str()));
            } else if inventory.groups.contains_key(name) {
                members(inventory, name, &mut wanted, &mut BTreeSet::new());
            } else {
                let known = inventory.hosts.iter().map(|h| &h.name).chain(inventory.groups.keys());
                let mut error = invalid("a target is neither a host nor a group of the inventory").with("target", name);
                if let Some(near) = known.max_by(|a, b| strsim::jaro(a, name).total_cmp(&strsim::jaro(b, name))) {
                    error = error.with("nearest", near);
                }
                return Err(error);
            }
        }
        let mut hosts: Vec<&Host> =
            inventory.hosts.iter().filter(|h| self.only.is_empty() || wanted.contains(h.name.as_str())).collect();
        if hosts.is_empty() {
            return Err(invalid("there is no host to deploy to"));
        }
        match self.order {
            Order::Inventory => {}
            Order::Reverse => hosts.reverse(),
            Order::Name => hosts.sort_by(|a, b| a.name.cmp(&b.name)),
        }
        Ok(hosts)
    }
}

fn members<'a>(inventory: &'a Inventory, group: &'a str, out: &mut BTreeSet<&'a str>, seen: &mut BTreeSet<&'a str>) {
    if !seen.insert(group) {
        return;
    }
    if let Some(group) = inventory.groups.get(group) {
        out.extend(group.hosts.iter().map(String::as_str));
        for child in &group.children {
            members(inventory, child, out, seen);
        }
    }
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, "core", "rollout", message)
}

/// A day is more than any of these can mean; it also keeps `Duration::from_secs_f64` from panicking.
fn seconds(field: &'static str, value: f64, least: f64) -> Result<()> {
    if value.is_finite() && (least..=86_400.0).contains(&value) {
        return Ok(());
    }
    Err(invalid(&format!("must be {least} to 86400 seconds")).with("field", field).with("value", value))
}

fn validate_gate(field: &'static str, gate: &Gate) -> Result<()> {
    if gate.checks.is_empty() {
        return Err(
            invalid("a gate without checks passes everything: give it one, or leave it out").with("field", field)
        );
    }
    if gate.rise == 0 || gate.fall == 0 {
        return Err(invalid("`rise` and `fall` of a gate count from 1").with("field", field));
    }
    for value in [gate.start_period_s, gate.hold_s] {
        seconds(field, value, 0.0)?;
    }
    for value in [gate.interval_s, gate.deadline_s] {
        seconds(field, value, 0.001)?;
    }
    gate.checks.iter().try_for_each(|c| seconds(field, c.timeout_s, 0.001))
}

/// How many targets are changed at once. In JSON and YAML a number, or a text such as `"25%"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Batch {
    /// So many.
    Count(u32),
    /// This share of all, 1 to 100; rounded down, at least one.
    Percent(u32),
}

impl Batch {
    /// The number of targets, of `all`. At least one.
    pub fn size(self, all: usize) -> usize {
        let size = match self {
            Self::Count(n) => usize::try_from(n).unwrap_or(usize::MAX),
            Self::Percent(p) => all.saturating_mul(usize::try_from(p).unwrap_or(usize::MAX)) / 100,
        };
        size.max(1)
    }
}

impl Serialize for Batch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(n) => serializer.serialize_u32(*n),
            Self::Percent(p) => serializer.collect_str(&format_args!("{p}%")),
        }
    }
}

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Batch;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a count from 1, or a share from \"1%\" to \"100%\"")
            }
            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Batch, E> {
                u32::try_from(n)
                    .ok()
                    .filter(|n| *n > 0)
                    .map(Batch::Count)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(n), &self))
            }
            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Batch, E> {
                u64::try_from(n)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(n), &self))
                    .and_then(|n| self.visit_u64(n))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Batch, E> {
                let share = text.strip_suffix('%').and_then(|p| p.trim().parse::<u32>().ok());
                share
                    .filter(|p| (1..=100).contains(p))
                    .map(Batch::Percent)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl JsonSchema for Batch {
    fn schema_name() -> Cow<'static, str> {
        "Batch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How many targets are changed at once: a count, or a share such as \"25%\".",
            "oneOf": [
                { "type": "integer", "minimum": 1 },
                { "type": "string", "pattern": "^(100|[1-9][0-9]?) *%$" }
            ]
        })
    }
}

/// In which order the targets take their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As they stand in the inventory.
    #[default]
    Inventory,
    /// From the inventory's last to its first.
    Reverse,
    /// By their names.
    Name,
}

/// What happens when more targets fail than the budget allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Every target that was touched goes back to the release that was seen healthy before.
    #[default]
    Rollback,
    /// Everything stays as it is; failed targets stay out of service.
    Stop,
}

/// What happens to a release that was deployed here once, and that a later one has replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Superseded {
    /// It is deployed again: somebody wants it back.
    #[default]
    Deploy,
    /// It is left alone: the pipeline deploys its releases one after the other, and was run again.
    Skip,
}
