//! `package`: the manager that the host has.

use std::sync::Arc;

use towpath_core::Json;

use super::spec::{self, Rules};
use super::{Call, Decided, Decision, Module, Place, apt, dnf};
use crate::facts::{self, Subset};
use crate::render::{Scope, to_json};

/// `package`.
pub(super) const MODULE: Module = Module {
    names: &["package"],
    rules: Rules { free: true, ..Rules::NONE },
    missing: &[],
    place: Place::Host,
    prepare,
};

/// What goes on once the name of the manager is known.
type Then = Box<dyn FnOnce(&str) -> Decided + Send>;

/// The fact `pkg_mgr`, if it was gathered.
pub(super) fn known(scope: &Arc<Scope>) -> Option<String> {
    let facts = scope.variable("ansible_facts").map(|f| to_json(&f))?;
    facts.get("pkg_mgr").and_then(Json::as_str).map(str::to_owned)
}

/// The fact `pkg_mgr`: as it was gathered, or else as the host tells it now.
pub(super) fn manager(scope: &Arc<Scope>, then: Then) -> Decided {
    if let Some(manager) = known(scope) {
        return then(&manager);
    }
    let subset = Subset::of(&["!all", "!min", "pkg_mgr"].map(str::to_owned))?;
    Ok(Decision::Probe(
        facts::script(&subset, "/etc/ansible/facts.d"),
        Box::new(move |out| {
            let (all, _) = facts::read(&subset, &out.stdout)?;
            then(all.get("pkg_mgr").and_then(Json::as_str).unwrap_or("unknown"))
        }),
    ))
}

fn prepare(call: &Call) -> Decided {
    // The manager checks the arguments; `package` itself checks none.
    let mut given = call.given.clone();
    let named = given.remove("use").and_then(|v| v.as_str().map(str::to_owned)).filter(|u| u != "auto");
    let named = named.or_else(|| {
        let variable = call.scope.variable("ansible_package_use").map(|v| to_json(&v))?;
        variable.as_str().filter(|u| *u != "auto").map(str::to_owned)
    });
    let inner = Call { action: "package".into(), args: given.clone(), given, ..call.clone() };
    match named {
        Some(name) => through(inner, &name),
        None => manager(&call.scope, Box::new(move |name| through(inner, name))),
    }
}

fn through(mut call: Call, wanted: &str) -> Decided {
    let (module, tool) = match wanted.rsplit('.').next().unwrap_or_default() {
        "apt" => (&apt::MODULE, None),
        "dnf" => (&dnf::DNF, Some(dnf::Tool::Dnf4)),
        "dnf5" => (&dnf::DNF5, Some(dnf::Tool::Dnf5)),
        "unknown" => {
            return Err(
                "Could not detect which package manager to use. Try gathering facts or setting the \"use\" option."
                    .into(),
            );
        }
        _ => return Err(format!("Could not find a matching action for the \"{wanted}\" package manager.")),
    };
    let name = module.names.first().copied().unwrap_or_default();
    call.action = name.into();
    call.args = spec::validate(module, name, &format!("ansible.legacy.{name}"), &call.given, false)?;
    match tool {
        Some(tool) => dnf::prepare(&call, tool),
        None => apt::prepare(&call),
    }
}
