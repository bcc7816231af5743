//! `package`: the manager that the host has. Only apt so far.

use super::spec::{self, Rules};
use super::{Call, Decision, Module, Place, apt};

/// `package`.
pub(super) const MODULE: Module = Module {
    names: &["package"],
    rules: Rules { free: true, ..Rules::NONE },
    missing: &[],
    place: Place::Host,
    prepare,
};

fn prepare(call: &Call) -> Result<Decision, String> {
    // The manager checks the arguments; `package` itself checks none.
    let mut given = call.given.clone();
    let wanted = given.remove("use").and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_else(|| "auto".into());
    let manager = wanted.rsplit('.').next().unwrap_or_default().to_owned();
    if manager != "auto" && manager != "apt" {
        return Err(match manager.as_str() {
            "dnf" | "dnf4" | "dnf5" | "yum" | "yum4" | "apk" | "zypper" | "pacman" => {
                format!("the package manager `{manager}` is not supported yet; there is: apt")
            }
            _ => format!("Could not find a matching action for the \"{wanted}\" package manager."),
        });
    }
    let args = spec::validate(&apt::MODULE, "apt", "ansible.legacy.apt", &given, false)?;
    let inner = Call {
        action: "apt".into(),
        args,
        given,
        scope: call.scope.clone(),
        env: call.env.clone(),
        check: call.check,
        diff: call.diff,
    };
    if manager == "apt" {
        return apt::prepare(&inner);
    }
    let probe = "if command -v apt-get >/dev/null; then echo apt; fi\nexit 0\n";
    Ok(Decision::Probe(
        probe.into(),
        Box::new(move |out| {
            if out.text().trim() == "apt" {
                return apt::prepare(&inner);
            }
            Err("Could not detect which package manager to use. Try gathering facts or setting the \"use\" option."
                .into())
        }),
    ))
}
