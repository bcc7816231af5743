//! What became of each host, and of each task on it.

use std::collections::BTreeSet;

use towpath_core::TaskStatus;

use super::html::{Html, count, lasting};
use super::model::{Model, STATUSES, StepModel, status_name};

const HOSTS: usize = 300;
const COLUMNS: usize = 40;
const ROWS: usize = 200;

pub(super) fn hosts(html: &mut Html, model: &Model) {
    if model.hosts.is_empty() {
        return;
    }
    let rolled = model.hosts.values().any(|h| h.rollout.is_some());
    html.raw("<section id=\"hosts\"><h2>Hosts</h2><div class=\"scroll\"><table><thead><tr><th>host</th>");
    for (_, name) in STATUSES {
        html.put("<th class=\"n\">", name, "</th>");
    }
    html.raw("<th class=\"n\">in tasks</th>");
    if rolled {
        html.raw("<th>activated last</th>");
    }
    html.raw("</tr></thead><tbody>");
    // Those that failed come first where not all can be shown.
    let bad = |counts: &[usize; 6]| matches!(counts, [_, _, _, failed, _, lost] if failed + lost > 0);
    let mut all: Vec<_> = model.hosts.iter().collect();
    if all.len() > HOSTS {
        all.sort_by_key(|(_, h)| !bad(&h.counts));
    }
    for (name, host) in all.iter().take(HOSTS) {
        html.raw(if bad(&host.counts) { "<tr class=\"bad\"><th>" } else { "<tr><th>" }).put("", name, "</th>");
        for (n, (_, status)) in host.counts.iter().zip(STATUSES) {
            if *n == 0 {
                html.raw("<td class=\"n zero\">0</td>");
            } else {
                html.raw("<td class=\"n ").raw(status).raw("\">").int(*n).raw("</td>");
            }
        }
        html.put("<td class=\"n\">", &lasting(host.seconds), "</td>");
        if rolled {
            let (phase, version) = host.rollout.as_ref().map_or(("", ""), |(p, v)| (p.as_str(), v.as_str()));
            html.put("<td>", version, " ").put("<span class=\"uses\">", phase, "</span></td>");
        }
        html.raw("</tr>");
    }
    html.raw("</tbody></table></div>");
    if model.hosts.len() > HOSTS {
        html.put(
            "<p class=\"note\">",
            &count(model.hosts.len() - HOSTS, "more host"),
            " left out; failed ones come first.</p>",
        );
    }
    html.raw("</section>");
}

/// The tasks of a step on its hosts.
pub(super) fn tasks(html: &mut Html, step: &StepModel) {
    if step.tasks.is_empty() {
        return;
    }
    let mut hosts: Vec<&str> = Vec::new();
    let mut seen = BTreeSet::new();
    let failed: Vec<&str> = step
        .tasks
        .iter()
        .flat_map(|t| &t.results)
        .filter(|(_, (s, _))| matches!(s, TaskStatus::Failed | TaskStatus::Unreachable))
        .map(|(h, _)| h.as_str())
        .collect();
    let all = step.tasks.iter().flat_map(|t| t.results.keys()).map(String::as_str);
    for host in failed.into_iter().chain(all) {
        if seen.insert(host) {
            hosts.push(host);
        }
    }
    let left_out = hosts.len().saturating_sub(COLUMNS);
    hosts.truncate(COLUMNS);
    hosts.sort_by(|a, b| natural(a).cmp(&natural(b)));
    html.raw("<h3>Tasks</h3><div class=\"scroll\"><table class=\"tasks\"><thead><tr><th>task</th>");
    for host in &hosts {
        html.put("<th class=\"h\">", host, "</th>");
    }
    html.raw("</tr></thead><tbody>");
    for task in step.tasks.iter().take(ROWS) {
        html.put("<tr><th>", &task.name, "");
        if let Some(file) = &task.file {
            html.put("<span class=\"file\">", file, "</span>");
        }
        html.raw("</th>");
        for host in &hosts {
            match task.results.get(*host) {
                None => html.raw("<td></td>"),
                Some((status, seconds)) => {
                    let name = status_name(*status);
                    html.raw("<td class=\"")
                        .raw(name)
                        .put("\" title=\"", &lasting(*seconds), "\">")
                        .raw(name)
                        .raw("</td>")
                }
            };
        }
        html.raw("</tr>");
    }
    html.raw("</tbody></table></div>");
    let rows = step.tasks.len().saturating_sub(ROWS);
    if rows + left_out + step.results_left_out > 0 {
        html.put("<p class=\"note\">Left out: ", &count(rows, "task"), ", ")
            .text(&count(left_out, "host"))
            .raw(" and ");
        html.text(&count(step.results_left_out, "single result"))
            .raw(". Hosts with failures are shown first; the table of hosts counts all results.</p>");
    }
}

/// `web-10` after `web-9`.
fn natural(name: &str) -> (&str, u64, &str) {
    let head = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name.get(head.len()..).and_then(|n| n.parse().ok()).unwrap_or_default();
    (head, number, name)
}
