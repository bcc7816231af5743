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
        } else if word.starts_with("-F") {
            let file = value("-F")?;
            host.connection.options.insert("ssh_config".into(), path(&file, dir));
        } else if word.starts_with("-l") {
            host.connection.user = Some(value("-l")?);
        } else if word.starts_with("-p") {
            let port = value("-p")?;
            host.connection.port = Some(port.parse().map_err(|_| format!("`-p {port}` is no port"))?);
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
        "proxycommand" => options.insert("proxy_command".into(), value.into()),
        "user" => {
            host.connection.user = Some(value.to_owned());
            return Ok(());
        }
        "port" => {
            host.connection.port = Some(value.parse().map_err(|_| format!("`Port={value}` is no port"))?);
            return Ok(());
        }
        "proxyjump" => options.insert("proxy_jump".into(), value.into()),
        "stricthostkeychecking" => match value {
            "yes" | "ask" => None,
            "accept-new" => options.insert("host_keys".into(), "accept_new".into()),
            // Each run warns of it.
            "no" | "off" => options.insert("host_keys".into(), "off".into()),
            _ => return Err(format!("`StrictHostKeyChecking={value}` is none of yes, ask, accept-new, no and off")),
        },
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
