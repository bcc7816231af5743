//! The commands `towpath` and `towpath-playbook`: everything that they do is a call of the library.

#[cfg(feature = "cli")]
mod display;
#[cfg(feature = "cli")]
mod exit;
#[cfg(feature = "cli")]
mod options;
#[cfg(feature = "playbook-cli")]
pub mod playbook;
#[cfg(feature = "cli")]
mod rollout;
mod runs;
#[cfg(feature = "cli")]
mod verbs;

#[cfg(feature = "cli")]
pub(crate) use exit::Exit;
#[cfg(feature = "cli")]
pub use exit::{main, run};

/// Prints for people.
#[cfg(feature = "cli")]
#[allow(clippy::print_stderr, reason = "a command line prints")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// Prints a result. A reader that has gone away, as `| head`, is no failure.
pub(crate) fn print(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Waits for Ctrl-C, or for SIGTERM, by which schedulers and CI systems end a job.
async fn asked_to_stop() -> bool {
    #[cfg(unix)]
    if let Ok(mut term) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        return tokio::select! {
            asked = tokio::signal::ctrl_c() => asked.is_ok(),
            asked = term.recv() => asked.is_some(),
        };
    }
    tokio::signal::ctrl_c().await.is_ok()
}
