//! `hostname`.

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::spec::Rules;
use super::{Call, Decided, Decision, Fields, Module, Output, Pending, Place, fields, head};

/// `hostname`.
pub(super) const MODULE: Module =
    Module { names: &["hostname"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

/// Says which way there is and what the names are now.
const LOOK: &str = "[ -d /run/systemd/system ] && echo systemd=1\n\
    if command -v hostnamectl >/dev/null 2>&1; then echo ctl=1; fi\n\
    echo \"now=$(uname -n)\"\n[ -r /etc/hostname ] && { read -r l </etc/hostname; echo \"file=$l\"; }\n\
    [ -r /etc/HOSTNAME ] && { read -r l </etc/HOSTNAME; echo \"sles=$l\"; }\n\
    [ -r /etc/conf.d/hostname ] && while IFS= read -r l; do case $l in hostname=*) l=${l#hostname=}; l=${l#[\\\"\\']}; echo \"openrc=${l%[\\\"\\']}\";; esac; done </etc/conf.d/hostname\n\
    [ -r /etc/sysconfig/network ] && while IFS= read -r l; do case $l in HOSTNAME=*) l=${l#HOSTNAME=}; l=${l#\\\"}; echo \"redhat=${l%\\\"}\";; esac; done </etc/sysconfig/network\n\
    while read -r a n r; do for x in $n $r; do [ \"$x\" = \"$(uname -n)\" ] && { echo \"fqdn=$n\"; break 2; }; done; done </etc/hosts\n\
    for f in /etc/redhat-release /etc/alpine-release /etc/SuSE-release /sbin/openrc; do [ -e $f ] && echo \"${f##*/}=1\"; done\n\
    echo\nexit 0\n";

fn prepare(call: &Call) -> Decided {
    let name = call.need("name")?;
    let using = call.text("use");
    if let Some(other) =
        using.as_deref().filter(|u| matches!(*u, "freebsd" | "openbsd" | "solaris" | "macos" | "macosx" | "darwin"))
    {
        return Err(format!("hostname: `use: {other}` is for another system than Linux"));
    }
    Ok(Decision::Probe(LOOK.into(), Box::new(move |out| decide(name, using, &out))))
}

fn decide(name: String, using: Option<String>, out: &Output) -> Decided {
    let (seen, _) = head(out);
    let get = |k: &str| seen.get(k).cloned().unwrap_or_default();
    let way = using.unwrap_or_else(|| {
        let auto = if seen.contains_key("systemd") || seen.contains_key("redhat-release") {
            "systemd"
        } else if seen.contains_key("alpine-release") {
            "alpine"
        } else if seen.contains_key("openrc") {
            "openrc"
        } else {
            "file"
        };
        auto.to_owned()
    });
    let n = shell_quote(&name);
    // A file is written beside its place and then moved.
    let put = |file: &str, text: &str| {
        format!(
            "tp_t=$(mktemp {file}.XXXXXX) && {text} >\"$tp_t\" && chmod 644 \"$tp_t\" && mv -f \"$tp_t\" {file} || exit 1\n"
        )
    };
    let run = format!("hostname {n} 2>/dev/null || :\n");
    let (permanent, script) = match way.as_str() {
        // With these names, the way is that of systemd's tool.
        "systemd" | "debian" => {
            if !seen.contains_key("ctl") {
                return Err("Failed to find required executable \"hostnamectl\" in paths: /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into());
            }
            let set = |kind: &str| {
                format!(
                    "tp_e=$(hostnamectl --{kind} set-hostname {n} 2>&1) || {{ printf 'Command failed rc=%s, out=, err=%s\\n' $? \"$tp_e\" >&2; exit 1; }}\n"
                )
            };
            let script = format!("{}{}{}", set("pretty"), set("static"), set("transient"));
            (get("file"), script)
        }
        "generic" => return Err("hostname: `use: generic` can't set a name".into()),
        "redhat" => {
            if !seen.contains_key("redhat") {
                return Err("Unable to locate HOSTNAME entry in /etc/sysconfig/network".into());
            }
            let text = format!("{{ grep -v '^HOSTNAME=' /etc/sysconfig/network; printf 'HOSTNAME=%s\\n' {n}; }}");
            (get("redhat"), put("/etc/sysconfig/network", &text) + &run)
        }
        "sles" => (get("sles"), put("/etc/HOSTNAME", &format!("printf '%s\\n' {n}")) + &run),
        "openrc" => {
            let text = format!("{{ grep -v '^hostname=' /etc/conf.d/hostname; printf 'hostname=\"%s\"\\n' {n}; }}");
            (get("openrc"), put("/etc/conf.d/hostname", &text) + &run)
        }
        _ => (get("file"), put("/etc/hostname", &format!("printf '%s\\n' {n}")) + &run),
    };
    let current = get("now");
    let permanent = if permanent.is_empty() { current.clone() } else { permanent };
    let fqdn = seen.get("fqdn").cloned().unwrap_or(current.clone());
    let mut result = fields([
        ("name", json!(name)),
        (
            "ansible_facts",
            json!({
                "ansible_hostname": name.split('.').next(),
                "ansible_nodename": name,
                "ansible_fqdn": fqdn,
                "ansible_domain": fqdn.split_once('.').map_or("", |(_, d)| d),
            }),
        ),
    ]);
    // Without systemd only the permanent name counts.
    let changed = permanent != name || (way == "systemd" && current != name);
    result.insert("changed".into(), json!(changed));
    if !changed {
        return Ok(Decision::Done(result));
    }
    let line = |n: &str| format!("hostname = {n}\n");
    result.insert("diff".into(), json!({ "before": line(&permanent), "after": line(&name) }));
    Ok(Decision::Change(Pending {
        script,
        action: Action::Update,
        subject: "host name".into(),
        path: None,
        before: Some(Json::from(permanent)),
        after: Some(Json::from(name)),
        certain: true,
        foreign: false,
        expected: result.clone(),
        finish: Box::new(move |out: Output| -> Fields {
            if out.rc == 0 {
                return result;
            }
            fields([("changed", json!(false)), ("failed", json!(true)), ("msg", json!(out.error_text()))])
        }),
    }))
}
