//! What the machine is, and what it can carry.

use serde_json::json;

use super::Facts;
use super::seen::Seen;

pub(super) fn add(seen: &Seen, facts: &mut Facts) {
    let mut guest: Vec<&str> = Vec::new();
    let mut host: Vec<&str> = Vec::new();
    let mut first: Option<(&str, &str)> = None;
    let mut found = |kind: &'static str, role: &'static str| {
        first.get_or_insert((kind, role));
        let list = if role == "guest" { &mut guest } else { &mut host };
        if !list.contains(&kind) {
            list.push(kind);
        }
    };
    let dmi = |name: &str| seen.line(&format!("/sys/class/dmi/id/{name}")).unwrap_or_default();
    let (product, vendor, bios, family) =
        (dmi("product_name"), dmi("sys_vendor"), dmi("bios_vendor"), dmi("product_family"));
    let groups = seen.lines("/proc/1/cgroup");
    let init: Vec<&str> = seen.section("init").split('\0').map(str::trim).collect();
    let container = init.iter().find_map(|v| v.strip_prefix("container=")).or(seen.line("/run/systemd/container"));
    let in_group = |part: &str| groups.iter().any(|l| l.contains(part));
    if in_group("/docker/") || in_group("/docker-") || seen.is("/.dockerenv") || seen.is("/.dockerinit") {
        found("docker", "guest");
        found("container", "guest");
    }
    if in_group("/lxc/") || container == Some("lxc") || seen.is("/dev/lxd") {
        found("lxc", "guest");
        found("container", "guest");
    }
    if container == Some("podman") || seen.is("/run/.containerenv") {
        found("podman", "guest");
        found("container", "guest");
    }
    if container.is_some() {
        found("container", "guest");
    }
    if seen.is("/proc/vz") && !seen.is("/proc/lve") {
        found("openvz", if seen.is("/proc/bc") { "host" } else { "guest" });
    }
    if seen.is("/proc/xen") {
        let control = seen.lines("/proc/xen/capabilities").iter().any(|l| l.contains("control_d"));
        found("xen", if control { "host" } else { "guest" });
    }
    if seen.line("/sys/hypervisor/type") == Some("xen") && !seen.is("/proc/xen") {
        found("xen", "guest");
    }
    if ["KVM", "KVM Server", "Bochs", "AHV"].contains(&product) || vendor == "QEMU" {
        found("kvm", "guest");
    }
    match (product, vendor, bios) {
        ("RHEV Hypervisor", ..) => found("RHEV", "guest"),
        ("oVirt Node", ..) => found("oVirt", "guest"),
        ("OpenStack Nova" | "OpenStack Compute", ..) => found("openstack", "guest"),
        ("VMware Virtual Platform" | "VMware7,1" | "VMware20,1", ..) => found("VMware", "guest"),
        ("VirtualBox", ..) | (_, "innotek GmbH", _) | (_, _, "innotek GmbH") => found("virtualbox", "guest"),
        ("Virtual Machine", "Microsoft Corporation", _) => found("VirtualPC", "guest"),
        (_, "Parallels Software International Inc.", _) => found("parallels", "guest"),
        (_, "OpenStack Foundation", _) => found("openstack", "guest"),
        (_, _, "Xen") | ("HVM domU", ..) => found("xen", "guest"),
        ("BHYVE", ..) | (_, _, "BHYVE") => found("bhyve", "guest"),
        (_, "Amazon EC2" | "DigitalOcean" | "Hetzner" | "Scaleway" | "Google" | "Nutanix", _) => found("kvm", "guest"),
        _ if bios == "Amazon EC2" || product == "Google Compute Engine" => found("kvm", "guest"),
        _ if vendor == "VMware, Inc." => found("VMware", "guest"),
        _ if family.contains("oVirt") => found("oVirt", "guest"),
        _ => {}
    }
    let cpu = |part: &str| seen.lines("/proc/cpuinfo").iter().any(|l| l.starts_with("model name") && l.contains(part));
    if cpu("QEMU Virtual CPU") {
        found("kvm", "guest");
    }
    if seen.lines("/proc/cpuinfo").iter().any(|l| l.starts_with("vendor_id") && l.contains("User Mode Linux")) {
        found("uml", "guest");
    }
    if seen.lines("/proc/self/status").iter().any(|l| l.strip_prefix("VxID:").is_some_and(|v| v.trim() != "0")) {
        found("linux_vserver", "guest");
    }
    let module = |name: &str| seen.lines("/proc/modules").iter().any(|l| l.split(' ').next() == Some(name));
    if module("kvm") || seen.is("/dev/kvm") {
        found("kvm", "host");
    }
    if module("vboxdrv") || seen.is("/dev/vboxdrv") {
        found("virtualbox", "host");
    }
    if seen.is("/dev/vmmon") {
        found("VMware", "host");
    }
    let (kind, role) = first.unwrap_or(("NA", "NA"));
    for (key, value) in [
        ("virtualization_type", json!(kind)),
        ("virtualization_role", json!(role)),
        ("virtualization_tech_guest", json!(guest)),
        ("virtualization_tech_host", json!(host)),
    ] {
        facts.insert(key.to_owned(), value);
    }
}
