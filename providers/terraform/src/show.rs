//! Reads `show -json` of a saved plan.
//!
//! Source: Terraform documentation, "JSON Output Format".

use std::collections::BTreeMap;

use serde::Deserialize;
use towpath_core::{Action, Change, Json, Plan};

use crate::stream::action;

/// Stands for a value that only the apply can tell.
const UNKNOWN: &str = "(known after apply)";
/// Stands for a value that is sensitive.
const SENSITIVE: &str = "(sensitive)";

#[derive(Debug, Deserialize)]
pub(crate) struct SavedPlan {
    #[serde(default)]
    resource_changes: Vec<ResourceChange>,
    #[serde(default)]
    resource_drift: Vec<ResourceChange>,
    #[serde(default)]
    output_changes: BTreeMap<String, ChangeOf>,
    #[serde(default)]
    configuration: Configuration,
}

#[derive(Debug, Default, Deserialize)]
struct Configuration {
    #[serde(default)]
    root_module: RootModule,
}

#[derive(Debug, Default, Deserialize)]
struct RootModule {
    #[serde(default)]
    variables: BTreeMap<String, Json>,
}

#[derive(Debug, Deserialize)]
struct ResourceChange {
    address: String,
    #[serde(default)]
    previous_address: Option<String>,
    /// The id of an object that was replaced and could not be removed then.
    #[serde(default)]
    deposed: Option<String>,
    #[serde(default)]
    mode: String,
    #[serde(default)]
    action_reason: Option<String>,
    change: ChangeOf,
}

#[derive(Debug, Deserialize)]
struct ChangeOf {
    actions: Vec<String>,
    #[serde(default)]
    before: Json,
    #[serde(default)]
    after: Json,
    #[serde(default)]
    after_unknown: Json,
    #[serde(default)]
    before_sensitive: Json,
    #[serde(default)]
    after_sensitive: Json,
    #[serde(default)]
    importing: Option<Json>,
}

impl ChangeOf {
    fn action(&self) -> Action {
        let names: Vec<&str> = self.actions.iter().map(String::as_str).collect();
        match names.as_slice() {
            ["create", "delete"] | ["delete", "create"] | ["create", "forget"] => Action::Replace,
            [one] => action(one),
            // Whatever a later version has: never "nothing".
            _ => Action::Update,
        }
    }

    fn before(&self) -> Option<Json> {
        shown(&self.before, &self.before_sensitive, &Json::Null)
    }

    fn after(&self) -> Option<Json> {
        shown(&self.after, &self.after_sensitive, &self.after_unknown)
    }
}

/// A value without what is sensitive. `None`: there is nothing.
fn shown(value: &Json, sensitive: &Json, unknown: &Json) -> Option<Json> {
    if *unknown == Json::Bool(true) {
        return Some(UNKNOWN.into());
    }
    if value.is_null() && unknown.as_object().is_none_or(|u| u.is_empty()) {
        return None;
    }
    Some(redacted(value, sensitive, unknown))
}

/// `sensitive` and `unknown` have the value's shape, with `true` where it holds.
pub(crate) fn redacted(value: &Json, sensitive: &Json, unknown: &Json) -> Json {
    if *sensitive == Json::Bool(true) {
        return SENSITIVE.into();
    }
    if *unknown == Json::Bool(true) {
        return UNKNOWN.into();
    }
    match value {
        Json::Object(map) => {
            let mut out = serde_json::Map::new();
            for (key, inner) in map {
                let below = |mask: &Json| mask.get(key).cloned().unwrap_or_default();
                out.insert(key.clone(), redacted(inner, &below(sensitive), &below(unknown)));
            }
            // What is not known yet is left out of the value.
            for (key, mask) in unknown.as_object().into_iter().flatten().filter(|(k, _)| !map.contains_key(*k)) {
                if *mask == Json::Bool(true) {
                    out.insert(key.clone(), UNKNOWN.into());
                }
            }
            Json::Object(out)
        }
        Json::Array(items) => {
            let below = |mask: &Json, i: usize| mask.get(i).cloned().unwrap_or_default();
            let each = items.iter().enumerate();
            Json::Array(each.map(|(i, inner)| redacted(inner, &below(sensitive, i), &below(unknown, i))).collect())
        }
        other => other.clone(),
    }
}

impl SavedPlan {
    /// The variables that the root module declares, and whether they are sensitive.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, bool)> {
        let declared = self.configuration.root_module.variables.iter();
        declared.map(|(name, v)| (name.as_str(), v.get("sensitive").and_then(Json::as_bool) == Some(true)))
    }

    /// The outputs of the root module, and whether they are sensitive.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = (&str, bool)> {
        self.output_changes.iter().map(|(name, c)| (name.as_str(), c.after_sensitive == Json::Bool(true)))
    }

    /// How many resources would be made, changed, replaced or removed.
    pub(crate) fn changed(&self) -> usize {
        self.resource_changes.iter().filter(|c| c.changes()).count()
    }

    /// Whether applying it would do anything: outputs and imports count too.
    pub(crate) fn does_something(&self) -> bool {
        let moved = |c: &ResourceChange| c.previous_address.is_some() || c.change.importing.is_some();
        self.resource_changes.iter().any(|c| c.changes() || moved(c) || c.change.action() == Action::Run)
            || self.output_changes.values().any(|c| c.action() != Action::None)
    }

    /// As a plan: resources in the tool's order, then outputs; what stays is listed too.
    pub(crate) fn plan(&self, stack: &str) -> Plan {
        let resources = self.resource_changes.iter().map(|c| c.to_change(stack));
        let outputs = self.output_changes.iter().map(|(name, c)| {
            let mut change = Change::will(stack, format!("output {name}"), c.action()).from_to(c.before(), c.after());
            if c.action() == Action::None {
                change = Change::will_not(stack, format!("output {name}"));
            }
            change
        });
        Plan { changes: resources.chain(outputs).collect(), ..Plan::default() }
    }

    /// What somebody changed behind the tool's back: a change from what the state says to what is there.
    pub(crate) fn drift(&self, stack: &str) -> Plan {
        let changes = self.resource_drift.iter().filter(|c| c.change.action() != Action::None).map(|c| {
            let mut change = c.to_change(stack);
            change.reason =
                Some("changed outside of this configuration: before is the state, after is what is there".to_owned());
            change
        });
        Plan { changes: changes.collect(), ..Plan::default() }
    }
}

impl ResourceChange {
    fn changes(&self) -> bool {
        matches!(self.change.action(), Action::Create | Action::Update | Action::Replace | Action::Delete)
    }

    fn to_change(&self, stack: &str) -> Change {
        let subject = match &self.deposed {
            Some(id) => format!("{} (deposed object {id})", self.address),
            None => self.address.clone(),
        };
        let action = self.change.action();
        if action == Action::None {
            let mut change = Change::will_not(stack, subject);
            change.reason = self.previous_address.as_ref().map(|old| format!("moved here from {old}"));
            return change;
        }
        let mut change = Change::will(stack, subject, action).from_to(self.change.before(), self.change.after());
        let moved = self
            .previous_address
            .as_ref()
            .filter(|old| **old != self.address)
            .map(|old| format!("moved here from {old}"));
        change.reason = match (&self.action_reason, self.mode.as_str()) {
            (_, "data") => Some("read when its inputs are known".to_owned()),
            (Some(reason), _) => Some(reason.replace('_', " ")),
            (None, _) => moved,
        };
        change
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use serde_json::json;
    use towpath_core::Certainty;

    use super::*;

    fn plan(change: Json) -> SavedPlan {
        serde_json::from_value(json!({
            "format_version": "1.2",
            "resource_changes": [{"address": "a.b[0]", "mode": "managed", "change": change}],
        }))
        .unwrap()
    }

    #[test]
    fn sensitive_and_unknown_values_are_left_out() {
        let saved = plan(json!({
            "actions": ["update"],
            "before": {"user": "anna", "password": "hunter22", "tags": [{"k": "old-secret"}]},
            "after": {"user": "anna", "password": "hunter23", "tags": [{"k": "new-secret"}]},
            "after_unknown": {"id": true, "tags": [{}]},
            "before_sensitive": {"password": true, "tags": [{"k": true}]},
            "after_sensitive": {"password": true, "tags": true},
        }));
        let change = &saved.plan("infra").changes[0];
        assert_eq!(change.before, Some(json!({"user": "anna", "password": SENSITIVE, "tags": [{"k": SENSITIVE}]})));
        assert_eq!(
            change.after,
            Some(json!({"user": "anna", "password": SENSITIVE, "tags": SENSITIVE, "id": UNKNOWN}))
        );
    }

    #[test]
    fn a_replacement_is_one_change() {
        for actions in [["create", "delete"], ["delete", "create"]] {
            let saved = plan(json!({"actions": actions, "before": {}, "after": {}}));
            assert_eq!((saved.plan("infra").changes[0].action, saved.changed()), (Action::Replace, 1));
        }
    }

    #[test]
    fn an_action_that_nobody_knows_yet_is_not_nothing() {
        for actions in [json!(["create", "forget"]), json!(["mend"]), json!(["forget", "create", "x"])] {
            let saved = plan(json!({"actions": actions, "before": {}, "after": {}}));
            assert!(saved.does_something() && saved.changed() == 1, "{actions}");
        }
    }

    #[test]
    fn what_stays_is_listed_and_does_nothing() {
        let saved = plan(json!({"actions": ["no-op"], "before": {"a": 1}, "after": {"a": 1}}));
        assert_eq!(saved.plan("infra").changes[0].certainty, Certainty::WillNot);
        assert!(!saved.does_something() && saved.changed() == 0);
    }

    #[test]
    fn a_changed_output_is_something_to_apply() {
        let saved: SavedPlan = serde_json::from_value(json!({
            "output_changes": {"url": {"actions": ["update"], "before": "a", "after": "b", "before_sensitive": false, "after_sensitive": true}},
        }))
        .unwrap();
        assert!(saved.does_something() && saved.changed() == 0);
        let change = &saved.plan("infra").changes[0];
        assert_eq!(
            (change.subject.as_str(), &change.before, &change.after),
            ("output url", &Some(json!("a")), &Some(json!(SENSITIVE)))
        );
    }
}
