//! `file`.

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::attrs::{Attrs, Mend, Seen, failed};
use super::content::{QUIET, refused, settled};
use super::spec::Rules;
use super::times::Time;
use super::{Call, Decision, Fields, Module, Output, Pending, Place, fields, file_link, file_tree};

/// `file`.
pub(super) const MODULE: Module = Module { names: &["file"], rules: RULES, missing: &[], place: Place::Host, prepare };

const RULES: Rules = Rules { internal: &["_diff_peek", "_original_basename"], ..Rules::NONE };

/// What a task asks for.
pub(super) struct Wanted {
    pub(super) path: String,
    pub(super) src: Option<String>,
    state: Option<String>,
    pub(super) attrs: Attrs,
    recurse: bool,
    pub(super) force: bool,
    pub(super) follow: bool,
    modification: Time,
    access: Time,
    pub(super) diff: bool,
    pub(super) check: bool,
}

/// What the probe saw.
pub(super) struct Now {
    /// At the path itself.
    pub(super) own: Seen,
    /// Behind a link there.
    pub(super) target: Option<Seen>,
    /// Lists of what is below.
    rest: Vec<u8>,
}

/// More of `tp_stat`: the times.
const TIMES: &str = "mtime=%Y\natime=%X\nmtimes=%y\natimes=%x";

fn prepare(call: &Call) -> Result<Decision, String> {
    let state = call.text("state");
    let touch = state.as_deref() == Some("touch");
    let time = |key: &str| {
        let format = call.need(&format!("{key}_format"))?;
        Time::read(call.text(key).as_deref(), &format, if touch { Time::Now } else { Time::Preserve })
    };
    let w = Wanted {
        path: call.need("path")?,
        src: call.text("src"),
        attrs: Attrs::of(call),
        recurse: call.yes("recurse")? == Some(true),
        force: call.yes("force")? == Some(true),
        follow: call.yes("follow")? == Some(true),
        modification: time("modification_time")?,
        access: time("access_time")?,
        diff: call.diff,
        check: call.check,
        state,
    };
    let timed = touch || w.modification != Time::Preserve || w.access != Time::Preserve;
    let target = |src: &String| crate::carry::look(src, &[true], false);
    let ahead = match timed {
        true => String::new(),
        false => crate::carry::look(&w.path, &[false], false) + &w.src.as_ref().map(target).unwrap_or_default(),
    };
    let mut script = format!("{ahead}p={}\n", shell_quote(&w.path));
    if timed {
        script.push_str(&format!("tp_g=$tp_f\ntp_f=\"$tp_f\n{TIMES}\"\n"));
    }
    script.push_str(&w.attrs.probe("\"$p\"", ""));
    if let Some(src) = w.src.as_deref() {
        script.push_str(&file_link::probe(src, w.state.as_deref() == Some("hard"), w.force));
    }
    script.push_str("if [ -L \"$p\" ]; then tp_tell real \"$(readlink -f -- \"$p\")\"; fi\necho\n");
    // What attributes of a link are attributes of: its target, or what it will point to.
    let behind = if w.src.is_some() { "$tp_a" } else { "$p" };
    script.push_str(&format!(
        "if [ -L \"$p\" ]{}; then {}fi\necho\n",
        if w.src.is_some() { " || [ -n \"$tp_a\" ]" } else { "" },
        w.attrs.probe(&format!("\"{behind}\""), "-L")
    ));
    if timed {
        script.push_str("tp_f=$tp_g\n");
    }
    if w.diff && w.state.as_deref() == Some("absent") {
        script.push_str(file_tree::LIST);
    }
    if w.recurse {
        script.push_str(&file_tree::probe(&w.attrs, w.follow));
    }
    Ok(Decision::Probe(
        script,
        Box::new(move |out| {
            let (own, rest) = Seen::read(&out);
            let (target, rest) = Seen::read(&Output { stdout: rest, ..out });
            let target = target.there().then_some(target);
            w.decide(Now { own, target, rest })
        }),
    ))
}

impl Wanted {
    /// A failed result with what is at the path.
    pub(super) fn fail(&self, now: &Seen, msg: impl Into<String>, path: &str) -> Decision {
        let mut more = now.facts();
        more.insert("path".into(), json!(path));
        failed(msg, more)
    }

    fn decide(self, now: Now) -> Result<Decision, String> {
        let prev = now.own.state();
        let state = self.state.clone().unwrap_or_else(|| match prev {
            "absent" if self.recurse => "directory".into(),
            "absent" => "file".into(),
            prev => prev.into(),
        });
        if self.recurse && state != "directory" {
            return Ok(self.fail(&now.own, "recurse option requires state to be 'directory'", &self.path));
        }
        if self.src.is_some() && !matches!(state.as_str(), "link" | "hard") {
            return Ok(self.fail(&now.own, "src option requires state to be 'link' or 'hard'", &self.path));
        }
        if self.path.is_empty() && state == "directory" {
            return Ok(self.fail(
                &now.own,
                "There was an issue creating  as requested: [Errno 2] No such file or directory: b''",
                "",
            ));
        }
        match state.as_str() {
            "absent" => Ok(self.absent(&now)),
            "directory" | "file" => Ok(self.placed(&now, &state)),
            "touch" => Ok(self.touch(&now)),
            "link" => file_link::link(self, &now),
            _ => file_link::hard(self, &now),
        }
    }

    /// `diff`, with the path in both halves.
    pub(super) fn diff(&self, path: &str, before: Fields, after: Fields) -> Json {
        let with = |mut f: Fields| {
            f.insert("path".into(), json!(path));
            Json::Object(f)
        };
        json!({ "before": with(before), "after": with(after) })
    }

    /// A change of the path, whose result has `key` for the path.
    pub(super) fn change(&self, key: &str, path: &str, script: String, now: &Seen, made: Made) -> Decision {
        let mut result = made.more;
        result.extend(fields([(key, json!(path)), ("changed", json!(true))]));
        if self.diff {
            result.insert("diff".into(), self.diff(path, made.before.clone(), made.after.clone()));
        }
        let mut expected = result.clone();
        if made.state == "absent" || now.there() {
            expected.extend(now.facts());
        }
        if made.state == "touch" && !now.there() {
            expected.remove("diff");
        }
        if made.state == "absent" {
            result.insert("state".into(), json!("absent"));
        }
        let there = now.there() || now.link();
        let (mut before, mut after) = (made.before, made.after);
        before.entry("state").or_insert_with(|| json!(now.state()));
        after.entry("state").or_insert_with(|| json!(made.state));
        // A plan is the same whenever it is made, and the time of a touch is that of the change.
        for (time, key) in [(&self.modification, "mtime"), (&self.access, "atime")] {
            if *time == Time::Now {
                before.remove(key);
                after.remove(key);
            }
        }
        Decision::Change(Pending {
            // What points to nothing has no facts, unless the link itself is meant.
            script: format!(
                "{QUIET}p={}\n{script}if {}; then tp_stat \"$p\" >&3; fi\n",
                shell_quote(path),
                if made.state == "link" && self.follow { "[ -e \"$p\" ]" } else { ":" }
            ),
            action: match made.state {
                "absent" => Action::Delete,
                _ if there => Action::Update,
                _ => Action::Create,
            },
            subject: format!("file {path}"),
            path: Some(path.to_owned()),
            before: there.then(|| Json::Object(before)),
            after: (made.state != "absent").then(|| Json::Object(after)),
            certain: true,
            foreign: false,
            expected,
            finish: settled(result, made.facts, refused),
        })
    }

    /// Nothing to do.
    pub(super) fn same(&self, key: &str, path: &str, now: &Seen, more: Fields) -> Decision {
        let mut result = more;
        result.extend(fields([(key, json!(path)), ("changed", json!(false))]));
        result.extend(now.facts());
        if self.diff {
            result.insert("diff".into(), self.diff(path, Fields::new(), Fields::new()));
        }
        Decision::Done(result)
    }

    fn absent(&self, now: &Now) -> Decision {
        if now.own.state() == "absent" {
            return Decision::Done(fields([
                ("path", json!(self.path)),
                ("changed", json!(false)),
                ("state", json!("absent")),
            ]));
        }
        let mut before = fields([("state", json!(now.own.state()))]);
        if now.own.directory() {
            before.insert("path_content".into(), file_tree::content(&now.rest));
        }
        let made = Made {
            state: "absent",
            before,
            after: fields([("state", json!("absent"))]),
            facts: false,
            more: Fields::new(),
        };
        self.change("path", &self.path, "rm -rf -- \"$p\"\n".into(), &now.own, made)
    }

    /// `directory` and `file`.
    fn placed(&self, now: &Now, state: &str) -> Decision {
        // A link stands for what it points to.
        let through = self.follow && now.own.link();
        let real = now.own.get("real");
        let path = if through && !real.is_empty() { real } else { self.path.as_str() };
        let empty = Seen::default();
        let seen = if through { now.target.as_ref().unwrap_or(&empty) } else { &now.own };
        let prev = seen.state();
        let directory = state == "directory";
        match (prev, directory) {
            ("directory", true) | ("absent", true) | ("file" | "hard", false) => {}
            (_, true) => return self.fail(seen, format!("{path} already exists as a {prev}"), path),
            (_, false) => {
                let msg = format!("file ({path}) is {prev}, cannot continue");
                let mut more = seen.facts();
                more.extend(fields([("path", json!(path)), ("state", json!(prev))]));
                return failed(msg, more);
            }
        }
        let there = seen.there();
        let base = if there { seen.clone() } else { now.own.fresh(true) };
        let mend = match self.attrs.mend(&base, path) {
            Ok(mend) => mend,
            Err(why) => return Decision::Done(why),
        };
        let mut script = String::new();
        let (mut before, mut after) = (mend.before.clone(), mend.after.clone());
        if !there {
            script.push_str(&format!(
                "tp_made() {{ p=$1\n{}:\n}}\ntp_q=$p\ntp_dirs \"$p\" || {{ printf '%s\\n' {} >&3; exit 1; }}\np={}\n",
                mend.all(),
                tail(&format!("There was an issue creating {path} as requested: "), path, &format!(": b'{path}'")),
                shell_quote(path)
            ));
            if self.check {
                (before, after) = Default::default();
            }
            before.insert("state".into(), json!("absent"));
            after.insert("state".into(), json!("directory"));
        } else {
            script.push_str(&mend.all());
        }
        let mut changed = !there || !mend.none();
        if self.recurse && there && file_tree::differs(&self.attrs, &now.rest) {
            changed = true;
            script.push_str(&file_tree::mend(&self.attrs, self.follow));
        }
        if there {
            changed |= self.times(seen, &mut before, &mut after, &mut script);
        }
        if !changed {
            return self.same("path", path, seen, Fields::new());
        }
        let state = if directory { "directory" } else { "file" };
        self.change("path", path, script, seen, Made { state, before, after, facts: true, more: Fields::new() })
    }

    /// Whether times change; adds to both halves of the difference and to the script.
    fn times(&self, seen: &Seen, before: &mut Fields, after: &mut Fields, script: &mut String) -> bool {
        let mut changed = false;
        let link = if self.follow { "" } else { " -h" };
        for (time, key, flag) in [(&self.modification, "mtime", "-m"), (&self.access, "atime", "-a")] {
            if time.holds(seen, &format!("{key}s")) {
                continue;
            }
            changed = true;
            if let Some(touch) = time.touch(flag) {
                script.push_str(&format!("{touch}{link} \"$p\"\n"));
            }
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let now = json!(now.as_secs());
            before.insert(key.into(), if seen.there() { seen.number(key) } else { now.clone() });
            after.insert(key.into(), now);
        }
        changed
    }

    fn touch(&self, now: &Now) -> Decision {
        let seen = &now.own;
        let there = seen.there();
        // Attributes go through a link, times and the result's facts do not look at its target.
        let base = match (&now.target, self.follow) {
            (Some(target), true) => target.clone(),
            _ if there => seen.clone(),
            _ => seen.fresh(false),
        };
        let mend: Mend = match self.attrs.mend(&base, &self.path) {
            Ok(mend) => mend,
            Err(why) => return Decision::Done(why),
        };
        let (mut before, mut after) = (mend.before.clone(), mend.after.clone());
        let mut script = String::new();
        let mut changed = !there || !mend.none();
        if !there {
            script.push_str(&format!(
                "( : >>\"$p\" ) || {{ printf '%s\\n' {} >&3; exit 1; }}\n",
                tail("Error, could not touch target: ", &self.path, &format!(": b'{}'", self.path))
            ));
        }
        let mut times = String::new();
        changed |= self.times(seen, &mut before, &mut after, &mut times);
        // A new file has its times.
        let fresh = !there && self.modification == Time::Now && self.access == Time::Now;
        if !fresh {
            script.push_str(&times);
        }
        script.push_str(&mend.all());
        before.insert("state".into(), json!(seen.state()));
        after.insert("state".into(), json!("touch"));
        if !changed {
            let mut result = fields([("dest", json!(self.path)), ("changed", json!(false))]);
            result.extend(seen.facts());
            if self.diff {
                result.insert("diff".into(), self.diff(&self.path, before, after));
            }
            return Decision::Done(result);
        }
        let made = Made { state: "touch", before, after, facts: true, more: Fields::new() };
        self.change("dest", &self.path, script, seen, made)
    }
}

/// The words of a failure, for `printf` in a script: before and after what the tool says, and the path.
pub(super) fn tail(fail: &str, path: &str, tail: &str) -> String {
    ["fail", "path", "tail"]
        .iter()
        .zip([fail, path, tail])
        .map(|(k, v)| shell_quote(&format!("{k}={v}")))
        .collect::<Vec<_>>()
        .join(" ")
}

/// What a change makes.
pub(super) struct Made {
    pub(super) state: &'static str,
    pub(super) before: Fields,
    pub(super) after: Fields,
    /// Whether the result has the keys about the file.
    pub(super) facts: bool,
    pub(super) more: Fields,
}
