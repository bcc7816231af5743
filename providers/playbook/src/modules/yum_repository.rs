//! `yum_repository`.

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::attrs::{Attrs, Mend, Seen};
use super::content::{QUIET, Write, print, refused, settled};
use super::spec::Rules;
use super::{Call, Decision, Module, Pending, Place, fields};

/// `yum_repository`.
pub(super) const MODULE: Module = Module {
    names: &["yum_repository"],
    rules: Rules {
        required_if: &[
            ("state", "present", &["baseurl", "mirrorlist", "metalink"], true),
            ("state", "present", &["description"], false),
        ],
        ..Rules::NONE
    },
    missing: &[],
    place: Place::Host,
    prepare,
};

/// Options that are no keys of a repository.
const OTHER: [&str; 13] = [
    "attributes",
    "file",
    "group",
    "mode",
    "name",
    "owner",
    "reposdir",
    "selevel",
    "serole",
    "setype",
    "seuser",
    "state",
    "unsafe_writes",
];

type Section = (String, Vec<(String, String)>);

/// Sections with their keys, as `dnf` reads them. Comments are not kept.
fn read(text: &str) -> Vec<Section> {
    let mut all: Vec<Section> = Vec::new();
    for line in text.lines() {
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = bare.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            all.push((name.to_owned(), Vec::new()));
            continue;
        }
        let Some((_, keys)) = all.last_mut() else { continue };
        match (line.starts_with([' ', '\t']), keys.last_mut(), bare.split_once(['=', ':'])) {
            (true, Some((_, value)), _) => {
                value.push('\n');
                value.push_str(bare);
            }
            (_, _, Some((key, value))) => keys.push((key.trim().to_lowercase(), value.trim().to_owned())),
            _ => {}
        }
    }
    all
}

fn write(sections: &[Section]) -> String {
    let mut text = String::new();
    for (name, keys) in sections {
        text.push_str(&format!("[{name}]\n"));
        for (key, value) in keys {
            text.push_str(&format!("{key} = {}\n", value.replace('\n', "\n\t")));
        }
        text.push('\n');
    }
    text
}

fn wanted(call: &Call) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for (option, value) in call.args.iter().filter(|(k, v)| !v.is_null() && !OTHER.contains(&k.as_str())) {
        let key = if option == "description" { "name" } else { option };
        let value = match value {
            Json::Bool(b) => if *b { "1" } else { "0" }.to_owned(),
            Json::Array(items) => {
                // Addresses stand one a line, names in a row.
                let between = if matches!(key, "baseurl" | "gpgkey") { "\n" } else { " " };
                items.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(between)
            }
            Json::String(s) => s.clone(),
            other => other.to_string(),
        };
        all.push((key.to_owned(), value));
    }
    all.sort();
    all
}

fn prepare(call: &Call) -> Result<Decision, String> {
    let name = call.need("name")?;
    let absent = call.text("state").as_deref() == Some("absent");
    let folder = call.text("reposdir").unwrap_or_else(|| "/etc/yum.repos.d".into());
    let path = format!("{folder}/{}.repo", call.text("file").unwrap_or_else(|| name.clone()));
    let (attrs, keys, diff) = (Attrs::of(call), wanted(call), call.diff);
    let (in_place, check) = (call.yes("unsafe_writes")? == Some(true), call.check);
    let look = attrs.probe(&shell_quote(&path), "-L");
    let (p, d) = (shell_quote(&path), shell_quote(&folder));
    let probe = format!("[ -d {d} ] && echo folder=1\n{look}echo\nif [ -f {p} ]; then cat {p}; fi\nexit 0\n");
    Ok(Decision::Probe(
        probe,
        Box::new(move |out| {
            let (seen, old) = Seen::read(&out);
            if seen.get("folder").is_empty() {
                return Err(format!("Repo directory '{folder}' does not exist."));
            }
            let there = seen.there();
            let old = String::from_utf8_lossy(&old).into_owned();
            let mut sections = read(&old);
            let now = sections.iter().find(|(n, _)| *n == name).map(|(_, keys)| {
                let mut keys = keys.clone();
                keys.sort();
                keys
            });
            let differs = if absent { now.is_some() } else { now.as_ref() != Some(&keys) };
            if differs {
                sections.retain(|(n, _)| *n != name);
                if !absent {
                    sections.push((name.clone(), keys));
                }
            }
            let now_or_new = if there { seen.clone() } else { seen.mine().fresh(false) };
            // As Ansible: the text is written before a name turns out to be unknown.
            let (mend, wrong) = match attrs.mend(&now_or_new, &path) {
                _ if sections.is_empty() => (Mend::default(), None),
                Ok(mend) => (mend, None),
                Err(why) if differs && !check => (Mend::default(), Some(why)),
                Err(why) => return Ok(Decision::Done(why)),
            };
            let changed = differs || !mend.none();
            let mut result = fields([
                ("changed", json!(changed)),
                ("repo", json!(name)),
                ("state", json!(if absent { "absent" } else { "present" })),
            ]);
            if !changed {
                return Ok(Decision::Done(result));
            }
            let text = write(&sections);
            if diff && differs {
                let after = if sections.is_empty() { "" } else { text.as_str() };
                result.insert(
                    "diff".into(),
                    json!({ "before_header": path, "after_header": path, "before": old, "after": after }),
                );
            }
            let script = if sections.is_empty() {
                format!("rm -f {p}\n")
            } else if differs {
                let print = print(text.as_bytes());
                let mend = (mend.script.as_str(), mend.late.as_str());
                let write = Write { path: &path, print: &print, mend, in_place, ..Write::default() };
                write.script()
            } else {
                format!("{QUIET}p={p}\n{}", mend.all())
            };
            let done = settled(result.clone(), false, refused);
            Ok(Decision::Change(Pending {
                script,
                action: if absent { Action::Delete } else { Action::Update },
                subject: format!("repository {name}"),
                path: Some(path),
                // Keys may be passwords: they stay out of a plan.
                before: there.then(|| json!(now.map_or(0, |k| k.len()))),
                after: (!absent).then(|| json!(name)),
                certain: true,
                foreign: false,
                expected: result,
                finish: super::content::unless_wrong(done, wrong),
            }))
        }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_and_written() {
        let text = "; c\n[other]\nname = O\nbaseurl=http://x\n   http://y\n\n# k\n[z]\na=b\n";
        let want = "[other]\nname = O\nbaseurl = http://x\n\thttp://y\n\n[z]\na = b\n\n";
        assert_eq!(write(&read(text)), want);
    }
}
