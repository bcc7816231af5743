//! `service_facts`.

use serde_json::json;
use towpath_core::Json;

use super::spec::Rules;
use super::{Call, Decided, Decision, Fields, Module, Place, fields};

/// `service_facts`.
pub(super) const MODULE: Module =
    Module { names: &["service_facts"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

const SCRIPT: &str = "PATH=$PATH:/usr/sbin:/sbin\necho '@sysv'\ncommand -v service >/dev/null 2>&1 && service --status-all 2>&1\n\
    echo '@openrc'\ncommand -v rc-status >/dev/null 2>&1 && rc-status -a -s -m 2>/dev/null\n\
    if [ -d /run/systemd/system ]; then echo '@units'; systemctl list-units --no-pager --type service --all --plain --no-legend\n\
    echo '@files'; systemctl list-unit-files --no-pager --type service --all --no-legend\n\
    echo '@shown'; systemctl list-unit-files --no-pager --type service --all --no-legend | while read -r u s r; do case $u in *@.service) ;; *) echo $u;; esac; done | \
    xargs systemctl show -p Id,Names,ActiveState --; fi\nexit 0\n";

fn prepare(_: &Call) -> Decided {
    Ok(Decision::Probe(
        SCRIPT.into(),
        Box::new(|out| {
            let text = out.text();
            let part = |name: &str| {
                let from = text.split(&format!("@{name}\n")).nth(1).unwrap_or_default();
                from.split("\n@")
                    .next()
                    .unwrap_or_default()
                    .lines()
                    .filter(|l| !l.starts_with('@'))
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            let mut services = Fields::new();
            for line in part("sysv") {
                let words: Vec<&str> = line.split_whitespace().collect();
                let ["[", sign, "]", name] = *words.as_slice() else { continue };
                let state = match sign {
                    "+" => "running",
                    "-" => "stopped",
                    // Its script can't tell.
                    _ => continue,
                };
                services.insert(name.to_owned(), json!({ "name": name, "state": state, "source": "sysv" }));
            }
            for line in part("openrc") {
                let words: Vec<&str> = line.split_whitespace().collect();
                if let [name, "[", state, ..] = *words.as_slice() {
                    let state = if state == "started" { "running" } else { state };
                    services.insert(name.to_owned(), json!({ "name": name, "state": state, "source": "openrc" }));
                }
            }
            systemd(&part("units"), &part("files"), &part("shown"), &mut services);
            let facts = json!({ "services": services });
            Ok(Decision::Done(fields([("changed", json!(false)), ("ansible_facts", facts)])))
        }),
    ))
}

fn systemd(units: &[String], files: &[String], shown: &[String], services: &mut Fields) {
    for line in units {
        let words: Vec<&str> = line.trim_start_matches(['●', '*', ' ']).split_whitespace().collect();
        let [name, load, active, sub, ..] = *words.as_slice() else { continue };
        let state = if sub == "running" { "running" } else { "stopped" };
        // Until a unit's file says more.
        let status = if load == "not-found" || load == "masked" { load } else { active };
        services
            .insert(name.to_owned(), json!({ "name": name, "state": state, "status": status, "source": "systemd" }));
    }
    let mut active: Vec<(Vec<&str>, &str)> = Vec::new();
    let (mut ids, mut state) = (Vec::new(), "");
    for line in shown.iter().map(String::as_str).chain([""]) {
        match line.split_once('=') {
            Some(("Id", id)) => ids.push(id),
            Some(("Names", all)) => ids.extend(all.split(' ')),
            Some(("ActiveState", s)) => state = s,
            _ => active.push((std::mem::take(&mut ids), std::mem::take(&mut state))),
        }
    }
    for line in files {
        let mut words = line.split_whitespace();
        let (Some(name), Some(status)) = (words.next(), words.next()) else { continue };
        match services.get_mut(name) {
            Some(Json::Object(known)) => {
                known.insert("status".into(), json!(status));
            }
            _ => {
                let state = active.iter().find(|(ids, _)| ids.contains(&name)).map_or("unknown", |(_, s)| s);
                let one = json!({ "name": name, "state": state, "status": status, "source": "systemd" });
                services.insert(name.to_owned(), one);
            }
        }
    }
}
