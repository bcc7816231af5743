use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a provider can do. A verb outside its capabilities returns [`Unsupported`](crate::ErrorKind::Unsupported).
///
/// Which provider must have which capability is one committed table, `docs/src/capabilities.md`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Capabilities {
    /// Names of what it can do, sorted: `plan`, `destroy`, `sftp`, `per_target`, `group`, ...
    pub verbs: Vec<String>,
}

impl Capabilities {
    /// Makes the set from names.
    pub fn of(verbs: &[&str]) -> Self {
        let mut verbs: Vec<String> = verbs.iter().map(|v| (*v).to_owned()).collect();
        verbs.sort();
        Self { verbs }
    }

    /// Says whether `verb` is among them.
    pub fn has(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }
}

/// What a provider's `preflight` found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Preflight {
    /// Things that work, for example `OpenSSH agent: 2 keys`.
    pub ok: Vec<String>,
    /// Things that work in a reduced way, and what does not work in it.
    pub warnings: Vec<String>,
}
