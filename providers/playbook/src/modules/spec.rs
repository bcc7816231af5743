//! What arguments a module takes: names, aliases, types, defaults and choices, and how they go together.
//!
//! The table `options.json` is computed from `ansible-doc --json`; what documentation does not tell is in each module's
//! [`Rules`]. A module therefore sees arguments by their own names, in their own types, with defaults filled in.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::OnceLock;

use serde::Deserialize;
use towpath_core::Json;

use super::{Fields, Module};
use crate::render::{text, truthy};

/// One option of a module.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Opt {
    #[serde(default)]
    aliases: Vec<String>,
    /// `str` if not given.
    #[serde(default, rename = "type")]
    kind: Option<Kind>,
    #[serde(default)]
    elements: Option<Kind>,
    #[serde(default)]
    default: Json,
    #[serde(default)]
    choices: Vec<Json>,
    #[serde(default)]
    required: bool,
}

/// Types of arguments, by Ansible's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Str,
    Path,
    Bool,
    Int,
    Float,
    Raw,
    Any,
    Dict,
    List,
    Json,
    Bytes,
    Bits,
    Sid,
    Tmppath,
    Tmp,
    Integer,
    Boolean,
    Dictionary,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Str | Self::Sid | Self::Json => "str",
            Self::Path | Self::Tmppath | Self::Tmp => "path",
            Self::Bool | Self::Boolean => "bool",
            Self::Int | Self::Integer => "int",
            Self::Float => "float",
            Self::Raw | Self::Any => "raw",
            Self::Dict | Self::Dictionary => "dict",
            Self::List => "list",
            Self::Bytes => "bytes",
            Self::Bits => "bits",
        }
    }
}

/// A check of arguments before all else.
pub(super) type Early = fn(&super::Call) -> Result<(), String>;

/// How options go together, which `ansible-doc` does not tell.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rules {
    pub(super) mutually_exclusive: &'static [&'static [&'static str]],
    pub(super) required_together: &'static [&'static [&'static str]],
    pub(super) required_one_of: &'static [&'static [&'static str]],
    /// If this option has this value, these must be there: all of them, or any if the last is `true`.
    pub(super) required_if: &'static [(&'static str, &'static str, &'static [&'static str], bool)],
    /// If this option is there, these must be, too.
    pub(super) required_by: &'static [(&'static str, &'static [&'static str])],
    /// Takes names beyond those of the table, as `set_fact` does.
    pub(super) free: bool,
    /// Looks at the arguments before all else.
    pub(super) early: Option<Early>,
    /// Looks at its arguments by itself, and only in the end at those that it does not know.
    pub(super) late: bool,
    /// What a message calls it, if it runs through another module than the one the task names.
    pub(super) through: Option<&'static str>,
    /// Names that messages list beside those of the table, and names of the table that they do not.
    pub(super) internal: &'static [&'static str],
    pub(super) hidden: &'static [&'static str],
    /// Options that documentation calls required, and that are not.
    pub(super) optional: &'static [&'static str],
}

impl Rules {
    /// Nothing beyond the table.
    pub(super) const NONE: Self = Self {
        mutually_exclusive: &[],
        required_together: &[],
        required_one_of: &[],
        required_if: &[],
        required_by: &[],
        free: false,
        early: None,
        late: false,
        through: None,
        internal: &[],
        hidden: &[],
        optional: &[],
    };
}

type Options = BTreeMap<String, Opt>;

fn table() -> &'static HashMap<String, Options> {
    static TABLE: OnceLock<HashMap<String, Options>> = OnceLock::new();
    TABLE.get_or_init(|| serde_json::from_str(include_str!("options.json")).expect("the committed table is valid"))
}

/// The options of a module by their own names; empty for a module that is not in the table.
pub(super) fn options(module: &str) -> &'static Options {
    static NONE: Options = BTreeMap::new();
    // A name that only remains.
    let module = if module == "yum" { "dnf" } else { module };
    table().get(module).unwrap_or(&NONE)
}

/// Gives the arguments by their own names, typed, with defaults; `Null` for an option that is not given and has none.
///
/// `name` is what messages call the module; `lenient` lets pass what the module does not know.
pub(super) fn validate(
    module: &Module,
    action: &str,
    name: &str,
    given: &Fields,
    lenient: bool,
) -> Result<Fields, String> {
    let options = options(action);
    let rules = &module.rules;
    if options.is_empty() || rules.free {
        return Ok(given.clone());
    }
    let mut args = Fields::new();
    let mut unknown = BTreeSet::new();
    for (key, value) in given {
        let hidden = rules.hidden.contains(&key.as_str()) && !lenient && !rules.late;
        match options.iter().find(|(own, o)| !hidden && (*own == key || o.aliases.contains(key))) {
            Some((own, o)) => {
                // An alias stands above the option's own name, a later alias above an earlier one.
                let rank = |k: &String| o.aliases.iter().position(|a| a == k).map_or(0, |i| i + 1);
                let stronger = given.keys().any(|k| (k == own || o.aliases.contains(k)) && rank(k) > rank(key));
                if !stronger {
                    args.insert(own.clone(), value.clone());
                }
            }
            None if key.starts_with('_') => {
                args.insert(key.clone(), value.clone());
            }
            None => {
                unknown.insert(key.as_str());
            }
        }
    }
    let there = |key: &&&str| args.get(**key).is_some_and(|v| !v.is_null());
    let missing = |keys: &[&'static str]| keys.iter().filter(|k| !there(k)).copied().collect::<Vec<_>>().join(", ");
    for group in rules.mutually_exclusive {
        if group.iter().filter(there).count() > 1 {
            return Err(format!("parameters are mutually exclusive: {}", group.join("|")));
        }
    }
    let absent: Vec<&str> = options
        .iter()
        .filter(|(k, o)| o.required && !rules.optional.contains(&k.as_str()) && args.get(*k).is_none_or(Json::is_null))
        .map(|(k, _)| k.as_str())
        .collect();
    if !absent.is_empty() {
        return Err(format!("missing required arguments: {}", absent.join(", ")));
    }
    let mut typed = Fields::new();
    for (key, value) in &args {
        let Some(option) = options.get(key) else {
            typed.insert(key.clone(), value.clone());
            continue;
        };
        let value = option.convert(key, value)?;
        option.choose(key, &value)?;
        typed.insert(key.clone(), value);
    }
    for group in rules.required_together {
        let count = group.iter().filter(there).count();
        if count > 0 && count < group.len() {
            return Err(format!("parameters are required together: {}", group.join(", ")));
        }
    }
    for group in rules.required_one_of {
        if !group.iter().any(|k| there(&k)) {
            return Err(format!("one of the following is required: {}", group.join(", ")));
        }
    }
    for (key, keys) in rules.required_by {
        if there(&key) && keys.iter().any(|k| !there(&k)) {
            return Err(format!("missing parameter(s) required by '{key}': {}", missing(keys)));
        }
    }
    if !unknown.is_empty() && !lenient {
        let listed = |k: &&str| !rules.hidden.contains(k);
        let mut own: Vec<&str> =
            options.keys().map(String::as_str).filter(listed).chain(rules.internal.iter().copied()).collect();
        own.sort_unstable();
        let mut aliases: Vec<&str> = options
            .iter()
            .filter(|(k, _)| listed(&k.as_str()))
            .flat_map(|(_, o)| o.aliases.iter().map(String::as_str))
            .collect();
        aliases.sort_unstable();
        let aliases = if aliases.is_empty() { String::new() } else { format!(" ({})", aliases.join(", ")) };
        return Err(format!(
            "Unsupported parameters for ({}) module: {}. Supported parameters include: {}{aliases}.",
            rules.through.unwrap_or(name),
            unknown.into_iter().collect::<Vec<_>>().join(", "),
            own.join(", "),
        ));
    }
    if let Some(option) = module.missing.iter().find(|k| there(k)) {
        return Err(format!("the option `{option}` of `{action}` is not supported yet"));
    }
    for (key, option) in options {
        let empty = typed.get(key).is_none_or(Json::is_null);
        if empty {
            let default = if option.default.is_null() { Json::Null } else { option.convert(key, &option.default)? };
            typed.insert(key.clone(), default);
        }
    }
    for (key, value, keys, any) in rules.required_if {
        let have = typed.get(*key).map(plain);
        if have.as_deref() != Some(*value) {
            continue;
        }
        let count = keys.iter().filter(there).count();
        if if *any { count == 0 } else { count < keys.len() } {
            let which = if *any { "any" } else { "all" };
            return Err(format!("{key} is {value} but {which} of the following are missing: {}", missing(keys)));
        }
    }
    Ok(typed)
}

/// Those of the arguments that are not options of `action` alone, but of `copy`, too, or of nothing.
pub(super) fn known(given: &Fields, action: &str) -> Fields {
    let (own, copy) = (options(action), options("copy"));
    let other = |k: &String| action != "copy" && own.contains_key(k) && !copy.contains_key(k);
    given.iter().filter(|(k, _)| !other(k)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// Whether an option is a path on the target, in which `~` and `$NAME` mean something.
pub(super) fn is_path(action: &str, key: &str) -> bool {
    options(action).get(key).is_some_and(|o| o.kind == Some(Kind::Path))
}

fn plain(value: &Json) -> String {
    text(&crate::render::Value::from(value))
}

impl Opt {
    fn convert(&self, key: &str, value: &Json) -> Result<Json, String> {
        let kind = self.kind.unwrap_or(Kind::Str);
        if value.is_null() {
            return Ok(Json::Null);
        }
        let converted = convert(kind, value).map_err(|why| wrong(key, value, kind, &why))?;
        match (self.elements, converted) {
            (Some(kind), Json::Array(items)) => items
                .iter()
                .map(|v| {
                    convert(kind, v).map_err(|why| {
                        format!(
                            "Elements value for option '{key}' is of type {} and we were unable to convert to {}: {why}",
                            class(v),
                            kind.name()
                        )
                    })
                })
                .collect::<Result<Vec<_>, _>>()
                .map(Json::Array),
            (_, other) => Ok(other),
        }
    }

    fn choose(&self, key: &str, value: &Json) -> Result<(), String> {
        if self.choices.is_empty() || value.is_null() {
            return Ok(());
        }
        let all = || self.choices.iter().map(plain).collect::<Vec<_>>().join(", ");
        let known = |v: &Json| self.choices.iter().any(|c| c == v || plain(c) == plain(v));
        match value {
            Json::Array(items) => {
                let other: Vec<String> = items.iter().filter(|v| !known(v)).map(plain).collect();
                if other.is_empty() {
                    return Ok(());
                }
                Err(format!("value of {key} must be one or more of: {}. Got no match for: {}", all(), other.join(", ")))
            }
            one if known(one) => Ok(()),
            one => Err(format!("value of {key} must be one of: {}, got: {}", all(), plain(one))),
        }
    }
}

fn wrong(key: &str, value: &Json, kind: Kind, why: &str) -> String {
    format!("argument '{key}' is of type {} and we were unable to convert to {}: {why}", class(value), kind.name())
}

pub(super) fn class(value: &Json) -> &'static str {
    match value {
        Json::Null => "<class 'NoneType'>",
        Json::Bool(_) => "<class 'bool'>",
        Json::Number(n) if n.is_f64() => "<class 'float'>",
        Json::Number(_) => "<class 'int'>",
        Json::String(_) => "<class 'str'>",
        Json::Array(_) => "<class 'list'>",
        Json::Object(_) => "<class 'dict'>",
    }
}

fn convert(kind: Kind, value: &Json) -> Result<Json, String> {
    let cannot = || format!("{} cannot be converted to {}", class(value), article(kind));
    Ok(match kind {
        Kind::Raw | Kind::Any => value.clone(),
        Kind::Str | Kind::Sid | Kind::Path | Kind::Tmppath | Kind::Tmp => Json::String(plain(value)),
        Kind::Json => match value {
            Json::String(_) => value.clone(),
            other => Json::String(other.to_string()),
        },
        Kind::Bool | Kind::Boolean => Json::Bool(truthy(value).ok_or_else(|| {
            format!(
                "The value '{}' is not a valid boolean. Valid booleans include: 'y', 'yes', 'on', '1', 'true', 't', 1, 1.0, True, 'n', 'no', 'off', '0', 'false', 'f', 0, 0.0, False",
                plain(value)
            )
        })?),
        Kind::Int | Kind::Integer => match value {
            Json::Number(n) if n.is_i64() || n.is_u64() => value.clone(),
            other => plain(other).trim().parse::<i64>().map(Json::from).map_err(|_| match other {
                Json::String(s) => format!("\"'{s}'\" cannot be converted to an int"),
                _ => cannot(),
            })?,
        },
        Kind::Float => match value {
            Json::Number(_) => value.clone(),
            other => plain(other).trim().parse::<f64>().map(Json::from).map_err(|_| cannot())?,
        },
        Kind::Bytes | Kind::Bits => match value {
            Json::Number(_) => value.clone(),
            other => Json::String(plain(other)),
        },
        Kind::List => match value {
            Json::Array(_) => value.clone(),
            Json::String(s) => s.split(',').map(|p| Json::from(p.trim())).collect(),
            Json::Number(_) => Json::Array(vec![plain(value).into()]),
            _ => return Err(cannot()),
        },
        Kind::Dict | Kind::Dictionary => match value {
            Json::Object(_) => value.clone(),
            Json::String(s) if s.trim_start().starts_with('{') => {
                serde_json::from_str(s).map_err(|_| "unable to evaluate string as dictionary".to_owned())?
            }
            Json::String(s) if s.contains('=') => {
                let pairs = s.split([',', ' ']).filter(|p| !p.is_empty());
                let map: Option<Fields> =
                    pairs.map(|p| p.split_once('=').map(|(k, v)| (k.trim().to_owned(), v.into()))).collect();
                Json::Object(map.ok_or("dictionary requested, could not parse JSON or key=value")?)
            }
            Json::String(_) => return Err("dictionary requested, could not parse JSON or key=value".into()),
            _ => return Err(cannot()),
        },
    })
}

fn article(kind: Kind) -> String {
    let name = kind.name();
    if name.starts_with(['a', 'e', 'i', 'o']) { format!("an {name}") } else { format!("a {name}") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use crate::modules::{ALL, find};

    /// Controller-side actions that the executor does by itself.
    const ELSEWHERE: [&str; 11] = [
        "add_host",
        "async_status",
        "group_by",
        "import_playbook",
        "import_role",
        "import_tasks",
        "include_role",
        "include_tasks",
        "meta",
        "set_stats",
        "validate_argument_spec",
    ];

    #[test]
    fn what_is_missing_is_listed_with_a_reason() {
        let mut missing: BTreeSet<String> =
            table().keys().filter(|m| find(m).is_none() && !ELSEWHERE.contains(&m.as_str())).cloned().collect();
        for module in ALL {
            missing.extend(module.missing.iter().map(|o| format!("{}.{o}", module.names[0])));
            for option in module.missing {
                assert!(options(module.names[0]).contains_key(*option), "{} has no {option}", module.names[0]);
            }
        }
        let text = include_str!("missing.md");
        let listed: BTreeSet<String> =
            text.lines().filter_map(|l| Some(l.strip_prefix("| `")?.split_once('`')?.0.to_owned())).collect();
        let new: Vec<_> = missing.difference(&listed).collect();
        let gone: Vec<_> = listed.difference(&missing).collect();
        assert!(new.is_empty(), "missing, and not in missing.md: {new:#?}");
        assert!(gone.is_empty(), "there now, take out of missing.md: {gone:#?}");
    }

    #[test]
    fn arguments_are_checked_as_ansible_does() {
        let args = |v: Json| v.as_object().cloned().unwrap_or_default();
        let file = find("file").unwrap();
        let check = |v: Json| validate(file, "file", "file", &args(v), false);
        let good = check(serde_json::json!({"dest": "/a", "recurse": "yes", "mode": 420})).unwrap();
        assert_eq!(good["path"], "/a");
        assert_eq!(good["recurse"], true);
        assert_eq!(good["force"], false);
        let e = check(serde_json::json!({"path": "/a", "stat": "x"})).unwrap_err();
        assert!(
            e.starts_with("Unsupported parameters for (file) module: stat. Supported parameters include: _diff_peek,"),
            "{e}"
        );
        assert_eq!(check(serde_json::json!({})).unwrap_err(), "missing required arguments: path");
        let e = check(serde_json::json!({"path": "/a", "state": "x"})).unwrap_err();
        assert_eq!(e, "value of state must be one of: absent, directory, file, hard, link, touch, got: x");
    }
}
