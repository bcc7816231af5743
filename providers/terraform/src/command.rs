//! Command lines of the tool. Pure: nothing is touched here.

use std::ffi::OsString;
use std::path::Path;

use crate::TerraformConfig;

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    /// What the configuration says.
    Configured,
    /// Nothing at all: every resource removed.
    Destroyed,
    /// What is there now: only the state would change.
    Refreshed,
}

fn words<const N: usize>(words: [&str; N]) -> Vec<OsString> {
    words.into_iter().map(OsString::from).collect()
}

fn flag(name: &str, value: impl AsRef<std::ffi::OsStr>) -> OsString {
    let mut word = OsString::from(name);
    word.push("=");
    word.push(value);
    word
}

fn lock(config: &TerraformConfig) -> OsString {
    flag("-lock-timeout", format!("{}s", config.lock_timeout_s))
}

pub(crate) fn init(config: &TerraformConfig) -> Vec<OsString> {
    let mut argv = words(["init", "-json", "-input=false"]);
    // What somebody once gave by hand must not be asked about: the settings below are the whole truth.
    if !config.backend.is_empty() || !config.backend_files.is_empty() {
        argv.push("-reconfigure".into());
    }
    argv.extend(config.backend_files.iter().map(|file| flag("-backend-config", file)));
    argv.extend(config.backend.iter().map(|(name, value)| flag("-backend-config", format!("{name}={value}"))));
    argv.push(lock(config));
    if config.upgrade {
        argv.push("-upgrade".into());
    }
    argv
}

/// `vars`: the file of the config's own variables.
pub(crate) fn plan(config: &TerraformConfig, aim: Aim, vars: Option<&Path>, out: &Path) -> Vec<OsString> {
    let mut argv = words(["plan", "-json", "-input=false"]);
    argv.push(flag("-out", out));
    argv.push(lock(config));
    match aim {
        Aim::Configured => argv.extend(config.replace.iter().map(|address| flag("-replace", address))),
        Aim::Destroyed => argv.push("-destroy".into()),
        Aim::Refreshed => argv.push("-refresh-only".into()),
    }
    if !config.refresh && aim != Aim::Refreshed {
        argv.push("-refresh=false".into());
    }
    argv.extend(config.parallelism.map(|n| flag("-parallelism", n.to_string())));
    argv.extend(config.targets.iter().map(|address| flag("-target", address)));
    argv.extend(config.var_files.iter().map(|file| flag("-var-file", file)));
    argv.extend(vars.map(|file| flag("-var-file", file)));
    argv
}

pub(crate) fn apply(config: &TerraformConfig, plan: &Path) -> Vec<OsString> {
    let mut argv = words(["apply", "-json", "-input=false"]);
    argv.push(lock(config));
    argv.extend(config.parallelism.map(|n| flag("-parallelism", n.to_string())));
    argv.push(plan.into());
    argv
}

/// A saved plan, or the state.
pub(crate) fn show(plan: Option<&Path>) -> Vec<OsString> {
    let mut argv = words(["show", "-json"]);
    argv.extend(plan.map(OsString::from));
    argv
}

pub(crate) fn validate() -> Vec<OsString> {
    words(["validate", "-json"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(argv: &[OsString]) -> String {
        argv.iter().map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn options_are_passed_on() {
        let mut config = TerraformConfig::module("infra");
        config.lock_timeout_s = 30;
        config.parallelism = Some(2);
        config.targets = vec!["module.web".into()];
        config.replace = vec!["a.b[\"x y\"]".into()];
        config.var_files = vec!["prod.tfvars".into()];
        config.refresh = false;
        assert_eq!(
            line(&plan(&config, Aim::Configured, Some(Path::new("own.tfvars.json")), Path::new("p"))),
            "plan -json -input=false -out=p -lock-timeout=30s -replace=a.b[\"x y\"] -refresh=false -parallelism=2 \
             -target=module.web -var-file=prod.tfvars -var-file=own.tfvars.json"
        );
        assert_eq!(
            line(&apply(&config, Path::new("p"))),
            "apply -json -input=false -lock-timeout=30s -parallelism=2 p"
        );
        let refreshed = line(&plan(&config, Aim::Refreshed, None, Path::new("p")));
        assert!(refreshed.contains("-refresh-only") && !refreshed.contains("-refresh=false"), "{refreshed}");
        assert!(!line(&plan(&config, Aim::Destroyed, None, Path::new("p"))).contains("-replace"));
    }

    #[test]
    fn a_backend_that_is_given_is_the_whole_truth() {
        let mut config = TerraformConfig::module("infra");
        assert_eq!(line(&init(&config)), "init -json -input=false -lock-timeout=0s");
        config.backend.insert("bucket".into(), "state".into());
        assert_eq!(
            line(&init(&config)),
            "init -json -input=false -reconfigure -backend-config=bucket=state -lock-timeout=0s"
        );
    }
}
