//! Takes out what differs from run to run, and lists what differs still.

use std::sync::OnceLock;

use regex::Regex;
use towpath_core::Json;

/// Told by Ansible about itself, or by the clock.
const DROPPED: [&str; 8] = ["invocation", "start", "end", "delta", "warnings", "deprecations", "exception", "elapsed"];
/// Numbers of this machine.
const NUMBERS: [&str; 12] = [
    "mtime",
    "atime",
    "ctime",
    "inode",
    "dev",
    "block_size",
    "blocks",
    "device_type",
    "version",
    "last_update",
    "cache_update_time",
    "ansible_job_id",
];

/// Lines that are said or not, as the progress of apt and what another case left have it.
const SAID_OR_NOT: [&str; 3] = [
    "Reading state information...",
    "rpm: RPM should not be used directly install RPM packages, use Alien instead!",
    "rpm: However assuming you know what you are doing...",
];

/// Properties of units that are the same on each machine and at any time.
const UNIT: [&str; 14] = [
    "Id",
    "Names",
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "UnitFilePreset",
    "Description",
    "FragmentPath",
    "Type",
    "Restart",
    "CanStart",
    "CanReload",
    "KillSignal",
];

fn patterns() -> &'static [(Regex, &'static str)] {
    static ALL: OnceLock<Vec<(Regex, &'static str)>> = OnceLock::new();
    ALL.get_or_init(|| {
        [
            (r"\.\d+\.\d{4}-\d\d-\d\d@\d\d:\d\d:\d\d~", ".<backup>~"),
            (r"/home/deploy/\.ansible/tmp/ansible-[a-z-]*tmp-[^/ ']*/", "<tmp>/"),
            (r"/root/\.ansible/tmp/ansible-[a-z-]*tmp-[^/ ']*/", "<tmp>/"),
            (r"/root/\.ansible/tmp/ansible-local-[^/ ']*/", "<tmp>/"),
            (r"/root/\.ansible<tmp>", "<tmp>"),
            (r"/srv/case/([ad])\.[a-z0-9_]{8}", "/srv/case/$1.<name>"),
            (r"/srv/case/none/ansible\.[a-z0-9_]{8}", "/srv/case/none/ansible.<name>"),
            (r"/tmp/crontab\w+", "<crontab>"),
            (r"/srv/case/tmp[a-z0-9_]{8}\b", "/srv/case/tmp<name>"),
            (r"\bj\d{5,12}\.\d+", "<job>"),
            (r"/tmp/apt-key-gpghome\.\w{10}", "<gpghome>"),
            (r"\|1\|[A-Za-z0-9+/=]+\|[A-Za-z0-9+/=]+", "<hashed>"),
            (r"/tmp/\.tmp[A-Za-z0-9]{6}", "<folder>"),
            (r"/tmp/\.?(ansible|towpath)[-_.][A-Za-z0-9_.-]+", "<tmp>"),
            (r"<tmp>/(\w)[a-z0-9_]{8}\.tgz", "<tmp>/$1<name>.tgz"),
            (r"<tmp>/\.?(tmp)?[a-z0-9_]{8}\b", "<tmp>/<name>"),
            // What is validated: it has another name, and stands beside its target here.
            (r"(<tmp>/\.source(\.[a-z0-9]+)?|<tmp>/<name>|/[\w./-]+\.towpath\.\d+)", "<candidate>"),
            (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?", "<time>"),
            // A connection that is refused at once takes longer on a busy machine.
            (r" port (\d+) after \d+ ms: ", " port $1 after <number> ms: "),
            (r"Paused for \d[\d.]* (seconds|minutes)", "Paused for <number> $1"),
            (r"Reading database \.\.\. \d+ files", "Reading database ... <number> files"),
            (r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", "<time>"),
        ]
        .into_iter()
        .map(|(p, with)| (Regex::new(p).unwrap(), with))
        .collect()
    })
}

/// Whether a case compares `diff`: one that asks for it in its play.
pub(super) fn wants_diff(case: &str) -> bool {
    case.contains("\n  diff: true\n")
}

/// What Ansible keeps in a set: kinds of virtualization, what dnf did.
fn is_set(items: &[Json]) -> bool {
    let verb = |s: &str| ["Downloaded: ", "Installed: ", "Removed: "].iter().any(|v| s.starts_with(v));
    let did = |i: &Json| i.as_str().is_some_and(verb);
    items.iter().all(Json::is_string) && (items.contains(&"container".into()) || items.iter().any(did))
}

/// The comparable form. `diff` says whether the values of that name stay.
pub(crate) fn tidy(value: Json, diff: bool) -> Json {
    match value {
        // A unit's properties: those that are the unit's own.
        Json::Object(mut map) if map.contains_key("LoadState") => {
            // The unit's other names come in any order.
            if let Some(Json::String(names)) = map.get_mut("Names") {
                let mut all: Vec<&str> = names.split(' ').collect();
                all.sort_unstable();
                *names = all.join(" ");
            }
            Json::Object(map.into_iter().filter(|(k, _)| UNIT.contains(&k.as_str())).collect())
        }
        Json::Object(map) => Json::Object(
            map.into_iter()
                .filter(|(k, _)| !DROPPED.contains(&k.as_str()) && !k.starts_with("_ansible"))
                .filter(|(k, _)| diff || k != "diff")
                .filter(|(k, _)| k != "discovered_interpreter_python")
                .filter(|(k, v)| !(k == "ansible_facts" && v.get("discovered_interpreter_python").is_some()))
                .map(|(k, v)| {
                    let v =
                        if NUMBERS.contains(&k.as_str()) && v.is_number() { "<number>".into() } else { tidy(v, diff) };
                    (k, v)
                })
                .collect(),
        ),
        // A set, whose order says nothing.
        Json::Array(mut items) if is_set(&items) => {
            items.sort_by_key(ToString::to_string);
            Json::Array(items)
        }
        Json::Array(items) => Json::Array(
            items
                .into_iter()
                .filter(|i| !i.as_str().is_some_and(|l| SAID_OR_NOT.contains(&l)))
                .map(|v| tidy(v, diff))
                .collect(),
        ),
        Json::String(mut s) => {
            for line in SAID_OR_NOT {
                s = s.replace(&format!("{line}\n"), "");
            }
            for (p, with) in patterns() {
                if p.is_match(&s) {
                    s = p.replace_all(&s, *with).into_owned();
                }
            }
            Json::String(s)
        }
        other => other,
    }
}

/// What differs, one line each.
pub(crate) fn differences(ours: &Json, theirs: &Json) -> Vec<String> {
    let mut all = Vec::new();
    let none = Vec::new();
    let (a, b) = (ours["tasks"].as_array().unwrap_or(&none), theirs["tasks"].as_array().unwrap_or(&none));
    if a.len() != b.len() {
        all.push(format!("tasks: {} results, not {}", a.len(), b.len()));
    }
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        let at = format!("task {} {}", i + 1, b["task"].as_str().unwrap_or_default());
        if a["task"] != b["task"] {
            all.push(format!("{at}: another task comes here: {}", a["task"]));
            break;
        }
        if a["status"] != b["status"] {
            all.push(format!("{at}: status {} not {} ({})", a["status"], b["status"], a["result"]["msg"]));
        }
        walk(&at, &a["result"], &b["result"], &mut all);
    }
    walk("recap", &ours["recap"], &theirs["recap"], &mut all);
    walk("state", &ours["state"], &theirs["state"], &mut all);
    all
}

fn walk(at: &str, a: &Json, b: &Json, all: &mut Vec<String>) {
    match (a, b) {
        (Json::Object(x), Json::Object(y)) => {
            // `failed` and `skipped` are in a registered result and not in what a callback sees, which has the status.
            for (k, v) in y.iter().filter(|(k, _)| *k != "failed" && *k != "skipped") {
                match x.get(k) {
                    Some(mine) => walk(&format!("{at}.{k}"), mine, v, all),
                    None => all.push(format!("{at}.{k} is missing; it is {}", short(v))),
                }
            }
            for (k, v) in x {
                if !y.contains_key(k) && k != "failed" && k != "skipped" {
                    all.push(format!("{at}.{k} is extra: {}", short(v)));
                }
            }
        }
        (Json::Array(x), Json::Array(y)) if x.len() == y.len() => {
            for (i, (x, y)) in x.iter().zip(y).enumerate() {
                walk(&format!("{at}.{i}"), x, y, all);
            }
        }
        _ if a == b => {}
        _ => all.push(format!("{at} is {} not {}", short(a), short(b))),
    }
}

fn short(v: &Json) -> String {
    v.to_string().chars().take(1500).collect()
}
