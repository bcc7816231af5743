//! `assemble`: one file of the fragments in a folder.

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::attrs::{Attrs, Seen, failed};
use super::content::{self, QUIET, Write, refused, settled};
use super::copy::{self, Source, not_found};
use super::pattern::{Pattern, fault};
use super::spec::Rules;
use super::{Call, Decision, Fields, Module, Pending, Place, fields};

/// `assemble`.
pub(super) const MODULE: Module = Module {
    names: &["assemble"],
    rules: Rules { early: Some(early), through: Some("ansible.legacy.assemble"), ..Rules::NONE },
    missing: &[],
    place: Place::Host,
    prepare,
};

fn early(call: &Call) -> Result<(), String> {
    let given = |k: &str| call.given.get(k).is_some_and(|v| !v.is_null());
    if given("src") && given("dest") { Ok(()) } else { Err("src and dest are required".into()) }
}

/// What of a folder's fragments goes into the file, and how.
struct Parts {
    delimiter: Option<String>,
    regexp: Option<Pattern>,
    hidden: bool,
}

impl Parts {
    fn of(call: &Call) -> Result<Self, String> {
        let regexp = call.text("regexp");
        let compiled =
            regexp.map(|p| Pattern::new(&p, false).map_err(|_| format!("Invalid Regexp ({}) in \"{p}\"", fault(&p))));
        // Escapes in a delimiter mean what they mean in Python.
        let delimiter =
            call.text("delimiter").map(|d| d.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r"));
        Ok(Self { delimiter, regexp: compiled.transpose()?, hidden: call.yes("ignore_hidden")? != Some(true) })
    }

    fn takes(&self, name: &str) -> bool {
        (self.hidden || !name.starts_with('.')) && self.regexp.as_ref().is_none_or(|p| p.matches(name))
    }

    /// Joins the fragments, which come in the order of their names.
    fn join<'b>(&self, parts: impl Iterator<Item = &'b [u8]>) -> Vec<u8> {
        let (mut out, mut first, mut newline) = (Vec::new(), true, false);
        for part in parts {
            // Each part begins on a line of its own.
            if newline {
                out.push(b'\n');
            }
            if let (Some(d), false) = (&self.delimiter, first) {
                out.extend_from_slice(d.as_bytes());
                if !d.ends_with('\n') {
                    out.push(b'\n');
                }
            }
            out.extend_from_slice(part);
            first = false;
            newline = !part.ends_with(b"\n");
        }
        out
    }
}

fn prepare(call: &Call) -> Result<Decision, String> {
    let (src, dest) = (call.need("src")?, call.need("dest")?);
    let parts = Parts::of(call)?;
    if call.yes("remote_src")? == Some(false) {
        return local(call, &parts, &src, &dest);
    }
    let attrs = Attrs::of(call);
    let backup = call.yes("backup")? == Some(true);
    let in_place = call.yes("unsafe_writes")? == Some(true);
    let validate = call.text("validate");
    let check = call.check;
    // Each fragment by its length, so that its content can be anything.
    let script = format!(
        "s={}\nd={}\n{}if [ -f \"$d\" ]; then tp_sum sha1sum \"$d\"; printf 'md5=%s\\n' \"$(md5sum <\"$d\")\"; fi\n\
         if [ ! -d \"${{d%/*}}/\" ]; then echo parent=absent; fi\n\
         if [ ! -e \"$s\" ]; then echo source=absent; elif [ ! -d \"$s\" ]; then echo source=other; fi\necho\n\
         if [ -d \"$s\" ]; then cd \"$s\" && for f in * .[!.]*; do if [ -f \"$f\" ]; then printf '%s %s\\n' \"$(wc -c <\"$f\")\" \"$f\"; cat -- \"$f\"; fi; done; fi\n",
        shell_quote(&src),
        shell_quote(&dest),
        attrs.probe("\"$d\"", "-L"),
    );
    Ok(Decision::Probe(
        script,
        Box::new(move |out| {
            let (seen, rest) = Seen::read(&out);
            match seen.get("source") {
                "absent" => return Ok(failed(format!("Source ({src}) does not exist"), Fields::new())),
                "other" => return Ok(failed(format!("Source ({src}) is not a directory"), Fields::new())),
                _ => {}
            }
            let mut all: Vec<(String, Vec<u8>)> = Vec::new();
            let mut rest = rest.as_slice();
            while let Some(end) = rest.iter().position(|b| *b == b'\n') {
                let (line, after) = rest.split_at(end);
                let line = String::from_utf8_lossy(line).trim_start().to_owned();
                let Some((size, name)) = line.split_once(' ') else { break };
                let after = after.get(1..).unwrap_or_default();
                let (content, next) = after.split_at(size.parse().unwrap_or(0).min(after.len()));
                all.push((name.to_owned(), content.to_vec()));
                rest = next;
            }
            all.sort();
            let bytes = parts.join(all.iter().filter(|(n, _)| parts.takes(n)).map(|(_, c)| c.as_slice()));
            if seen.directory() {
                return Ok(failed(format!("attempted to take checksum of directory: {dest}"), Fields::new()));
            }
            let sum = crate::sha1(&bytes);
            let there = seen.there();
            let same = there && seen.sum() == sum;
            if !same && seen.get("parent") == "absent" {
                let tmp = content::temporary("source");
                let msg = format!(
                    "Could not replace file: {tmp} to {dest}: [Errno 2] No such file or directory: b'{tmp}' -> b'{dest}'"
                );
                return Ok(failed(msg, Fields::new()));
            }
            let base = if there { seen.clone() } else { seen.fresh(false) };
            let mend = match attrs.mend(&base, &dest) {
                Ok(mend) => mend,
                Err(why) => return Ok(Decision::Done(why)),
            };
            let mut result = fields([
                ("src", json!(src)),
                ("dest", json!(dest)),
                ("checksum", json!(sum)),
                ("msg", json!("OK")),
                ("changed", json!(!same || !mend.none())),
            ]);
            if same {
                result.insert("md5sum".into(), json!(seen.get("md5").split(' ').next()));
            }
            if same && mend.none() && check {
                return Ok(skipped());
            }
            if same && mend.none() {
                result.extend(seen.facts());
                return Ok(Decision::Done(result));
            }
            let script = if same {
                format!("{QUIET}p={}\n{}tp_stat \"$p\" >&3\n", shell_quote(&dest), mend.all())
            } else {
                let print = content::print(&bytes);
                let write = Write {
                    path: &dest,
                    print: &print,
                    mend: (&mend.script, &mend.late),
                    validate: validate.as_deref(),
                    backup,
                    follow: false,
                    fresh: false,
                    new: !there,
                    in_place,
                };
                format!("{}{}", write.script(), content::md5("$d"))
            };
            let mut will = mend.after;
            will.extend(content::shown(&bytes).map(|t| ("content".to_owned(), t)));
            let expected = match (check, skipped()) {
                (true, Decision::Done(all)) => all,
                _ => result.clone(),
            };
            Ok(Decision::Change(Pending {
                script,
                action: if there { Action::Update } else { Action::Create },
                subject: format!("file {dest}"),
                path: Some(dest),
                before: there.then(|| Json::Object(mend.before)),
                after: Some(Json::Object(will)),
                certain: true,
                foreign: validate.is_some(),
                expected,
                finish: settled(result, true, refused),
            }))
        }),
    ))
}

fn skipped() -> Decision {
    Decision::Done(fields([
        ("changed", json!(false)),
        ("skipped", json!(true)),
        ("msg", json!("This action (assemble) does not support check mode.")),
    ]))
}

/// The fragments are on this side.
fn local(call: &Call, parts: &Parts, src: &str, dest: &str) -> Result<Decision, String> {
    let folder = call.scope.search.find("files", src).map_err(|_| not_found(call, "files", src))?;
    if !folder.is_dir() {
        return Err(format!("Source ({src}) is not a directory"));
    }
    let bad = |e: std::io::Error| format!("assemble: can't read {}: {e}", folder.display());
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(bad)? {
        let path = entry.map_err(bad)?.path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_file() && parts.takes(&name) {
            all.push((name, std::fs::read(&path).map_err(bad)?));
        }
    }
    all.sort();
    let bytes = parts.join(all.iter().map(|(_, c)| c.as_slice()));
    let shown = content::temporary("");
    copy::place(call, Source { bytes, from: None, shown: shown.clone(), src: shown }, dest)
}
