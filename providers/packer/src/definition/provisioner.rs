use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::Json;

use super::Extra;

/// What is done to each build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
#[schemars(rename = "PackerProvisioner")]
pub enum Provisioner {
    /// Runs `ansible-playbook` on this machine against the build.
    Ansible(Ansible),
    /// Runs `ansible-playbook` inside of the build.
    AnsibleLocal(AnsibleLocal),
    /// Runs `chef-solo` inside of the build.
    ChefSolo(ChefSolo),
    /// Runs `chef-client` inside of the build.
    ChefClient(ChefClient),
    /// Runs shell scripts inside of the build.
    Shell(Shell),
    /// Copies files into the build, or out of it.
    File(FileCopy),
}

macro_rules! common {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
            /// Only in these builds, by their names.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub only: Vec<String>,
            /// In all builds but these.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub except: Vec<String>,
            /// Further options of Packer.
            #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
            pub extra: Extra,
        }
    };
}
pub(super) use common;

common! {
    /// Provisioner `ansible`. Packer looks for `ansible-playbook` even to check a template.
    Ansible {
        /// The playbook.
        playbook_file: String,
        /// The program. `ansible-playbook` by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command: Option<String>,
        /// More arguments. With the SSH library of Packer 1.6 and OpenSSH 8.8 or later:
        /// `--ssh-extra-args`, `-o HostKeyAlgorithms=+ssh-rsa -o PubkeyAcceptedKeyTypes=+ssh-rsa`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        extra_arguments: Vec<String>,
        /// Environment variables: `ANSIBLE_HOST_KEY_CHECKING=False`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ansible_env_vars: Vec<String>,
        /// Groups that the host is in.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        groups: Vec<String>,
        /// The host's name in the inventory. `default` by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host_alias: Option<String>,
        /// The user who logs in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// A folder that the inventory is written to, beside `group_vars` and `host_vars`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inventory_directory: Option<String>,
        /// A file of roles and collections that `ansible-galaxy` installs first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        galaxy_file: Option<String>,
    }
}

common! {
    /// Provisioner `ansible-local`. Ansible must be in the build.
    AnsibleLocal {
        /// The playbook. Either this or `playbook_files`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        playbook_file: Option<String>,
        /// Several playbooks.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        playbook_files: Vec<String>,
        /// A folder with everything, which is uploaded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        playbook_dir: Option<String>,
        /// Folders of roles, one each.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        role_paths: Vec<String>,
        /// A folder of the groups' variables.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group_vars: Option<String>,
        /// A folder of the hosts' variables.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host_vars: Option<String>,
        /// An inventory.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inventory_file: Option<String>,
        /// Groups that the host is in.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        inventory_groups: Vec<String>,
        /// A file of roles that `ansible-galaxy` installs first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        galaxy_file: Option<String>,
        /// The program inside.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command: Option<String>,
        /// More arguments.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        extra_arguments: Vec<String>,
    }
}

common! {
    /// Provisioner `chef-solo`.
    ChefSolo {
        /// Folders of cookbooks, which are uploaded.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        cookbook_paths: Vec<String>,
        /// A folder of roles.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        roles_path: Option<String>,
        /// A folder of data bags.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data_bags_path: Option<String>,
        /// A folder of environments.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        environments_path: Option<String>,
        /// The environment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chef_environment: Option<String>,
        /// A template of `solo.rb`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        config_template: Option<String>,
        /// The run list.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        run_list: Vec<String>,
        /// Attributes of the node.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        json: Option<Json>,
        /// Takes the Chef that is there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        skip_install: Option<bool>,
        /// Runs it without sudo.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prevent_sudo: Option<bool>,
        /// The command.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        execute_command: Option<String>,
        /// The version of Chef that is installed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
    }
}

common! {
    /// Provisioner `chef-client`.
    ChefClient {
        /// The Chef server.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        server_url: Option<String>,
        /// The node's name. Packer makes one by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node_name: Option<String>,
        /// The environment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chef_environment: Option<String>,
        /// The client that makes new ones.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        validation_client_name: Option<String>,
        /// Its key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        validation_key_path: Option<String>,
        /// The node's own key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_key: Option<String>,
        /// A template of `client.rb`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        config_template: Option<String>,
        /// The run list.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        run_list: Vec<String>,
        /// Attributes of the node.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        json: Option<Json>,
        /// Takes the Chef that is there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        skip_install: Option<bool>,
        /// Leaves the client on the server.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        skip_clean_client: Option<bool>,
        /// Leaves the node on the server.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        skip_clean_node: Option<bool>,
        /// Runs it without sudo.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prevent_sudo: Option<bool>,
        /// The command.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        execute_command: Option<String>,
    }
}

common! {
    /// Provisioner `shell`. One of `inline`, `script` and `scripts`.
    Shell {
        /// Commands, as one script.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        inline: Vec<String>,
        /// A script of this machine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        script: Option<String>,
        /// Several scripts.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        scripts: Vec<String>,
        /// Environment variables: `NAME=value`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        environment_vars: Vec<String>,
        /// The command: ``{{.Vars}} sudo -E sh '{{.Path}}'``.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        execute_command: Option<String>,
        /// The interpreter of `inline`. `/bin/sh -e` by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inline_shebang: Option<String>,
        /// The script reboots the machine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expect_disconnect: Option<bool>,
        /// A pause before: `10s`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pause_before: Option<String>,
        /// The longest that it may take: `5m`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout: Option<String>,
    }
}

common! {
    /// Provisioner `file`.
    FileCopy {
        /// What is copied: a file, a folder.
        source: String,
        /// Where to.
        destination: String,
        /// `upload` or `download`. `upload` by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        direction: Option<String>,
        /// The file is made while Packer runs, so it need not be there before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        generated: Option<bool>,
    }
}

impl Provisioner {
    /// The builds that it names.
    pub(super) fn builds(&self) -> Vec<&String> {
        let (only, except) = match self {
            Self::Ansible(p) => (&p.only, &p.except),
            Self::AnsibleLocal(p) => (&p.only, &p.except),
            Self::ChefSolo(p) => (&p.only, &p.except),
            Self::ChefClient(p) => (&p.only, &p.except),
            Self::Shell(p) => (&p.only, &p.except),
            Self::File(p) => (&p.only, &p.except),
        };
        only.iter().chain(except).collect()
    }
}
