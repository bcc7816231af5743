//! Failures of Packer as errors: what it said, and where. Kinds come from its exit codes and its machine-readable lines only.

use std::path::Path;

use towpath_core::{Context, Error, ErrorKind};

use crate::output::Report;
use crate::provider::PACKER;

/// What Packer found wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Diagnostic {
    message: String,
    /// `file:line`.
    place: Option<String>,
}

/// Reads diagnostics for people: `Error: ...`, then `on FILE line N` of HCL, `At line N` of JSON, or a list of causes.
fn diagnostics(text: &str, template: &Path) -> Vec<Diagnostic> {
    let mut all: Vec<Diagnostic> = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if let Some(message) = line.strip_prefix("Error: ") {
            all.push(Diagnostic { message: message.trim().to_owned(), place: None });
            continue;
        }
        if all.is_empty() {
            if trimmed.is_empty() {
                continue;
            }
            all.push(Diagnostic { message: trimmed.to_owned(), place: None });
            continue;
        }
        let Some(current) = all.last_mut() else { continue };
        if let Some(cause) = trimmed.strip_prefix("* ") {
            if !current.message.is_empty() {
                current.message.push_str(": ");
            }
            current.message.push_str(cause);
        } else if current.place.is_none() {
            current.place = hcl_place(trimmed).or_else(|| json_place(trimmed, template));
        }
    }
    all.retain(|d| !d.message.is_empty());
    all
}

/// `on web.pkr.hcl line 7, in build:`
fn hcl_place(line: &str) -> Option<String> {
    let (file, rest) = line.strip_prefix("on ")?.rsplit_once(" line ")?;
    let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
    // Line 0 of no file: it is nowhere in particular.
    (!number.is_empty() && !file.is_empty() && number != "0").then(|| format!("{file}:{number}"))
}

/// `At line 3, column 1 (offset 43):`
fn json_place(line: &str, template: &Path) -> Option<String> {
    let number: String = line.strip_prefix("At line ")?.chars().take_while(char::is_ascii_digit).collect();
    (!number.is_empty()).then(|| format!("{}:{number}", template.display()))
}

/// The variable that the line of a file of variables belongs to; towpath writes one on each line, or several lines of one.
fn variable_at(file: &Path, line: usize) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let before: Vec<&str> = text.lines().take(line).collect();
    let start = before.iter().rev().find(|l| l.starts_with("  \""))?;
    let (name, _) = start.trim().strip_prefix('"')?.split_once('"')?;
    Some(name.to_owned())
}

/// What stands behind an error.
#[derive(Debug)]
struct Said(String);

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Said {}

/// Longest text of a tool that goes into an error.
const LONGEST: usize = 4000;

/// Keeps an error short; its end says the most.
fn tail(text: &str) -> String {
    let text = text.trim();
    let mut start = text.len().saturating_sub(LONGEST);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let kept = text.get(start..).unwrap_or(text);
    if start == 0 { kept.to_owned() } else { format!("...{kept}") }
}

/// A template that Packer refused. `template` is where JSON's lines count, `work` the folder of files that towpath made.
pub(crate) fn invalid(
    cx: &Context,
    operation: &'static str,
    report: &Report,
    stderr: &str,
    template: &Path,
    work: &Path,
) -> Error {
    let text = report.shown.join("\n");
    let text = if text.trim().is_empty() { stderr } else { &text };
    let text = cx.masker().mask(text);
    let all = diagnostics(&text, template);
    let first = all.first().cloned().unwrap_or_default();
    let mut message = format!("packer refuses the template: {}", first.message);
    if all.len() > 1 {
        message.push_str(&format!(" (and {} more)", all.len() - 1));
    }
    let mut error = Error::new(ErrorKind::InvalidInput, PACKER, operation, message);
    if let Some(place) = first.place {
        let (file, line) = place.rsplit_once(':').unwrap_or((&place, ""));
        error = match Path::new(file).starts_with(work) {
            // A line there tells nobody anything, but which variable stands in it.
            true => match variable_at(Path::new(file), line.parse().unwrap_or_default()) {
                Some(name) => error.with("variable", name),
                None => error,
            },
            false => error.with("file", place),
        };
    }
    error.caused_by(Said(tail(&text)))
}

/// A run that failed. The first build's own error is the cause; all are named.
pub(crate) fn failed(cx: &Context, report: &Report, stderr: &str, status: std::process::ExitStatus) -> Error {
    let masker = cx.masker();
    let message = match (report.errors.as_slice(), report.error_count) {
        ([], _) => "packer failed before any build".to_owned(),
        ([(build, _)], _) => format!("the build `{build}` failed"),
        (many, count) => {
            let names: Vec<String> = many.iter().map(|(b, _)| format!("`{b}`")).collect();
            format!("{} builds failed: {}", count.unwrap_or(many.len()), names.join(", "))
        }
    };
    let error = Error::new(ErrorKind::ToolFailed, PACKER, "build", message).with("exit_status", exit(status));
    let cause = match report.errors.as_slice() {
        [] if report.shown.is_empty() => stderr.to_owned(),
        [] => report.shown.join("\n"),
        [(_, text)] => text.clone(),
        many => many.iter().map(|(build, text)| format!("{build}: {text}")).collect::<Vec<_>>().join("\n"),
    };
    if cause.trim().is_empty() { error } else { error.caused_by(Said(tail(&masker.mask(&cause)))) }
}

/// A call of Packer that is no build, and failed.
pub(crate) fn tool_failed(
    cx: &Context,
    operation: &'static str,
    what: &str,
    status: std::process::ExitStatus,
    text: &str,
) -> Error {
    let error = Error::new(ErrorKind::ToolFailed, PACKER, operation, what).with("exit_status", exit(status));
    if text.trim().is_empty() { error } else { error.caused_by(Said(tail(&cx.masker().mask(text)))) }
}

fn exit(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => code.to_string(),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, Option<String>)> {
        diagnostics(text, Path::new("t.json")).into_iter().map(|d| (d.message, d.place)).collect()
    }

    fn one(message: &str, place: Option<&str>) -> (String, Option<String>) {
        (message.into(), place.map(str::to_owned))
    }

    /// Recorded from Packer 1.6.6.
    #[test]
    fn places_are_found() {
        assert_eq!(
            found(
                "Error: Unsupported argument\n\n  on t/bad.pkr.hcl line 3:\n  (source code not available)\n\nAn argument named \"targett\" is not expected here. Did you mean \"target\"?\n\nError: Unsupported attribute\n\n  on t/bad.pkr.hcl line 2, in build:\n"
            ),
            [
                one("Unsupported argument", Some("t/bad.pkr.hcl:3")),
                one("Unsupported attribute", Some("t/bad.pkr.hcl:2"))
            ]
        );
        assert_eq!(
            found(
                "Failed to parse template: Error parsing JSON: unexpected end of JSON input\nAt line 3, column 1 (offset 43):\n    2: \"target\":\"x\" \n"
            ),
            [one("Failed to parse template: Error parsing JSON: unexpected end of JSON input", Some("t.json:3"))]
        );
        assert_eq!(
            found(
                "Error: Failed to prepare build: \"file\"\n\n1 error occurred:\n\t* unknown configuration key: '\"contents\"'\n\n\n"
            ),
            [one("Failed to prepare build: \"file\": unknown configuration key: '\"contents\"'", None)]
        );
        assert_eq!(
            found("Error: \n\n1 error occurred:\n\t* required variable not set: pw\n"),
            [one("required variable not set: pw", None)]
        );
        assert_eq!(found("\n\n"), []);
    }

    #[test]
    fn an_error_is_short_and_masked() {
        let cx = Context::new();
        cx.learn_secret(&towpath_core::Secret::new("geheimnis"));
        let mut report = Report::default();
        report.shown.push(format!("Error: bad geheimnis\n{}", "ä".repeat(9000)));
        let error = invalid(&cx, "plan", &report, "", Path::new("t.json"), Path::new("/w"));
        assert_eq!(error.message(), "packer refuses the template: bad ***");
        assert!(!error.report().contains("geheimnis") && error.report().len() < LONGEST + 200);
    }
}
