//! Reads the lines that the tool prints with `-json`, and tells the listeners.
//!
//! Source: Terraform documentation, "Machine-Readable UI". OpenTofu prints the same.

use std::collections::{BTreeMap, BTreeSet};

use towpath_core::{Action, Change, Context, EventKind, Json};

use crate::diagnostic::{Diagnostic, Severity};

/// What a run of the tool has said so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Operations that ended well: `plan`, `apply`, `destroy`.
    pub(crate) ended: Vec<String>,
    /// Resources that are worked on now, and what is done to them.
    pub(crate) running: BTreeMap<String, String>,
    /// Resources that were made, changed or removed.
    pub(crate) changed: BTreeSet<String>,
    total: u64,
    /// Lines that are no JSON.
    pub(crate) other: String,
}

fn text<'a>(json: &'a Json, path: &str) -> Option<&'a str> {
    json.pointer(path).and_then(Json::as_str)
}

/// What the tool calls an action, in plans and in hooks.
pub(crate) fn action(name: &str) -> Action {
    match name {
        "create" | "import" => Action::Create,
        "update" | "move" => Action::Update,
        "replace" => Action::Replace,
        "delete" | "remove" | "forget" => Action::Delete,
        "read" | "open" | "renew" | "close" => Action::Run,
        "no-op" | "noop" => Action::None,
        // Whatever a later version has: never "nothing".
        _ => Action::Update,
    }
}

impl Seen {
    /// Takes one line. `quiet`: plans of other verbs, of which only warnings are news.
    pub(crate) fn take(&mut self, cx: &Context, stack: &str, line: &str, quiet: bool) {
        let Ok(json) = serde_json::from_str::<Json>(line) else {
            if !line.trim().is_empty() {
                self.other.push_str(&cx.masker().mask(line));
                self.other.push('\n');
            }
            return;
        };
        let address = text(&json, "/hook/resource/addr").unwrap_or_default();
        let hook = text(&json, "/hook/action").unwrap_or_default();
        match text(&json, "/type").unwrap_or_default() {
            "diagnostic" => {
                let Some(diagnostic) = json.get("diagnostic").and_then(|d| Diagnostic::read(d, cx.masker())) else {
                    return;
                };
                if diagnostic.severity == Severity::Warning {
                    cx.warn(format!("{stack}: {diagnostic}"));
                }
                self.diagnostics.push(diagnostic);
            }
            "planned_change" => self.total += 1,
            "change_summary" => {
                let operation = text(&json, "/changes/operation").unwrap_or_default();
                self.ended.push(operation.to_owned());
            }
            "apply_start" => {
                self.running.insert(address.to_owned(), hook.to_owned());
                self.progress(cx, format!("{address}: {hook}"));
            }
            "apply_progress" => {
                let seconds = json.pointer("/hook/elapsed_seconds").and_then(Json::as_f64).unwrap_or_default();
                self.progress(cx, format!("{address}: {hook}, {seconds:.0} s so far"));
            }
            "apply_complete" => {
                self.running.remove(address);
                self.changed.insert(address.to_owned());
                let change = Change::will(stack, address, action(hook));
                cx.emit(EventKind::Change { change, made: true });
            }
            "apply_errored" => {
                self.running.remove(address);
                self.progress(cx, format!("{address}: {hook} failed"));
            }
            "provision_progress" => {
                let stream = text(&json, "/hook/provisioner").unwrap_or("provisioner").to_owned();
                let line = format!("{address}: {}", text(&json, "/hook/output").unwrap_or_default());
                cx.emit(EventKind::Output { stream, line });
            }
            "provision_errored" => self.progress(cx, format!("{address}: a provisioner failed")),
            "refresh_complete" if !quiet => self.progress(cx, format!("{address}: read")),
            "init_output" if !quiet => self.progress(cx, text(&json, "/@message").unwrap_or_default().to_owned()),
            _ => {}
        }
    }

    fn progress(&self, cx: &Context, message: String) {
        let (done, total) =
            if self.total > 0 { (Some(self.changed.len() as u64), Some(self.total)) } else { (None, None) };
        cx.emit(EventKind::Progress { message, done, total });
    }

    /// Whether the tool said itself that it applied or destroyed all.
    pub(crate) fn applied(&self) -> bool {
        self.ended.iter().any(|o| o == "apply" || o == "destroy")
            && !self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }
}
