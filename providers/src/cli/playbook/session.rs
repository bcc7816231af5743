//! One run after the other: what their ends add up to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::playbook::{PlaybookEvent, Report};
use crate::{HostSummary, Vars};

use super::exit;
use super::stdout::Printer;

/// Counts of all playbooks of one command.
#[derive(Default)]
struct Totals {
    hosts: BTreeMap<String, HostSummary>,
    custom: BTreeMap<String, Vars>,
    ended: bool,
    failed: bool,
    unreachable: bool,
}

/// Passes events on to the printer, with counts over all playbooks.
pub(crate) struct Session {
    printer: Arc<Printer>,
    totals: Mutex<Totals>,
    /// Where the names of failed hosts go.
    retry: Mutex<Option<PathBuf>>,
}

impl Session {
    pub(crate) fn new(printer: Arc<Printer>) -> Self {
        Self { printer, totals: Mutex::default(), retry: Mutex::default() }
    }

    /// The next playbook begins; names of hosts that fail go to this file.
    pub(crate) fn next(&self, retry: Option<PathBuf>) {
        *self.retry.lock().unwrap_or_else(PoisonError::into_inner) = retry;
        self.totals.lock().unwrap_or_else(PoisonError::into_inner).ended = false;
    }

    /// How the playbook ended; `None` if it did not come that far.
    pub(crate) fn code(&self) -> Option<u8> {
        let totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.ended.then_some(if totals.unreachable {
            exit::UNREACHABLE_OR_UNREADABLE
        } else if totals.failed {
            exit::FAILED_HOSTS
        } else {
            exit::DONE
        })
    }

    fn write_retry(&self, hosts: &BTreeMap<String, HostSummary>) {
        let retry = self.retry.lock().unwrap_or_else(PoisonError::into_inner).take();
        let failed: Vec<&str> =
            hosts.iter().filter(|(_, s)| s.failed > 0 || s.unreachable > 0).map(|(h, _)| h.as_str()).collect();
        let Some(path) = retry.filter(|_| !failed.is_empty()) else { return };
        match std::fs::write(&path, failed.join("\n") + "\n") {
            Ok(()) => self.printer.say(&format!("\tto retry, use: --limit @{}\n", path.display())),
            Err(e) => {
                self.printer.warn(&format!("Could not create retry file '{}'. The error was: {e}", path.display()))
            }
        }
    }
}

/// The retry file of a playbook: beside it, or in the folder that settings name.
pub(crate) fn retry_file(playbook: &Path, folder: Option<PathBuf>) -> PathBuf {
    let playbook = std::path::absolute(playbook).unwrap_or_else(|_| playbook.to_owned());
    let name = playbook.with_extension("retry");
    match (folder, name.file_name()) {
        (Some(folder), Some(file)) => folder.join(file),
        _ => name,
    }
}

impl Report for Session {
    fn on(&self, event: &PlaybookEvent) {
        let PlaybookEvent::Finished { hosts, custom } = event else { return self.printer.on(event) };
        self.write_retry(hosts);
        let (hosts, custom) = {
            let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
            totals.ended = true;
            for (name, s) in hosts {
                totals.failed |= s.failed > 0;
                totals.unreachable |= s.unreachable > 0;
                let sum = totals.hosts.entry(name.clone()).or_default();
                sum.ok += s.ok;
                sum.changed += s.changed;
                sum.unreachable += s.unreachable;
                sum.failed += s.failed;
                sum.skipped += s.skipped;
                sum.rescued += s.rescued;
                sum.ignored += s.ignored;
            }
            for (host, vars) in custom {
                totals.custom.entry(host.clone()).or_default().extend(vars.clone());
            }
            (totals.hosts.clone(), totals.custom.clone())
        };
        self.printer.on(&PlaybookEvent::Finished { hosts, custom });
    }
}
