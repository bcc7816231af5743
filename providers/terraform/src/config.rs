use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::pipeline::ProviderSpec;
use towpath_core::{ConnectionSpec, Json, Provisioner, SecretRef};

use crate::Download;
use crate::provider::TERRAFORM;

/// Settings of the `terraform` provisioner: a root module, and how Terraform or OpenTofu runs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TerraformConfig {
    /// Folder of the root module. A relative path starts at the pipeline file.
    pub module: PathBuf,

    /// The program: `terraform`, `tofu`, or a path. By default the first of `terraform` and `tofu` that is on `PATH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<PathBuf>,

    /// The program as a pinned download, instead of `program`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download: Option<Download>,

    /// The version wanted, if it must be this one: `1.11.4`, or `1.11` for any patch of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// The workspace. `{environment}` stands for the environment's name. Terraform's own choice (`default`, or what
    /// `terraform workspace select` chose in the module's folder) if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,

    /// Values of the root module's variables. One that the module does not declare is an error.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, Json>,

    /// Values of variables that are secret. Declare them `sensitive`: Terraform writes every variable into plan and state.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_vars: BTreeMap<String, SecretRef>,

    /// Files of variables, as `-var-file` takes them; later ones count more, and `vars` most. Relative paths start at the
    /// pipeline file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub var_files: Vec<PathBuf>,

    /// Settings of the backend, as `-backend-config` takes them. Credentials belong into `secret_env`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub backend: BTreeMap<String, String>,

    /// Files of backend settings. Relative paths start at the pipeline file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backend_files: Vec<PathBuf>,

    /// Environment variables for the tool, on top of this process's own: `AWS_PROFILE`, `TF_CLI_CONFIG_FILE`, ...
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,

    /// Environment variables whose values are secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_env: BTreeMap<String, SecretRef>,

    /// Only these resources and what they need, as `-target` takes them. For exceptional cases, as Terraform says too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,

    /// Resources to make anew, as `-replace` takes them. They are replaced by every apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replace: Vec<String>,

    /// Whether a plan looks at the real resources first. `true` by default.
    #[serde(default = "yes")]
    pub refresh: bool,

    /// Longest wait for the lock of the state, in seconds. `0`, the default, fails at once and names the lock's owner.
    #[serde(default)]
    #[schemars(range(max = 86_400))]
    pub lock_timeout_s: u32,

    /// How many resources are worked on at once. Terraform's default (10) if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub parallelism: Option<u32>,

    /// Whether `init` takes newer versions of modules and providers than the lock file names. `false` by default.
    #[serde(default)]
    pub upgrade: bool,

    /// How long an interrupted tool may take to save its state and end, in seconds. It is never killed: after this time the call returns
    /// and says that it still runs. `600` by default.
    #[serde(default = "default_interrupt_s")]
    #[schemars(range(min = 1, max = 86_400))]
    pub interrupt_s: u32,

    /// Which outputs hold hosts. Their hosts are the environment's inventory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostsFrom>,
}

/// Says which output holds hosts, and which of its fields mean what.
///
/// The output is a list or a map (its keys are the hosts' names) of addresses or of objects, or a single address or object.
/// Fields that are not named here become variables of the host.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostsFrom {
    /// The output. It must not be sensitive: inventories are stored.
    pub output: String,

    /// Groups that these hosts belong to. The output's name if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,

    /// The field with the host's name. `name` by default; without such a field the map's key, else `<output>-<n>` from 1.
    #[serde(default = "name_field")]
    pub name: String,

    /// The field with the address. `address` by default; without such a field the connection's address, else the host's name.
    #[serde(default = "address_field")]
    pub address: String,

    /// The field with the port. `port` by default; without such a field the connection's port.
    #[serde(default = "port_field")]
    pub port: String,

    /// The field with the user. `user` by default; without such a field the connection's user.
    #[serde(default = "user_field")]
    pub user: String,

    /// How these hosts are reached, where no field says it.
    #[serde(default)]
    pub connection: ConnectionSpec,
}

fn yes() -> bool {
    true
}

fn default_interrupt_s() -> u32 {
    600
}

fn name_field() -> String {
    "name".to_owned()
}

fn address_field() -> String {
    "address".to_owned()
}

fn port_field() -> String {
    "port".to_owned()
}

fn user_field() -> String {
    "user".to_owned()
}

impl HostsFrom {
    /// Takes hosts from this output, everything else by default.
    pub fn output(name: impl Into<String>) -> Self {
        Self {
            output: name.into(),
            groups: None,
            name: name_field(),
            address: address_field(),
            port: port_field(),
            user: user_field(),
            connection: ConnectionSpec::default(),
        }
    }

    /// Says how these hosts are reached.
    #[must_use]
    pub fn connection(mut self, connection: ConnectionSpec) -> Self {
        self.connection = connection;
        self
    }

    /// Puts these hosts into a group.
    #[must_use]
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.groups.get_or_insert_default().push(name.into());
        self
    }
}

impl TerraformConfig {
    /// A root module, everything else by default.
    pub fn module(module: impl Into<PathBuf>) -> Self {
        Self {
            module: module.into(),
            program: None,
            download: None,
            version: None,
            workspace: None,
            vars: BTreeMap::new(),
            secret_vars: BTreeMap::new(),
            var_files: Vec::new(),
            backend: BTreeMap::new(),
            backend_files: Vec::new(),
            env: BTreeMap::new(),
            secret_env: BTreeMap::new(),
            targets: Vec::new(),
            replace: Vec::new(),
            refresh: true,
            lock_timeout_s: 0,
            parallelism: None,
            upgrade: false,
            interrupt_s: default_interrupt_s(),
            hosts: Vec::new(),
        }
    }

    /// Sets a variable of the module.
    #[must_use]
    pub fn var(mut self, name: impl Into<String>, value: impl Into<Json>) -> Self {
        self.vars.insert(name.into(), value.into());
        self
    }

    /// Sets a secret variable of the module.
    #[must_use]
    pub fn secret_var(mut self, name: impl Into<String>, value: SecretRef) -> Self {
        self.secret_vars.insert(name.into(), value);
        self
    }

    /// Sets an environment variable of the tool.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Chooses the workspace.
    #[must_use]
    pub fn workspace(mut self, name: impl Into<String>) -> Self {
        self.workspace = Some(name.into());
        self
    }

    /// Takes hosts from an output.
    #[must_use]
    pub fn hosts(mut self, from: HostsFrom) -> Self {
        self.hosts.push(from);
        self
    }
}

impl From<TerraformConfig> for ProviderSpec<dyn Provisioner> {
    fn from(config: TerraformConfig) -> Self {
        // The config holds strings, numbers and maps with string keys only, which JSON always has a form for.
        ProviderSpec::new(TERRAFORM, serde_json::to_value(config).unwrap_or(Json::Null))
    }
}
