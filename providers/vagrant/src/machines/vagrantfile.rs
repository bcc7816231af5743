//! Makes a Vagrantfile of a spec.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use indexmap::IndexMap;
use sha2::{Digest as _, Sha256};

use super::config::MachineSpec;

/// A text as Ruby takes it word for word.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// What the container of a machine is called: nobody else's is, so one that Vagrant has lost can be told to be ours. Vagrant's own names
/// end in the time, and two environments of the same second would want the same.
pub(super) fn container(folder: &Path, machine: &str) -> String {
    let of_folder = hex::encode(Sha256::digest(folder.as_os_str().as_bytes()));
    format!("towpath-vagrant-{}-{machine}", of_folder.get(..12).unwrap_or_default())
}

/// The Vagrantfile in this folder.
pub(super) fn of(folder: &Path, machines: &IndexMap<String, MachineSpec>) -> String {
    let mut out = "# Made by towpath from the typed spec; changes here are lost.\nVagrant.configure('2') do |config|\n"
        .to_owned();
    out.push_str("  config.vm.synced_folder '.', '/vagrant', disabled: true\n");
    for (name, machine) in machines {
        out.push_str(&format!("  config.vm.define {} do |machine|\n", quoted(name)));
        for line in lines(machine, &container(folder, name)) {
            out.push_str(&format!("    {line}\n"));
        }
        out.push_str("  end\n");
    }
    out.push_str("end\n");
    out
}

fn lines(machine: &MachineSpec, container: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut set = |name: &str, value: &Option<String>| {
        if let Some(value) = value {
            lines.push(format!("machine.{name} = {}", quoted(value)));
        }
    };
    set("vm.box", &machine.r#box);
    set("vm.box_version", &machine.box_version);
    set("vm.hostname", &machine.hostname);
    set("ssh.username", &machine.ssh_user);
    for port in &machine.ports {
        lines.push(format!(
            "machine.vm.network 'forwarded_port', guest: {}, host: {}, host_ip: '127.0.0.1', auto_correct: true",
            port.guest, port.host
        ));
    }
    for folder in &machine.folders {
        let (host, guest) = (quoted(&folder.host.display().to_string()), quoted(&folder.guest));
        lines.push(format!("machine.vm.synced_folder {host}, {guest}"));
    }
    for provider in ["libvirt", "virtualbox"] {
        let mut inner = Vec::new();
        inner.extend(machine.memory_mib.map(|m| format!("  provider.memory = {m}")));
        inner.extend(machine.cpus.map(|c| format!("  provider.cpus = {c}")));
        if !inner.is_empty() {
            lines.push(format!("machine.vm.provider '{provider}' do |provider|"));
            lines.append(&mut inner);
            lines.push("end".into());
        }
    }
    if let Some(docker) = &machine.docker {
        lines.push("machine.vm.provider 'docker' do |provider|".into());
        lines.push(format!("  provider.name = {}", quoted(container)));
        lines.extend(docker.image.as_ref().map(|i| format!("  provider.image = {}", quoted(i))));
        if !docker.cmd.is_empty() {
            let words: Vec<String> = docker.cmd.iter().map(|w| quoted(w)).collect();
            lines.push(format!("  provider.cmd = [{}]", words.join(", ")));
        }
        for (name, value) in &docker.env {
            lines.push(format!("  provider.env[{}] = {}", quoted(name), quoted(value)));
        }
        lines.push(format!("  provider.has_ssh = {}", docker.has_ssh));
        lines.push("end".into());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_quotes() {
        let spec = MachineSpec { hostname: Some(r"a'; exit \' #{x}".into()), ..MachineSpec::default() };
        let text = of(Path::new("/a"), &IndexMap::from([("web".to_owned(), spec)]));
        assert!(text.contains(r"machine.vm.hostname = 'a\'; exit \\\' #{x}'"), "{text}");
    }
}
