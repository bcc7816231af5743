//! `setup`, `gather_facts`: facts about the host.

use serde_json::json;
use towpath_core::Json;

use super::spec::Rules;
use super::{Call, Decided, Decision, Module, Place, fields};
use crate::facts::{self, Subset};

/// `setup`; a bare `gather_facts` is the same with nothing said.
pub(super) const MODULE: Module =
    Module { names: &["setup", "gather_facts"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

fn prepare(call: &Call) -> Decided {
    let words = call.list("gather_subset").unwrap_or_else(|| vec!["all".into()]);
    let subset = Subset::of(&words)?;
    let path = call.text("fact_path").unwrap_or_else(|| "/etc/ansible/facts.d".into());
    let patterns = call.list("filter").unwrap_or_default();
    Ok(Decision::Probe(
        facts::script(&subset, &path),
        Box::new(move |out| {
            let (all, warnings) = facts::read(&subset, &out.stdout)?;
            let mut all = facts::filter(all, &patterns);
            if patterns.is_empty() {
                all.insert("gather_subset".into(), json!(words));
                all.insert("module_setup".into(), json!(true));
            }
            let named = all.into_iter().map(|(k, v)| (facts::prefixed(&k), v)).collect();
            let mut result = fields([("changed", json!(false)), ("ansible_facts", Json::Object(named))]);
            if !warnings.is_empty() {
                result.insert("warnings".into(), json!(warnings));
            }
            Ok(Decision::Done(result))
        }),
    ))
}
