//! `template`.

use serde_json::json;

use super::copy::{self, Source, not_found};
use super::spec::Rules;
use super::{Call, Decision, Module, Place, content, fields};

/// `template`.
pub(super) const MODULE: Module = Module {
    names: &["template"],
    rules: Rules { early: Some(early), ..copy::RULES },
    missing: &[],
    place: Place::Host,
    prepare,
};

/// Options that are Jinja's.
const SYNTAX: [&str; 8] = [
    "trim_blocks",
    "lstrip_blocks",
    "block_start_string",
    "block_end_string",
    "variable_start_string",
    "variable_end_string",
    "comment_start_string",
    "comment_end_string",
];

/// What Ansible looks at before all else.
fn early(call: &Call) -> Result<(), String> {
    let given = |k: &str| call.given.get(k).is_some_and(|v| !v.is_null());
    if !given("src") || !given("dest") {
        return Err("src and dest are required".into());
    }
    match call.given.get("newline_sequence").and_then(|v| v.as_str()) {
        None | Some("\n" | "\r" | "\r\n") => Ok(()),
        Some(_) => Err("newline_sequence needs to be one of: \n, \r or \r\n".into()),
    }
}

fn prepare(call: &Call) -> Result<Decision, String> {
    let newline = call.text("newline_sequence").unwrap_or_else(|| "\n".into());
    let (src, dest) = (call.need("src")?, call.need("dest")?);
    let path = call.scope.search.find("templates", &src).map_err(|_| not_found(call, "templates", &src))?;
    let shown = path.display().to_string();
    if path.is_dir() {
        return Err(format!(
            "could not find src={shown}, Could not find or access '{shown}' on the Ansible Controller.\nIf you are using a module and expect the file to exist on the remote, see the remote_src option"
        ));
    }
    let source = crate::vault::read_text(&path).map_err(|e| format!("template: can't read {shown}: {e}"))?;
    let mut header: Vec<String> = Vec::new();
    for option in SYNTAX {
        if let Some(value) = call.text(option).filter(|_| call.given.contains_key(option)) {
            header.push(format!("{option}: {value}"));
        }
    }
    // The file's own header stands above the task's options.
    let (own, body) = match source.strip_prefix("#jinja2:") {
        Some(rest) => rest.split_once('\n').unwrap_or((rest, "")),
        None => ("", source.as_str()),
    };
    header.extend((!own.trim().is_empty()).then(|| own.trim().to_owned()));
    let source = if header.is_empty() { body.to_owned() } else { format!("#jinja2: {}\n{body}", header.join(", ")) };
    let scope = call.scope.with(variables(
        &path,
        &dest,
        call.scope.raw("ansible_managed").and_then(towpath_core::Json::as_str),
    ));
    let rendered = scope.render_template(&source, Some(&path)).map_err(|e| match e.undefined {
        true => format!("AnsibleUndefinedVariable: {}", e.message),
        false => format!("AnsibleError: {}", e.message),
    })?;
    let rendered = if newline == "\n" { rendered } else { rendered.replace('\n', &newline) };
    let encoding = call.text("output_encoding").unwrap_or_else(|| "utf-8".into());
    let bytes = content::encoded(&rendered, &encoding)?;
    // What Ansible sends is a file of the template's name in a folder of its own.
    let name = shown.rsplit('/').next().unwrap_or_default();
    let sent = format!("{}/{name}", content::temporary(""));
    copy::place(call, Source { bytes, from: Some(path.clone()), shown: sent.clone(), src: sent }, &dest)
}

/// What a template can say about itself.
fn variables(path: &std::path::Path, dest: &str, managed: Option<&str>) -> towpath_core::Vars {
    use std::os::unix::fs::MetadataExt as _;
    let full = path.display().to_string();
    let meta = path.metadata().ok();
    let owner = meta.as_ref().map_or(0, |m| m.uid());
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|l| {
        let mut parts = l.split(':');
        let name = parts.next()?;
        (parts.nth(1)? == owner.to_string()).then(|| name.to_owned())
    });
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let uid = name.clone().unwrap_or_else(|| owner.to_string());
    let managed = managed.unwrap_or("Ansible managed");
    let managed = managed.replace("{file}", &full).replace("{host}", host).replace("{uid}", &uid);
    fields([
        ("template_path", json!(full)),
        ("template_fullpath", json!(full)),
        ("template_destpath", json!(dest)),
        ("template_host", json!(host)),
        ("template_uid", name.map_or_else(|| json!(owner), |n| json!(n))),
        ("ansible_managed", json!(managed)),
    ])
    .into_iter()
    .collect()
}
