//! Writes what hosts read when they start.

use towpath_core::{Context, Error, ErrorKind, Result};

use crate::files::write_private;
use crate::provisioner::{LOCAL, storage};
use crate::state::{EnvironmentDir, EnvironmentRecord, HostSettings, key_pair, make_host_dirs, public_line};
use crate::{LocalMode, host};

/// Writes what hosts read when they start: keys, what they see of this machine, settings.
pub(crate) async fn prepare_hosts(cx: &Context, dir: &EnvironmentDir, record: &EnvironmentRecord) -> Result<()> {
    let (dir, record) = (dir.clone(), record.clone());
    let missing = tokio::task::spawn_blocking(move || {
        let path = dir.0.clone();
        write_hosts(&dir, &record).map_err(|e| storage("apply", &path, "the hosts' folders can't be written", e))
    })
    .await
    .map_err(|e| Error::new(ErrorKind::Internal, LOCAL, "apply", "preparing hosts broke off").caused_by(e))??;
    if missing > 0 {
        cx.warn(format!("local hosts do not see {missing} files of /etc that this user can't read"));
    }
    Ok(())
}

/// Gives the number of files that hosts will not see.
fn write_hosts(dir: &EnvironmentDir, record: &EnvironmentRecord) -> std::io::Result<usize> {
    let client = key_pair(&dir.client_key(), "towpath")?;
    let client_key = public_line(client.public_key())?;
    let missing = if record.mode == LocalMode::Namespace { host::make_base(&dir.base())? } else { Vec::new() };
    let mut known = String::new();
    for (name, host) in &record.hosts {
        let host_dir = dir.host(name);
        let settings = HostSettings {
            name: name.clone(),
            mode: record.mode,
            ssh_port: host.ssh_port,
            client_key: client_key.clone(),
            base: dir.base(),
            guarded: host::guard_works().is_ok(),
        };
        make_host_dirs(&host_dir, &settings)?;
        let key = key_pair(&host_dir.host_key(), name)?;
        let line = public_line(key.public_key())?;
        let words: Vec<&str> = line.split(' ').take(2).collect();
        known.push_str(&format!("[127.0.0.1]:{} {}\n", host.ssh_port, words.join(" ")));
    }
    if std::fs::read_to_string(dir.known_hosts()).ok().as_deref() != Some(known.as_str()) {
        write_private(&dir.known_hosts(), known.as_bytes())?;
    }
    Ok(missing.len())
}
