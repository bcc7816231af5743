//! What the cases use: options of modules, keywords of the language.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use towpath_core::Json;

use super::{home, options};
use crate::load::keywords::{BLOCK, LOOP_CONTROL, PLAY, SHARED, TASK};
use crate::load::yaml::{Kind, Node, parse};
use crate::load::{Loader, load_playbook, parse_args};
use crate::render::Engine;

/// How often each thing is in a case.
#[derive(Default)]
pub(super) struct Coverage {
    /// `module.option`, and `module`.
    pub(super) options: BTreeMap<String, usize>,
    /// Kind and name.
    pub(super) keywords: BTreeMap<(&'static str, &'static str), usize>,
}

/// All keywords, by what has them.
pub(super) fn keywords() -> Vec<(&'static str, &'static str)> {
    let shared = |kind: &'static str, own: &[&'static str]| {
        let mut all: Vec<_> = own.iter().chain(SHARED).map(|k| (kind, *k)).collect();
        all.sort_unstable();
        all
    };
    let control = LOOP_CONTROL.iter().map(|k| ("loop_control", *k));
    [shared("play", PLAY), shared("block", BLOCK), shared("task", TASK)].into_iter().flatten().chain(control).collect()
}

/// How a keyword is refused, if it is: found out by using it.
pub(super) fn refusal(kind: &str, name: &str) -> Option<String> {
    let play = match kind {
        "play" => format!("- {{hosts: all, {name}: always}}\n"),
        "block" => format!("- {{hosts: all, tasks: [{{block: [], {name}: always}}]}}\n"),
        "task" => format!("- {{hosts: all, tasks: [{{debug: , {name}: always}}]}}\n"),
        _ => format!("- {{hosts: all, tasks: [{{debug: , loop: [], loop_control: {{{name}: always}}}}]}}\n"),
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("site.yml");
    std::fs::write(&file, play).unwrap();
    let loader = Loader {
        playbook_dir: dir.path().to_owned(),
        roles_path: Vec::new(),
        extra: Arc::default(),
        engine: Arc::new(Engine::new()),
        defaults: crate::load::Inherit::default(),
    };
    let said = load_playbook(&loader, &file).err()?.report();
    said.contains(&format!("`{name}` is not supported yet")).then_some(said)
}

fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for entry in entries {
        if entry.is_dir() { files(&entry, out) } else { out.push(entry) }
    }
}

impl Coverage {
    pub(super) fn of_all_cases() -> Self {
        let mut all = Vec::new();
        for folder in ["modules/cases", "roles/site", "language/cases"] {
            files(&home().join("tests/it").join(folder), &mut all);
        }
        let modules = options();
        let mut seen = Self::default();
        for path in all {
            let end = path.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
            if !["yml", "case"].contains(&end.as_str()) {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            // A case of the language is several files; some of them are wrong, which is what they are for.
            let parts: Vec<String> = if end == "yml" { vec![text] } else { split(&text) };
            for part in parts {
                if let Ok(node) = parse(&path, &part) {
                    seen.walk(&node, &modules);
                }
            }
        }
        seen
    }

    fn walk(&mut self, node: &Node, modules: &BTreeMap<String, BTreeMap<String, Vec<String>>>) {
        let pairs = match &node.kind {
            Kind::Scalar(_) => return,
            Kind::Seq(items) => return items.iter().for_each(|n| self.walk(n, modules)),
            Kind::Map(pairs) => pairs,
        };
        let mut task = false;
        let play = node.get("hosts").is_some();
        for (key, value) in pairs {
            let key = short(key);
            let found = match (key, &value.kind) {
                ("action" | "local_action", Kind::Scalar(Json::String(text))) => {
                    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
                    Some((short(name), given(&Json::from(rest))))
                }
                ("action" | "local_action", Kind::Map(_)) => {
                    let module = value.get("module").and_then(|m| m.text("module").ok()).unwrap_or_default();
                    modules.get_key_value(short(&module)).map(|(name, _)| (name.as_str(), given(&value.json())))
                }
                _ => Some((key, given(&value.json()))),
            };
            if let Some((name, mut keys)) = found.filter(|_| !play)
                && let Some(options) = modules.get(name)
            {
                task = true;
                keys.extend(node.get("args").map(|n| given(&n.json())).unwrap_or_default());
                self.count(name, options, &keys);
            }
            self.walk(value, modules);
        }
        let kind = match () {
            () if play => "play",
            () if ["block", "rescue", "always"].iter().any(|k| node.get(k).is_some()) => "block",
            () if task => "task",
            () => return,
        };
        let control = node.get("loop_control").and_then(|c| c.pairs("loop_control").ok()).unwrap_or_default();
        for (of, name) in keywords() {
            let there = match of {
                "loop_control" => control.iter().any(|(k, _)| k == name),
                _ => of == kind && node.get(name).is_some(),
            };
            if there {
                *self.keywords.entry((of, name)).or_default() += 1;
            }
        }
    }

    fn count(&mut self, module: &str, options: &BTreeMap<String, Vec<String>>, keys: &[String]) {
        *self.options.entry(module.to_owned()).or_default() += 1;
        for key in keys {
            let free = key == "_raw_params";
            let own = options.iter().find(|(name, aliases)| {
                *name == key || aliases.contains(key) || free && ["free_form", "free-form"].contains(&name.as_str())
            });
            if let Some((name, _)) = own {
                *self.options.entry(format!("{module}.{name}")).or_default() += 1;
            }
        }
        // `set_fact` takes any name.
        if module == "set_fact" {
            *self.options.entry("set_fact.key_value".into()).or_default() += 1;
        }
    }
}

fn short(name: &str) -> &str {
    name.strip_prefix("ansible.builtin.").or_else(|| name.strip_prefix("ansible.legacy.")).unwrap_or(name)
}

/// Names of arguments.
fn given(args: &Json) -> Vec<String> {
    match args {
        Json::Object(map) => map.keys().cloned().collect(),
        Json::String(text) => parse_args(text, false).into_iter().map(|(k, _)| k).collect(),
        Json::Array(_) => vec!["_raw_params".into()],
        _ => Vec::new(),
    }
}

/// The files of a case, each after a line `=== path`.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for line in text.lines() {
        if line.starts_with("=== ") {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    parts
}
