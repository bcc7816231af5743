//! `dpkg_selections`.

use serde_json::json;
use towpath_core::{Action, shell_quote};

use super::spec::Rules;
use super::{Call, Decision, Module, Pending, Place, fields, finish};

/// `dpkg_selections`.
pub(super) const MODULE: Module =
    Module { names: &["dpkg_selections"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

fn prepare(call: &Call) -> Result<Decision, String> {
    let (name, selection) = (call.need("name")?, call.need("selection")?);
    let probe = format!("dpkg --get-selections {} 2>/dev/null\nexit 0\n", shell_quote(&name));
    Ok(Decision::Probe(
        probe,
        Box::new(move |out| {
            let text = out.text();
            let Some(before) = text.split_whitespace().nth(1).map(str::to_owned) else {
                return Err(format!("Failed to find package '{name}' to perform selection '{selection}'."));
            };
            let changed = before != selection;
            let result = fields([("changed", json!(changed)), ("before", json!(before)), ("after", json!(selection))]);
            if !changed {
                return Ok(Decision::Done(result));
            }
            Ok(Decision::Change(Pending {
                script: format!(
                    "printf '%s %s\\n' {} {} | dpkg --set-selections\n",
                    shell_quote(&name),
                    shell_quote(&selection)
                ),
                action: Action::Update,
                subject: format!("selection of package {name}"),
                path: None,
                before: Some(json!(before)),
                after: Some(json!(selection)),
                certain: true,
                foreign: false,
                expected: result.clone(),
                finish: finish(result),
            }))
        }),
    ))
}
