//! Keeps a plain host from writing outside its folder, by the kernel and not by looking at commands.

use std::path::Path;

use landlock::{
    ABI, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};

/// Devices that every program may write to.
const DEVICES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// Says why the kernel can't guard plain hosts; `Ok`: it can.
pub(crate) fn guard_works() -> Result<(), String> {
    rules().map(drop).map_err(|e| format!("Landlock (Linux 5.19, switched on in the kernel) is not available: {e}"))
}

/// All ways to write a file.
///
/// Source: Linux documentation, "Landlock: unprivileged access control". Version 2 is the first in which files can be moved
/// between folders at all. Version 3 adds the call `truncate` (opening for writing is covered before), version 6 signals:
/// both are used where they are there.
fn rules() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_write(ABI::V2))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(writes())?
        .scope(Scope::Signal)?
        .create()
}

fn writes() -> BitFlags<AccessFs> {
    AccessFs::from_write(ABI::V3)
}

/// From now on this process, and whatever it starts, writes below `root` only. There is no way back, and no way to gain
/// rights through set-user-id programs.
pub(crate) fn restrict_writes_to(root: &Path) -> Result<(), String> {
    let apply = || -> Result<_, Box<dyn std::error::Error>> {
        let mut rules = rules()?.add_rule(PathBeneath::new(PathFd::new(root)?, writes()))?;
        for device in DEVICES {
            // One that is not there needs no rule.
            if let Ok(device) = PathFd::new(device) {
                rules = rules.add_rule(PathBeneath::new(device, AccessFs::WriteFile | AccessFs::Truncate))?;
            }
        }
        match rules.restrict_self()?.ruleset {
            RulesetStatus::NotEnforced => Err("the kernel took the rules and does not enforce them".into()),
            _ => Ok(()),
        }
    };
    apply().map_err(|e| format!("writes can't be restricted to {}: {e}", root.display()))
}
