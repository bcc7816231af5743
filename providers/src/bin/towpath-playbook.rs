//! The command `towpath-playbook`; under the names of Ansible's commands it does their jobs.

fn main() -> std::process::ExitCode {
    towpath::cli::playbook::main()
}
