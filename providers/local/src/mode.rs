//! Which mode hosts have, why, and what that means for people.

use std::path::{Path, PathBuf};

use towpath_core::{Error, ErrorKind, Result};

use crate::provisioner::LOCAL;
use crate::state::{EnvironmentDir, EnvironmentRecord};
use crate::{LocalConfig, LocalMode, host};

/// Plain mode, if plain hosts can be kept from this machine's files or need not be.
fn plain(config: &LocalConfig, why_not_namespaces: Option<String>) -> Result<(LocalMode, Option<String>)> {
    match host::guard_works() {
        Err(why) if !config.unguarded => Err(Error::new(
            ErrorKind::Unsupported,
            LOCAL,
            "mode",
            "plain hosts could write this machine's own files here; use a newer kernel, or set `unguarded: true` if what \
             you run may do that",
        )
        .caused_by(match why_not_namespaces {
            Some(other) => format!("{why}; {other}"),
            None => why,
        })),
        _ => Ok((LocalMode::Plain, why_not_namespaces)),
    }
}

/// The mode that hosts have or would have, and why not the other one.
pub(crate) fn mode(
    config: &LocalConfig,
    dir: &EnvironmentDir,
    record: Option<&EnvironmentRecord>,
) -> Result<(LocalMode, Option<String>)> {
    if config.mode == LocalMode::Plain {
        return plain(config, None);
    }
    // Asked for `auto`, an environment stays as it is.
    if let (LocalMode::Auto, Some(record)) = (config.mode, record) {
        // On another kernel than the one that it was made on, plain hosts may be unguarded.
        return if record.mode == LocalMode::Plain { plain(config, None) } else { Ok((record.mode, None)) };
    }
    match (host::namespaces_work(&existing_part(&dir.0)), config.mode) {
        (Ok(()), _) => Ok((LocalMode::Namespace, None)),
        (Err(why), LocalMode::Auto) => plain(config, Some(why)),
        (Err(why), _) => Err(Error::new(
            ErrorKind::Unsupported,
            LOCAL,
            "mode",
            "hosts in namespaces are not possible here; use `mode: plain` or `mode: auto`",
        )
        .caused_by(why)),
    }
}

/// What a mode means for people: shown by plan and preflight.
pub(crate) fn mode_notes(mode: LocalMode, why_plain: Option<&str>) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(why) = why_plain {
        notes.push(format!("local hosts run in plain mode: {why}"));
    }
    match mode {
        LocalMode::Plain => {
            notes.push(
                "plain mode: a host is a folder (`towpath_root`), and commands run as this user, without sudo".into(),
            );
            notes.push(match host::guard_works() {
                Ok(()) => "the kernel (Landlock) refuses plain hosts to write, make, move or remove files outside their folder; \
                           modes and owners of this user's files, reading and the network are not restricted"
                    .into(),
                Err(why) => format!("plain hosts are unguarded, and can write this machine's own files: {why}"),
            });
        }
        _ => notes.push(
            "namespace mode: a host has one user, its root, which is this user outside: chown to other users fails, and sudo \
             and su run the command as that root; hosts share this machine's network and are kept apart from mistakes, not \
             from attackers"
                .into(),
        ),
    }
    notes
}

fn existing_part(path: &Path) -> PathBuf {
    path.ancestors().find(|p| p.is_dir()).unwrap_or(Path::new("/")).to_owned()
}
