use std::path::PathBuf;

use clap::Parser;

/// Provisions hosts, configures them, bakes an image and rolls three releases out under load; the third one is bad and is
/// rolled back. Run it again: what is so stays so.
#[derive(Debug, Parser)]
#[command(name = "quickstart")]
pub(crate) struct Options {
    /// Print one JSON object at the end and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    /// Print what a run would do; touches nothing
    #[arg(long)]
    pub(crate) plan: bool,
    /// Use the hosts of this Ansible inventory instead of hosts on this machine. Only their SSH port need be reachable
    #[arg(long, value_name = "FILE")]
    pub(crate) inventory: Option<PathBuf>,
    /// Die (SIGABRT) inside this step, after the intent of its first effect is written
    #[arg(long, value_name = "STEP")]
    pub(crate) crash_at: Option<String>,
    /// The folder where everything is kept; `quickstart` in the target folder by default
    #[arg(long, value_name = "PATH")]
    pub(crate) store: Option<PathBuf>,
    /// End the hosts and the balancer, and remove the folder
    #[arg(long, conflicts_with_all = ["plan", "crash_at", "inventory"])]
    pub(crate) destroy: bool,
}
