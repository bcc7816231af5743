//! `iptables`: rules, policies and chains.

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::spec::Rules;
use super::{Call, Decided, Decision, Module, Output, Pending, Place, fields};

/// `iptables`.
pub(super) const MODULE: Module = Module {
    names: &["iptables"],
    rules: Rules {
        mutually_exclusive: &[&["set_dscp_mark", "set_dscp_mark_class"], &["flush", "policy"]],
        required_if: &[
            ("jump", "TEE", &["gateway"], false),
            ("jump", "tee", &["gateway"], false),
            ("flush", "False", &["chain"], false),
        ],
        ..Rules::NONE
    },
    missing: &[],
    place: Place::Host,
    prepare,
};

/// A flag with its value; `!` before a value goes before the flag.
fn add(words: &mut Vec<String>, flag: &str, value: Option<String>) {
    let Some(value) = value.filter(|v| !v.is_empty()) else { return };
    match value.strip_prefix('!') {
        Some(rest) => words.extend(["!".into(), flag.to_owned(), rest.trim_start().to_owned()]),
        None => words.extend([flag.to_owned(), value]),
    }
}

/// Words of a rule, in the order in which Ansible gives them.
fn rule(call: &Call, jump: Option<String>) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let t = |k: &str| call.text(k);
    let list = |k: &str| call.list(k).filter(|l| !l.is_empty());
    let joined = |k: &str| list(k).map(|l| l.join(","));
    let matches = list("match").unwrap_or_default();
    let on = |module: &str, wanted: bool| (wanted && !matches.iter().any(|m| m == module)).then(|| module.to_owned());
    add(&mut words, "-w", t("wait"));
    add(&mut words, "-p", t("protocol"));
    add(&mut words, "-s", t("source"));
    add(&mut words, "-d", t("destination"));
    for module in &matches {
        add(&mut words, "-m", Some(module.clone()));
    }
    if let Some(flags) = call.args.get("tcp_flags").and_then(Json::as_object) {
        let one = |k: &str| match flags.get(k)? {
            Json::Array(list) => Some(list.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(",")),
            other => other.as_str().map(str::to_owned),
        };
        if let (Some(flags), Some(set)) = (one("flags"), one("flags_set")) {
            add(&mut words, "--tcp-flags", Some(flags));
            words.push(set);
        }
    }
    let tee = jump.as_ref().is_some_and(|j| j.eq_ignore_ascii_case("tee"));
    add(&mut words, "-j", jump);
    if tee {
        add(&mut words, "--gateway", t("gateway"));
    }
    add(&mut words, "--log-prefix", t("log_prefix"));
    add(&mut words, "--log-level", t("log_level"));
    add(&mut words, "--to-destination", t("to_destination"));
    add(&mut words, "--to-source", t("to_source"));
    add(&mut words, "-g", t("goto"));
    add(&mut words, "-i", t("in_interface"));
    add(&mut words, "-o", t("out_interface"));
    add(&mut words, "-f", t("fragment"));
    add(&mut words, "-c", t("set_counters"));
    add(&mut words, "--source-port", t("source_port"));
    add(&mut words, "--destination-port", t("destination_port"));
    if let Some(ports) = joined("destination_ports") {
        add(&mut words, "-m", on("multiport", true));
        add(&mut words, "--dports", Some(ports));
    }
    add(&mut words, "--to-ports", t("to_ports"));
    add(&mut words, "--set-dscp", t("set_dscp_mark"));
    add(&mut words, "--set-dscp-class", t("set_dscp_mark_class"));
    match t("syn").as_deref() {
        Some("match") => words.push("--syn".into()),
        Some("negate") => words.extend(["!".into(), "--syn".into()]),
        _ => {}
    }
    if let Some(states) = joined("ctstate") {
        if matches.iter().any(|m| m == "state") {
            add(&mut words, "--state", Some(states));
        } else {
            add(&mut words, "-m", on("conntrack", true));
            add(&mut words, "--ctstate", Some(states));
        }
    }
    if t("src_range").is_some() || t("dst_range").is_some() {
        add(&mut words, "-m", on("iprange", true));
        add(&mut words, "--src-range", t("src_range"));
        add(&mut words, "--dst-range", t("dst_range"));
    }
    if let Some(set) = t("match_set") {
        add(&mut words, "-m", on("set", true));
        add(&mut words, "--match-set", Some(set));
        words.extend(t("match_set_flags"));
    }
    if t("limit").is_some() || t("limit_burst").is_some() {
        add(&mut words, "-m", on("limit", true));
        add(&mut words, "--limit", t("limit"));
        add(&mut words, "--limit-burst", t("limit_burst"));
    }
    if t("uid_owner").is_some() || t("gid_owner").is_some() {
        add(&mut words, "-m", on("owner", true));
        add(&mut words, "--uid-owner", t("uid_owner"));
        add(&mut words, "--gid-owner", t("gid_owner"));
    }
    add(&mut words, "--reject-with", t("reject_with"));
    add(&mut words, "--icmp-type", t("icmp_type"));
    if let Some(comment) = t("comment") {
        words.extend(["-m", "comment", "--comment"].map(str::to_owned));
        words.push(comment);
    }
    words
}

fn prepare(call: &Call) -> Decided {
    let yes = |k: &str| call.yes(k).map(|v| v == Some(true));
    let (flush, managed) = (yes("flush")?, yes("chain_management")?);
    let (table, chain, policy) = (call.need("table")?, call.text("chain"), call.text("policy"));
    let version = call.need("ip_version")?;
    let present = call.text("state").as_deref() == Some("present");
    let jump = call.text("jump");
    let logs = ["log_prefix", "log_level"].iter().any(|k| call.text(k).is_some());
    if logs && jump.as_ref().is_some_and(|j| j != "LOG") {
        return Err("Logging options can only be used with the LOG jump target.".into());
    }
    // As Ansible: the result does not tell of the target that these options stand for.
    let shown = rule(call, jump.clone()).join(" ");
    let words = rule(call, jump.or_else(|| logs.then(|| "LOG".to_owned())));
    let tool = if version == "ipv6" { "ip6tables" } else { "iptables" };
    let quoted = |w: &[String]| w.iter().map(|w| format!(" {}", shell_quote(w))).collect::<String>();
    let (t, c) = (shell_quote(&table), chain.as_deref().map(shell_quote).unwrap_or_default());
    let wait = call.text("wait").map(|w| format!(" -w {}", shell_quote(&w))).unwrap_or_default();
    let numeric = if yes("numeric")? { " -n" } else { "" };
    let base = format!("{tool} -t {t}");
    let text = quoted(&words);
    let at = call.text("rule_num").map(|n| format!(" {}", shell_quote(&n))).unwrap_or_default();
    let insert = call.text("action").as_deref() == Some("insert");
    let path = format!(
        "PATH=$PATH:/usr/sbin:/sbin\ncommand -v {tool} >/dev/null 2>&1 || {{ echo 'Failed to find required executable \"{tool}\" in paths: '\"$PATH\" >&2; exit 127; }}\n"
    );
    // What is there: the rule, the chain, the policy.
    let probe = if flush {
        format!("{path}exit 0\n")
    } else if policy.is_some() {
        format!("{path}{base} -L{numeric} {c}{wait} 2>/dev/null | head -n 1\nexit 0\n")
    } else if managed && words.is_empty() {
        format!("{path}{base}{wait} -L {c} -n >/dev/null 2>&1 && echo there\nexit 0\n")
    } else {
        format!("{path}{base} -C {c}{text} >/dev/null 2>&1 && echo there\nexit 0\n")
    };
    let result = move |changed: bool| {
        fields([
            ("changed", json!(changed)),
            ("ip_version", json!(version)),
            ("table", json!(table)),
            ("chain", json!(chain)),
            ("flush", json!(flush)),
            ("rule", json!(shown)),
            ("state", json!(if present { "present" } else { "absent" })),
            ("chain_management", json!(managed)),
        ])
    };
    let keyed = if call.text("chain").is_none() { String::new() } else { format!(" {c}") };
    Ok(Decision::Probe(
        probe,
        Box::new(move |out| {
            if out.rc == 127 {
                return Err(out.error_text().trim().to_owned());
            }
            let there = out.text().trim() == "there";
            let now = out.text();
            let now = now.split_once("(policy ").and_then(|(_, r)| r.split([' ', ')']).next()).map(str::to_owned);
            let command = if flush {
                format!("{base} -F{keyed}{wait}")
            } else if let Some(policy) = &policy {
                let Some(now) = &now else { return Err("Can't detect current policy".into()) };
                if now == policy {
                    return Ok(Decision::Done(result(false)));
                }
                format!("{base} -P {c} {}{wait}", shell_quote(policy))
            } else if there == present {
                return Ok(Decision::Done(result(false)));
            } else if managed && words.is_empty() {
                format!("{base} {} {c}{wait}", if present { "-N" } else { "-X" })
            } else if present {
                let verb = if insert { format!("-I {c}{at}") } else { format!("-A {c}") };
                let make = if managed {
                    format!("{base} -L {c} -n >/dev/null 2>&1 || {base} -N {c}\n")
                } else {
                    String::new()
                };
                format!("{make}{base} {verb}{text}")
            } else {
                format!("{base} -D {c}{text}")
            };
            let done = result(true);
            let cmd = format!("/usr/sbin/{}", command.lines().last().unwrap_or_default());
            Ok(Decision::Change(Pending {
                script: format!("PATH=$PATH:/usr/sbin:/sbin\n{command}\n"),
                action: if present { Action::Create } else { Action::Delete },
                subject: format!("{tool} rule"),
                path: None,
                before: now.map(Json::from),
                after: Some(json!(command)),
                certain: true,
                foreign: false,
                expected: done.clone(),
                finish: Box::new(move |out: Output| {
                    if out.rc == 0 {
                        return done;
                    }
                    failure(&cmd, &out)
                }),
            }))
        }),
    ))
}

/// A command's failure as Ansible tells it.
pub(super) fn failure(cmd: &str, out: &Output) -> super::Fields {
    let (stdout, stderr) = (out.text(), out.error_text());
    let lines = |t: &str| t.lines().map(Json::from).collect::<Vec<_>>();
    fields([
        ("changed", json!(false)),
        ("failed", json!(true)),
        ("cmd", json!(cmd)),
        ("rc", json!(out.rc)),
        ("msg", json!(stderr.trim_end())),
        ("stdout_lines", json!(lines(&stdout))),
        ("stderr_lines", json!(lines(&stderr))),
        ("stdout", json!(stdout)),
        ("stderr", json!(stderr)),
    ])
}
