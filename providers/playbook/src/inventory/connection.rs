//! Ansible's connection variables, as settings of the connection.

use std::path::Path;

use towpath_core::{BecomeMethod, BecomeSpec, Error, ErrorKind, Host, Inventory, Json, Result};

use crate::PLAYBOOK;
use crate::load::split_words;
use crate::render::truthy;

fn invalid(file: &Path, host: &str, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, PLAYBOOK, "inventory", message).with("file", file.display()).with("host", host)
}

/// Sets each host's connection from its variables. Relative paths start at `dir`.
pub(super) fn apply(inventory: &mut Inventory, file: &Path, dir: &Path) -> Result<()> {
    let all = inventory.clone();
    for host in &mut inventory.hosts {
        let vars = all.effective(host).vars;
        let text = |name: &str| match vars.get(name) {
            Some(Json::String(s)) => Some(s.clone()),
            Some(Json::Null) | None => None,
            Some(other) => Some(other.to_string()),
        };
        let first = |names: &[&str]| names.iter().find_map(|n| text(n));
        for name in ["ansible_password", "ansible_ssh_pass", "ansible_become_password", "ansible_become_pass"] {
            if text(name).is_some_and(|v| !v.contains("{{")) {
                return Err(invalid(
                    file,
                    &host.name,
                    format!(
                        "`{name}` is a password in plain text, which towpath would have to store: use a key, or a lookup"
                    ),
                ));
            }
        }
        let spec = &mut host.connection;
        spec.address = first(&["ansible_host", "ansible_ssh_host"]);
        spec.user = first(&["ansible_user", "ansible_ssh_user"]);
        if let Some(port) = first(&["ansible_port", "ansible_ssh_port"]) {
            let number = port.parse().ok().filter(|p: &u16| *p > 0);
            spec.port =
                Some(number.ok_or_else(|| invalid(file, &host.name, format!("`ansible_port` is no port: {port}")))?);
        }
        spec.kind = match first(&["ansible_connection"]).as_deref() {
            None | Some("ssh" | "smart" | "paramiko" | "paramiko_ssh") => "ssh".into(),
            Some(other) => other.trim_start_matches("ansible.builtin.").to_owned(),
        };
        let becomes = vars.get("ansible_become").is_some_and(|v| truthy(v).unwrap_or(false));
        spec.r#become = becomes.then(|| BecomeSpec {
            user: first(&["ansible_become_user"]).unwrap_or_else(|| BecomeSpec::default().user),
            method: match first(&["ansible_become_method"]).as_deref() {
                Some("su" | "ansible.builtin.su") => BecomeMethod::Su,
                _ => BecomeMethod::Sudo,
            },
            ..BecomeSpec::default()
        });
        if let Some(key) = first(&["ansible_ssh_private_key_file", "ansible_private_key_file"]) {
            spec.options.insert("identity_file".into(), path(&key, dir));
        }
        for name in ["ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args"] {
            if let Some(args) = text(name) {
                arguments(host, &args, dir).map_err(|e| invalid(file, &host.name, format!("`{name}`: {e}")))?;
            }
        }
    }
    Ok(())
}

fn path(text: &str, dir: &Path) -> Json {
    if text.starts_with(['/', '~']) { text.into() } else { dir.join(text).display().to_string().into() }
}

/// Arguments of OpenSSH's client that have an equal here; any other is refused by its name.
fn arguments(host: &mut Host, args: &str, dir: &Path) -> std::result::Result<(), String> {
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
