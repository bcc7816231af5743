use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::{ArtifactKind, Error, ErrorKind, Json, Result, SecretRef};

use crate::Definition;
use crate::provider::PACKER;

/// Settings of the image builder `packer`: either a `template` of yours, or a `definition` that a template is made of.
///
/// Relative paths start at the folder of the pipeline file; those inside of a template start where Packer runs,
/// `working_dir`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackerConfig {
    /// A template that is run unmodified: a JSON file, an HCL2 file (`.pkr.hcl`, `.pkr.json`), or a folder of the latter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<PathBuf>,

    /// What to build, from which a JSON template is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Definition>,

    /// Variables of the template. For HCL2 of any JSON type; for JSON templates and definitions text, numbers and booleans,
    /// which become text. They go through a private file, never through the command line.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, Json>,

    /// Variables whose values are secret: resolved when Packer runs, masked in all output, written only to a file that
    /// is private and removed afterwards. The values are not part of the content key, so another value alone builds nothing
    /// anew.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_vars: BTreeMap<String, SecretRef>,

    /// Files of variables (`-var-file`), in this order; `vars` come last and win.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub var_files: Vec<PathBuf>,

    /// The template's variable that gets the image's name. A definition has `towpath_image` for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_var: Option<String>,

    /// The template's variable that gets the image's base, as a reference. A definition has `towpath_base` for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_var: Option<String>,

    /// Only these builds of the template (`-only`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,

    /// All builds and post-processors but these (`-except`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,

    /// What Packer does with a build that fails (`-on-error`). `cleanup` by default.
    #[serde(default)]
    pub on_error: OnError,

    /// Removes what a build finds in its way (`-force`): an output folder, an AMI of the same name. `false` by default.
    #[serde(default)]
    pub force: bool,

    /// How many builds run at once (`-parallel-builds`). No limit by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub parallel_builds: Option<u32>,

    /// Where Packer runs, and where the relative paths of templates and artifacts start. The pipeline file's folder by
    /// default.
    #[serde(default = "here")]
    pub working_dir: PathBuf,

    /// The program. `packer`, searched in `PATH`, by default.
    #[serde(default = "default_program")]
    pub program: PathBuf,

    /// More environment variables for Packer and what it starts. No secrets: name those in `secret_vars`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,

    /// Runs `packer init` first where an HCL2 template has `required_plugins`, which downloads those that are missing.
    /// Packer 1.7 and later. `true` by default.
    #[serde(default = "yes")]
    pub init: bool,

    /// More files and folders that the content key covers: those that a template names through variables only. Relative
    /// paths start at `working_dir`, as those of templates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_files: Vec<PathBuf>,

    /// When artifacts made earlier from the same content are taken instead of building. `recorded` by default.
    #[serde(default)]
    pub reuse: Reuse,

    /// Folder of the records of what was built, made with mode 0700. `.towpath/packer` by default.
    #[serde(default = "default_state_dir")]
    pub state_dir: PathBuf,

    /// How long Packer may clean up after a cancel, in seconds, before it is killed. `300` by default.
    #[serde(default = "default_grace")]
    #[schemars(range(min = 1, max = 86_400))]
    pub cancel_grace_s: u32,
}

/// What Packer does with a build that fails. Packer's `ask` is not offered, since nobody is there to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "PackerOnError")]
pub enum OnError {
    /// Removes what the build made: instance, container, key pair.
    #[default]
    Cleanup,
    /// Leaves everything as it is, for a look.
    Abort,
    /// Runs the template's `error-cleanup-provisioner`, then leaves everything as it is.
    RunCleanupProvisioner,
}

impl OnError {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Cleanup => "cleanup",
            Self::Abort => "abort",
            Self::RunCleanupProvisioner => "run-cleanup-provisioner",
        }
    }
}

/// When artifacts made earlier from the same content are taken instead of building.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "PackerReuse")]
pub enum Reuse {
    /// When they are recorded, and those that are files are whole. Whether an AMI or a Docker image exists still is not
    /// looked at, since Packer has no verb for it.
    #[default]
    Recorded,
    /// Only when all of them can be looked at, and are there: files, and Docker images where the program `docker` is.
    Verified,
    /// Never: every call builds.
    Never,
}

impl Reuse {
    /// Says whether an artifact of this kind is looked at before it is taken.
    pub(crate) fn looks_at(self, kind: ArtifactKind) -> bool {
        match kind {
            ArtifactKind::Ami => false,
            ArtifactKind::DockerImage => self == Self::Verified,
            _ => true,
        }
    }
}

fn here() -> PathBuf {
    PathBuf::from(".")
}
fn default_program() -> PathBuf {
    PathBuf::from("packer")
}
fn yes() -> bool {
    true
}
fn default_state_dir() -> PathBuf {
    PathBuf::from(".towpath").join("packer")
}
fn default_grace() -> u32 {
    300
}

impl PackerConfig {
    fn empty() -> Self {
        Self {
            template: None,
            definition: None,
            vars: BTreeMap::new(),
            secret_vars: BTreeMap::new(),
            var_files: Vec::new(),
            name_var: None,
            base_var: None,
            only: Vec::new(),
            except: Vec::new(),
            on_error: OnError::default(),
            force: false,
            parallel_builds: None,
            working_dir: here(),
            program: default_program(),
            env: BTreeMap::new(),
            init: true,
            key_files: Vec::new(),
            reuse: Reuse::default(),
            state_dir: default_state_dir(),
            cancel_grace_s: default_grace(),
        }
    }

    /// Runs this template: a JSON or HCL2 file, or a folder.
    pub fn template(path: impl Into<PathBuf>) -> Self {
        Self { template: Some(path.into()), ..Self::empty() }
    }

    /// Runs what this definition says.
    pub fn definition(definition: Definition) -> Self {
        Self { definition: Some(definition), ..Self::empty() }
    }

    /// Sets a variable.
    #[must_use]
    pub fn var(mut self, name: impl Into<String>, value: impl Into<Json>) -> Self {
        self.vars.insert(name.into(), value.into());
        self
    }

    /// Sets a variable whose value is secret.
    #[must_use]
    pub fn secret_var(mut self, name: impl Into<String>, secret: SecretRef) -> Self {
        self.secret_vars.insert(name.into(), secret);
        self
    }

    /// Adds a file of variables.
    #[must_use]
    pub fn var_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.var_files.push(path.into());
        self
    }

    /// Runs Packer there.
    #[must_use]
    pub fn working_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.working_dir = dir.into();
        self
    }

    /// Keeps records there.
    #[must_use]
    pub fn state_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.state_dir = dir.into();
        self
    }

    /// Lets every relative path start at `base`, except a `program` without a slash, which `PATH` leads to.
    pub(crate) fn based(mut self, base: &Path) -> Self {
        let join = |p: &mut PathBuf| *p = base.join(&*p);
        self.template.iter_mut().for_each(join);
        self.var_files.iter_mut().for_each(join);
        join(&mut self.working_dir);
        join(&mut self.state_dir);
        if self.program.components().count() > 1 {
            self.program = base.join(&self.program);
        }
        self
    }

    /// What can be said without looking at any file.
    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidInput, PACKER, "config", message));
        match (&self.template, &self.definition) {
            (Some(_), Some(_)) => return invalid("`template` and `definition` exclude each other: give one".into()),
            (None, None) => {
                return invalid("give `template`, the path of a Packer template, or a `definition`".into());
            }
            (None, Some(definition)) => definition.check(self)?,
            (Some(_), None) => {}
        }
        let given = self.secret_vars.keys().chain(&self.name_var).chain(&self.base_var);
        if let Some(name) = given.clone().find(|n| self.vars.contains_key(*n)) {
            return invalid(format!("the variable `{name}` is set twice: in `vars`, and as a secret, name or base"));
        }
        if let Some(name) = given.chain(self.vars.keys()).find(|n| !is_identifier(n)) {
            return invalid(format!(
                "`{name}` can't be the name of a variable: letters, digits, `_` and `-`, a letter or `_` first"
            ));
        }
        // Packer's own separator; it has no escape.
        if let Some(name) = self.only.iter().chain(&self.except).find(|n| n.is_empty() || n.contains(',')) {
            return invalid(format!("`only` and `except` take one build's name each, not {name:?}"));
        }
        if self.parallel_builds == Some(0) {
            return invalid("`parallel_builds` must be at least 1; leave it out for no limit".into());
        }
        if self.cancel_grace_s == 0 {
            return invalid("`cancel_grace_s` must be at least 1".into());
        }
        if let Some(name) = self.env.keys().find(|n| n.is_empty() || n.contains(['=', '\0'])) {
            return invalid(format!("`env` can't set a variable called {name:?}"));
        }
        if let Some((name, _)) = self.env.iter().find(|(_, value)| value.contains('\0')) {
            return invalid(format!("the value of `{name}` in `env` has a NUL in it, which no environment can hold"));
        }
        Ok(())
    }
}

pub(crate) fn is_identifier(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(plain)
}
