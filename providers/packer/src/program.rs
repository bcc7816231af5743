//! The program itself: where it is, which version, what else it needs.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;
use towpath_core::local_tool::{self, find_program};
use towpath_core::{Context, Error, ErrorKind, Json, Preflight, Result};

use crate::artifact::unreadable;
use crate::diagnostic::tool_failed;
use crate::files::blocking;
use crate::message::Line;
use crate::plugins::Wanted;
use crate::provider::PACKER;
use crate::references::{self, Template};
use crate::run::environment;
use crate::{Definition, PackerConfig, PostProcessor, Provisioner, Source};

/// The oldest version that is known to work.
const OLDEST: Version = Version(1, 6, 0);
/// Has `packer init`. Source: Packer documentation, "init command".
pub(crate) const WITH_INIT: Version = Version(1, 7, 0);
/// Has `packer plugins installed`. Source: Packer's change log, 1.8.
const WITH_LIST: Version = Version(1, 8, 0);
/// Has no plugin of a cloud or hypervisor built in any more. Source: Packer's change "Remove bundled plugins", 1.10.
const WITHOUT_PLUGINS: Version = Version(1, 10, 0);

const INSTALL: &str = "install packer 1.6 or later (`apt-get install packer` on Debian, or a release from its makers), or name \
                       it in `program`";

/// Longest time of the questions about version and plugins.
const LIMIT: Duration = Duration::from_secs(60);

/// A version of Packer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u32, u32, u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Version {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        // Behind a hyphen or plus: pre-release and build.
        let mut parts = text.trim().trim_start_matches('v').split(['-', '+']).next()?.split('.');
        let mut next = || parts.next().map(|p| p.parse().ok());
        Some(Self(next()??, next()??, next().unwrap_or(Some(0))?))
    }
}

/// Packer, found.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) version: Version,
}

/// Finds a program by its path, or by its name in `PATH`.
pub(crate) fn find(config: &PackerConfig, program: &Path) -> Option<PathBuf> {
    find_program(program, config.env.get("PATH").map(OsStr::new))
}

/// Asks a program something that it answers at once.
pub(crate) async fn ask(
    cx: &Context,
    config: &PackerConfig,
    program: &Path,
    operation: &'static str,
    args: &[impl AsRef<OsStr>],
) -> Result<std::process::Output> {
    let mut command = Command::new(program);
    command.args(args).envs(environment(config));
    let asked = local_tool::ask(cx, PACKER, operation, &mut command);
    let out = tokio::time::timeout(LIMIT, asked).await.map_err(|_| {
        Error::new(ErrorKind::ToolFailed, PACKER, operation, "the program does not answer within a minute")
            .with("program", program.display())
    })??;
    out.map_err(|e| {
        Error::new(ErrorKind::ToolMissing, PACKER, operation, "the program can't be started")
            .with("program", program.display())
            .caused_by(e)
    })
}

/// Finds Packer and asks it for its version.
pub(crate) async fn packer(cx: &Context, config: &PackerConfig, operation: &'static str) -> Result<Program> {
    let missing = |what: String, program: &Path| {
        Error::new(ErrorKind::ToolMissing, PACKER, operation, what).with("program", program.display())
    };
    let path = find(config, &config.program)
        .ok_or_else(|| missing(format!("packer is not there: {INSTALL}"), &config.program))?;
    let out = ask(cx, config, &path, operation, &["version", "-machine-readable"]).await?;
    let text = String::from_utf8_lossy(&out.stdout);
    let lines = text.lines().filter_map(Line::parse);
    let version = lines.filter(|l| l.kind == "version").find_map(|l| Version::parse(l.field(0)));
    match version {
        Some(version) if version >= OLDEST => Ok(Program { path, version }),
        Some(version) => Err(missing(format!("packer {version} is too old: {INSTALL}"), &path)),
        // Red Hat has another program of this name.
        None => Err(missing(
            format!(
                "the program does not tell its version as packer does (another `packer` is part of cracklib): {INSTALL}"
            ),
            &path,
        )),
    }
}

/// Which plugins a build would take that were installed by address, as they are since 1.7.
pub(crate) fn wanted(config: &PackerConfig, program: &Program, template: &Template) -> Wanted {
    let named = |names: BTreeSet<String>| if program.version < WITH_INIT { BTreeSet::new() } else { names };
    match &config.definition {
        Some(definition) => Wanted::Named(named(needs(definition).0.into_iter().map(str::to_owned).collect())),
        None if template.required_plugins || program.version < WITH_INIT => {
            Wanted::Named(named(template.plugins.clone()))
        }
        None => Wanted::Any,
    }
}

/// What else a definition needs: a plugin of newer versions by its address, a program.
fn needs(definition: &Definition) -> (BTreeSet<&'static str>, BTreeSet<String>) {
    let mut plugins = BTreeSet::new();
    let mut programs = BTreeSet::new();
    let named = |extra: &crate::Extra, option: &str, default: &str| {
        extra.get(option).and_then(Json::as_str).unwrap_or(default).to_owned()
    };
    for source in &definition.sources {
        match source {
            Source::AmazonEbs(_) => {
                plugins.insert("github.com/hashicorp/amazon");
            }
            Source::Docker(_) => {
                plugins.insert("github.com/hashicorp/docker");
                programs.insert("docker".to_owned());
            }
            Source::Qemu(qemu) => {
                plugins.insert("github.com/hashicorp/qemu");
                programs.insert(named(&qemu.extra, "qemu_binary", "qemu-system-x86_64"));
            }
            Source::Vagrant(_) => {
                plugins.insert("github.com/hashicorp/vagrant");
                programs.insert("vagrant".to_owned());
            }
            Source::Null(_) | Source::File(_) => {}
        }
    }
    for provisioner in &definition.provisioners {
        match provisioner {
            Provisioner::Ansible(ansible) => {
                plugins.insert("github.com/hashicorp/ansible");
                programs.insert(ansible.command.clone().unwrap_or_else(|| "ansible-playbook".to_owned()));
            }
            Provisioner::AnsibleLocal(_) => {
                plugins.insert("github.com/hashicorp/ansible");
            }
            Provisioner::ChefSolo(_) | Provisioner::ChefClient(_) => {
                plugins.insert("github.com/hashicorp/chef");
            }
            Provisioner::Shell(_) | Provisioner::File(_) => {}
        }
    }
    for processor in definition.post_processors.iter().flatten() {
        match processor {
            PostProcessor::Vagrant(_) => {
                plugins.insert("github.com/hashicorp/vagrant");
            }
            PostProcessor::DockerTag(_) => {
                plugins.insert("github.com/hashicorp/docker");
            }
            PostProcessor::Manifest(_) | PostProcessor::Checksum(_) => {}
        }
    }
    (plugins, programs)
}

/// The plugins that are installed, by the names of their files: `packer-plugin-docker_v1.0.8_x5.0_linux_amd64`.
///
/// Source: Packer documentation, "plugins installed command" and the naming of plugins.
fn installed(output: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in output.lines() {
        let text = match Line::parse(line) {
            Some(line) if line.kind == "ui" => line.field(1).to_owned(),
            Some(_) => continue,
            None => line.to_owned(),
        };
        let names = text.lines().filter_map(|path| Path::new(path.trim()).file_name().and_then(OsStr::to_str));
        found.extend(
            names.filter_map(|n| n.strip_prefix("packer-plugin-")?.split_once("_v")).map(|(name, _)| name.to_owned()),
        );
    }
    found
}

async fn plugins_there(cx: &Context, config: &PackerConfig, program: &Program) -> Result<BTreeSet<String>> {
    let out = ask(cx, config, &program.path, "preflight", &["plugins", "installed", "-machine-readable"]).await?;
    if !out.status.success() {
        let text = String::from_utf8_lossy(&out.stderr);
        return Err(tool_failed(cx, "preflight", "packer can't list its plugins", out.status, &text));
    }
    Ok(installed(&String::from_utf8_lossy(&out.stdout)))
}

/// What becomes of the plugins that a template requires.
async fn of_template(cx: &Context, config: &PackerConfig, program: &Program, found: &mut Preflight) -> Result<()> {
    let Some(path) = config.template.clone().filter(|t| t.exists()) else { return Ok(()) };
    let (at, dir, vars) = (path.clone(), config.working_dir.clone(), config.vars.clone());
    let read = blocking(move || references::read(&at, &dir, &vars)).await.and_then(|read| read);
    let template = read.map_err(|e| unreadable("preflight", &path, e))?;
    if !template.required_plugins {
        return Ok(());
    }
    let quoted =
        |names: &mut dyn Iterator<Item = &String>| names.map(|p| format!("`{p}`")).collect::<Vec<_>>().join(", ");
    let all = quoted(&mut template.plugins.iter());
    let missing = |what: String| Err(Error::new(ErrorKind::ToolMissing, PACKER, "preflight", what));
    if program.version < WITH_INIT {
        return missing(format!(
            "the template requires plugins ({all}), which packer {} does not know: install packer {WITH_INIT} or later, or take \
             `required_plugins` out of the template where they are built in",
            program.version
        ));
    }
    if config.init {
        found.ok.push(format!("plugins {all}: `packer init` installs what is missing when the image is built"));
        return Ok(());
    }
    if program.version < WITH_LIST {
        found.warnings.push(format!(
            "`init` is off, and packer {} can't tell whether the template's plugins are there: {all}",
            program.version
        ));
        return Ok(());
    }
    let there = plugins_there(cx, config, program).await?;
    let mut absent = template.plugins.iter().filter(|p| !there.contains(short(p)));
    let absent = quoted(&mut absent);
    if absent.is_empty() {
        found.ok.push(format!("plugins {all}"));
        return Ok(());
    }
    missing(format!(
        "the template's plugins {absent} are not there: run `packer init {}`, or leave `init` on",
        towpath_core::shell_quote(&path.display().to_string())
    ))
}

/// The name of a plugin by its address: `docker`.
fn short(address: &str) -> &str {
    address.rsplit('/').next().unwrap_or_default()
}

/// Looks whether everything is there that a build needs on this machine.
pub(crate) async fn preflight(cx: &Context, config: &PackerConfig) -> Result<Preflight> {
    let program = packer(cx, config, "preflight").await?;
    let mut found = Preflight::default();
    found.ok.push(format!("packer {} at {}", program.version, program.path.display()));
    let missing = |what: String| Error::new(ErrorKind::ToolMissing, PACKER, "preflight", what);
    let Some(definition) = &config.definition else {
        of_template(cx, config, &program, &mut found).await?;
        return Ok(found);
    };
    let (plugins, programs) = needs(definition);
    for name in programs {
        let at = find(config, Path::new(&name)).or_else(|| {
            let relative = config.working_dir.join(&name);
            name.contains('/').then_some(relative).filter(|p| p.is_file())
        });
        match at {
            Some(path) => found.ok.push(format!("{name} at {}", path.display())),
            None => {
                return Err(missing(format!(
                    "the definition needs the program `{name}`, which is not there: install it"
                )));
            }
        }
    }
    if program.version < WITHOUT_PLUGINS || plugins.is_empty() {
        return Ok(found);
    }
    let there = plugins_there(cx, config, &program).await?;
    let absent: Vec<&str> = plugins.into_iter().filter(|p| !there.contains(short(p))).collect();
    if absent.is_empty() {
        found.ok.push(format!("plugins: {}", there.into_iter().collect::<Vec<_>>().join(", ")));
        return Ok(found);
    }
    // A JSON template can't name its plugins, so `packer init` does not help here.
    let commands: Vec<String> = absent.iter().map(|p| format!("`packer plugins install {p}`")).collect();
    Err(missing(format!("packer {} has no plugins built in: run {}", program.version, commands.join(" and "))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(Version::parse("1.6.6"), Some(Version(1, 6, 6)));
        assert_eq!(Version::parse("v1.11.0-dev+abc"), Some(Version(1, 11, 0)));
        assert_eq!(Version::parse("1.7"), Some(Version(1, 7, 0)));
        assert_eq!(Version::parse("one"), None);
        assert!(Version(1, 10, 0) > WITH_INIT && Version(1, 6, 6) > OLDEST && Version(1, 5, 6) < OLDEST);
    }

    /// From the documentation, "plugins installed command"; no such version can be had here.
    #[test]
    fn plugins_are_found_by_the_names_of_their_files() {
        let plain =
            "/root/.config/packer/plugins/github.com/hashicorp/docker/packer-plugin-docker_v1.0.8_x5.0_linux_amd64\n";
        let lines = "1,,ui,message,/p/packer-plugin-amazon_v1.2.3_x5.0_linux_amd64\n1,,other,x\n";
        assert_eq!(installed(plain).into_iter().collect::<Vec<_>>(), ["docker"]);
        assert_eq!(installed(lines).into_iter().collect::<Vec<_>>(), ["amazon"]);
    }
}
