//! `slurp` and `fetch`: files from the target.

use base64::Engine as _;
use serde_json::json;
use towpath_core::{Json, shell_quote};

use super::attrs::failed;
use super::spec::Rules;
use super::{Call, Decision, Fields, Module, Output, Place, fields, head};

/// `slurp`.
pub(super) const SLURP: Module =
    Module { names: &["slurp"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare: prepare_slurp };

/// `fetch`.
pub(super) const FETCH: Module = Module {
    names: &["fetch"],
    rules: Rules { free: true, ..Rules::NONE },
    missing: &[],
    place: Place::Host,
    prepare: prepare_fetch,
};

/// Says what is at `"$p"`, then prints it, if it is a file.
const READ: &str = "if [ -d \"$p\" ]; then echo state=folder; echo\nelif [ ! -e \"$p\" ]; then echo state=absent; echo\n\
    elif [ ! -r \"$p\" ]; then echo state=closed; echo\nelse echo state=file; echo; cat -- \"$p\"; fi\n";

fn prepare_slurp(call: &Call) -> Result<Decision, String> {
    let path = call.need("src")?;
    Ok(Decision::Probe(
        format!("p={}\n{READ}", shell_quote(&path)),
        Box::new(move |out| {
            let (seen, bytes) = head(&out);
            let fail = |msg: &str| Ok(failed(format!("{msg}: {path}"), Fields::new()));
            match seen.get("state").map(String::as_str) {
                Some("folder") => fail("source is a directory and must be a file"),
                Some("absent") => fail("file not found"),
                Some("file") if out.rc == 0 => Ok(Decision::Done(fields([
                    ("changed", json!(false)),
                    ("content", json!(base64::engine::general_purpose::STANDARD.encode(bytes))),
                    ("encoding", json!("base64")),
                    ("source", json!(path)),
                ]))),
                Some("closed") => fail("file is not readable"),
                _ => fail(out.error_text().trim()),
            }
        }),
    ))
}

fn prepare_fetch(call: &Call) -> Result<Decision, String> {
    for key in ["src", "dest"] {
        let what = if key == "src" { "source" } else { "dest" };
        match call.given.get(key) {
            None | Some(Json::Null) => return Err("src and dest are required".into()),
            Some(Json::String(_)) => {}
            Some(_) => return Err(format!("Invalid type supplied for {what} option, it must be a string")),
        }
    }
    let (src, dest) = (call.need("src")?, call.need("dest")?);
    if call.check {
        return Ok(Decision::Done(fields([
            ("changed", json!(false)),
            ("skipped", json!(true)),
            ("msg", json!("check mode not (yet) supported for this module")),
        ])));
    }
    let yes =
        |key: &str, default: bool| call.given.get(key).map_or(Some(default), crate::render::truthy).unwrap_or(default);
    let (flat, must) = (yes("flat", false), yes("fail_on_missing", true));
    let host =
        call.scope.variable("inventory_hostname").and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    let base = call.scope.search.dirs.last().cloned().unwrap_or_default();
    let full = |path: &str| base.join(path);
    let target = if flat {
        if full(&dest).is_dir() && !dest.ends_with('/') {
            let msg =
                "dest is an existing directory, use a trailing slash if you want to fetch src into that directory";
            return Err(msg.into());
        }
        match dest.ends_with('/') {
            true => full(&dest).join(src.rsplit('/').next().unwrap_or_default()),
            false => full(&dest),
        }
    } else {
        full(&dest).join(&host).join(src.trim_start_matches('/'))
    };
    // What is here already is not sent again.
    let here = std::fs::read(&target).ok().map(|b| crate::sha1(&b)).unwrap_or_default();
    let script = format!(
        "p={}\nif [ -f \"$p\" ] && [ -r \"$p\" ]; then printf 'md5=%s\\n' \"$(md5sum <\"$p\" 2>/dev/null)\"\n\
         case $(sha1sum <\"$p\" 2>/dev/null) in \"{here} \"*) echo same=1; echo; exit 0;; esac; fi\n{READ}",
        shell_quote(&src),
    );
    Ok(Decision::Probe(script, Box::new(move |out| fetched(&out, &src, &target, must))))
}

fn fetched(out: &Output, src: &str, target: &std::path::Path, must: bool) -> Result<Decision, String> {
    let (seen, bytes) = head(out);
    let get = |k: &str| seen.get(k).map(String::as_str).unwrap_or_default();
    let dest = target.display().to_string();
    let missing = |msg: &str| {
        if must {
            return failed(msg, Fields::new());
        }
        Decision::Done(fields([("changed", json!(false)), ("file", json!(src)), ("msg", json!(msg))]))
    };
    if get("same") == "1" {
        let bytes = std::fs::read(target).map_err(|e| format!("can't read {dest}: {e}"))?;
        return Ok(Decision::Done(fields([
            ("changed", json!(false)),
            ("file", json!(src)),
            ("dest", json!(dest)),
            ("checksum", json!(crate::sha1(&bytes))),
            ("md5sum", json!(get("md5").split(' ').next())),
        ])));
    }
    match get("state") {
        "absent" => return Ok(missing("the remote file does not exist, not transferring, ignored")),
        "folder" => return Ok(missing("remote file is a directory, fetch cannot work on directories")),
        "closed" => return Ok(failed(format!("file is not readable: {src}"), Fields::new())),
        _ => {}
    }
    if out.rc != 0 {
        return Ok(failed(out.error_text().trim(), Fields::new()));
    }
    let sum = crate::sha1(&bytes);
    write(target, &bytes).map_err(|e| format!("can't write {dest}: {e}"))?;
    Ok(Decision::Done(fields([
        ("changed", json!(true)),
        ("dest", json!(dest)),
        ("checksum", json!(sum)),
        ("remote_checksum", json!(sum)),
        ("md5sum", json!(get("md5").split(' ').next())),
        ("remote_md5sum", Json::Null),
    ])))
}

/// Through a temporary beside the file, so that it is whole or not there.
fn write(target: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = target.parent().unwrap_or(target);
    std::fs::create_dir_all(folder)?;
    let name = target.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let new = folder.join(format!(".{name}.{}", hex::encode(rand::random::<[u8; 4]>())));
    std::fs::write(&new, bytes)?;
    std::fs::rename(&new, target)
}
