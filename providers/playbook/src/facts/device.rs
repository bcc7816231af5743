//! Block devices.

use serde_json::json;
use towpath_core::Json;

use super::Facts;
use super::seen::Seen;

/// Links of one kind in `/dev/disk`: the link's name and the device's.
pub(super) fn links(seen: &Seen, kind: &str) -> Vec<(String, String)> {
    let mut inside = false;
    let mut all = Vec::new();
    let many = seen.section("links").lines().any(|l| l.starts_with("/dev/disk/") && l.ends_with(':'));
    for line in seen.section("links").lines() {
        if let Some(folder) = line.strip_prefix("/dev/disk/").and_then(|l| l.strip_suffix(':')) {
            inside = folder == kind;
        } else if let Some((left, target)) = line.split_once(" -> ").filter(|_| inside || !many && kind == "by-uuid") {
            let name = left.rsplit(' ').next().unwrap_or_default().to_owned();
            all.push((name, target.rsplit('/').next().unwrap_or_default().to_owned()));
        }
    }
    all
}

/// Devices that are made of this one, from paths as `/sys/block/dm-0/slaves/sda`.
fn masters(seen: &Seen) -> Vec<(String, String)> {
    let parts = seen.section("holders").lines().filter_map(|l| l.strip_prefix("/sys/block/")?.split_once("/slaves/"));
    parts.map(|(master, device)| (device.to_owned(), master.to_owned())).collect()
}

fn human(bytes: f64) -> String {
    let units = [(1u64 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")];
    #[allow(clippy::cast_precision_loss, reason = "powers of two")]
    let unit = units.iter().map(|(n, u)| (*n as f64, *u)).find(|(n, _)| bytes >= *n).unwrap_or((1.0, "Bytes"));
    format!("{:.2} {}", bytes / unit.0, unit.1)
}

pub(super) fn add(seen: &Seen, facts: &mut Facts) {
    let kinds = [
        ("ids", links(seen, "by-id")),
        ("uuids", links(seen, "by-uuid")),
        ("labels", links(seen, "by-label")),
        ("masters", masters(seen)),
    ];
    let of = |device: &str| -> Json {
        let one = |pairs: &[(String, String)], by_link: bool| -> Json {
            let hits = pairs.iter().filter_map(|(a, b)| match by_link {
                true => (b == device).then_some(a),
                false => (a == device).then_some(b),
            });
            let mut hits: Vec<&String> = hits.collect();
            hits.sort();
            json!(hits)
        };
        Json::Object(kinds.iter().map(|(k, p)| ((*k).to_owned(), one(p, *k != "masters"))).collect())
    };
    let mut table = Facts::new();
    for (kind, pairs) in &kinds {
        let mut group = Facts::new();
        for (link, device) in pairs {
            let (key, value) = if *kind == "masters" { (link, device) } else { (device, link) };
            if let Json::Array(list) = group.entry(key.clone()).or_insert(json!([])) {
                list.push(json!(value));
            }
        }
        table.insert((*kind).to_owned(), group.into());
    }
    let mut devices = Facts::new();
    for (rest, _) in seen.below("/sys/block/") {
        let Some(name) = rest.strip_suffix("/size").filter(|n| !n.contains('/')) else { continue };
        devices.insert(name.replace('!', "/"), device(seen, name, &of));
    }
    facts.insert("devices".into(), devices.into());
    facts.insert("device_links".into(), table.into());
}

fn device(seen: &Seen, name: &str, links: &dyn Fn(&str) -> Json) -> Json {
    let at = |file: &str| seen.line(&format!("/sys/block/{name}/{file}"));
    let scheduler = at("queue/scheduler").unwrap_or_default();
    let scheduler = scheduler.split_once('[').and_then(|(_, r)| r.split_once(']')).map_or(scheduler, |(s, _)| s);
    let scheduler = if scheduler.contains(' ') { "" } else { scheduler };
    let sector = at("queue/logical_block_size").unwrap_or("512");
    let sectors = at("size").and_then(|s| s.parse::<u64>().ok()).unwrap_or(0);
    #[allow(clippy::cast_precision_loss, reason = "shown with two digits")]
    // The kernel counts in 512 bytes whatever the sector.
    let size = |sectors: u64| human(sectors as f64 * 512.0);
    let folder = format!("/sys/block/{name}/");
    let mut partitions = Facts::new();
    for (rest, start) in seen.below(&folder) {
        let Some(part) = rest.strip_suffix("/start") else { continue };
        let count = at(&format!("{part}/size")).and_then(|s| s.parse::<u64>().ok()).unwrap_or(0);
        let of = links(part);
        let uuid = of.get("uuids").and_then(|u| u.get(0)).cloned().unwrap_or(Json::Null);
        let value = json!({
            "holders": holders(seen, &format!("{name}/{part}")), "links": of, "sectors": count, "sectorsize": 512,
            "size": size(count), "start": start.trim(), "uuid": uuid,
        });
        partitions.insert(part.to_owned(), value);
    }
    let mut one = json!({
        "virtual": 1, "links": links(name), "holders": holders(seen, name), "partitions": partitions,
        "removable": at("removable"), "rotational": at("queue/rotational"), "scheduler_mode": scheduler,
        "sectors": sectors, "sectorsize": sector, "size": size(sectors), "host": host(seen, name),
        "support_discard": at("queue/discard_granularity"), "vendor": at("device/vendor"), "model": at("device/model"),
        "sas_address": at("device/sas_address"), "sas_device_handle": at("device/sas_device_handle"),
    });
    if let (Some(serial), Json::Object(map)) = (at("device/serial"), &mut one) {
        map.insert("serial".into(), json!(serial));
    }
    one
}

fn holders(seen: &Seen, device: &str) -> Vec<String> {
    let folder = format!("/sys/block/{device}/holders/");
    let names = seen.section("holders").lines().filter_map(|l| l.strip_prefix(folder.as_str()));
    names.map(|h| seen.line(&format!("/sys/block/{h}/dm/name")).unwrap_or(h).to_owned()).collect()
}

/// The controller, as `lspci` names it, found by the address in the device's path.
fn host(seen: &Seen, name: &str) -> String {
    let text = seen.section("lspci");
    let path = text.lines().find(|l| l.contains(&format!(" {name} -> "))).unwrap_or_default();
    let address = path.split('/').rfind(|p| p.len() == 12 && p.matches(':').count() == 2);
    let line = address.and_then(|a| text.lines().find_map(|l| l.strip_prefix(a)));
    line.unwrap_or_default().trim().to_owned()
}
