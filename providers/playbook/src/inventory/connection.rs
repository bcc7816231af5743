//! Ansible's connection variables, as settings of the connection.

use std::path::Path;
use std::sync::Arc;

use towpath_core::{BecomeMethod, BecomeSpec, Error, ErrorKind, Inventory, Json, Result, Secret, SecretRef, Vars};

use super::ssh_args;
use crate::PLAYBOOK;
use crate::render::truthy;

/// How hosts are reached where no variable says it: what the command line and `ansible.cfg` give.
#[derive(Debug, Clone, Default)]
pub struct ConnectionDefaults {
    /// `ssh`, `local`, `docker`; `ssh` if not given.
    pub kind: Option<String>,
    /// User to log in as.
    pub user: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// Private key.
    pub private_key: Option<String>,
    /// Longest wait for connecting, in seconds.
    pub timeout_s: Option<u64>,
    /// Arguments of the SSH client, as one text each.
    pub ssh_args: Vec<String>,
    /// Password for logging in.
    pub password: Option<SecretRef>,
    /// Whether keys of hosts are checked: `false` takes any, with a warning in each run.
    pub host_keys: Option<bool>,
}

/// What becomes of a password that stands in a variable.
#[derive(Clone, Default)]
pub enum Passwords {
    /// It is refused: this inventory will be stored.
    #[default]
    Refuse,
    /// It is kept outside of the inventory, as this function says.
    Keep(Arc<dyn Fn(Secret) -> Result<SecretRef> + Send + Sync>),
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Refuse => "Refuse",
            Self::Keep(_) => "Keep",
        })
    }
}

/// Sets each host's connection from its variables. Relative paths start at `dir`.
pub(super) struct Apply<'a> {
    pub(super) file: &'a Path,
    pub(super) dir: &'a Path,
    pub(super) defaults: &'a ConnectionDefaults,
    pub(super) extra: &'a Vars,
    pub(super) passwords: &'a Passwords,
}

/// Connection variables that would change how a host is reached, and that nothing here honours.
const REFUSED: &[&str] = &[
    "ansible_ssh_executable",
    "ansible_sftp_executable",
    "ansible_scp_executable",
    "ansible_sshpass_prompt",
    "ansible_docker_extra_args",
    "ansible_ssh_pkcs11_provider",
    "ansible_become_exe",
    "ansible_sudo_exe",
    "ansible_su_exe",
    "ansible_chroot_exe",
    "ansible_paramiko_proxy_command",
];

impl Apply<'_> {
    pub(super) fn to(&self, inventory: &mut Inventory) -> Result<()> {
        let all = inventory.clone();
        for host in &mut inventory.hosts {
            let mut vars = all.effective(host).vars;
            vars.extend(self.extra.clone());
            self.host(host, &vars)?;
        }
        Ok(())
    }

    fn invalid(&self, host: &str, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidInput, PLAYBOOK, "inventory", message)
            .with("file", self.file.display())
            .with("host", host)
    }

    fn host(&self, host: &mut towpath_core::Host, vars: &Vars) -> Result<()> {
        let text = |name: &str| match vars.get(name) {
            Some(Json::String(s)) => Some(s.clone()),
            Some(Json::Null) | None => None,
            Some(other) => Some(other.to_string()),
        };
        let first = |names: &[&str]| names.iter().find_map(|n| text(n));
        let name = host.name.clone();
        if let Some(refused) = REFUSED.iter().find(|n| vars.contains_key(**n)) {
            return Err(self.invalid(&name, format!("`{refused}` is not supported")));
        }
        let password = |names: &[&str]| -> Result<Option<SecretRef>> {
            let Some((found, value)) =
                names.iter().find_map(|n| Some((n, text(n)?))).filter(|(_, v)| !v.contains("{{"))
            else {
                return Ok(None);
            };
            match self.passwords {
                Passwords::Keep(keep) => keep(Secret::new(value)).map(Some),
                Passwords::Refuse => Err(self.invalid(
                    &name,
                    format!("`{found}` is a password in plain text, which towpath would have to store: use a key, or a lookup"),
                )),
            }
        };
        let d = self.defaults;
        let mut kind = first(&["ansible_connection"]).or_else(|| d.kind.clone()).unwrap_or_default();
        if kind.is_empty()
            && ["localhost", "127.0.0.1", "::1"].contains(&name.as_str())
            && first(&["ansible_host"]).is_none()
            && host.connection.kind == "local"
        {
            kind = "local".into();
        }
        let login = password(&["ansible_password", "ansible_ssh_password", "ansible_ssh_pass"])?;
        let of_become =
            password(&["ansible_become_password", "ansible_become_pass", "ansible_sudo_pass", "ansible_su_pass"])?;
        let spec = &mut host.connection;
        spec.kind = match kind.as_str() {
            ""
            | "ssh"
            | "smart"
            | "paramiko"
            | "paramiko_ssh"
            | "ansible.builtin.ssh"
            | "ansible.builtin.paramiko_ssh" => "ssh".into(),
            "ansible.builtin.local" => "local".into(),
            "community.docker.docker" | "community.docker.docker_api" => "docker".into(),
            other => other.to_owned(),
        };
        spec.address = first(&["ansible_host", "ansible_ssh_host", "ansible_docker_host"]);
        spec.user = first(&["ansible_user", "ansible_ssh_user"]).or_else(|| d.user.clone());
        spec.port = d.port;
        if let Some(port) = first(&["ansible_port", "ansible_ssh_port"]).filter(|p| !p.contains("{{")) {
            let number = port.parse().ok().filter(|p: &u16| *p > 0);
            spec.port = Some(number.ok_or_else(|| self.invalid(&name, format!("`ansible_port` is no port: {port}")))?);
        }
        spec.password = login.or_else(|| d.password.clone());
        let becomes = vars.get("ansible_become").is_some_and(|v| truthy(v).unwrap_or(false));
        spec.r#become = (becomes || of_become.is_some()).then(|| BecomeSpec {
            user: first(&["ansible_become_user"]).unwrap_or_else(|| BecomeSpec::default().user),
            method: match first(&["ansible_become_method"]).as_deref() {
                Some("su" | "ansible.builtin.su") => BecomeMethod::Su,
                _ => BecomeMethod::Sudo,
            },
            password: of_become,
            ..BecomeSpec::default()
        });
        // What is for SSH means nothing elsewhere.
        if spec.kind != "ssh" {
            return Ok(());
        }
        if let Some(seconds) = d.timeout_s {
            spec.options.insert("connect_timeout_s".into(), seconds.into());
        }
        if d.host_keys == Some(false) {
            spec.options.insert("host_keys".into(), "off".into());
        }
        let key = first(&["ansible_ssh_private_key_file", "ansible_private_key_file"]);
        if let Some(key) = key.filter(|k| !k.contains("{{")) {
            spec.options.insert("identity_file".into(), ssh_args::path(&key, self.dir));
        } else if let Some(key) = &d.private_key {
            spec.options.insert("identity_file".into(), ssh_args::path(key, Path::new("")));
        }
        if let Some(seconds) = first(&["ansible_ssh_timeout", "ansible_timeout"]).filter(|t| !t.contains("{{")) {
            let number: u64 = seconds
                .parse()
                .map_err(|_| self.invalid(&name, format!("`ansible_ssh_timeout` is no number: {seconds}")))?;
            spec.options.insert("connect_timeout_s".into(), number.into());
        }
        for args in &d.ssh_args {
            ssh_args::apply(host, args, Path::new("")).map_err(|e| self.invalid(&name, e))?;
        }
        for variable in ["ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"] {
            if let Some(args) = text(variable).filter(|a| !a.contains("{{")) {
                ssh_args::apply(host, &args, self.dir)
                    .map_err(|e| self.invalid(&name, format!("`{variable}`: {e}")))?;
            }
        }
        if let Some(check) =
            ["ansible_host_key_checking", "ansible_ssh_host_key_checking"].iter().find_map(|n| vars.get(*n))
        {
            if truthy(check) == Some(false) {
                host.connection.options.insert("host_keys".into(), "off".into());
            }
        }
        Ok(())
    }
}
