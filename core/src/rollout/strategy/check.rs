use std::collections::BTreeSet;

use crate::{Error, ErrorKind, Gate, Host, Inventory, Result};

use super::{Approval, Batch, BlueGreen, Hook, HookRun, Order, Phase, Rolling, Then};

impl Rolling {
    /// Checks what a schema can't say. Touches nothing.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): names the field.
    pub fn validate(&self) -> Result<()> {
        let bad = |field: &'static str, why: &str| Err(invalid(why).with("field", field));
        batch("batch", self.batch)?;
        for (field, size) in [
            ("max_unavailable", self.max_unavailable),
            ("min_healthy", self.min_healthy),
            ("rollback_batch", self.rollback_batch),
        ] {
            size.map_or(Ok(()), |size| batch(field, size))?;
        }
        for (field, value, least) in [
            ("pause_s", self.pause_s, 0.0),
            ("drain_limit_s", self.drain_limit_s, 0.0),
            ("activate_limit_s", self.activate_limit_s, 0.001),
            ("serve_limit_s", self.serve_limit_s, 0.001),
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
        self.check_canary()?;
        self.check_blue_green()?;
        for approval in self.approvals() {
            seconds("approval.limit_s", approval.limit_s, 0.0)?;
            if approval.question.trim().is_empty() {
                return bad("approval.question", "an approval must ask something");
            }
        }
        for (field, policy) in [
            ("verdicts.fail", self.verdicts.fail),
            ("verdicts.inconclusive", self.verdicts.inconclusive),
            ("verdicts.error", self.verdicts.error),
        ] {
            seconds(field, policy.again_s, 0.0)?;
            seconds(field, policy.ask_limit_s.unwrap_or_default(), 0.0)?;
        }
        self.hooks.iter().try_for_each(|hook| self.check_hook(hook))
    }

    /// All questions that it asks.
    pub(crate) fn approvals(&self) -> impl Iterator<Item = &Approval> {
        let steps = self.canary.iter().filter_map(|s| s.approval.as_ref());
        steps.chain(&self.approval).chain(self.blue_green.iter().filter_map(|b| b.approval.as_ref()))
    }

    /// Whether it may ask somebody.
    pub(crate) fn asks(&self) -> bool {
        let of = &self.verdicts;
        let verdicts = [of.fail, of.inconclusive, of.error].iter().any(|p| p.then == Then::Ask);
        verdicts || self.approvals().next().is_some()
    }

    fn check_canary(&self) -> Result<()> {
        for step in &self.canary {
            batch("canary.targets", step.targets)?;
            step.bake.as_ref().map_or(Ok(()), |gate| validate_gate("canary.bake", gate))?;
        }
        // Counts and shares can't be compared before the targets are known; two of a kind can.
        let falls = self.canary.windows(2).any(|pair| match pair {
            [a, b] => match (a.targets, b.targets) {
                (Batch::Count(a), Batch::Count(b)) | (Batch::Percent(a), Batch::Percent(b)) => b <= a,
                _ => false,
            },
            _ => false,
        });
        if falls {
            return Err(
                invalid("each step of a canary must have more targets than the one before").with("field", "canary")
            );
        }
        Ok(())
    }

    fn check_blue_green(&self) -> Result<()> {
        let Some(groups) = &self.blue_green else { return Ok(()) };
        let bad = |why: &str| Err(invalid(why).with("field", "blue_green"));
        if self.balancer.is_none() {
            return bad("blue and green are told apart, and switched, by a balancer: name it as `balancer`");
        }
        if groups.groups.first() == groups.groups.last() {
            return bad("blue and green must be two groups");
        }
        if !self.canary.is_empty() || !self.only.is_empty() || self.failure_budget > 0 {
            return bad("`canary`, `only` and `failure_budget` have no meaning where a whole group is switched");
        }
        Ok(())
    }

    fn check_hook(&self, hook: &Hook) -> Result<()> {
        let bad = |why: &str| {
            let at = format!("{} {}", hook.when.as_str(), hook.phase.as_str());
            Err(invalid(why).with("field", "hooks").with("hook", at))
        };
        seconds("hooks.limit_s", hook.limit_s, 0.001)?;
        for run in std::iter::once(&hook.run).chain(&hook.undo) {
            match run {
                HookRun::Command { argv, .. } if argv.first().is_none_or(String::is_empty) => {
                    return bad("a hook's `argv` must name a program");
                }
                HookRun::Function(name) if name.is_empty() => return bad("a hook's `function` must have a name"),
                _ => {}
            }
        }
        if hook.phase == Phase::Switch && self.blue_green.is_none() {
            return bad("only `blue_green` has a switch");
        }
        Ok(())
    }

    /// The hosts of the two groups of `blue_green`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): no such group, an empty one, or a host in both.
    pub fn colours<'a>(&self, inventory: &'a Inventory, groups: &BlueGreen) -> Result<[Vec<&'a Host>; 2]> {
        let [blue, green] = &groups.groups;
        let of = |name: &String| Self { only: vec![name.clone()], ..self.clone() }.select(inventory);
        let both = [of(blue)?, of(green)?];
        let [blues, greens] = &both;
        match blues.iter().find(|host| greens.iter().any(|g| g.name == host.name)) {
            Some(host) => Err(invalid("a host is in both groups of `blue_green`").with("host", &host.name)),
            None => Ok(both),
        }
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

fn batch(field: &'static str, size: Batch) -> Result<()> {
    let why = match size {
        Batch::Count(0) => "a batch of 0 targets never gets anywhere: give a count from 1 or a share",
        Batch::Percent(p) if p == 0 || p > 100 => "a batch's share must be 1% to 100%",
        _ => return Ok(()),
    };
    Err(invalid(why).with("field", field))
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
