//! The counts at the end.

use std::collections::BTreeMap;

use crate::{HostSummary, Json, Vars};

use super::color::{Color, banner};
use super::json;

/// One line a host, sorted by name.
pub(crate) fn lines(hosts: &BTreeMap<String, HostSummary>, color: bool) -> String {
    let mut out = String::new();
    // As with Ansible, a host on which nothing counted has no line.
    for (name, s) in hosts.iter().filter(|(_, s)| **s != HostSummary::default()) {
        let of_host = if s.failed > 0 || s.unreachable > 0 {
            Color::Failed
        } else if s.changed > 0 {
            Color::Changed
        } else {
            Color::Ok
        };
        let pad = 26_usize.saturating_sub(name.chars().count());
        let count = |name: &str, n: usize, by: Color| {
            let text = format!("{name}={n:<4}");
            if n > 0 { by.paint(&text, color) } else { text }
        };
        let counts = [
            count("ok", s.ok, Color::Ok),
            count("changed", s.changed, Color::Changed),
            count("unreachable", s.unreachable, Color::Unreachable),
            count("failed", s.failed, Color::Failed),
            count("skipped", s.skipped, Color::Skipped),
            count("rescued", s.rescued, Color::Ok),
            count("ignored", s.ignored, Color::Warning),
        ];
        out.push_str(&format!("{}{} : {}\n", of_host.paint(name, color), " ".repeat(pad), counts.join(" ")));
    }
    out
}

/// What `set_stats` collected.
pub(crate) fn custom(custom: &BTreeMap<String, Vars>) -> String {
    let text = |vars: &Vars| json::compact(&Json::Object(vars.clone())).replacen('{', "{ ", 1);
    let mut out = banner("CUSTOM STATS:") + "\n";
    for (host, vars) in custom.iter().filter(|(host, _)| *host != "_run") {
        out.push_str(&format!("\t{host}: {}\n", text(vars)));
    }
    if let Some(vars) = custom.get("_run") {
        out.push_str(&format!("\n\tRUN: {}\n", text(vars)));
    }
    out.push('\n');
    out
}
