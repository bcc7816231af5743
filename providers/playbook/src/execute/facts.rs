//! The basic facts, gathered by one script.

use serde_json::json;
use towpath_core::{Json, Vars};

pub(super) const SCRIPT: &str = r#"echo "nodename=$(uname -n)"
echo "kernel=$(uname -r)"
echo "system=$(uname -s)"
echo "machine=$(uname -m)"
echo "user=$(id -un)"; echo "uid=$(id -u)"; echo "home=$HOME"
echo "vcpus=$(getconf _NPROCESSORS_ONLN 2>/dev/null || grep -c ^processor /proc/cpuinfo)"
while read -r k v u; do case $k in MemTotal:) echo "mem=$v";; esac; done </proc/meminfo
if [ -r /etc/os-release ]; then ( . /etc/os-release; echo "id=$ID"; echo "name=$NAME"; echo "version=$VERSION_ID"; echo "codename=$VERSION_CODENAME"; echo "like=$ID_LIKE" ); fi
[ -r /etc/debian_version ] && echo "debian=$(cat /etc/debian_version)"
[ -d /run/systemd/system ] && echo init=systemd
if command -v ip >/dev/null 2>&1; then
set -- $(ip -4 route get 1.1.1.1 2>/dev/null); while [ $# -gt 1 ]; do case $1 in src) echo "ip=$2";; dev) echo "dev=$2";; via) echo "gw=$2";; esac; shift; done
else echo "ip=$(hostname -i 2>/dev/null | cut -d' ' -f1)"; fi
exit 0
"#;

pub(super) fn parse(text: &str) -> Vars {
    let get = |k: &str| text.lines().find_map(|l| l.strip_prefix(k)?.strip_prefix('=')).unwrap_or_default().to_owned();
    let id = get("id");
    let distribution = match id.as_str() {
        "debian" => "Debian".into(),
        "ubuntu" => "Ubuntu".into(),
        "alpine" => "Alpine".into(),
        "centos" => "CentOS".into(),
        "rhel" => "RedHat".into(),
        "rocky" => "Rocky".into(),
        "almalinux" => "AlmaLinux".into(),
        "fedora" => "Fedora".into(),
        "amzn" => "Amazon".into(),
        "arch" => "Archlinux".into(),
        _ => get("name").split(' ').next().unwrap_or_default().to_owned(),
    };
    let like = format!("{id} {}", get("like"));
    let family = ["debian", "rhel", "fedora", "suse", "alpine", "arch"].into_iter().find(|f| like.contains(f));
    let family = match family {
        Some("debian") => "Debian",
        Some("rhel" | "fedora") => "RedHat",
        Some("suse") => "Suse",
        Some("alpine") => "Alpine",
        Some("arch") => "Archlinux",
        _ if id == "amzn" => "RedHat",
        _ => distribution.as_str(),
    };
    let node = get("nodename");
    let version = if id == "debian" && !get("debian").is_empty() && get("version").is_empty() {
        get("debian")
    } else {
        get("version")
    };
    let major = version.split('.').next().unwrap_or_default().to_owned();
    let number = |k: &str| get(k).parse::<i64>().unwrap_or(0);
    let ip = get("ip");
    let address =
        if ip.is_empty() { json!({}) } else { json!({ "address": ip, "interface": get("dev"), "gateway": get("gw") }) };
    let facts = json!({
        "hostname": node.split('.').next().unwrap_or_default(),
        "nodename": node,
        "fqdn": node,
        "system": get("system"),
        "kernel": get("kernel"),
        "architecture": get("machine"),
        "machine": get("machine"),
        "os_family": family,
        "distribution": distribution,
        "distribution_release": get("codename"),
        "distribution_version": version,
        "distribution_major_version": major,
        "user_id": get("user"),
        "user_uid": number("uid"),
        "user_dir": get("home"),
        "processor_vcpus": number("vcpus"),
        "processor_count": number("vcpus"),
        "memtotal_mb": number("mem") / 1024,
        "default_ipv4": address,
        "all_ipv4_addresses": if ip.is_empty() { json!([]) } else { json!([ip]) },
        "service_mgr": if get("init") == "systemd" { "systemd" } else { "sysvinit" },
        "pkg_mgr": match family { "Debian" => "apt", "RedHat" => "dnf", "Alpine" => "apk", _ => "unknown" },
    });
    let mut vars = Vars::new();
    if let Json::Object(map) = &facts {
        vars.extend(map.iter().map(|(k, v)| (format!("ansible_{k}"), v.clone())));
    }
    vars.insert("ansible_facts".into(), facts);
    vars
}
