//! The command `towpath`: how it begins, and what it ends with.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

use super::options::Cli;
use super::{say, verbs};
use crate::{Error, ErrorKind, Registry, RunState};

/// What the process ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Failed,
    BadInput,
    RolledBack,
    Cancelled,
}

impl Exit {
    fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::BadInput => 2,
            Self::RolledBack => 3,
            Self::Cancelled => 130,
        }
    }

    pub(crate) fn of(state: RunState) -> Self {
        match state {
            RunState::Done => Self::Done,
            RunState::Failed | RunState::Unfinished => Self::Failed,
            RunState::RolledBack => Self::RolledBack,
            RunState::Cancelled => Self::Cancelled,
        }
    }

    fn of_error(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidInput | ErrorKind::NotFound => Self::BadInput,
            ErrorKind::Cancelled => Self::Cancelled,
            _ => Self::Failed,
        }
    }
}

/// Runs the command with this process's arguments.
pub fn main() -> ExitCode {
    ExitCode::from(run(std::env::args_os(), |_| ()))
}

/// Runs the command with these arguments, the program's name first, and gives the exit code. `extend` adds to the registry of
/// every provider that is compiled in. Wrong arguments, `--help` and `--version` are answered here, too.
pub fn run<S: Into<OsString> + Clone>(args: impl IntoIterator<Item = S>, extend: fn(&mut Registry)) -> u8 {
    let mut cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return u8::try_from(e.exit_code()).unwrap_or(Exit::BadInput.code());
        }
    };
    cli.common.extend = Some(extend);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            say(&format!("error: no runtime: {e}"));
            return Exit::Failed.code();
        }
    };
    let exit = runtime.block_on(verbs::run(cli)).unwrap_or_else(|error| {
        say(&format!("error: {}", error.report()));
        Exit::of_error(&error)
    });
    exit.code()
}
