//! Reads a host's whole tree.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;

use towpath_core::{Connector, Context, Error, ErrorKind, Exec, Host, Result, TreeReader, shell_quote};

use super::{VAGRANT_BOX, VagrantBoxConfig};
use crate::files::{blocking, storage};
use crate::tree::{LEFT_OUT, Rules, Tree};

const TAR: &str = include_str!("tar.sh");

/// The script, with what it leaves out in front: the content of folders, and what the config names.
fn script(config: &VagrantBoxConfig) -> String {
    let inside = LEFT_OUT.iter().map(|p| format!("--wildcards --exclude=.{p}/* --no-wildcards"));
    let mut words: Vec<String> = inside.flat_map(|w| w.split(' ').map(shell_quote).collect::<Vec<_>>()).collect();
    words.extend(config.exclude.iter().map(|p| shell_quote(&format!("--exclude=.{}", p.trim_end_matches('/')))));
    format!("exclude={}\n{TAR}", shell_quote(&words.join(" ")))
}

/// A file without a name: it is gone when it is closed, whatever happens.
fn spool() -> Result<File> {
    let dir = std::env::temp_dir();
    let path = dir.join(format!(".towpath-tree-{:016x}", rand::random::<u64>()));
    let open = || {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(file)
    };
    open().map_err(|e| storage("build", &dir, e))
}

/// Reads the tree of `host`. Gives it with its digest.
pub(super) async fn tree(
    cx: &Context,
    config: &VagrantBoxConfig,
    connector: &dyn Connector,
    host: &Host,
) -> Result<(Tree, [u8; 32])> {
    let to = match config.r#become.as_ref().or(host.connection.r#become.as_ref()) {
        Some(spec) => Some(spec.resolve(cx).await?),
        None => None,
    };
    let connection = connector.connect(cx, host).await?;
    let mut exec = Exec::script(script(config));
    exec.label = Some("tar of the whole tree".into());
    exec.r#become = to;
    let reader = TreeReader { provider: VAGRANT_BOX, operation: "build", host, max_bytes: config.max_bytes };
    let spool = reader.read(cx, connection.as_ref(), &exec, spool()?).await?;
    let rules = Rules::new(&config.exclude, config.source_date_epoch_s);
    let read = blocking(move || {
        let tree = Tree::read_from(spool, &rules)?;
        let digest = tree.digest()?;
        Ok((tree, digest))
    });
    read.await.and_then(|r| r).map_err(|e| {
        Error::new(ErrorKind::Protocol, VAGRANT_BOX, "build", "the host's tree can't be read as an archive")
            .with("host", &host.name)
            .caused_by(e)
    })
}
