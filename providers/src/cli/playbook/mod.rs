//! The command `towpath-playbook`, and what it is under the names of Ansible's own commands.

mod adhoc;
mod ask;
mod connect;
mod inventory;
mod list;
mod options;
mod play;
mod secrets;
mod session;
mod setup;
mod stdout;
mod vault;
mod yaml;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::{Error, ErrorKind};

/// How the command ends, in Ansible's numbers.
pub(crate) mod exit {
    pub(crate) const DONE: u8 = 0;
    pub(crate) const ERROR: u8 = 1;
    pub(crate) const FAILED_HOSTS: u8 = 2;
    pub(crate) const UNREACHABLE_OR_UNREADABLE: u8 = 4;
    pub(crate) const OPTIONS: u8 = 5;
    pub(crate) const INTERRUPTED: u8 = 99;
    pub(crate) const FAULT: u8 = 250;
}

/// An end that is not a success: what to say, and the exit code.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) code: u8,
    pub(crate) message: String,
}

impl Stop {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        let code = match error.kind() {
            ErrorKind::InvalidInput => exit::UNREACHABLE_OR_UNREADABLE,
            ErrorKind::Cancelled => exit::INTERRUPTED,
            ErrorKind::Internal => exit::FAULT,
            _ => exit::ERROR,
        };
        Self { code, message: error.report() }
    }
}

pub(crate) type Outcome = std::result::Result<u8, Stop>;

/// Runs the command with this process's arguments.
pub fn main() -> ExitCode {
    ExitCode::from(run(std::env::args_os()))
}

/// Runs the command with these arguments, and gives the exit code. The program's name comes first, and decides what it does: `ansible`,
/// `ansible-inventory` and `ansible-vault` do those jobs, any other name runs playbooks. Wrong arguments, `--help` and `--version`
/// are answered here, too.
pub fn run<S: Into<OsString> + Clone>(args: impl IntoIterator<Item = S>) -> u8 {
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let path = args.first().cloned().unwrap_or_default();
    let name = Path::new(&path).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let outcome = match name.as_str() {
        "ansible" => parsed::<options::AdHocCli>(&name, args).and_then(|cli| adhoc::run(&name, cli)),
        "ansible-inventory" => parsed::<options::InventoryCli>(&name, args).and_then(|cli| inventory::run(&name, cli)),
        "ansible-vault" => parsed::<vault::VaultCli>(&name, args).and_then(|cli| vault::run(&name, cli)),
        _ => parsed::<options::PlaybookCli>(&name, args).and_then(|cli| play::run(&name, cli)),
    };
    match outcome {
        Ok(code) => code,
        Err(stop) => {
            if !stop.message.is_empty() {
                setup::complain(&stop.message);
            }
            stop.code
        }
    }
}

/// The options, under the name by which the command was called.
fn parsed<C: CommandFactory + FromArgMatches>(name: &str, args: Vec<OsString>) -> std::result::Result<C, Stop> {
    let name: &'static str = match name {
        "ansible" => "ansible",
        "ansible-playbook" => "ansible-playbook",
        "ansible-inventory" => "ansible-inventory",
        "ansible-vault" => "ansible-vault",
        _ => "towpath-playbook",
    };
    let answer =
        C::command().name(name).bin_name(name).try_get_matches_from(args).and_then(|m| C::from_arg_matches(&m));
    answer.map_err(|e| {
        let _ = e.print();
        // Help is no failure; everything else is answered with 2, as Ansible does.
        Stop::new(u8::try_from(e.exit_code()).unwrap_or(exit::FAILED_HOSTS), "")
    })
}
