//! What the modules share that change a text file: `lineinfile`, `blockinfile`, `replace`.

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::attrs::{Attrs, Mend, Seen, failed};
use super::content::{QUIET, Write, print, refused, settled, shown, unless_wrong};
use super::{Call, Decision, Fields, Output, Pending, fields, pattern};

/// Their common options.
pub(super) struct Edit {
    pub(super) path: String,
    attrs: Attrs,
    backup: bool,
    validate: Option<String>,
    in_place: bool,
    pub(super) diff: bool,
    check: bool,
    /// Whether `diff` has a second part for owner and mode.
    pub(super) two_diffs: bool,
}

/// A file's text, before and after.
pub(super) struct Texts {
    pub(super) seen: Seen,
    pub(super) old: String,
    pub(super) new: String,
    /// What was done; empty if nothing.
    pub(super) msg: String,
    /// More of the result.
    pub(super) more: Fields,
}

impl Edit {
    pub(super) fn of(call: &Call) -> Result<Self, String> {
        Ok(Self {
            path: call.need("path")?,
            attrs: Attrs::of(call),
            backup: call.yes("backup")? == Some(true),
            validate: call.text("validate"),
            in_place: call.yes("unsafe_writes")? == Some(true),
            diff: call.diff,
            check: call.check,
            two_diffs: true,
        })
    }

    pub(super) fn probe(&self) -> String {
        let p = shell_quote(&self.path);
        let ahead = crate::carry::look(&self.path, &[true], false);
        format!("{ahead}{}echo\nif [ -f {p} ]; then cat -- {p}; fi\n", self.attrs.probe(&p, "-L"))
    }

    /// What is there; or the result, if it is a folder or can't be read.
    pub(super) fn read(&self, out: &Output) -> Result<(Seen, String), Box<Decision>> {
        let (seen, bytes) = Seen::read(out);
        if seen.directory() {
            let more = fields([("rc", json!(256))]);
            return Err(Box::new(failed(format!("Path {} is a directory !", self.path), more)));
        }
        if out.rc != 0 {
            return Err(Box::new(failed(out.error_text().trim(), Fields::new())));
        }
        Ok((seen, pattern::decode(&bytes)))
    }

    /// The decision.
    pub(super) fn decide(self, t: Texts) -> Decision {
        let there = t.seen.there();
        let changed = !t.msg.is_empty();
        if let Some(v) = self.validate.as_deref().filter(|v| changed && !v.contains("%s")) {
            if !self.check {
                return failed(format!("validate must contain %s: {v}"), Fields::new());
            }
        }
        let base = if there { t.seen.clone() } else { t.seen.fresh(false) };
        // As Ansible: the text is written before a name turns out to be unknown.
        let (mend, wrong) = match self.attrs.mend(&base, &self.path) {
            _ if !there && (!changed || self.check) => (Mend::default(), None),
            Ok(mend) => (mend, None),
            Err(why) if changed && !self.check => (Mend::default(), Some(why)),
            Err(why) => return Decision::Done(why),
        };
        let mut msg = t.msg;
        if !mend.none() {
            msg.push_str(if changed { " and " } else { "" });
            msg.push_str("ownership, perms or SE linux context changed");
        }
        let any = changed || !mend.none();
        let mut result = t.more;
        result.extend(fields([("changed", json!(any)), ("msg", json!(msg))]));
        if self.diff && (changed || self.two_diffs) {
            let content = self.content_diff(&t.old, &t.new);
            let attrs = (there || !self.check).then(|| self.attrs_diff(&mend));
            result.insert(
                "diff".into(),
                match attrs.filter(|_| self.two_diffs) {
                    Some(attrs) => json!([content, attrs]),
                    None => content,
                },
            );
        }
        if !any {
            return Decision::Done(result);
        }
        let bytes = pattern::encode(&t.new);
        let script = if changed {
            let dirs = if there {
                String::new()
            } else {
                let parent = shell_quote(super::copy::parent(&self.path));
                format!("[ -d {parent} ] || mkdir -p -- {parent}\n")
            };
            let write = Write {
                path: &self.path,
                print: &print(&bytes),
                mend: (&mend.script, &mend.late),
                validate: self.validate.as_deref(),
                backup: self.backup,
                follow: true,
                fresh: false,
                new: !there,
                in_place: self.in_place,
            };
            format!("{dirs}{}", write.script())
        } else {
            format!("{QUIET}p={}\n{}", shell_quote(&self.path), mend.all())
        };
        let (mut was, mut will) = (mend.before, mend.after);
        if self.diff && changed {
            was.extend(shown(&pattern::encode(&t.old)).map(|t| ("content".to_owned(), t)));
            will.extend(shown(&bytes).map(|t| ("content".to_owned(), t)));
        }
        let done = settled(result.clone(), false, refused);
        Decision::Change(Pending {
            script,
            action: if there { Action::Update } else { Action::Create },
            subject: format!("file {}", self.path),
            path: Some(self.path),
            before: there.then(|| Json::Object(was)),
            after: Some(Json::Object(will)),
            certain: true,
            foreign: self.validate.is_some(),
            expected: result,
            finish: unless_wrong(done, wrong),
        })
    }

    fn content_diff(&self, old: &str, new: &str) -> Json {
        let header = if self.two_diffs { format!("{} (content)", self.path) } else { self.path.clone() };
        json!({ "before": old, "after": new, "before_header": header, "after_header": header })
    }

    fn attrs_diff(&self, mend: &Mend) -> Json {
        let header = format!("{} (file attributes)", self.path);
        let mut all = fields([("before_header", json!(header)), ("after_header", json!(header))]);
        if !mend.none() {
            all.insert("before".into(), Json::Object(mend.before.clone()));
            all.insert("after".into(), Json::Object(mend.after.clone()));
        }
        Json::Object(all)
    }
}

/// Lines with their ends.
pub(super) fn lines(text: &str) -> Vec<String> {
    text.split_inclusive('\n').map(str::to_owned).collect()
}
