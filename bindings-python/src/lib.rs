//! The native half of the Python module `towpath`: it converts values and calls the library, nothing else.
//!
//! Everything crosses as JSON values. `python/towpath` holds the classes that people see.

mod bake;
mod class;
mod connection;
mod engine;
mod errors;
mod provider;
mod registry;
mod runtime;
mod step;
mod strider;

use std::ffi::OsString;

use pyo3::prelude::*;
use towpath::local::Launcher;

/// Runs the command `towpath` and gives its exit code.
///
/// Where this process was started as a host or a balancer of the `local` provider, it is that instead, and never returns.
#[pyfunction]
fn main(py: Python<'_>, args: Vec<OsString>) -> u8 {
    py.detach(|| {
        towpath::init();
        towpath::cli::run(args, registry::extend)
    })
}

/// Runs the command `towpath-playbook` and gives its exit code. The first argument is the name that it was called by.
#[pyfunction]
fn playbook_main(py: Python<'_>, args: Vec<OsString>) -> u8 {
    py.detach(|| towpath::cli::playbook::run(args))
}

/// Lets guardians, and hosts and balancers of the `local` provider, run as this program with these arguments.
#[pyfunction]
fn install_launcher(program: OsString, args: Vec<OsString>) {
    towpath::Guardian::program(&program, args.clone());
    Launcher::with_args(program, args).install();
}

#[pymodule]
mod _towpath {
    #[pymodule_export]
    use super::{install_launcher, main, playbook_main};
    #[pymodule_export]
    use crate::bake::bake;
    #[pymodule_export]
    use crate::connection::{Connection, connect};
    #[pymodule_export]
    use crate::engine::{Engine, Guardian, Store};
    #[pymodule_export]
    use crate::provider::Provider;
    #[pymodule_export]
    use crate::registry::{check_config, file_artifact, load, parse, plan_text, register, schemas};
    #[pymodule_export]
    use crate::runtime::Cancel;
    #[pymodule_export]
    use crate::step::StepContext;
    #[pymodule_export]
    use crate::strider::{Webhooks, set_up_strider, verify_webhook};
}
