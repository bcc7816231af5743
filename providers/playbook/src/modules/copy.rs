//! `copy` and `template`.

use std::path::Path;

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::attrs::{Attrs, Mode, STAT};
use super::spec::Rules;
use super::{Call, Decision, Fields, Module, Pending, Place, content, fields, finish, head};
use crate::render::text;

/// `copy`.
pub(super) const COPY: Module = Module {
    names: &["copy"],
    rules: Rules { mutually_exclusive: &[&["src", "content"]], required_one_of: &[&["src", "content"]], ..Rules::NONE },
    missing: &[
        "attributes",
        "backup",
        "checksum",
        "decrypt",
        "follow",
        "local_follow",
        "remote_src",
        "selevel",
        "serole",
        "setype",
        "seuser",
        "unsafe_writes",
    ],
    place: Place::Host,
    prepare: prepare_copy,
};

/// `template`.
pub(super) const TEMPLATE: Module = Module {
    names: &["template"],
    rules: Rules::NONE,
    missing: &[
        "attributes",
        "backup",
        "block_end_string",
        "block_start_string",
        "comment_end_string",
        "comment_start_string",
        "follow",
        "newline_sequence",
        "output_encoding",
        "selevel",
        "serole",
        "setype",
        "seuser",
        "unsafe_writes",
        "variable_end_string",
        "variable_start_string",
    ],
    place: Place::Host,
    prepare: prepare_template,
};

fn prepare_copy(call: &Call) -> Result<Decision, String> {
    let dest = call.need("dest")?;
    if call.yes("remote_src")? == Some(true) {
        return Err("`remote_src: true` is not supported yet; use `command: cp`".into());
    }
    if let Some(value) = call.args.get("content").filter(|v| !v.is_null()) {
        let bytes = match value {
            Json::String(s) => s.clone(),
            // As Ansible: anything structured is written as JSON.
            Json::Object(_) | Json::Array(_) => value.to_string(),
            other => text(&crate::render::Value::from(other)),
        };
        return place(call, dest, "content", bytes.into_bytes(), None);
    }
    let src = call.need("src")?;
    let path =
        call.scope.search.find("files", &src).map_err(|s| format!("copy: there is no file `{src}`; searched {s}"))?;
    if path.is_dir() {
        return Err(format!("copy: `{src}` is a directory, which is not supported yet; copy its files in a loop"));
    }
    let bytes = std::fs::read(&path).map_err(|e| format!("copy: can't read {}: {e}", path.display()))?;
    place(call, dest, &src, bytes, Some(&path))
}

fn prepare_template(call: &Call) -> Result<Decision, String> {
    let (src, dest) = (call.need("src")?, call.need("dest")?);
    let path = call
        .scope
        .search
        .find("templates", &src)
        .map_err(|s| format!("template: there is no template `{src}`; searched {s}"))?;
    let source = std::fs::read_to_string(&path).map_err(|e| format!("template: can't read {}: {e}", path.display()))?;
    let mut header = Vec::new();
    for option in ["trim_blocks", "lstrip_blocks"] {
        if let Some(yes) = call.yes(option)? {
            header.push(format!("{option}: {yes}"));
        }
    }
    let source = if header.is_empty() { source } else { format!("#jinja2: {}\n{source}", header.join(", ")) };
    let vars = fields([
        ("template_path", json!(path.display().to_string())),
        ("template_fullpath", json!(path.display().to_string())),
    ]);
    let scope = call.scope.with(vars);
    let rendered =
        scope.render_template(&source, Some(&path)).map_err(|e| format!("template {}: {e}", path.display()))?;
    place(call, dest, &src, rendered.into_bytes(), Some(&path))
}

fn place(call: &Call, dest: String, src: &str, bytes: Vec<u8>, from: Option<&Path>) -> Result<Decision, String> {
    if call.yes("backup")? == Some(true) {
        return Err("`backup: true` is not supported yet".into());
    }
    let mut attrs = Attrs::of(call)?;
    if matches!(attrs.mode, Some(Mode::Preserve)) {
        use std::os::unix::fs::PermissionsExt as _;
        attrs.mode = from.and_then(|p| p.metadata().ok()).map(|m| Mode::Bits(m.permissions().mode() & 0o7777));
    }
    let force = call.yes("force")?.unwrap_or(true);
    let (plan, validate) = (call.diff, call.text("validate"));
    let base = src.rsplit('/').next().unwrap_or(src).to_owned();
    let sum = crate::render_hash(&bytes);
    let sha1 = crate::sha1(&bytes);
    // The sum spares sending what is there already; without the tool the content itself is compared.
    let script = format!(
        "{STAT}d={dest}\nif [ -d \"$d\" ]; then d=\"${{d%/}}/\"{base}; fi\ncase $d in */) mkdirs=1; echo missing=1; d=\"$d\"{base};; esac\n\
         echo \"path=$d\"\ntp_stat \"$d\" -L\n[ -d \"$(dirname \"$d\")\" ] || echo parent=absent\n\
         if [ -f \"$d\" ]; then s=$(sha256sum \"$d\" 2>/dev/null | cut -d' ' -f1); echo \"sum=$s\"\n\
         if [ \"$s\" != {sum} ]; then echo; cat \"$d\"; fi; fi\n",
        dest = shell_quote(&dest),
        base = shell_quote(&base),
    );
    Ok(Decision::Probe(
        script,
        Box::new(move |out| {
            if out.rc != 0 {
                return Err(out.error_text().trim().to_owned());
            }
            let (seen, now) = head(&out);
            let get = |k: &str| seen.get(k).map(String::as_str).unwrap_or_default();
            let path = get("path").to_owned();
            if get("type") == "directory" {
                return Err(format!("{path} is a directory"));
            }
            if get("parent") == "absent" && get("missing") != "1" {
                return Err(format!("Destination directory {} does not exist", parent(&path)));
            }
            let there = get("type") == "file";
            let same = there && (get("sum") == sum || get("sum").is_empty() && now == bytes) || there && !force;
            let mut result: Fields = fields([
                ("dest", json!(path)),
                ("checksum", json!(sha1)),
                ("size", json!(bytes.len())),
                ("changed", json!(false)),
            ]);
            let known = if there {
                seen.clone()
            } else {
                std::collections::HashMap::from([("type".to_owned(), "absent".to_owned())])
            };
            let (before, after, mend) = attrs.differing(&known, false)?;
            if same && mend.is_empty() {
                result.extend(fields([
                    ("mode", json!(format!("0{}", get("mode")))),
                    ("owner", json!(get("owner"))),
                    ("group", json!(get("group"))),
                ]));
                return Ok(Decision::Done(result));
            }
            result.insert("changed".into(), true.into());
            let p = shell_quote(&path);
            let (mut was, mut will) = (before, after);
            let script = if same {
                format!("set -e\np={p}\n{mend}")
            } else {
                if plan {
                    will.extend(content::shown(&bytes).map(|t| ("content".to_owned(), t)));
                    if there {
                        was.extend(content::shown(&now).map(|t| ("content".to_owned(), t)));
                    }
                }
                let dirs = if get("missing") == "1" {
                    format!("mkdir -p {}\n", shell_quote(parent(&path)))
                } else {
                    String::new()
                };
                format!("{dirs}{}", content::replace(&path, &bytes, &mend, &known, validate.as_deref()))
            };
            Ok(Decision::Change(Pending {
                script,
                action: if there { Action::Update } else { Action::Create },
                subject: format!("file {path}"),
                path: Some(path),
                before: there.then(|| Json::Object(was)),
                after: Some(Json::Object(will)),
                certain: true,
                foreign: validate.is_some(),
                expected: result.clone(),
                finish: finish(result),
            }))
        }),
    ))
}

pub(super) fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((dir, _)) => dir,
        None => ".",
    }
}
