use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use base64::Engine as _;
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// A value that can't be printed or serialised, and is wiped when dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(SecretString::from(value.into()))
    }

    /// Gives the value, for the one call that needs it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Where a secret comes from. Resolved when it is used; the value is never stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SecretRef {
    /// The environment variable of this name, in the process that runs the pipeline.
    Env(String),
    /// The content of this file, without one trailing newline.
    File(PathBuf),
    /// The standard output of this command, without one trailing newline: program, then arguments; no shell.
    Command(Vec<String>),
    /// The value that the program itself gives under this name, in code only: [`Engine::secret`](crate::pipeline::Engine::secret),
    /// [`ContextBuilder::secret`](crate::ContextBuilder::secret). It is stored nowhere, so only a program that gives it again
    /// can continue the run.
    Given(String),
}

impl SecretRef {
    /// Resolves the secret now.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound): the variable or file does not exist; [`Given`](Self::Given) needs
    /// [`Context::resolve`](crate::Context::resolve).
    /// [`ToolFailed`](ErrorKind::ToolFailed): the command failed; its output is not shown, since it may hold the secret.
    pub async fn resolve(&self) -> Result<Secret> {
        let fail = |kind, message: String| Error::new(kind, "core", "secret", message);
        match self {
            Self::Env(name) => std::env::var(name).map(Secret::new).map_err(|_| {
                fail(ErrorKind::NotFound, "the environment variable of a secret is not set".into())
                    .with("variable", name)
            }),
            Self::File(path) => match tokio::fs::read_to_string(path).await {
                Ok(mut text) => {
                    chomp(&mut text);
                    Ok(Secret::new(text))
                }
                Err(e) => Err(fail(ErrorKind::NotFound, "the file of a secret can't be read".into())
                    .with("file", path.display())
                    .caused_by(e)),
            },
            Self::Given(name) => Err(fail(
                ErrorKind::NotFound,
                "only a program can give this secret, in code: name a variable, file or command instead, or continue the run with that program".into(),
            )
            .with("secret", name)),
            Self::Command(argv) => {
                let (program, args) = argv
                    .split_first()
                    .ok_or_else(|| fail(ErrorKind::InvalidInput, "the command of a secret is empty".into()))?;
                let out = tokio::process::Command::new(program)
                    .args(args)
                    .stdin(std::process::Stdio::null())
                    .output()
                    .await
                    .map_err(|e| {
                        fail(ErrorKind::ToolMissing, "the command of a secret can't be started".into())
                            .with("command", program)
                            .caused_by(e)
                    })?;
                if !out.status.success() {
                    return Err(fail(ErrorKind::ToolFailed, "the command of a secret failed".into())
                        .with("command", program)
                        .with("exit_status", out.status));
                }
                let mut text = String::from_utf8(out.stdout).map_err(|_| {
                    fail(ErrorKind::ToolFailed, "the command of a secret printed bytes that are no UTF-8".into())
                        .with("command", program)
                })?;
                chomp(&mut text);
                Ok(Secret::new(text))
            }
        }
    }
}

fn chomp(text: &mut String) {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
}

/// What a masked value looks like.
pub const MASK: &str = "***";

/// Shortest secret that is masked, in bytes; a shorter one would tear ordinary text apart.
pub const MASK_MIN_BYTES: usize = 6;

/// Replaces known secret values in text: as they are, and in their base64, URL and JSON forms.
#[derive(Clone, Default)]
pub struct Masker(Arc<RwLock<BTreeSet<ByLength>>>);

/// Longest first, so that a secret that contains another one is replaced whole.
#[derive(PartialEq, Eq)]
struct ByLength(String);

impl Ord for ByLength {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.0.len().cmp(&self.0.len()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for ByLength {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Masker {
    /// Masks `secret` from now on, and every line of one that has several: commands print line by line, so it is never seen whole.
    /// Gives `false`, and masks nothing, if it is shorter than [`MASK_MIN_BYTES`]; a line that is shorter is left out.
    pub fn learn(&self, secret: &Secret) -> bool {
        let value = secret.expose();
        if value.len() < MASK_MIN_BYTES {
            return false;
        }
        let mut forms = self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        forms.extend(forms_of(value).into_iter().map(ByLength));
        for line in value.lines().map(str::trim).filter(|l| *l != value && l.len() >= MASK_MIN_BYTES) {
            forms.extend(forms_of(line).into_iter().map(ByLength));
        }
        true
    }

    /// Replaces every known form in `text`.
    pub fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let forms = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut out = Cow::Borrowed(text);
        for ByLength(form) in forms.iter() {
            if out.contains(form.as_str()) {
                out = Cow::Owned(out.replace(form.as_str(), MASK));
            }
        }
        out
    }

    /// Replaces every known form in all strings and keys of `value`.
    pub fn mask_json(&self, value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(s) => {
                if let Cow::Owned(masked) = self.mask(s) {
                    *s = masked;
                }
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(|v| self.mask_json(v)),
            serde_json::Value::Object(map) => {
                let dirty = map.keys().any(|k| matches!(self.mask(k), Cow::Owned(_)));
                if dirty {
                    let old = std::mem::take(map);
                    for (k, v) in old {
                        map.insert(self.mask(&k).into_owned(), v);
                    }
                }
                map.values_mut().for_each(|v| self.mask_json(v));
            }
            _ => {}
        }
    }
}

/// A value as it is, and in its base64, JSON and URL forms.
fn forms_of(value: &str) -> Vec<String> {
    let json = serde_json::to_string(value).unwrap_or_default();
    let url = value
        .bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect();
    let mut forms = base64_forms(value.as_bytes());
    forms.extend([value.to_owned(), json.trim_matches('"').to_owned(), url]);
    forms
}

/// A secret in the middle of a longer base64 text starts at any of three bit offsets; each has its own spelling.
fn base64_forms(value: &[u8]) -> Vec<String> {
    let mut forms = Vec::new();
    for engine in [&base64::engine::general_purpose::STANDARD_NO_PAD, &base64::engine::general_purpose::URL_SAFE_NO_PAD]
    {
        for lead in 0..3usize {
            let mut bytes = vec![0u8; lead];
            bytes.extend_from_slice(value);
            let text = engine.encode(&bytes);
            // Characters that mix in bits of neighbours are dropped at both ends.
            let start = [0, 2, 3].get(lead).copied().unwrap_or(0);
            let end = if bytes.len() % 3 == 0 { text.len() } else { text.len().saturating_sub(1) };
            if let Some(core) = text.get(start..end).filter(|core| core.len() >= MASK_MIN_BYTES) {
                forms.push(core.to_owned());
            }
        }
    }
    forms
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Masker(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_of_several_lines_is_masked_line_by_line() {
        let masker = Masker::default();
        let key = "-----BEGIN KEY-----\r\n  first-of-the-key\nshort\n\nlast-of-the-key\n-----END KEY-----\n";
        assert!(masker.learn(&Secret::new(key)), "a short line is no short secret");
        let said = masker.mask("a first-of-the-key, last-of-the-key% and short").into_owned();
        assert_eq!(said, "a ***, ***% and short");
        let line = base64::engine::general_purpose::STANDARD.encode("last-of-the-key");
        assert!(!masker.mask(&line).contains(line.trim_end_matches('=')), "its other forms, too");
        assert_eq!(masker.mask(key), MASK, "whole it is one");
        assert!(!masker.learn(&Secret::new("a\nb")));
    }
}
