//! Arguments of OpenSSH's client.

use std::path::Path;

use towpath_core::{Host, Json};

use crate::load::split_words;

/// A path; a relative one starts at `dir`.
pub(super) fn path(text: &str, dir: &Path) -> Json {
    if text.starts_with(['/', '~']) { text.into() } else { dir.join(text).display().to_string().into() }
}

/// Arguments of OpenSSH's client that have an equal here; any other is refused by its name.
pub(super) fn apply(host: &mut Host, args: &str, dir: &Path) -> std::result::Result<(), String> {
    let mut words = split_words(args).into_iter();
    while let Some(word) = words.next() {
        let mut value = |short: &str| match word.strip_prefix(short) {
            Some("") | None => words.next().ok_or_else(|| format!("`{short}` lacks its value")),
            Some(rest) => Ok(rest.trim().to_owned()),
        };
        if word.starts_with("-o") {
            let option = value("-o")?;
            let (name, value) = option.split_once(['=', ' ']).ok_or_else(|| format!("`-o {option}` has no value"))?;
            set(host, name.trim(), value.trim(), dir)?;
        } else if word.starts_with("-J") {
            let jump = value("-J")?;
            host.connection.options.insert("proxy_jump".into(), jump.into());
        } else if word.starts_with("-i") {
            let key = value("-i")?;
            host.connection.options.insert("identity_file".into(), path(&key, dir));
        } else if !["-C", "-q", "-T"].contains(&word.as_str()) {
            return Err(format!("the SSH argument `{word}` is not supported; put it into an ssh_config file"));
        }
    }
    Ok(())
}

fn set(host: &mut Host, name: &str, value: &str, dir: &Path) -> std::result::Result<(), String> {
    let options = &mut host.connection.options;
    match name.to_ascii_lowercase().as_str() {
        "userknownhostsfile" => options.insert("known_hosts".into(), path(value, dir)),
        "identityfile" => options.insert("identity_file".into(), path(value, dir)),
        "certificatefile" => options.insert("certificate_file".into(), path(value, dir)),
        "identitiesonly" => options.insert("identities_only".into(), (value == "yes").into()),
        "identityagent" => options.insert("identity_agent".into(), value.into()),
        "proxyjump" => options.insert("proxy_jump".into(), value.into()),
        "stricthostkeychecking" => {
            match value {
                "yes" | "ask" => None,
                "accept-new" => options.insert("accept_new".into(), true.into()),
                _ => {
                    return Err("`StrictHostKeyChecking=no` would trust anybody: use `accept-new`, or add the keys to known_hosts"
                    .into());
                }
            }
        }
        "connecttimeout" => match value.parse::<u64>() {
            Ok(seconds) => options.insert("connect_timeout_s".into(), seconds.into()),
            Err(_) => return Err(format!("`ConnectTimeout={value}` is no number")),
        },
        "serveraliveinterval" => match value.parse::<u64>() {
            Ok(seconds) => options.insert("keepalive_s".into(), seconds.into()),
            Err(_) => return Err(format!("`ServerAliveInterval={value}` is no number")),
        },
        // One connection is shared anyway.
        "controlmaster"
        | "controlpersist"
        | "controlpath"
        | "preferredauthentications"
        | "compression"
        | "loglevel" => None,
        _ => return Err(format!("the SSH option `{name}` is not supported; put it into an ssh_config file")),
    };
    Ok(())
}
