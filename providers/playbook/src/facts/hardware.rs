//! Memory, processors, firmware's names, mounts.

use serde_json::json;
use towpath_core::Json;

use super::Facts;
use super::seen::Seen;

pub(super) fn add(seen: &Seen, facts: &mut Facts) {
    memory(seen, facts);
    processors(seen, facts);
    firmware(seen, facts);
    if let Some(up) = seen.line("/proc/uptime").and_then(|l| l.split(['.', ' ']).next()?.parse::<u64>().ok()) {
        facts.insert("uptime_seconds".into(), json!(up));
    }
    facts.insert("mounts".into(), mounts(seen));
    facts.insert("lvm".into(), lvm(seen));
}

fn memory(seen: &Seen, facts: &mut Facts) {
    let of = |key: &str| {
        let line = seen.lines("/proc/meminfo").iter().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|v| v.split_whitespace().next()?.parse::<i64>().ok()).unwrap_or(0) / 1024
    };
    let (total, free, swap, swap_free) = (of("MemTotal"), of("MemFree"), of("SwapTotal"), of("SwapFree"));
    let open = free + of("Cached") + of("Buffers");
    for (key, value) in
        [("memtotal_mb", total), ("memfree_mb", free), ("swaptotal_mb", swap), ("swapfree_mb", swap_free)]
    {
        facts.insert(key.into(), json!(value));
    }
    let value = json!({
        "real": { "total": total, "used": total - free, "free": free },
        "nocache": { "free": open, "used": total - open },
        "swap": { "total": swap, "free": swap_free, "used": swap - swap_free, "cached": of("SwapCached") },
    });
    facts.insert("memory_mb".into(), value);
}

fn processors(seen: &Seen, facts: &mut Facts) {
    let mut list = Vec::new();
    let mut sockets: Vec<(String, i64)> = Vec::new();
    let (mut socket, mut siblings, mut threads) = (String::new(), 0, 0);
    let mut flags: Option<Vec<Json>> = None;
    for line in seen.lines("/proc/cpuinfo") {
        let Some((key, value)) = line.split_once(':').map(|(k, v)| (k.trim(), v.trim())) else { continue };
        match key {
            "processor" => {
                threads += 1;
                list.push(json!(value));
            }
            "model name" | "Processor" | "vendor_id" | "cpu" | "Vendor" => list.push(json!(value)),
            "physical id" => value.clone_into(&mut socket),
            "siblings" => siblings = value.parse().unwrap_or(0),
            "cpu cores" if !sockets.iter().any(|(s, _)| *s == socket) => {
                sockets.push((socket.clone(), value.parse().unwrap_or(1)));
            }
            "flags" | "Features" if flags.is_none() => flags = Some(value.split_whitespace().map(Json::from).collect()),
            _ => {}
        }
    }
    let status = seen.lines("/proc/self/status").iter().find_map(|l| l.strip_prefix("Cpus_allowed_list:"));
    let usable: i64 = status.map_or(threads, |list| {
        let ranges = list.trim().split(',');
        ranges
            .map(|r| match r.split_once('-') {
                Some((a, b)) => b.parse::<i64>().unwrap_or(0) - a.parse::<i64>().unwrap_or(0) + 1,
                None => 1,
            })
            .sum()
    });
    // Without a word of sockets, as on ARM, each processor counts as one.
    let count = if sockets.is_empty() { threads } else { i64::try_from(sockets.len()).unwrap_or(1) };
    let cores = sockets.first().map_or(1, |(_, c)| *c).max(1);
    let per_core = if siblings == 0 { 1 } else { (siblings / cores).max(1) };
    facts.extend(flags.map(|f| ("flags".to_owned(), Json::Array(f))));
    facts.insert("processor".into(), Json::Array(list));
    for (key, value) in [
        ("processor_count", count),
        ("processor_cores", cores),
        ("processor_threads_per_core", per_core),
        ("processor_vcpus", count * cores * per_core),
        ("processor_nproc", usable),
    ] {
        facts.insert(key.into(), json!(value));
    }
}

/// Names of chassis in the order of SMBIOS.
const FORMS: [&str; 36] = [
    "Unknown",
    "Other",
    "Unknown",
    "Desktop",
    "Low Profile Desktop",
    "Pizza Box",
    "Mini Tower",
    "Tower",
    "Portable",
    "Laptop",
    "Notebook",
    "Hand Held",
    "Docking Station",
    "All In One",
    "Sub Notebook",
    "Space-saving",
    "Lunch Box",
    "Main Server Chassis",
    "Expansion Chassis",
    "Sub Chassis",
    "Bus Expansion Chassis",
    "Peripheral Chassis",
    "RAID Chassis",
    "Rack Mount Chassis",
    "Sealed-case PC",
    "Multi-system",
    "CompactPCI",
    "AdvancedTCA",
    "Blade",
    "Blade Enclosure",
    "Tablet",
    "Convertible",
    "Detachable",
    "IoT Gateway",
    "Embedded PC",
    "Mini PC",
];

fn firmware(seen: &Seen, facts: &mut Facts) {
    for (key, file) in [
        ("bios_date", "bios_date"),
        ("bios_vendor", "bios_vendor"),
        ("bios_version", "bios_version"),
        ("board_asset_tag", "board_asset_tag"),
        ("board_name", "board_name"),
        ("board_serial", "board_serial"),
        ("board_vendor", "board_vendor"),
        ("board_version", "board_version"),
        ("chassis_asset_tag", "chassis_asset_tag"),
        ("chassis_serial", "chassis_serial"),
        ("chassis_vendor", "chassis_vendor"),
        ("chassis_version", "chassis_version"),
        ("product_name", "product_name"),
        ("product_serial", "product_serial"),
        ("product_uuid", "product_uuid"),
        ("product_version", "product_version"),
        ("system_vendor", "sys_vendor"),
    ] {
        facts.insert(key.into(), json!(seen.line(&format!("/sys/class/dmi/id/{file}")).unwrap_or("NA")));
    }
    let kind = seen.number("/sys/class/dmi/id/chassis_type").and_then(|n| usize::try_from(n).ok());
    let form = kind.map_or("NA", |n| FORMS.get(n).copied().unwrap_or("Unknown"));
    facts.insert("form_factor".into(), json!(form));
}

/// `\040` and the like.
fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 8).ok());
        match octal.filter(|_| *first == b'\\') {
            Some(byte) => {
                out.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn mounts(seen: &Seen) -> Json {
    // Whether only a part of the file system is mounted: its root there is not `/`.
    let bound = |point: &str| {
        let words = |l: &String| l.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let mut found =
            seen.lines("/proc/self/mountinfo").iter().map(words).filter(|w| w.get(4).is_some_and(|p| p == point));
        found.next_back().is_some_and(|w| w.get(3).is_some_and(|root| root != "/"))
    };
    let links = super::device::links(seen, "by-uuid");
    let mut all = Vec::new();
    for line in seen.lines("/proc/mounts") {
        let words: Vec<&str> = line.split(' ').collect();
        let [device, point, kind, options, dump, pass] = *words.as_slice() else { continue };
        if !device.starts_with('/') && !device.contains(":/") && kind != "fuse" && !kind.starts_with("fuse.")
            || kind == "none"
        {
            continue;
        }
        let options = if bound(point) { format!("{options},bind") } else { options.to_owned() };
        let (device, point) = (unescape(device), unescape(point));
        let name = device.rsplit('/').next().unwrap_or_default();
        let uuid = links.iter().find(|(_, n)| n == name).map_or("N/A", |(l, _)| l.as_str());
        let mut one = json!({
            "device": device, "mount": point, "fstype": kind, "options": options, "uuid": uuid,
            "dump": dump.parse::<i64>().unwrap_or(0), "passno": pass.parse::<i64>().unwrap_or(0),
        });
        if let (Some(sizes), Json::Object(map)) = (sizes(seen, &point), &mut one) {
            map.extend(sizes);
        }
        all.push(one);
    }
    Json::Array(all)
}

fn sizes(seen: &Seen, point: &str) -> Option<Facts> {
    let line = seen.section("statfs").lines().find(|l| l.splitn(7, ' ').nth(6) == Some(point))?;
    let numbers: Vec<u64> = line.split(' ').take(6).filter_map(|n| n.parse().ok()).collect();
    let [fragment, block, total, available, inodes, free] = *numbers.as_slice() else { return None };
    let value = json!({
        "size_total": fragment * total, "size_available": fragment * available, "block_size": block,
        "block_total": total, "block_available": available, "block_used": total.saturating_sub(available),
        "inode_total": inodes, "inode_available": free, "inode_used": inodes.saturating_sub(free),
    });
    value.as_object().cloned()
}

fn lvm(seen: &Seen) -> Json {
    let Some(rest) = seen.section("lvm").strip_prefix("there\n") else { return json!("N/A") };
    let mut parts = rest.split("@\n");
    let mut rows = || -> Vec<Vec<String>> {
        let lines = parts.next().unwrap_or_default().lines();
        lines.map(|l| l.split(',').map(|w| w.trim().to_owned()).collect()).collect()
    };
    let table = |rows: Vec<Vec<String>>, names: &[&str]| -> Facts {
        rows.into_iter()
            .filter_map(|row| {
                let (key, values) = row.split_first()?;
                let one: Facts = names.iter().zip(values).map(|(n, v)| ((*n).to_owned(), json!(v))).collect();
                Some((key.clone(), one.into()))
            })
            .collect()
    };
    let vgs = table(rows(), &["num_pvs", "num_lvs", "size_g", "free_g"]);
    let lvs = table(rows(), &["vg", "size_g"]);
    let pvs = table(rows(), &["vg", "size_g", "free_g"]);
    json!({ "vgs": vgs, "lvs": lvs, "pvs": pvs })
}
