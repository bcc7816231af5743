use std::fmt;
use std::path::Path;

use serde::Deserialize;
use towpath_core::{Error, ErrorKind, Json, Masker};

use crate::provider::TERRAFORM;

/// Something that the tool says about a configuration or a resource.
///
/// Source: Terraform documentation, "Machine-Readable UI", message type `diagnostic`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// One sentence.
    pub summary: String,
    /// More lines, empty if there are none.
    pub detail: String,
    /// The resource that it is about.
    pub address: Option<String>,
    /// The file, as the tool names it: below the module's folder.
    pub file: Option<String>,
    /// Its line, from 1; `0` if there is none.
    pub line: u64,
    /// Its column, from 1; `0` if there is none.
    pub column: u64,
    /// The lines of the file that it is about.
    pub code: Option<String>,
}

/// How bad a [`Diagnostic`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The command failed.
    Error,
    /// It went on.
    Warning,
}

/// All that a failed command said. The cause of its [`Error`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary)?;
        if let Some(file) = &self.file {
            write!(f, " ({file}:{}:{})", self.line, self.column)?;
        }
        if let Some(address) = &self.address {
            write!(f, " [{address}]")?;
        }
        for text in [Some(&self.detail), self.code.as_ref()].into_iter().flatten() {
            for line in text.lines() {
                write!(f, "\n  {line}")?;
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Raw {
    severity: String,
    summary: String,
    #[serde(default)]
    detail: String,
    address: Option<String>,
    range: Option<Range>,
    snippet: Option<Snippet>,
}

#[derive(Deserialize)]
struct Range {
    filename: String,
    start: Position,
}

#[derive(Deserialize)]
struct Position {
    line: u64,
    column: u64,
}

#[derive(Deserialize)]
struct Snippet {
    code: Option<String>,
}

impl Diagnostic {
    /// Reads one from its JSON, without known secrets: it becomes an error, which nobody masks later. `None` if it is none.
    pub(crate) fn read(json: &Json, masker: &Masker) -> Option<Self> {
        let mut raw = Raw::deserialize(json).ok()?;
        let code = raw.snippet.as_mut().and_then(|s| s.code.as_mut());
        for text in [Some(&mut raw.summary), Some(&mut raw.detail), code].into_iter().flatten() {
            *text = masker.mask(text).into_owned();
        }
        let start = raw.range.as_ref().map_or((0, 0), |r| (r.start.line, r.start.column));
        Some(Self {
            severity: if raw.severity == "error" { Severity::Error } else { Severity::Warning },
            summary: raw.summary,
            detail: raw.detail,
            address: raw.address,
            file: raw.range.map(|r| r.filename),
            line: start.0,
            column: start.1,
            code: raw.snippet.and_then(|s| s.code),
        })
    }

    /// Who holds the lock of the state, if this says that somebody does: name, operation, since when, and the lock's id.
    ///
    /// The tool has no other form for it than this table in the detail.
    fn lock(&self) -> Option<Lock> {
        let mut lines = self.detail.lines().skip_while(|line| line.trim() != "Lock Info:").skip(1);
        let mut lock = Lock::default();
        for line in lines.by_ref() {
            let Some((name, value)) = line.trim().split_once(':') else { break };
            let value = value.trim().to_owned();
            match name {
                "ID" => lock.id = value,
                "Operation" => lock.operation = value,
                "Who" => lock.who = value,
                "Created" => lock.created = value,
                _ => {}
            }
        }
        (!lock.id.is_empty()).then_some(lock)
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Lock {
    id: String,
    operation: String,
    who: String,
    created: String,
}

impl Diagnostics {
    /// The failure of a command in `module`. `untouched`: it can't have changed anything, so errors of the configuration are bad input.
    pub(crate) fn into_error(self, operation: &'static str, module: &Path, untouched: bool) -> Error {
        let errors: Vec<&Diagnostic> = self.0.iter().filter(|d| d.severity == Severity::Error).collect();
        let Some(first) = errors.first() else {
            return Error::new(ErrorKind::ToolFailed, TERRAFORM, operation, "the command failed and gave no reason")
                .with("module", module.display());
        };
        if let Some(lock) = errors.iter().find_map(|d| d.lock()) {
            let message = format!(
                "the state is locked by {} ({} since {}): wait for it, set `lock_timeout_s`, or, if nobody works on it any more, run `force-unlock {}` in the \
                 module",
                lock.who, lock.operation, lock.created, lock.id
            );
            return Error::new(ErrorKind::Conflict, TERRAFORM, operation, message)
                .retry_later()
                .with("module", module.display())
                .with("lock", &lock.id)
                .caused_by(self);
        }
        let kind = if untouched && first.file.is_some() { ErrorKind::InvalidInput } else { ErrorKind::ToolFailed };
        let summary: Vec<&str> = first.summary.split_whitespace().collect();
        let mut message = summary.join(" ");
        if errors.len() > 1 {
            message.push_str(&format!(", and {} more", errors.len() - 1));
        }
        let mut error = Error::new(kind, TERRAFORM, operation, message).with("module", module.display());
        if let Some(file) = &first.file {
            error = error.with("file", format!("{}:{}:{}", module.join(file).display(), first.line, first.column));
        }
        if let Some(address) = &first.address {
            error = error.with("resource", address);
        }
        error.caused_by(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn of(detail: &str) -> Diagnostic {
        let said = json!({"severity": "error", "summary": "Error acquiring the state lock", "detail": detail});
        Diagnostic::read(&said, &Masker::default()).unwrap()
    }

    #[test]
    fn the_owner_of_a_lock_is_named() {
        // Terraform 1.11.4
        let detail = "Error message: resource temporarily unavailable\nLock Info:\n  ID:        3b4e\n  Path:      terraform.tfstate\n  \
                      Operation: OperationTypeApply\n  Who:       anna@build-7\n  Version:   1.11.4\n  Created:   2026-11-26 10:00:00 +0000 UTC\n  Info:      \n\n\nTerraform \
                      acquires a state lock: to protect the state";
        let error = Diagnostics(vec![of(detail)]).into_error("apply", Path::new("infra"), false);
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, towpath_core::Retry::Later));
        for part in ["anna@build-7", "OperationTypeApply", "2026-11-26 10:00:00 +0000 UTC", "force-unlock 3b4e"] {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn a_lock_without_its_table_is_the_tools_own_failure() {
        let error =
            Diagnostics(vec![of("resource temporarily unavailable")]).into_error("plan", Path::new("infra"), true);
        assert_eq!(error.kind(), ErrorKind::ToolFailed);
        assert!(error.report().contains("resource temporarily unavailable"), "{}", error.report());
    }
}
