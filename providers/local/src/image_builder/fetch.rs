//! Reads a host's tree over its connection, with the `tar` that is there.

use std::fs::File;

use towpath_core::{Connector, Context, Exec, Host, Result, TreeReader, shell_quote};

use super::exclude::LEFT_OUT;
use super::{LOCAL_ARCHIVE, LocalArchiveConfig};

/// What is read of a host that is no layer over another machine, unless the config names paths.
pub(super) const CONFIGURED: [&str; 7] = ["/etc", "/home", "/opt", "/root", "/srv", "/usr/local", "/var/www"];

/// Where a local host shows its own layers.
pub(crate) const CHANGES: &str = "/run/towpath/changes";

const TAR: &str = include_str!("tar.sh");

/// Copies the host's tree into `spool`: one tar archive after the other, as its `tar` writes them.
pub(super) async fn fetch(
    cx: &Context,
    config: &LocalArchiveConfig,
    connector: &dyn Connector,
    host: &Host,
    spool: File,
) -> Result<File> {
    let to = match config.r#become.as_ref().or(host.connection.r#become.as_ref()) {
        Some(spec) => Some(spec.resolve(cx).await?),
        None => None,
    };
    let connection = connector.connect(cx, host).await?;
    let mut exec = Exec::script(script(config));
    exec.label = Some("tar of the configured tree".into());
    exec.r#become = to;
    let reader = TreeReader { provider: LOCAL_ARCHIVE, operation: "build", host, max_bytes: config.max_bytes };
    reader.read(cx, connection.as_ref(), &exec, spool).await
}

/// The script, with its lists of words in front.
fn script(config: &LocalArchiveConfig) -> String {
    let words = |before: &str, paths: &mut dyn Iterator<Item = &str>| {
        // `./x` is anchored in every tar, since names of the archive have no `./` later on.
        let quoted: Vec<String> =
            paths.map(|p| shell_quote(&format!("{before}.{}", p.trim_end_matches('/')))).collect();
        shell_quote(&quoted.join(" "))
    };
    let paths = match config.paths.as_slice() {
        [] => words("", &mut CONFIGURED.into_iter()),
        some => words("", &mut some.iter().map(String::as_str)),
    };
    let plain = |p: &&String| p.contains('/') && !p.contains(['*', '?', '[', '\\']);
    let own = config.exclude.iter().filter(plain).map(String::as_str);
    let exclude = words("--exclude=", &mut LEFT_OUT.into_iter().chain(own));
    let changes = shell_quote(CHANGES);
    format!("paths={paths} exclude={exclude} changes={changes}\n{TAR}")
}
