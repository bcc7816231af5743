//! `mount_facts`: mounts as files and `mount` tell them, with the sizes of what is mounted.

mod read;

use std::collections::{HashMap, HashSet};

use serde_json::json;
use towpath_core::{Json, shell_quote};

use super::find::glob;
use super::pattern::Pattern;
use super::spec::Rules;
use super::steps::{PATHS, no_program};
use super::{Call, Decided, Decision, Fields, Module, Output, Place, fields};
use crate::render::text;
use read::Mount;

/// `mount_facts`.
pub(super) const MODULE: Module =
    Module { names: &["mount_facts"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

const DYNAMIC: [&str; 3] = ["/etc/mtab", "/proc/mounts", "/etc/mnttab"];
const STATIC: [&str; 3] = ["/etc/fstab", "/etc/vfstab", "/etc/filesystems"];
/// The source that stands for the program.
const PROGRAM: &str = "mount";

struct Task {
    sources: Vec<String>,
    /// The program is asked, too, if no dynamic file has anything.
    fallback: bool,
    program: Option<String>,
    devices: Option<Vec<Pattern>>,
    fstypes: Option<Vec<Pattern>>,
    aggregate: Option<bool>,
    timeout: Option<f64>,
    on_timeout: String,
    warnings: Vec<String>,
}

/// Mounts by the source that told them.
type Told = Vec<(String, Vec<Mount>)>;

fn prepare(call: &Call) -> Decided {
    let given: Vec<String> = call.list("sources").filter(|s| !s.is_empty()).unwrap_or_else(|| vec!["all".into()]);
    if given.iter().any(String::is_empty) {
        return Err("sources contains an empty string".into());
    }
    let program = match call.given.get("mount_binary") {
        Some(Json::Null) => None,
        None => Some(PROGRAM.to_owned()),
        Some(Json::String(s)) => Some(s.clone()),
        Some(other) => {
            let other = text(&crate::render::Value::from(other));
            return Err(format!("argument 'mount_binary' must be a string or null, not {other}"));
        }
    };
    let timeout = call.args.get("timeout").and_then(Json::as_f64);
    if let Some(t) = timeout.filter(|t| *t <= 0.0) {
        return Err(format!("argument 'timeout' must be a positive number or null, not {t:?}"));
    }
    let patterns = |key: &str| {
        let all = call.list(key).filter(|l| !l.is_empty());
        all.map(|l| l.iter().map(|p| glob(p)).collect::<Result<Vec<_>, _>>()).transpose()
    };
    let mut sources = Vec::new();
    let mut fallback = false;
    for source in &given {
        if source == "all" || source == "dynamic" {
            sources.extend(DYNAMIC.map(str::to_owned));
            fallback = true;
        }
        match source.as_str() {
            "all" | "static" => sources.extend(STATIC.map(str::to_owned)),
            "dynamic" => {}
            other => sources.push(other.to_owned()),
        }
    }
    if program.is_none() && sources.iter().any(|s| s == PROGRAM) {
        return Err("`mount_binary` is null, and `sources` of mount_facts names the program".into());
    }
    let mut warnings = Vec::new();
    if sources.iter().collect::<HashSet<_>>().len() < sources.len() {
        let all = sources.iter().map(|s| format!("'{s}'")).collect::<Vec<_>>().join(", ");
        warnings.push(format!(
            "mount_facts option 'sources' contains duplicate entries, repeat sources will be ignored: [{all}]"
        ));
    }
    let task = Task {
        fallback,
        program,
        devices: patterns("devices")?,
        fstypes: patterns("fstypes")?,
        aggregate: call.yes("include_aggregate_mounts")?,
        timeout,
        on_timeout: call.text("on_timeout").unwrap_or_else(|| "error".into()),
        warnings,
        sources,
    };
    // The mark is random, so that no line of a file can be taken for it.
    let mark = hex::encode(rand::random::<[u8; 16]>());
    let mut script = String::new();
    for source in task.sources.iter().filter(|s| *s != PROGRAM) {
        let s = shell_quote(source);
        script.push_str(&format!(
            "printf '%s%s\\n' {mark} \"$(readlink -f -- {s} 2>/dev/null)\"\nif [ -f {s} ]; then cat -- {s} 2>/dev/null; fi\necho\n"
        ));
    }
    script.push_str("exit 0\n");
    let probe = Box::new(move |out: Output| task.files(&mark, &out.text()));
    Ok(Decision::Probe(script, probe))
}

impl Task {
    /// What the files say; the program comes next, if it is wanted.
    fn files(mut self, mark: &str, said: &str) -> Decided {
        let mut parts = said.split(mark).skip(1);
        let mut seen = HashSet::new();
        let mut told: Told = Vec::new();
        let (mut program_at, mut dynamic) = (None, false);
        for source in &self.sources {
            if source == PROGRAM {
                program_at = program_at.or(Some(told.len()));
                continue;
            }
            let Some((real, content)) = parts.next().and_then(|p| p.split_once('\n')) else { continue };
            // Each process has another `/proc/self`.
            let own = |p: &&str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit());
            let real: Vec<&str> = real.split('/').map(|p| if own(&p) { "self" } else { p }).collect();
            if content.trim().is_empty() || !seen.insert(real.join("/")) {
                continue;
            }
            // Linux has another file of that name.
            let mounts =
                if source == "/etc/filesystems" && !content.contains(':') { Vec::new() } else { read::file(content) };
            dynamic |= !mounts.is_empty() && DYNAMIC.contains(&source.as_str());
            told.push((source.clone(), mounts));
        }
        if program_at.is_none() && self.fallback && !dynamic && self.program.is_some() {
            program_at = Some(told.len());
        }
        let Some(at) = program_at else { return self.sizes(told) };
        let program = self.program.take().unwrap_or_default();
        let p = shell_quote(&program);
        let check = if self.timeout.is_some() { NEEDS_TIMEOUT } else { "" };
        let limit = self.timeout.map(|t| format!("timeout {t} ")).unwrap_or_default();
        let script = format!(
            "{PATHS}{check}tp_b=$(command -v -- {p}) || {{ printf 'none %s\\n' \"$PATH\"; exit 0; }}\n\
             printf 'path %s\\n' \"$tp_b\"\n{limit}\"$tp_b\"\n"
        );
        Ok(Decision::Probe(
            script,
            Box::new(move |out| {
                let said = out.text();
                let (first, lines) = said.split_once('\n').unwrap_or((said.as_str(), ""));
                if let Some(path) = first.strip_prefix("none ") {
                    return Err(no_program(&program, path));
                }
                let Some(path) = first.strip_prefix("path ") else { return Err(no_timeout()) };
                let mut mounts = Vec::new();
                match (out.rc, self.timeout) {
                    (124, Some(t)) => {
                        let late = format!("Command '{path}' timed out after {t:?} seconds");
                        self.late(late)?;
                    }
                    (0, _) => mounts = read::program(lines),
                    (rc, _) => {
                        return Err(format!(
                            "Failed to execute {path}: Command '{path}' returned non-zero exit status {rc}."
                        ));
                    }
                }
                told.insert(at, (PROGRAM.to_owned(), mounts));
                self.sizes(told)
            }),
        ))
    }

    /// Something took too long: an error, a warning, or nothing.
    fn late(&mut self, what: String) -> Result<(), String> {
        match self.on_timeout.as_str() {
            "error" => return Err(what),
            "warn" => self.warnings.push(what),
            _ => {}
        }
        Ok(())
    }

    /// Asks for sizes and names of what is mounted.
    fn sizes(self, mut told: Told) -> Decided {
        let fits = |patterns: &Option<Vec<Pattern>>, text: &str| {
            patterns.as_ref().is_none_or(|all| all.iter().any(|p| p.matches(text)))
        };
        for (_, mounts) in &mut told {
            mounts.retain(|m| fits(&self.devices, &m.text("device")) && fits(&self.fstypes, &m.text("fstype")));
        }
        let mut points: Vec<String> = Vec::new();
        let mut devices: Vec<String> = Vec::new();
        for mount in told.iter().flat_map(|(_, m)| m) {
            points.extend(Some(mount.point.clone()).filter(|p| !points.contains(p)));
            let device = mount.text("device");
            devices.extend(Some(device).filter(|d| d.starts_with("/dev/") && !devices.contains(d)));
        }
        if points.is_empty() {
            return Ok(self.result(told, &HashMap::new(), &[]));
        }
        let words = |all: &[String]| all.iter().map(|p| shell_quote(p)).collect::<Vec<_>>().join(" ");
        let stat = "stat -f -c '%S %s %b %a %c %d %n' --";
        let sizes = match self.timeout {
            // One by one, so that one which hangs does not hide the others.
            Some(t) => format!(
                "{NEEDS_TIMEOUT}for tp_p in {}; do timeout {t} {stat} \"$tp_p\" 2>/dev/null\nif [ $? = 124 ]; then printf 'late %s\\n' \"$tp_p\"; fi; done\n",
                words(&points)
            ),
            None => format!("{stat} {} 2>/dev/null\n", words(&points)),
        };
        let names = if devices.is_empty() {
            String::new()
        } else {
            format!(
                "for tp_l in /dev/disk/by-uuid/*; do [ -e \"$tp_l\" ] || break\ntp_r=$(readlink -f -- \"$tp_l\"); for tp_d in {}; do\n\
                 if [ \"$(readlink -f -- \"$tp_d\")\" = \"$tp_r\" ]; then printf 'uuid %s %s\\n' \"${{tp_l##*/}}\" \"$tp_d\"; fi; done; done\n",
                words(&devices)
            )
        };
        let mut this = self;
        Ok(Decision::Probe(
            format!("{sizes}{names}exit 0\n"),
            Box::new(move |out| {
                let (mut sizes, mut uuids) = (HashMap::new(), Vec::new());
                for line in out.text().lines() {
                    if line == "no_timeout" {
                        return Err(no_timeout());
                    }
                    if let Some(point) = line.strip_prefix("late ") {
                        let t = this.timeout.unwrap_or_default();
                        this.late(format!("Timed out getting the size of mount {point} after {t:?} seconds"))?;
                    } else if let Some(pair) = line.strip_prefix("uuid ").and_then(|l| l.split_once(' ')) {
                        uuids.push((pair.0.to_owned(), pair.1.to_owned()));
                    } else if let Some((point, found)) = size(line) {
                        sizes.insert(point, found);
                    }
                }
                Ok(this.result(told, &sizes, &uuids))
            }),
        ))
    }

    fn result(mut self, told: Told, sizes: &HashMap<String, Fields>, uuids: &[(String, String)]) -> Decision {
        let mut points = Fields::new();
        let mut all = Vec::new();
        for (source, mounts) in told {
            let names: Vec<String> = mounts.iter().map(|m| m.point.clone()).collect();
            if self.aggregate.is_none() && names.iter().collect::<HashSet<_>>().len() < names.len() {
                let names = names.iter().map(|n| format!("'{n}'")).collect::<Vec<_>>().join(", ");
                self.warnings.push(format!(
                    "mount_facts: ignoring repeat mounts in the following sources: {source} ([{names}]). You can disable \
                     this warning by configuring the 'include_aggregate_mounts' option as True or False."
                ));
            }
            for mount in mounts {
                let device = mount.text("device");
                let uuid = device
                    .strip_prefix("UUID=")
                    .or_else(|| uuids.iter().find(|(_, d)| *d == device).map(|(u, _)| u.as_str()));
                let mut one = mount.fields;
                one.insert("mount".into(), json!(mount.point));
                one.insert("ansible_context".into(), json!({ "source": source, "source_data": mount.line }));
                one.insert("uuid".into(), json!(uuid));
                one.extend(sizes.get(&mount.point).cloned().unwrap_or_default());
                if self.aggregate == Some(true) {
                    all.push(Json::Object(one.clone()));
                }
                points.entry(mount.point).or_insert(Json::Object(one));
            }
        }
        let facts = json!({ "mount_points": points, "aggregate_mounts": all });
        let mut result = fields([("changed", json!(false)), ("ansible_facts", facts)]);
        if !self.warnings.is_empty() {
            result.insert("warnings".into(), json!(self.warnings));
        }
        Decision::Done(result)
    }
}

/// Leaves the script where a limit is asked for that nothing can keep.
const NEEDS_TIMEOUT: &str = "command -v timeout >/dev/null 2>&1 || { echo no_timeout; exit 0; }\n";

fn no_timeout() -> String {
    "`timeout` of mount_facts needs the program `timeout` at the host; install coreutils or busybox".into()
}

/// A line of `stat -f`.
fn size(line: &str) -> Option<(String, Fields)> {
    let mut words = line.splitn(7, ' ');
    let mut number = || words.next()?.parse::<u64>().ok();
    let (fragment, block, total, free) = (number()?, number()?, number()?, number()?);
    let (inodes, inodes_free) = (number()?, number()?);
    let found = fields([
        ("size_total", json!(fragment * total)),
        ("size_available", json!(fragment * free)),
        ("block_size", json!(block)),
        ("block_total", json!(total)),
        ("block_available", json!(free)),
        ("block_used", json!(total.saturating_sub(free))),
        ("inode_total", json!(inodes)),
        ("inode_available", json!(inodes_free)),
        ("inode_used", json!(inodes.saturating_sub(inodes_free))),
    ]);
    Some((words.next()?.to_owned(), found))
}
