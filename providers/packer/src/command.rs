//! Packer's command lines; touches nothing.

use std::ffi::OsString;
use std::path::Path;

use crate::PackerConfig;

/// What `validate` and `build` have in common.
fn common(config: &PackerConfig, vars: &Path) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["-machine-readable".into()];
    let option = |name: &str, value: &Path| {
        let mut arg = OsString::from(format!("{name}="));
        arg.push(value);
        arg
    };
    args.extend(config.var_files.iter().map(|f| option("-var-file", f)));
    // The last one wins.
    args.push(option("-var-file", vars));
    if !config.only.is_empty() {
        args.push(format!("-only={}", config.only.join(",")).into());
    }
    if !config.except.is_empty() {
        args.push(format!("-except={}", config.except.join(",")).into());
    }
    args
}

/// `packer validate`
pub(crate) fn validate(config: &PackerConfig, vars: &Path, template: &Path) -> Vec<OsString> {
    let mut args = vec!["validate".into()];
    args.extend(common(config, vars));
    args.push(template.into());
    args
}

/// `packer build`
pub(crate) fn build(config: &PackerConfig, vars: &Path, template: &Path) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["build".into(), "-color=false".into()];
    args.extend(common(config, vars));
    args.push(format!("-on-error={}", config.on_error.as_str()).into());
    if config.force {
        args.push("-force".into());
    }
    if let Some(n) = config.parallel_builds {
        args.push(format!("-parallel-builds={n}").into());
    }
    args.push(template.into());
    args
}

/// `packer init`. Source: Packer documentation, "init command"; since 1.7.
pub(crate) fn init(template: &Path) -> Vec<OsString> {
    vec!["init".into(), "-machine-readable".into(), template.into()]
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::OnError;

    #[test]
    fn the_command_line_has_no_value_of_a_variable() {
        let mut config = PackerConfig::template("t.pkr.hcl").var("token", "geheim").var_file("a.json");
        config.only = vec!["docker.web".into(), "null.x".into()];
        config.on_error = OnError::RunCleanupProvisioner;
        config.force = true;
        config.parallel_builds = Some(1);
        let args = build(&config, Path::new("/w/vars.json"), Path::new("/t.pkr.hcl"));
        let args: Vec<_> = args.iter().map(|a| a.to_str().unwrap()).collect();
        assert_eq!(
            args,
            [
                "build",
                "-color=false",
                "-machine-readable",
                "-var-file=a.json",
                "-var-file=/w/vars.json",
                "-only=docker.web,null.x",
                "-on-error=run-cleanup-provisioner",
                "-force",
                "-parallel-builds=1",
                "/t.pkr.hcl"
            ]
        );
    }
}
