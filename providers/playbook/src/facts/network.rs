//! Interfaces and their addresses.

use std::net::Ipv4Addr;

use serde_json::json;
use towpath_core::Json;

use super::Facts;
use super::seen::Seen;

const NET: &str = "/sys/class/net/";

pub(super) fn add(seen: &Seen, facts: &mut Facts) {
    let mut all = Facts::new();
    for (rest, _) in seen.below(NET) {
        let name = rest.split('/').next().unwrap_or_default();
        if !all.contains_key(name) && rest.matches('/').count() == 1 {
            all.insert(name.to_owned(), Json::Object(interface(seen, name)));
        }
    }
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    addresses(seen.section("addr"), &mut all, &mut v4, &mut v6);
    features(seen.section("ethtool"), &mut all);
    facts.insert("default_ipv4".into(), Json::Object(default4(seen, &all)));
    facts.insert("default_ipv6".into(), Json::Object(default6(seen, &all)));
    facts.insert("all_ipv4_addresses".into(), json!(v4));
    facts.insert("all_ipv6_addresses".into(), json!(v6));
    facts.insert(
        "locally_reachable_ips".into(),
        json!({ "ipv4": local(seen.section("local4")), "ipv6": local(seen.section("local6")) }),
    );
    let named = |n: &str| n.replace([':', '-'], "_");
    facts.insert(
        "interfaces".into(),
        all.keys().map(|k| Json::from(if k.contains(':') { k.replace(':', "_") } else { k.clone() })).collect(),
    );
    for (name, value) in all {
        facts.insert(named(&name), value);
    }
}

/// What the kernel's files tell of one.
fn interface(seen: &Seen, name: &str) -> Facts {
    let at = |file: &str| seen.line(&format!("{NET}{name}/{file}"));
    let mut one = Facts::new();
    let mut set = |key: &str, value: Json| {
        one.insert(key.to_owned(), value);
    };
    set("device", json!(name));
    if let Some(address) = at("address").filter(|a| *a != "00:00:00:00:00:00") {
        set("macaddress", json!(address));
    }
    if let Some(mtu) = at("mtu").and_then(|m| m.parse::<i64>().ok()) {
        set("mtu", json!(mtu));
    }
    set("active", json!(at("operstate") != Some("down")));
    let link = seen.section("netdev").lines().find_map(|l| l.split_once(&format!("{NET}{name}/device -> ")));
    if let Some((_, target)) = link {
        set("pciid", json!(target.trim().rsplit('/').next()));
    }
    let kind = match at("type") {
        Some("1") => "ether",
        Some("32") => "infiniband",
        Some("512") => "ppp",
        Some("772") => "loopback",
        Some("776" | "768" | "769" | "778" | "65534") => "tunnel",
        _ => "unknown",
    };
    set("type", json!(kind));
    if let Some(id) = at("bridge/bridge_id") {
        set("type", json!("bridge"));
        set("id", json!(id));
        set("stp", json!(at("bridge/stp_state") == Some("1")));
        let folder = format!("{NET}{name}/brif/");
        let ports: Vec<&str> = seen.below(&folder).filter_map(|(r, _)| r.split('/').next()).collect();
        set("interfaces", json!(ports));
    }
    if let Some(mode) = at("bonding/mode") {
        set("type", json!("bonding"));
        set("mode", json!(mode.split(' ').next()));
        set("slaves", at("bonding/slaves").unwrap_or_default().split_whitespace().map(Json::from).collect());
        set("miimon", json!(at("bonding/miimon")));
        set("lacp_rate", json!(at("bonding/lacp_rate").map(|r| r.split(' ').next())));
        if let Some(primary) = at("bonding/primary") {
            set("primary", json!(primary));
            set("all_slaves_active", json!(at("bonding/all_slaves_active") == Some("1")));
        }
    }
    let flags = at("flags").and_then(|f| i64::from_str_radix(f.trim_start_matches("0x"), 16).ok());
    set("promisc", json!(flags.unwrap_or(0) & 0x100 != 0));
    if let Some(speed) = at("speed").and_then(|s| s.parse::<i64>().ok()) {
        set("speed", json!(speed));
    }
    one
}

fn mask(prefix: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::MAX.checked_shl(32 - prefix.min(32)).unwrap_or(0))
}

/// Reads `ip addr show`.
fn addresses(text: &str, all: &mut Facts, v4: &mut Vec<String>, v6: &mut Vec<String>) {
    let mut device = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |key: &str| words.iter().position(|w| *w == key).and_then(|n| words.get(n + 1)).copied();
        match *words.as_slice() {
            [number, name, ..] if !line.starts_with(' ') && number.ends_with(':') => {
                device = name.trim_end_matches(':').split('@').next().unwrap_or_default().to_owned();
            }
            ["inet", address, ..] => {
                let (address, prefix) = address.split_once('/').unwrap_or((address, "32"));
                let Ok(ip) = address.parse::<Ipv4Addr>() else { continue };
                let mask = mask(prefix.parse().unwrap_or(32));
                let one = json!({
                    "address": address,
                    "broadcast": after("brd").unwrap_or_default(),
                    "netmask": mask.to_string(),
                    "network": Ipv4Addr::from(u32::from(ip) & u32::from(mask)).to_string(),
                    "prefix": prefix,
                });
                if !address.starts_with("127.") {
                    v4.push(address.to_owned());
                }
                // The last word is the label, which may be a name of its own.
                let label = words.last().copied().filter(|l| l.contains(':')).unwrap_or(&device).to_owned();
                let Some(Json::Object(of)) = Some(all.entry(label).or_insert(json!({}))) else { continue };
                if of.contains_key("ipv4") {
                    if let Some(Json::Array(more)) = Some(of.entry("ipv4_secondaries").or_insert(json!([]))) {
                        more.push(one);
                    }
                } else {
                    of.insert("ipv4".into(), one);
                }
            }
            ["inet6", address, ..] => {
                let (address, prefix) = address.split_once('/').unwrap_or((address, "128"));
                if address != "::1" {
                    v6.push(address.to_owned());
                }
                let one = json!({ "address": address, "prefix": prefix, "scope": after("scope") });
                let Some(Json::Object(of)) = Some(all.entry(device.clone()).or_insert(json!({}))) else { continue };
                if let Some(Json::Array(more)) = Some(of.entry("ipv6").or_insert(json!([]))) {
                    more.push(one);
                }
            }
            _ => {}
        }
    }
}

/// Reads `ethtool -k` and `-T` of each interface.
fn features(text: &str, all: &mut Facts) {
    for part in text.split("@ ").skip(1) {
        let (name, body) = part.split_once('\n').unwrap_or((part, ""));
        let (offload, stamps) = body.split_once("@@\n").unwrap_or((body, ""));
        let Some(Json::Object(of)) = all.get_mut(name) else { continue };
        let pairs = offload.lines().filter(|l| !l.ends_with(':')).filter_map(|l| l.split_once(": "));
        let features: Facts = pairs.map(|(k, v)| (k.trim().replace('-', "_"), v.trim().into())).collect();
        if !features.is_empty() {
            of.insert("features".into(), features.into());
        }
        let words = |from: &str| -> Vec<String> {
            let lines =
                stamps.lines().skip_while(|l| !l.starts_with(from)).skip(1).take_while(|l| l.starts_with(['\t', ' ']));
            lines.filter_map(|l| l.split_whitespace().next()).map(str::to_owned).collect()
        };
        let timestamping: Vec<String> =
            words("Capabilities").into_iter().map(|w| w.to_lowercase().replace('-', "_")).collect();
        if !timestamping.is_empty() {
            of.insert("timestamping".into(), json!(timestamping));
        }
        let filters = words("Hardware Receive Filter Modes");
        if !filters.is_empty() {
            of.insert("hw_timestamp_filters".into(), json!(filters));
        }
        if let Some(index) =
            stamps.lines().find_map(|l| l.strip_prefix("PTP Hardware Clock: ")?.trim().parse::<i64>().ok())
        {
            of.insert("phc_index".into(), json!(index));
        }
    }
}

/// Words of `ip route get`: device, source, gateway.
fn route(text: &str) -> (Option<&str>, Option<&str>, Option<&str>) {
    let words: Vec<&str> = text.lines().next().unwrap_or_default().split_whitespace().collect();
    let after = |key: &str| words.iter().position(|w| *w == key).and_then(|n| words.get(n + 1)).copied();
    (after("dev"), after("src"), after("via"))
}

fn default4(seen: &Seen, all: &Facts) -> Facts {
    let mut facts = Facts::new();
    let (Some(device), source, gateway) = route(seen.section("route4")) else { return facts };
    let source = source.unwrap_or_default();
    facts.insert("address".into(), json!(source));
    facts.insert("interface".into(), json!(device));
    facts.extend(gateway.map(|g| ("gateway".to_owned(), json!(g))));
    for (name, of) in all {
        let more = of.get("ipv4_secondaries").and_then(Json::as_array).into_iter().flatten();
        for one in of.get("ipv4").into_iter().chain(more).filter(|a| a.get("address") == Some(&json!(source))) {
            for key in ["broadcast", "netmask", "network", "prefix"] {
                facts.extend(one.get(key).map(|v| (key.to_owned(), v.clone())));
            }
            facts.insert("alias".into(), json!(name));
            let parent = all.get(device);
            for key in ["macaddress", "mtu", "type"] {
                facts.extend(parent.and_then(|p| p.get(key)).map(|v| (key.to_owned(), v.clone())));
            }
        }
    }
    facts
}

fn default6(seen: &Seen, all: &Facts) -> Facts {
    let mut facts = Facts::new();
    let (Some(device), Some(source), gateway) = route(seen.section("route6")) else { return facts };
    facts.insert("address".into(), json!(source));
    facts.insert("interface".into(), json!(device));
    facts.extend(gateway.map(|g| ("gateway".to_owned(), json!(g))));
    let Some(of) = all.get(device) else { return facts };
    let list = of.get("ipv6").and_then(Json::as_array).into_iter().flatten();
    if let Some(one) = list.into_iter().find(|a| a.get("address") == Some(&json!(source))) {
        for key in ["prefix", "scope"] {
            facts.extend(one.get(key).map(|v| (key.to_owned(), v.clone())));
        }
        for key in ["macaddress", "mtu", "type"] {
            facts.extend(of.get(key).map(|v| (key.to_owned(), v.clone())));
        }
    }
    facts
}

fn local(table: &str) -> Vec<&str> {
    let mut all = Vec::new();
    for line in table.lines() {
        let mut words = line.split_whitespace();
        if words.next() == Some("local") {
            all.extend(words.next().filter(|a| !all.contains(a)));
        }
    }
    all
}
