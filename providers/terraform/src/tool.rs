//! Finds the program and checks its version.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use tokio::process::Command;
use towpath_core::local_tool::ask;
use towpath_core::{Context, Error, ErrorKind, Result};

use crate::TerraformConfig;
use crate::provider::TERRAFORM;

/// The oldest versions that answer `init -json`.
const OLDEST_TERRAFORM: (u32, u32) = (1, 9);
const OLDEST_TOFU: (u32, u32) = (1, 8);

/// A program that was found and is new enough.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    pub(crate) program: PathBuf,
    /// `terraform` or `tofu`.
    pub(crate) product: &'static str,
    pub(crate) version: String,
}

/// Source: Terraform documentation, "Command: version", option `-json`. OpenTofu answers with the same keys.
#[derive(Deserialize)]
struct VersionReply {
    terraform_version: String,
}

impl Tool {
    /// Finds the program that the config names, or the first of `terraform` and `tofu` on `PATH`.
    pub(crate) async fn find(cx: &Context, config: &TerraformConfig) -> Result<Self> {
        let named: Vec<PathBuf> = match (&config.program, &config.download) {
            (Some(program), _) => vec![program.clone()],
            (None, Some(download)) => vec![download.program(cx).await?],
            (None, None) => vec!["terraform".into(), "tofu".into()],
        };
        for program in &named {
            // Terraform warns on every command about a file that is not there, and OpenTofu refuses to start.
            let mut version = Command::new(program);
            version.args(["version", "-json"]).env("CHECKPOINT_DISABLE", "1").envs(&config.env);
            let out = ask(cx, TERRAFORM, "preflight", &mut version).await?;
            match out {
                Ok(out) => {
                    return Self::from_reply(program, out.status.success(), &out.stdout, config.version.as_deref());
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => {
                    return Err(missing("the program can't be started")
                        .with("program", program.display())
                        .caused_by(e));
                }
            }
        }
        let names: Vec<String> = named.iter().map(|p| format!("`{}`", p.display())).collect();
        let wanted = match &config.version {
            Some(version) => format!("version {version}"),
            None => format!(
                "Terraform {}.{} or OpenTofu {}.{}, or later",
                OLDEST_TERRAFORM.0, OLDEST_TERRAFORM.1, OLDEST_TOFU.0, OLDEST_TOFU.1
            ),
        };
        Err(missing(format!(
            "{} not found: install {wanted} (a single program, from its makers' download page or package repository), put it on PATH, name it \
             with `program`, or pin it with `download`",
            names.join(" and ")
        )))
    }

    fn from_reply(program: &Path, success: bool, stdout: &[u8], wanted: Option<&str>) -> Result<Self> {
        let reply: VersionReply = serde_json::from_slice(stdout).map_err(|e| {
            let what = if success {
                "this is neither Terraform nor OpenTofu, or a very old one"
            } else {
                "it does not tell its version"
            };
            missing(format!("{what}: `version -json` gave no answer")).with("program", program.display()).caused_by(e)
        })?;
        let version = reply.terraform_version;
        let tofu = program.file_stem().is_some_and(|n| n.to_string_lossy().contains("tofu"));
        let (product, oldest) = if tofu { ("tofu", OLDEST_TOFU) } else { ("terraform", OLDEST_TERRAFORM) };
        let mut numbers = version.split(['.', '-', '+']).map(|n| n.parse::<u32>().unwrap_or(0));
        let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if found < oldest {
            return Err(missing(format!("version {version} is too old: install {}.{} or later", oldest.0, oldest.1))
                .with("program", program.display()));
        }
        if let Some(wanted) = wanted {
            let fits =
                version.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '+']));
            if !fits {
                return Err(missing(format!(
                    "version {wanted} is wanted, and this is {version}: install that one, or change `version`"
                ))
                .with("program", program.display()));
            }
        }
        Ok(Self { program: program.to_owned(), product, version })
    }
}

fn missing(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::ToolMissing, TERRAFORM, "preflight", message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn answers(version: &str, wanted: Option<&str>) -> Result<Tool> {
        let reply = format!(r#"{{"terraform_version": "{version}", "platform": "linux_amd64"}}"#);
        Tool::from_reply(Path::new("/opt/bin/terraform"), true, reply.as_bytes(), wanted)
    }

    #[test]
    fn an_old_version_is_refused_with_the_one_wanted() {
        let error = answers("1.5.7", None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ToolMissing);
        assert!(error.to_string().contains("1.5.7") && error.to_string().contains("1.9"), "{error}");
        assert_eq!(answers("1.11.4", None).unwrap().version, "1.11.4");
        assert_eq!(answers("2.0.0-beta1", None).unwrap().product, "terraform");
    }

    #[test]
    fn a_wanted_version_may_leave_the_patch_open() {
        answers("1.11.4", Some("1.11")).unwrap();
        answers("1.11.4", Some("1.11.4")).unwrap();
        for other in ["1.1", "1.11.5", "1.11.40"] {
            assert_eq!(answers("1.11.4", Some(other)).unwrap_err().kind(), ErrorKind::ToolMissing, "{other}");
        }
    }

    #[test]
    fn another_program_is_no_terraform() {
        let error = Tool::from_reply(Path::new("true"), true, b"", None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ToolMissing);
    }
}
