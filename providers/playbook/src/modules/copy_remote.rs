//! `copy` with `remote_src`: from one path of the target to another.

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::attrs::{Mode, Seen, failed};
use super::content::{self, QUIET, Write, refused_copy, settled};
use super::copy::{Options, parent};
use super::{Call, Decision, Fields, Pending, fields, file_tree};

/// What is at both ends: `"$s"` and `"$d"`.
pub(super) fn prepare(call: &Call, args: &Fields) -> Result<Decision, String> {
    let text = |k: &str| args.get(k).and_then(Json::as_str).map(str::to_owned);
    let (src, dest) = (text("src").unwrap_or_default(), text("dest").unwrap_or_default());
    let o = Options::of(call)?;
    let base = src.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
    let folder = dest.ends_with('/');
    let checksum = text("checksum");
    let (s, name) = (shell_quote(&src), shell_quote(&base));
    let recurse = o.attrs.owner.is_some() || o.attrs.group.is_some();
    let owners = super::attrs::Attrs { mode: None, flags: None, ..o.attrs.clone() };
    let below = if recurse { format!("p=$d\n{}", file_tree::probe(&owners, false)) } else { String::new() };
    // A folder is compared by the sums of all files in it, and by the names of all else.
    let mine = o.attrs.probe("\"$d\"", "-L");
    let script = format!(
        "s={s}\nd={}\nif [ ! -e \"$s\" ]; then echo source=absent; exit 0; fi\n\
         if [ -f \"$s\" ]; then echo source=file; tp_x=$(sha1sum <\"$s\"); printf 'mine=%s\\nmd5=%s\\nbits=%s\\n' \"$tp_x\" \"$(md5sum <\"$s\")\" \"$(stat -L -c %a -- \"$s\")\"\n\
         if [ -d \"$d\" ]; then d=${{d%/}}/{name}; else case $d in */) d=${{d}}{name};; esac; fi\n\
         else echo source=folder; case $s in */) ;; *) if [ -d \"$d\" ]; then d=${{d%/}}/{name}; fi;; esac; fi\n\
         printf 'path=%s\\n' \"$d\"\n{}\
         if [ ! -d \"${{d%/*}}/\" ]; then echo parent=absent; fi\n\
         if [ -f \"$d\" ]; then tp_sum sha1sum \"$d\"; fi\n\
         if [ -d \"$s\" ] && [ -d \"$d\" ]; then echo\n\
         tp_l() {{ (cd \"$1\" && {{ find . -type f -exec sha1sum {{}} + ; find . ! -type f; }} 2>/dev/null | sort); }}\n\
         tp_a=$(tp_l \"$s\"); tp_b=$(tp_l \"$d\")\n\
         printf '%s\\n' \"$tp_a\" | while IFS= read -r l; do case \"\n$tp_b\n\" in *\"\n$l\n\"*) ;; *) echo missing; break;; esac; done\necho\n{below}fi\n",
        shell_quote(&dest),
        mine + "printf 'my_uid=%s\\nmy_gid=%s\\numask=' \"$(id -u)\" \"$(id -g)\"; umask\n",
    );
    Ok(Decision::Probe(
        script,
        Box::new(move |out| {
            let (seen, rest) = Seen::read(&out);
            let path = seen.get("path").to_owned();
            match seen.get("source") {
                "absent" => return Ok(failed(format!("Source {src} not found"), Fields::new())),
                "folder" => return tree(&o, &src, &dest, &path, &seen, &rest),
                _ => {}
            }
            let sum = seen.get("mine").split(' ').next().unwrap_or_default().to_owned();
            let md5 = seen.get("md5").split(' ').next().unwrap_or_default().to_owned();
            if let Some(expected) = checksum.as_deref().filter(|c| *c != sum) {
                let more = fields([("checksum", json!(sum)), ("expected_checksum", json!(expected))]);
                return Ok(failed("Copied file does not match the expected checksum. Transfer failed.", more));
            }
            if seen.there() && !o.force {
                let mut all = seen.facts();
                all.extend(fields([
                    ("changed", json!(false)),
                    ("msg", json!("file already exists")),
                    ("src", json!(src)),
                    ("dest", json!(path)),
                ]));
                return Ok(Decision::Done(all));
            }
            if seen.get("parent") == "absent" && !folder {
                let msg = format!("Destination directory {} does not exist", parent(&path));
                return Ok(failed(msg, Fields::new()));
            }
            one(&o, &src, path, &seen, sum, md5, folder)
        }),
    ))
}

/// One file.
fn one(
    o: &Options,
    src: &str,
    path: String,
    seen: &Seen,
    sum: String,
    md5: String,
    folder: bool,
) -> Result<Decision, String> {
    let mut attrs = o.attrs.clone();
    if matches!(attrs.mode, Some(Mode::Preserve)) {
        attrs.mode = u32::from_str_radix(seen.get("bits"), 8).ok().map(Mode::Bits);
    }
    let there = seen.there();
    let same = there && seen.sum() == sum;
    // A copy has the owner and mode of a new file, also in an old one's place.
    let base = if same { seen.clone() } else { seen.mine().fresh(false) };
    let mend = match attrs.mend(&base, &path) {
        Ok(mend) => mend,
        Err(why) => return Ok(Decision::Done(why)),
    };
    let mut result = fields([
        ("dest", json!(path)),
        ("src", json!(src)),
        ("checksum", json!(sum)),
        ("md5sum", json!(md5)),
        ("changed", json!(!same || !mend.none())),
    ]);
    if same && mend.none() {
        result.extend(seen.facts());
        return Ok(Decision::Done(result));
    }
    let script = if same {
        format!("{QUIET}p={}\n{}tp_stat \"$p\" >&3\n", shell_quote(&path), mend.all())
    } else {
        let print = format!("cat -- {}", shell_quote(src));
        let write = Write {
            path: &path,
            print: &print,
            mend: (&mend.script, &mend.late),
            validate: o.validate.as_deref(),
            backup: o.backup,
            follow: o.follow,
            fresh: true,
            new: false,
            in_place: o.in_place,
        };
        let dirs =
            if folder && !there { format!("mkdir -p -- {}\n", shell_quote(parent(&path))) } else { String::new() };
        format!("{dirs}{}", write.script())
    };
    let mut expected = result.clone();
    if there {
        expected.extend(seen.facts());
    }
    Ok(Decision::Change(Pending {
        script,
        action: if there { Action::Update } else { Action::Create },
        subject: format!("file {path}"),
        path: Some(path),
        before: there.then(|| Json::Object(mend.before)),
        after: Some(Json::Object(mend.after)),
        certain: true,
        foreign: o.validate.is_some(),
        expected,
        finish: settled(result, true, refused_copy),
    }))
}

/// A folder: modes come along, owners do not; what is in the way stays.
fn tree(o: &Options, src: &str, dest: &str, path: &str, seen: &Seen, rest: &[u8]) -> Result<Decision, String> {
    if seen.there() && !seen.directory() {
        let msg =
            format!("Could not replace file: b'{src}' to {path}: [Errno 20] Not a directory: b'{src}' -> b'{path}'");
        return Ok(failed(msg, Fields::new()));
    }
    let inside = src.ends_with('/');
    let target = if inside || seen.there() || path != dest {
        path.to_owned()
    } else {
        format!("{path}/{}", src.rsplit('/').next().unwrap_or_default())
    };
    let text = String::from_utf8_lossy(rest);
    let (missing, combos) = text.split_once('\n').unwrap_or((&text, ""));
    let owners = super::attrs::Attrs { mode: None, flags: None, ..o.attrs.clone() };
    let base = if seen.there() { seen.clone() } else { seen.fresh(true) };
    let mend = match o.attrs.mend(&base, path) {
        Ok(mend) => mend,
        Err(why) => return Ok(Decision::Done(why)),
    };
    let copy = !seen.there() || missing.contains("missing");
    let owned = combos.trim_start_matches('\n');
    let changed = copy || !mend.none() || !owned.is_empty() && file_tree::differs(&owners, owned.as_bytes());
    let shown = if inside && seen.there() { format!("{}/", path.trim_end_matches('/')) } else { path.to_owned() };
    let result = fields([
        ("dest", json!(shown)),
        ("src", json!(src)),
        ("checksum", Json::Null),
        ("md5sum", Json::Null),
        ("changed", json!(changed)),
    ]);
    let mut done = result.clone();
    done.extend(seen.facts());
    if !changed {
        return Ok(Decision::Done(done));
    }
    let mut script = format!("{QUIET}s={}\nd={}\np={}\n", shell_quote(src), shell_quote(&target), shell_quote(path));
    if copy {
        script.push_str("mkdir -p -- \"$d\"\ncp -R -P -- \"${s%/}/.\" \"$d\"\n");
        // A new folder may keep what the one above it hands on; what is in it gets the very modes (five digits say so).
        script.push_str("( cd \"$s\" && find . ! -type l ) | while IFS= read -r f; do case $f in .) z=;; *) z=0000;; esac; chmod \"$z$(stat -c %a -- \"$s/$f\")\" \"$d/$f\"; done\n");
    }
    script.push_str(&file_tree::mend(&owners, false));
    script.push_str(&mend.all());
    script.push_str("tp_stat \"$p\" >&3\n");
    Ok(Decision::Change(Pending {
        script,
        action: if seen.there() { Action::Update } else { Action::Create },
        subject: format!("folder {path}"),
        path: Some(path.to_owned()),
        before: seen.there().then(|| Json::Object(mend.before)),
        after: Some(Json::Object(mend.after)),
        certain: true,
        foreign: false,
        expected: if seen.there() { done } else { result.clone() },
        finish: settled(result, true, content::refused_copy),
    }))
}
