//! An upload with all that a host gives to it.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use towpath_core::{Become, Error, Host, Result, Secret, Source};

use super::look::{Found, LINKED};
use crate::UploadConfig;
use crate::check::{check_path, octal};
use crate::load::{Content, Item};

/// An upload that is ready for one host.
#[derive(Clone)]
pub(crate) struct Upload {
    pub(crate) title: String,
    pub(crate) config: UploadConfig,
    /// Where it goes, with variables replaced and without a slash at the end.
    pub(crate) path: String,
    pub(crate) to: Option<Become>,
    pub(crate) wanted: Vec<Wanted>,
}

/// What one path is to be.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) path: String,
    /// Permission bits that it must have.
    pub(crate) mode: Option<u32>,
    /// Permission bits if it is new.
    pub(crate) new_mode: u32,
    /// Whether owner and mode are mended if it is there already.
    pub(crate) mend: bool,
    /// `None`: a folder.
    pub(crate) file: Option<File>,
}

/// The content of a file.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) digest: String,
    pub(crate) size: u64,
    pub(crate) source: Source,
    /// Nothing of it may be shown.
    pub(crate) hidden: bool,
}

impl Upload {
    /// Replaces variables. `secret` is the content of one that has a secret.
    pub(crate) fn new(
        title: &str,
        config: &UploadConfig,
        items: &[Item],
        host: &Host,
        to: Option<Become>,
        secret: Option<&Secret>,
    ) -> Result<Self> {
        let path = if config.fill { host.fill(&config.path)? } else { config.path.clone() };
        check_path(&path).map_err(|e| e.with("host", &host.name))?;
        let path = path.trim_end_matches('/').to_owned();
        let mode = config.mode.as_deref().and_then(octal);
        let folder_mode = config.directory_mode.as_deref().and_then(octal);
        let mut wanted = Vec::new();
        if config.parents
            && let Some((parent, _)) = path.rsplit_once('/').filter(|(p, _)| !p.is_empty())
        {
            // Only made, never mended: it may be anybody's.
            wanted.push(Wanted { path: parent.to_owned(), mode: None, new_mode: 0o755, mend: false, file: None });
        }
        for item in items {
            let bytes = match &item.content {
                Content::Folder | Content::File { .. } => Bytes::new(),
                Content::Text { text, file } if config.fill => fill(text, file.as_deref(), host)?.into(),
                Content::Text { text, .. } => text.clone().into(),
                Content::Secret => secret.map(|s| s.expose().to_owned()).unwrap_or_default().into(),
            };
            let file = match &item.content {
                Content::Folder => None,
                Content::File { path, digest, size } => Some(File {
                    digest: digest.clone(),
                    size: *size,
                    source: Source::File(path.clone()),
                    hidden: config.sensitive,
                }),
                Content::Text { .. } | Content::Secret => Some(File {
                    digest: hex::encode(Sha256::digest(&bytes)),
                    size: bytes.len() as u64,
                    source: Source::Bytes(bytes),
                    hidden: config.sensitive || config.secret.is_some(),
                }),
            };
            let path = if item.below.is_empty() { path.clone() } else { format!("{path}/{}", item.below) };
            let mode = if file.is_some() { mode } else { folder_mode };
            wanted.push(Wanted { path, mode, new_mode: item.new_mode, mend: true, file });
        }
        Ok(Self { title: title.to_owned(), config: config.clone(), path, to, wanted })
    }
}

/// Replaces variables line by line, so that an error says which one it is and does not repeat the whole file.
fn fill(text: &str, file: Option<&str>, host: &Host) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    for (n, line) in text.split_inclusive('\n').enumerate() {
        out.push_str(&host.fill(line).map_err(|e| {
            let message = match e.get("nearest") {
                Some(near) => format!("the host has no such variable; did you mean `{near}`?"),
                None => "the host has no such variable".to_owned(),
            };
            let variable = e.get("variable").unwrap_or_default().to_owned();
            let error = Error::new(e.kind(), crate::SCRIPT, "fill", message).with("variable", variable);
            let error = error.with("host", &host.name);
            match file {
                Some(file) => error.with("file", format!("{file}:{}", n + 1)),
                None => error.with("content_line", n + 1),
            }
        })?);
    }
    Ok(out)
}

impl Wanted {
    /// Whether what is there is what is wanted.
    pub(crate) fn is_there(&self, found: &Found, config: &UploadConfig) -> bool {
        match (&self.file, found) {
            (Some(file), Found::File(has, digest)) => {
                *digest == file.digest && has.fits(self.mode, config.owner.as_deref(), config.group.as_deref())
            }
            (None, Found::Folder(has)) => {
                !self.mend || has.fits(self.mode, config.owner.as_deref(), config.group.as_deref())
            }
            // It is somebody's wish that the files are elsewhere.
            (None, Found::Other(LINKED)) => true,
            _ => false,
        }
    }
}
