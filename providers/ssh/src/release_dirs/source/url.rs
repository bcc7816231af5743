//! A file at an address. Fetched once for all hosts, and refused if it is not the one that the release names.

use std::path::{Path, PathBuf};

use towpath_core::{Context, ErrorKind, Result};

use super::super::error;

/// The name of the file at an address: the last part of its path.
fn name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.split_once("://")
        .map_or("", |(_, rest)| rest)
        .split_once('/')
        .and_then(|(_, p)| p.rsplit('/').next())
        .unwrap_or_default()
}

fn check<'a>(url: &'a str, digest: &str) -> Result<&'a str> {
    let invalid = |says: &str| error(ErrorKind::InvalidInput, "stage", says);
    let host = url.split_once("://").map_or("", |(_, rest)| rest).split('/').next().unwrap_or_default();
    if host.contains('@') {
        return Err(invalid("no passwords and tokens in the address, since the journal keeps it"));
    }
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(invalid(
            "an artifact at an address needs its digest, `sha256:` and 64 hexadecimal digits: what is there may change",
        ));
    }
    match name(url) {
        "" => Err(invalid("the address names no file")),
        name => Ok(name),
    }
}

/// Fetches the file into a folder. Gives its path and name; who reads it checks the digest.
#[cfg(feature = "url")]
pub(super) async fn fetch(cx: &Context, url: &str, digest: &str, to: &Path) -> Result<(PathBuf, String)> {
    use super::super::PROVIDER;

    let name = check(url, digest)?.to_owned();
    // A query may be a signature.
    let message = format!("fetching {}", url.split('?').next().unwrap_or_default());
    cx.emit(towpath_core::EventKind::Progress { message, done: None, total: None });
    let (from, path) = (url.to_owned(), to.join("artifact"));
    let file = path.clone();
    // A cancel leaves the thread to its end: what it makes is removed with the folder.
    let fetched = async { tokio::task::spawn_blocking(move || download(&from, &file)).await };
    let fetched = cx.guard(PROVIDER, "stage", async { Ok(fetched.await) }).await?;
    let fetched =
        fetched.map_err(|e| error(ErrorKind::Internal, "stage", "the download was interrupted").caused_by(e))?;
    fetched.map_err(|(kind, e)| {
        let error = error(kind, "stage", "the artifact can't be fetched").with("artifact", url).caused_by(e);
        if kind == ErrorKind::Unreachable { error.retry_later() } else { error }
    })?;
    Ok((path, name))
}

#[cfg(feature = "url")]
fn download(url: &str, to: &Path) -> std::result::Result<(), (ErrorKind, std::io::Error)> {
    use std::time::Duration;

    /// No answer, or no more bytes, for this long.
    const PATIENCE: Duration = Duration::from_secs(60);
    /// A larger file is something else.
    const LIMIT: u64 = 8 << 30;

    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .tls_config(ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::PlatformVerifier).build())
        .build()
        .into();
    let mut reply = agent.get(url).call().map_err(|e| match e {
        ureq::Error::StatusCode(404 | 410) => (ErrorKind::NotFound, std::io::Error::other(e)),
        ureq::Error::StatusCode(401 | 403) => (ErrorKind::Denied, std::io::Error::other(e)),
        _ => (ErrorKind::Unreachable, std::io::Error::other(e)),
    })?;
    let mut body = reply.body_mut().with_config().limit(LIMIT).reader();
    let mut file = std::fs::File::create_new(to).map_err(|e| (ErrorKind::Storage, e))?;
    std::io::copy(&mut body, &mut file).map(drop).map_err(|e| (ErrorKind::Unreachable, e))
}

/// Without the feature `url` nobody can fetch it.
#[cfg(not(feature = "url"))]
pub(super) async fn fetch(_: &Context, url: &str, digest: &str, _: &Path) -> Result<(PathBuf, String)> {
    check(url, digest)?;
    Err(error(
        ErrorKind::Unsupported,
        "stage",
        "artifacts at addresses are not compiled in: switch the feature `url` on",
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_a_name_and_a_digest() {
        let digest = format!("sha256:{}", "0f".repeat(32));
        assert_eq!(check("https://a.example/dist/web.tar.zst?x=1", &digest).unwrap(), "web.tar.zst");
        for (url, digest, words) in [
            ("https://a.example/", digest.as_str(), "names no file"),
            ("https://a.example", digest.as_str(), "names no file"),
            ("https://me:word@a.example/web", digest.as_str(), "no passwords"),
            ("https://a.example/web", "", "needs its digest"),
            ("https://a.example/web", "sha256:12", "needs its digest"),
        ] {
            assert!(check(url, digest).unwrap_err().message().contains(words), "{url}");
        }
    }
}
