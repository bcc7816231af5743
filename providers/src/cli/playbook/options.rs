//! What the commands understand. Comments on groups of options are no help texts: clap would take them for the command's own.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser};

// Who and where.
#[derive(Debug, Default, Args)]
pub(crate) struct Hosts {
    /// Where hosts come from: a file, a folder, a script, or names with commas between them; can be repeated
    #[arg(short = 'i', long = "inventory", visible_alias = "inventory-file", value_name = "SOURCE")]
    pub(crate) inventory: Vec<String>,
    /// Work on these hosts only: a pattern, or `@FILE` with a name on each line; can be repeated
    #[arg(short = 'l', long = "limit", value_name = "PATTERN")]
    pub(crate) limit: Vec<String>,
    /// Show the hosts, and do nothing
    #[arg(long)]
    pub(crate) list_hosts: bool,
    /// Forget facts that are kept from other runs
    #[arg(long)]
    pub(crate) flush_cache: bool,
}

// How to reach hosts.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Private key for logging in
    #[arg(long = "private-key", visible_alias = "key-file", value_name = "FILE")]
    pub(crate) private_key: Option<String>,
    /// User to log in as
    #[arg(short = 'u', long = "user", value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Way to hosts: `ssh`, `local`, `docker`
    #[arg(short = 'c', long = "connection", value_name = "WAY")]
    pub(crate) connection: Option<String>,
    /// Longest wait for connecting, in seconds
    #[arg(short = 'T', long = "timeout", value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
    /// Arguments of the SSH client, such as `-o ProxyJump=bastion`
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub(crate) ssh_common_args: Option<String>,
    /// More arguments of the SSH client
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub(crate) ssh_extra_args: Option<String>,
    /// Arguments of sftp, which is not used
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub(crate) sftp_extra_args: Option<String>,
    /// Arguments of scp, which is not used
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub(crate) scp_extra_args: Option<String>,
    /// Ask for the password for logging in
    #[arg(short = 'k', long, conflicts_with = "connection_password_file")]
    pub(crate) ask_pass: bool,
    /// Read the password for logging in from this file
    #[arg(long, visible_alias = "conn-pass-file", value_name = "FILE")]
    pub(crate) connection_password_file: Option<PathBuf>,
}

// Becoming another user.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Becoming another user")]
pub(crate) struct Become {
    /// Become another user
    #[arg(short = 'b', long = "become")]
    pub(crate) r#become: bool,
    /// How: `sudo` or `su`
    #[arg(long, value_name = "WAY")]
    pub(crate) become_method: Option<String>,
    /// Whom; `root` if not given
    #[arg(long, value_name = "USER")]
    pub(crate) become_user: Option<String>,
    /// Ask for the password of sudo or su
    #[arg(short = 'K', long, conflicts_with = "become_password_file")]
    pub(crate) ask_become_pass: bool,
    /// Read the password of sudo or su from this file
    #[arg(long, visible_alias = "become-pass-file", value_name = "FILE")]
    pub(crate) become_password_file: Option<PathBuf>,
}

// Passwords of vaults.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Vaults")]
pub(crate) struct Vaults {
    /// Password of a vault: `ID@FILE`, `ID@prompt` or `FILE`; can be repeated
    #[arg(long, value_name = "ID@SOURCE")]
    pub(crate) vault_id: Vec<String>,
    /// File or program that holds the password; can be repeated
    #[arg(long, visible_alias = "vault-pass-file", value_name = "FILE")]
    pub(crate) vault_password_file: Vec<String>,
    /// Ask for the password
    #[arg(short = 'J', long, visible_alias = "ask-vault-pass")]
    pub(crate) ask_vault_password: bool,
}

// What every command has.
#[derive(Debug, Default, Args)]
pub(crate) struct Common {
    /// Tell more; `-vvv` tells most
    #[arg(short = 'v', long = "verbose", action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Print the version and the configuration file, and end
    #[arg(long)]
    pub(crate) version: bool,
}

// What changes how tasks run.
#[derive(Debug, Default, Args)]
pub(crate) struct Running {
    /// Change nothing, and say what would change
    #[arg(short = 'C', long)]
    pub(crate) check: bool,
    /// Show differences of files
    #[arg(short = 'D', long)]
    pub(crate) diff: bool,
    /// Variables above all others: `name=value`, YAML, JSON or `@FILE`; can be repeated
    #[arg(short = 'e', long = "extra-vars", value_name = "VARS")]
    pub(crate) extra_vars: Vec<String>,
    /// How many hosts are worked on at the same time
    #[arg(short = 'f', long, value_name = "NUMBER")]
    pub(crate) forks: Option<usize>,
    /// Folders of modules in Python, which are not loaded
    #[arg(short = 'M', long, value_name = "FOLDERS")]
    pub(crate) module_path: Vec<String>,
}

/// Runs playbooks on hosts. Nothing has to be installed there.
///
/// Understands what `ansible-playbook` understands and answers as it does, also under its name. Exit codes: 0 done, 1 an error,
/// 2 a task failed on a host or wrong options, 4 a host was unreachable or a playbook is wrong, 99 interrupted, 250 a fault of this program.
#[derive(Debug, Parser)]
#[command(disable_version_flag = true, infer_long_args = true, args_override_self = true)]
pub(crate) struct PlaybookCli {
    /// The playbooks, one after the other
    #[arg(required_unless_present = "version", value_name = "PLAYBOOK")]
    pub(crate) playbooks: Vec<PathBuf>,
    /// Run plays and tasks with one of these tags only; can be repeated
    #[arg(short = 't', long, value_name = "TAGS")]
    pub(crate) tags: Vec<String>,
    /// Leave out plays and tasks with one of these tags; can be repeated
    #[arg(long, value_name = "TAGS")]
    pub(crate) skip_tags: Vec<String>,
    /// Show the tasks, and run none
    #[arg(long)]
    pub(crate) list_tasks: bool,
    /// Show the tags, and run nothing
    #[arg(long)]
    pub(crate) list_tags: bool,
    /// Read the playbooks, and run nothing
    #[arg(long)]
    pub(crate) syntax_check: bool,
    /// Begin at the task of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) start_at_task: Option<String>,
    /// Ask before each task
    #[arg(long)]
    pub(crate) step: bool,
    /// Run handlers on a host also if a task has failed there
    #[arg(long)]
    pub(crate) force_handlers: bool,
    #[command(flatten)]
    pub(crate) hosts: Hosts,
    #[command(flatten)]
    pub(crate) running: Running,
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) becoming: Become,
    #[command(flatten)]
    pub(crate) vaults: Vaults,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Runs one module on hosts.
#[derive(Debug, Parser)]
#[command(disable_version_flag = true, infer_long_args = true, args_override_self = true)]
pub(crate) struct AdHocCli {
    /// The hosts
    #[arg(required_unless_present = "version", value_name = "PATTERN")]
    pub(crate) pattern: Option<String>,
    /// The module; `command` if not given
    #[arg(short = 'm', long, value_name = "MODULE")]
    pub(crate) module_name: Option<String>,
    /// Its arguments: `name=value`, or JSON
    #[arg(short = 'a', long, value_name = "ARGS", allow_hyphen_values = true)]
    pub(crate) args: Option<String>,
    /// One line for each result
    #[arg(short = 'o', long)]
    pub(crate) one_line: bool,
    /// Also write each result to a file in this folder
    #[arg(short = 't', long, value_name = "FOLDER")]
    pub(crate) tree: Option<PathBuf>,
    /// Run it in the background, at most this many seconds
    #[arg(short = 'B', long, value_name = "SECONDS")]
    pub(crate) background: Option<u64>,
    /// Ask this often whether it is done, in seconds; 0: not at all
    #[arg(short = 'P', long, value_name = "SECONDS")]
    pub(crate) poll: Option<u64>,
    /// Folder that stands for the playbook's
    #[arg(long, value_name = "FOLDER")]
    pub(crate) playbook_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) hosts: Hosts,
    #[command(flatten)]
    pub(crate) running: Running,
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) becoming: Become,
    #[command(flatten)]
    pub(crate) vaults: Vaults,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Shows what an inventory holds.
#[derive(Debug, Parser)]
#[command(disable_version_flag = true, infer_long_args = true, args_override_self = true)]
pub(crate) struct InventoryCli {
    /// With `--graph`: only this group
    #[arg(value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// Show all hosts and groups as an inventory script does
    #[arg(long)]
    pub(crate) list: bool,
    /// Show the variables of one host
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Draw groups and hosts
    #[arg(long)]
    pub(crate) graph: bool,
    /// Answer in YAML, not in JSON
    #[arg(short = 'y', long)]
    pub(crate) yaml: bool,
    /// Answer in TOML, which is not supported
    #[arg(long)]
    pub(crate) toml: bool,
    /// With `--graph`: variables, too
    #[arg(long)]
    pub(crate) vars: bool,
    /// With `--list`: variables stay with the group or host that has them
    #[arg(long)]
    pub(crate) export: bool,
    /// With `--list`: write to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Folder that stands for the playbook's
    #[arg(long, value_name = "FOLDER")]
    pub(crate) playbook_dir: Option<PathBuf>,
    /// Variables above all others; can be repeated
    #[arg(short = 'e', long = "extra-vars", value_name = "VARS")]
    pub(crate) extra_vars: Vec<String>,
    /// Where hosts come from; can be repeated
    #[arg(short = 'i', long = "inventory", visible_alias = "inventory-file", value_name = "SOURCE")]
    pub(crate) inventory: Vec<String>,
    /// These hosts only; can be repeated
    #[arg(short = 'l', long = "limit", value_name = "PATTERN")]
    pub(crate) limit: Vec<String>,
    #[command(flatten)]
    pub(crate) vaults: Vaults,
    #[command(flatten)]
    pub(crate) common: Common,
}
