//! The command `towpath`.

fn main() -> std::process::ExitCode {
    towpath::init();
    towpath::cli::main()
}
