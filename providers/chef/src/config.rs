use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::{BecomeChoice, Json, SecretRef, Vars};

/// Settings of the `chef` configurator: one run of Chef on every host.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChefConfig {
    /// `solo` (default): cookbooks from here, no server. `client`: everything from a Chef server.
    #[serde(default)]
    pub mode: ChefMode,

    /// Folders of cookbooks on this machine, for `solo`. Relative paths start at the pipeline file's folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cookbook_paths: Vec<PathBuf>,

    /// Folders of cookbooks that are on the host already, for `solo`. They come first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remote_cookbook_paths: Vec<String>,

    /// Folder of roles on this machine, for `solo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles_path: Option<PathBuf>,

    /// Folder of data bags on this machine, for `solo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_bags_path: Option<PathBuf>,

    /// Folder of environments on this machine, for `solo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environments_path: Option<PathBuf>,

    /// The environment. With `solo` it needs `environments_path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,

    /// What to run, in this order: `recipe[nginx::tls]`, `role[web]`, `nginx`. Replaces a `run_list` in `attributes`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub run_list: Vec<String>,

    /// Attributes of the node.
    #[serde(default, skip_serializing_if = "Vars::is_empty")]
    #[schemars(with = "BTreeMap<String, Json>")]
    pub attributes: Vars,

    /// Attributes whose values are secret, by their path: `db.password`. Resolved for the run, and masked in all output.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_attributes: BTreeMap<String, SecretRef>,

    /// The program and its first arguments. `chef-solo` or `chef-client` if not given, searched for on the host: in `PATH`, then
    /// where the packages of Chef and Cinc have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chef_command: Vec<String>,

    /// The Chef server's URL, for `client`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_url: Option<String>,

    /// The client that registers new nodes, for `client`. `chef-validator` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_client_name: Option<String>,

    /// The key of that client. It is on the host only during the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_key: Option<SecretRef>,

    /// Where the node's own key is, and where registering writes it, for `client`. Chef's own place if not given
    /// (`/etc/chef/client.pem`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<String>,

    /// The node's name, for a single host. For `client` the host's name if not given; for `solo` what Chef finds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,

    /// The secret of encrypted data bags. It is on the host only during the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted_data_bag_secret: Option<SecretRef>,

    /// How much Chef logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_level: Option<ChefLogLevel>,

    /// Accepts Chef's licence, in its own words. Nothing is accepted if not given; newer versions of Chef then stop and ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chef_license: Option<ChefLicense>,

    /// More arguments for Chef, after those that are always given. Others on the host can see them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_arguments: Vec<String>,

    /// The folder on the host that gets everything. A new one below `/tmp/towpath-chef-UID` if not given, removed after the run whatever
    /// happens. One that is given stays, so that only what has changed is sent next time; secrets in it are removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staging_directory: Option<String>,

    /// Whom Chef becomes. As the host's connection says if not given; `true` for root, which most cookbooks need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#become: Option<BecomeChoice>,

    /// How a plan is made.
    #[serde(default)]
    pub plan: ChefPlan,

    /// Most seconds that Chef may take. No limit if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub timeout_s: Option<u64>,

    /// How many hosts are worked on at the same time. `50` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub forks: Option<usize>,
}

/// Which program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChefMode {
    /// `chef-solo`.
    #[default]
    Solo,
    /// `chef-client`.
    Client,
}

/// How a plan is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChefPlan {
    /// Not at all: what Chef does can't be known before. Connects nowhere.
    #[default]
    None,
    /// By `--why-run`: sends everything to the host and lets Chef say what it would do.
    WhyRun,
}

/// How much Chef logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are Chef's")]
pub enum ChefLogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

/// How Chef's licence is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChefLicense {
    /// Accepted, and kept on the host.
    Accept,
    /// Accepted and kept, without a word.
    AcceptSilent,
    /// Accepted for this run.
    AcceptNoPersist,
}

impl ChefConfig {
    /// `chef-solo` with these cookbooks.
    pub fn solo(cookbook_path: impl Into<PathBuf>, run_list: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            cookbook_paths: vec![cookbook_path.into()],
            run_list: run_list.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// `chef-client` with this server.
    pub fn client(server_url: impl Into<String>) -> Self {
        Self { mode: ChefMode::Client, server_url: Some(server_url.into()), ..Self::default() }
    }

    /// Runs as root, or as whom the host's connection names.
    #[must_use]
    pub fn become_root(mut self) -> Self {
        self.r#become = Some(BecomeChoice::Switch(true));
        self
    }

    pub(crate) fn program(&self) -> &'static str {
        match self.mode {
            ChefMode::Solo => "chef-solo",
            ChefMode::Client => "chef-client",
        }
    }
}

impl ChefLogLevel {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

impl ChefLicense {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::AcceptSilent => "accept-silent",
            Self::AcceptNoPersist => "accept-no-persist",
        }
    }
}
