//! `copy`: one file. What copies folders, and what is on the target already, stands in `copy_tree` and `copy_remote`.

use std::path::Path;

use md5::Digest as _;
use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::attrs::{Attrs, Mend, Mode, Seen, failed};
use super::content::{self, Write, refused_copy, settled};
use super::spec::{self, Rules};
use super::{Call, Decision, Fields, Module, Pending, Place, copy_remote, copy_tree, fields};
use crate::render::text;

/// `copy`.
pub(super) const MODULE: Module = Module { names: &["copy"], rules: RULES, missing: &[], place: Place::Host, prepare };

/// The arguments of `copy`, and in the end of `template`, which is a `copy`, too.
pub(super) const RULES: Rules = Rules {
    late: true,
    early: Some(early),
    through: Some("ansible.legacy.copy"),
    internal: &["_original_basename"],
    hidden: &["decrypt"],
    ..Rules::NONE
};

/// What Ansible looks at before all else.
fn early(call: &Call) -> Result<(), String> {
    let given = |k: &str| call.given.get(k).is_some_and(|v| !v.is_null() && v.as_str() != Some(""));
    let content = call.given.contains_key("content");
    let reason = match () {
        () if !given("src") && !content => "src (or content) is required",
        () if !given("dest") => "dest is required",
        () if given("src") && content => "src and content are mutually exclusive",
        () if content && call.given.get("dest").and_then(Json::as_str).is_some_and(|d| d.ends_with('/')) => {
            "can not use content with a dir as dest"
        }
        () => "",
    };
    if reason.is_empty() { Ok(()) } else { Err(reason.into()) }
}

fn prepare(call: &Call) -> Result<Decision, String> {
    let content = call.given.contains_key("content");
    if call.yes("remote_src")? == Some(true) {
        let args = spec::validate(&MODULE, "copy", "ansible.legacy.copy", &call.given, false)?;
        return copy_remote::prepare(call, &args);
    }
    let dest = call.need("dest")?;
    if content {
        let bytes = written(call.given.get("content").unwrap_or(&Json::Null)).into_bytes();
        return place(call, Source { bytes, from: None, shown: dest.clone(), src: content::temporary("") }, &dest);
    }
    let src = call.need("src")?;
    let path =
        call.scope.search.find("files", src.trim_end_matches('/')).map_err(|_| not_found(call, "files", &src))?;
    if path.is_dir() {
        return copy_tree::prepare(call, &path, src.ends_with('/'), &dest);
    }
    let decrypt = call.yes("decrypt")?.unwrap_or(true);
    let read = if decrypt { crate::vault::read(&path) } else { std::fs::read(&path) };
    let bytes = read.map_err(|e| format!("copy: can't read {}: {e}", path.display()))?;
    let shown = path.display().to_string();
    place(call, Source { bytes, src: shown.clone(), shown, from: Some(path) }, &dest)
}

/// What Ansible says where a file on this side is not found.
pub(super) fn not_found(call: &Call, kind: &str, name: &str) -> String {
    let places: Vec<String> = match Path::new(name).is_absolute() {
        true => vec![name.to_owned()],
        false => call
            .scope
            .search
            .dirs
            .iter()
            .flat_map(|d| [d.join(kind).join(name), d.join(name)])
            .map(|p| p.display().to_string())
            .collect(),
    };
    let twice = if call.scope.search.dirs.len() == 1 { places.iter().chain(&places) } else { places.iter().chain(&[]) };
    let places: String = twice.map(|p| format!("\n\t{p}")).collect();
    format!(
        "Could not find or access '{name}'\nSearched in:{places} on the Ansible Controller.\nIf you are using a module and expect the file to exist on the remote, see the remote_src option"
    )
}

/// The text that `content` gives: JSON if it is structured, as Python writes it.
fn written(value: &Json) -> String {
    match value {
        Json::String(s) => s.clone(),
        Json::Object(_) | Json::Array(_) => content::python_json(value),
        other => text(&crate::render::Value::from(other)),
    }
}

/// A file of this side.
pub(super) struct Source {
    pub(super) bytes: Vec<u8>,
    /// Where its mode comes from for `mode: preserve`.
    pub(super) from: Option<std::path::PathBuf>,
    /// What `diff` calls it.
    pub(super) shown: String,
    /// What the result calls it if nothing is sent.
    pub(super) src: String,
}

/// The options beside `src` and `dest` that tell how a file is written.
pub(super) struct Options {
    pub(super) attrs: Attrs,
    pub(super) force: bool,
    pub(super) follow: bool,
    pub(super) backup: bool,
    pub(super) in_place: bool,
    pub(super) validate: Option<String>,
    checksum: Option<String>,
}

impl Options {
    pub(super) fn of(call: &Call) -> Result<Self, String> {
        Ok(Self {
            attrs: Attrs::of(call),
            force: call.yes("force")?.unwrap_or(true),
            follow: call.yes("follow")? == Some(true),
            backup: call.yes("backup")? == Some(true),
            in_place: call.yes("unsafe_writes")? == Some(true),
            validate: call.text("validate"),
            checksum: call.text("checksum"),
        })
    }
}

/// The mode of a file here, for `mode: preserve`.
pub(super) fn preserved(mode: &mut Option<Mode>, from: Option<&Path>) {
    use std::os::unix::fs::PermissionsExt as _;
    if matches!(mode, Some(Mode::Preserve)) {
        *mode = from.and_then(|p| p.metadata().ok()).map(|m| Mode::Bits(m.permissions().mode() & 0o7777));
    }
}

/// Puts bytes of this side to a path of the target.
pub(super) fn place(call: &Call, source: Source, dest: &str) -> Result<Decision, String> {
    let mut o = Options::of(call)?;
    preserved(&mut o.attrs.mode, source.from.as_deref());
    let sha1 = crate::sha1(&source.bytes);
    // An argument that `copy` does not know shows only where something would be sent.
    let late =
        spec::validate(&MODULE, "copy", "ansible.legacy.copy", &spec::known(&call.given, &call.action), false).err();
    let base = source.shown.rsplit('/').next().unwrap_or_default().to_owned();
    let folder = dest.ends_with('/');
    let (diff, check) = (call.diff, call.check);
    let old = if diff { "if [ -n \"$tp_x\" ]; then echo; cat -- \"$d\"; fi\n" } else { "" };
    let script = format!(
        "{}d={}\nif [ -d \"$d\" ]; then echo folder=1; d=${{d%/}}/{base}{}; fi\n\
         printf 'path=%s\\n' \"$d\"\n{}\
         if [ -L \"$d\" ]; then echo link=1; {} fi\n\
         tp_x=${{d%/*}}\nif [ ! -d \"${{tp_x:-/}}\" ]; then if [ -e \"${{tp_x:-/}}\" ]; then echo parent=other; else echo parent=absent; fi; fi\n\
         tp_x=\nif [ -f \"$d\" ]; then tp_sha \"$d\"; tp_x=$tp_h; printf 'sum=%s\\n' \"$tp_x\"; if [ \"$tp_x\" = {sha1} ]; then tp_x=; fi; fi\n{old}",
        crate::carry::look(dest, &[true], true),
        shell_quote(dest),
        if folder { format!("; else case $d in */) d=${{d}}{};; esac", shell_quote(&base)) } else { String::new() },
        o.attrs.probe("\"$d\"", "-L"),
        if o.follow { "tp_tell real \"$(readlink -f -- \"$d\")\";" } else { "" },
        base = shell_quote(&base),
    );
    let dest = dest.to_owned();
    Ok(Decision::Probe(
        script,
        Box::new(move |out| {
            let (seen, now) = Seen::read(&out);
            let path = seen.get("path").to_owned();
            let there = seen.there();
            if source.from.is_none() && seen.get("folder") == "1" {
                return Err("can not use content with a dir as dest".into());
            }
            if seen.get("parent") == "other" {
                let msg = format!("Failed to get information on remote file ({path}): Not a directory");
                return super::action::wrong(msg);
            }
            if there && !o.force {
                return Ok(Decision::Done(fields([
                    ("dest", json!(dest)),
                    ("src", json!(source.src)),
                    ("changed", json!(false)),
                ])));
            }
            let sum = json!(sha1);
            let failing = |msg: String, more: Fields| {
                let mut all = more;
                all.insert("checksum".into(), sum.clone());
                failed(msg, all)
            };
            if seen.directory() {
                return Ok(failing(format!("{path} is a directory"), Fields::new()));
            }
            let link = seen.get("link") == "1";
            let same = there && seen.sum() == sha1 && (!link || o.follow);
            if same {
                return Ok(attributes(&o, &seen, &path, &sha1, diff));
            }
            if check {
                let mut all = fields([("changed", json!(true))]);
                if diff {
                    all.insert("diff".into(), json!([texts(&source, &path, there, &now)]));
                }
                // A plan wants to know more than check mode tells.
                return change(&o, source, Found { seen, path, now, sha1, folder, check, diff }, Some(all));
            }
            if let Some(msg) = late {
                return Ok(failing(msg, Fields::new()));
            }
            if seen.get("parent") == "absent" && !folder {
                let parent = parent(&path);
                return Ok(failing(format!("Destination directory {parent} does not exist"), Fields::new()));
            }
            if let Some(expected) = o.checksum.as_deref().filter(|c| *c != sha1) {
                let msg = "Copied file does not match the expected checksum. Transfer failed.";
                return Ok(failing(msg.into(), fields([("expected_checksum", json!(expected))])));
            }
            change(&o, source, Found { seen, path, now, sha1, folder, check, diff }, None)
        }),
    ))
}

struct Found {
    seen: Seen,
    path: String,
    now: Vec<u8>,
    sha1: String,
    folder: bool,
    check: bool,
    diff: bool,
}

/// The content is there already: only owner and mode may change.
fn attributes(o: &Options, seen: &Seen, path: &str, sha1: &str, diff: bool) -> Decision {
    let path = if o.follow && !seen.get("real").is_empty() { seen.get("real") } else { path };
    let mend = match o.attrs.mend(seen, path) {
        Ok(mend) => mend,
        Err(mut why) => {
            why.insert("checksum".into(), json!(sha1));
            return Decision::Done(why);
        }
    };
    let mut result = fields([
        ("path", json!(path)),
        ("dest", json!(path)),
        ("checksum", json!(sha1)),
        ("changed", json!(!mend.none())),
    ]);
    let with = |f: &Fields| {
        let mut f = f.clone();
        f.insert("path".into(), json!(path));
        Json::Object(f)
    };
    if diff {
        result.insert("diff".into(), json!({ "before": with(&mend.before), "after": with(&mend.after) }));
    }
    let mut expected = result.clone();
    expected.extend(seen.facts());
    if mend.none() {
        return Decision::Done(expected);
    }
    Decision::Change(Pending {
        script: format!("{}p={}\n{}tp_stat \"$p\" >&3\n", content::QUIET, shell_quote(path), mend.all()),
        action: Action::Update,
        subject: format!("file {path}"),
        path: Some(path.to_owned()),
        before: Some(Json::Object(mend.before)),
        after: Some(Json::Object(mend.after)),
        certain: true,
        foreign: false,
        expected,
        finish: settled(result, true, refused_copy),
    })
}

/// `diff` of the content.
fn texts(source: &Source, path: &str, there: bool, now: &[u8]) -> Json {
    let mut all = Fields::new();
    let large = |bytes: &[u8]| bytes.len() > 104_448;
    let binary = |bytes: &[u8]| bytes.contains(&0);
    let text = |bytes: &[u8]| json!(String::from_utf8_lossy(bytes));
    if !there {
        all.insert("before".into(), json!(""));
    } else if large(now) {
        all.insert("dst_larger".into(), json!(104_448));
    } else if binary(now) {
        all.insert("dst_binary".into(), json!(1));
    } else {
        all.insert("before_header".into(), json!(path));
        all.insert("before".into(), text(now));
    }
    if large(&source.bytes) {
        all.insert("src_larger".into(), json!(104_448));
    } else if binary(&source.bytes) {
        all.insert("src_binary".into(), json!(1));
    } else {
        all.insert("after_header".into(), json!(source.shown));
        all.insert("after".into(), text(&source.bytes));
    }
    Json::Object(all)
}

/// Sends the content.
fn change(o: &Options, source: Source, f: Found, expected: Option<Fields>) -> Result<Decision, String> {
    let Found { seen, path, now, sha1, folder, check, diff } = f;
    let there = seen.there();
    let target = if o.follow && !seen.get("real").is_empty() { seen.get("real").to_owned() } else { path.clone() };
    let base = if there { seen.clone() } else { seen.fresh(false) };
    // As Ansible: the content is written before a name turns out to be unknown.
    let (mend, wrong) = match o.attrs.mend(&base, &target) {
        Ok(mend) => (mend, None),
        Err(why) => (Mend::default(), Some(why)),
    };
    let suffix = target.rsplit('/').next().and_then(|n| n.rfind('.').filter(|i| *i > 0).and_then(|i| n.get(i..)));
    let mut result = fields([
        ("dest", json!(target)),
        ("src", json!(content::temporary(&format!("source{}", suffix.unwrap_or_default())))),
        ("checksum", json!(sha1)),
        ("changed", json!(true)),
    ]);
    if diff {
        result.insert("diff".into(), json!([texts(&source, &path, there, &now)]));
    }
    let (mut was, mut will) = (mend.before.clone(), mend.after.clone());
    will.extend(content::shown(&source.bytes).map(|t| ("content".to_owned(), t)));
    if there && diff {
        was.extend(content::shown(&now).map(|t| ("content".to_owned(), t)));
    }
    let print = content::print(&source.bytes);
    let write = Write {
        path: &target,
        print: &print,
        mend: (&mend.script, &mend.late),
        validate: o.validate.as_deref(),
        backup: o.backup,
        follow: false,
        fresh: false,
        new: !there,
        in_place: o.in_place,
    };
    let dirs = match folder && !there {
        true => format!("mkdir -p -- {} || exit 1\n", shell_quote(parent(&target))),
        false => String::new(),
    };
    let script = format!("{dirs}{}", write.script());
    let (sum, md5) = (json!(sha1), json!(hex::encode(md5::Md5::digest(&source.bytes))));
    let done = settled(result.clone(), true, refused_copy);
    let subject = format!("file {target}");
    Ok(Decision::Change(Pending {
        script,
        action: if there { Action::Update } else { Action::Create },
        subject,
        path: Some(target),
        before: there.then(|| Json::Object(was)),
        after: Some(Json::Object(will)),
        certain: true,
        foreign: o.validate.is_some(),
        expected: expected.filter(|_| check).unwrap_or(result),
        finish: Box::new(move |out| {
            let mut all = done(out);
            if !all.contains_key("failed") {
                all.insert("md5sum".into(), md5);
            }
            if let (Some(mut wrong), None) = (wrong, all.get("failed")) {
                wrong.extend(
                    ["size", "uid", "gid", "owner", "group", "mode", "state"]
                        .iter()
                        .filter_map(|k| all.get(*k).map(|v| ((*k).to_owned(), v.clone()))),
                );
                all = wrong;
            }
            if all.contains_key("failed") {
                all.insert("checksum".into(), sum);
            }
            all
        }),
    }))
}

/// The folder of a path.
pub(super) fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((dir, _)) => dir,
        None => ".",
    }
}
