use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::pipeline::ProviderSpec;
use towpath_core::{BecomeSpec, Deployer, Json};

use super::{BuildStep, PROVIDER};

/// Settings of the deployer `release-dirs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseDirsConfig {
    /// Directory that holds `releases/`, `current` and `previous`. Made if it is not there. `/srv/web` by default.
    ///
    /// Here, and in the commands and `owner`, `{{ name }}` is replaced by the host's variable of this name.
    #[serde(default = "default_root")]
    pub root: String,
    /// Program and arguments that (re)start the service from `<root>/current`. Must return once it is started.
    pub restart: Vec<String>,
    /// Program and arguments that stop it. Without it `deactivate` fails where the service runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Vec<String>>,
    /// Program and arguments that exit with 0 if it runs. Without it, it runs once it was activated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Vec<String>>,
    /// Releases that are kept; older ones are removed after an activate, but never the current or the previous one.
    /// 5 by default.
    #[serde(default = "default_keep")]
    pub keep: usize,
    /// The user who does all this. The one of the host's `become` by default, else the one who logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#become: Option<BecomeSpec>,
    /// Owner of the release's files, `user` or `user:group`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Name of the executable in the release. The artifact's file name by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// What all releases share, like uploads and logs: paths in the release that become links to the same paths below `<root>/shared`. One that
    /// ends with `/` is a directory, and is made if it is not there; any other must be there when the release is staged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<String>,
    /// Makes what is shipped on this machine, from the artifact or without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildStep>,
}

fn default_root() -> String {
    "/srv/web".into()
}

fn default_keep() -> usize {
    5
}

fn words<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Vec<String> {
    argv.into_iter().map(Into::into).collect()
}

impl ReleaseDirsConfig {
    /// Starts with a root; a `restart` command is needed.
    pub fn new(root: impl Into<String>) -> Self {
        Self {
            root: root.into(),
            restart: Vec::new(),
            stop: None,
            running: None,
            keep: default_keep(),
            r#become: None,
            owner: None,
            file_name: None,
            shared: Vec::new(),
            build: None,
        }
    }

    /// Names the executable in the release.
    #[must_use]
    pub fn file_name(mut self, name: impl Into<String>) -> Self {
        self.file_name = Some(name.into());
        self
    }

    /// Shares these paths among all releases; a directory's ends with `/`.
    #[must_use]
    pub fn shared<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.shared = words(paths);
        self
    }

    /// Builds what is shipped on this machine.
    #[must_use]
    pub fn build(mut self, step: BuildStep) -> Self {
        self.build = Some(step);
        self
    }

    /// Sets the command that (re)starts the service.
    #[must_use]
    pub fn restart<S: Into<String>>(mut self, argv: impl IntoIterator<Item = S>) -> Self {
        self.restart = words(argv);
        self
    }

    /// Sets the command that stops it.
    #[must_use]
    pub fn stop<S: Into<String>>(mut self, argv: impl IntoIterator<Item = S>) -> Self {
        self.stop = Some(words(argv));
        self
    }

    /// Sets the command that says whether it runs.
    #[must_use]
    pub fn running<S: Into<String>>(mut self, argv: impl IntoIterator<Item = S>) -> Self {
        self.running = Some(words(argv));
        self
    }

    /// Sets how many releases are kept.
    #[must_use]
    pub fn keep(mut self, releases: usize) -> Self {
        self.keep = releases;
        self
    }

    /// Does it all as another user.
    #[must_use]
    pub fn become_user(mut self, spec: BecomeSpec) -> Self {
        self.r#become = Some(spec);
        self
    }

    /// Sets the owner of the files.
    #[must_use]
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }
}

impl From<ReleaseDirsConfig> for ProviderSpec<dyn Deployer> {
    fn from(config: ReleaseDirsConfig) -> Self {
        // Strings, numbers and lists only, which JSON always has a form for.
        ProviderSpec::new(PROVIDER, serde_json::to_value(&config).unwrap_or(Json::Null))
    }
}
