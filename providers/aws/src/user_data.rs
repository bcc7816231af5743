use std::path::{Path, PathBuf};

use base64::Engine as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use towpath_core::{Context, Error, ErrorKind, Result, SecretRef};

use crate::PROVIDER;

/// What an instance gets at its first start: a script, or a file for cloud-init. At most 16 KiB.
///
/// It never appears in events, errors or the journal, but who may describe the instance can read it, and so can any program on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum UserData {
    /// This text.
    Text(String),
    /// The content of this file.
    File(PathBuf),
    /// A text that is also masked in all output.
    Secret(SecretRef),
}

/// User data as it is sent, and its digest.
#[derive(Clone, Default)]
pub(crate) struct Resolved {
    /// In base64.
    pub(crate) encoded: Option<String>,
    /// `none` without user data.
    pub(crate) digest: String,
}

impl UserData {
    /// Relative paths start there.
    pub(crate) fn based(self, dir: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(dir.join(path)),
            other => other,
        }
    }

    pub(crate) async fn resolve(cx: &Context, operation: &'static str, data: Option<&Self>) -> Result<Resolved> {
        let bytes = match data {
            None => return Ok(Resolved { encoded: None, digest: "none".into() }),
            Some(Self::Text(text)) => text.clone().into_bytes(),
            Some(Self::Secret(secret)) => cx.resolve(secret).await?.expose().as_bytes().to_vec(),
            Some(Self::File(path)) => tokio::fs::read(path).await.map_err(|e| {
                Error::new(ErrorKind::InvalidInput, PROVIDER, operation, "the file of the user data can't be read")
                    .with("file", path.display())
                    .caused_by(e)
            })?,
        };
        if bytes.len() > 16 << 10 {
            let message =
                format!("user data has {} bytes, and EC2 takes at most 16384: fetch the rest from it", bytes.len());
            return Err(Error::new(ErrorKind::InvalidInput, PROVIDER, operation, message));
        }
        let digest = hex::encode(Sha256::digest(&bytes));
        Ok(Resolved { encoded: Some(base64::engine::general_purpose::STANDARD.encode(bytes)), digest })
    }
}
