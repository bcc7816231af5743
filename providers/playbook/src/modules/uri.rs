//! `uri`.

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::attrs::{Attrs, Seen, failed};
use super::command::globs;
use super::content::python_json;
use super::copy::not_found;
use super::http::{Head, Redirects, Request, failure};
use super::spec::Rules;
use super::{Call, Decision, Fields, Module, Output, Pending, Place, fields};

/// `uri`.
pub(super) const MODULE: Module = Module {
    names: &["uri"],
    rules: Rules { through: Some("ansible.legacy.uri"), mutually_exclusive: &[&["body", "src"]], ..Rules::NONE },
    missing: &[],
    place: Place::Host,
    prepare,
};

fn prepare(call: &Call) -> Result<Decision, String> {
    let mut request = Request::of(call)?;
    if !request.method.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err("Parameter 'method' needs to be a single word in uppercase, like GET or POST.".into());
    }
    if !request.url.contains("://") {
        let more = fields([("url", json!(request.url)), ("status", json!(-1))]);
        return Ok(failed(format!("unknown url type: '{}'", request.url), more));
    }
    let safe = matches!(request.method.as_str(), "GET" | "HEAD");
    request.redirects = match call.text("follow_redirects").as_deref() {
        Some("all" | "yes" | "urllib2") => Redirects::All,
        Some("none" | "no") => Redirects::None,
        _ if safe => Redirects::All,
        _ => Redirects::None,
    };
    body(call, &mut request)?;
    let codes: Vec<i64> =
        call.list("status_code").unwrap_or_default().iter().filter_map(|c| c.trim().parse().ok()).collect();
    let want = call.yes("return_content")? == Some(true);
    let attrs = Attrs::of(call);
    let dest = call.text("dest");
    let place = match &dest {
        None => String::new(),
        Some(dest) => format!(
            "d={}\nif [ \"$tp_v\" -eq 0 ]; then\nif [ -d \"$d\" ]; then n=$(sed -n 's/^[Cc]ontent-[Dd]isposition:.*filename=\"\\{{0,1\\}}\\([^\";]*\\).*/\\1/p' \"$tp_w/head\" | tr -d '\\r' | tail -n 1); n=${{n##*/}}\n\
             if [ -z \"$n\" ]; then n={}; n=${{n%%[?#]*}}; n=${{n##*/}}; fi; d=${{d%/}}/${{n:-index.html}}; fi\n\
             if ! cmp -s -- \"$tp_w/body\" \"$d\"; then tp_new \"$d\"; (umask 077; set -C; cat -- \"$tp_w/body\" >\"$tp_t\"); tp_keep \"$d\"; mv -f -- \"$tp_t\" \"$d\"; fi\n\
             p=$d\n{}printf 'path=%s\\n' \"$d\" >&3\ntp_stat \"$d\" >&3\nfi\n",
            shell_quote(dest),
            shell_quote(&request.url),
            all_of(&attrs)
        ),
    };
    let script = format!(
        "exec 3>&1 1>&2\n{}{place}printf 'status=%s\\nhead=%s\\nerror=%s\\n\\n' \"$tp_v\" \"$(wc -c <\"$tp_w/head\")\" \"$(wc -c <\"$tp_w/error\")\" >&3\n\
         cat -- \"$tp_w/head\" \"$tp_w/error\" \"$tp_w/body\" >&3\n",
        request.script()
    );
    let url = request.url.clone();
    let change = move || {
        let subject = format!("request {} {url}", request.method);
        Decision::Change(Pending {
            script,
            action: Action::Run,
            subject,
            path: None,
            before: None,
            after: None,
            certain: false,
            foreign: false,
            expected: skipped(),
            finish: Box::new(move |out| finish(&out, &url, &codes, want, dest.is_some())),
        })
    };
    let (creates, removes) = (call.text("creates"), call.text("removes"));
    if creates.is_none() && removes.is_none() {
        return Ok(change());
    }
    Ok(Decision::Probe(
        globs(creates.as_deref(), removes.as_deref()),
        Box::new(move |out| {
            let said = match out.text().trim() {
                "creates" => format!("skipped, since '{}' exists", creates.unwrap_or_default()),
                "removes" => format!("skipped, since '{}' does not exist", removes.unwrap_or_default()),
                _ => return Ok(change()),
            };
            Ok(Decision::Done(fields([
                ("changed", json!(false)),
                ("stdout", json!(said)),
                ("stdout_lines", json!([said])),
            ])))
        }),
    ))
}

/// Everything that `attrs` wants, said anew each time.
fn all_of(attrs: &Attrs) -> String {
    let mut script = String::new();
    for (tool, want) in [("chown", &attrs.owner), ("chgrp", &attrs.group)] {
        if let Some(want) = want {
            script.push_str(&format!("{tool} {} \"$p\"\n", shell_quote(want)));
        }
    }
    match &attrs.mode {
        Some(super::attrs::Mode::Bits(b)) => script.push_str(&format!("chmod {b:05o} \"$p\"\n")),
        Some(super::attrs::Mode::Symbolic(s)) => script.push_str(&format!("chmod {} \"$p\"\n", shell_quote(s))),
        _ => {}
    }
    script
}

fn skipped() -> Fields {
    fields([
        ("changed", json!(false)),
        ("skipped", json!(true)),
        ("msg", json!("This action (uri) does not support check mode.")),
    ])
}

/// Reads `body`, `body_format` and `src` into the request.
fn body(call: &Call, request: &mut Request) -> Result<(), String> {
    let format = call.text("body_format").unwrap_or_else(|| "raw".into());
    let mut kind = None;
    if let Some(src) = call.text("src") {
        if call.yes("remote_src")? == Some(true) {
            request.source = Some(src);
        } else {
            let path = call.scope.search.find("files", &src).map_err(|_| not_found(call, "files", &src))?;
            request.body = Some(std::fs::read(&path).map_err(|e| format!("uri: can't read {}: {e}", path.display()))?);
        }
        kind = Some("application/x-www-form-urlencoded".to_owned());
    }
    if let Some(value) = call.args.get("body").filter(|v| !v.is_null()) {
        let (bytes, own) = match (format.as_str(), value) {
            ("json", Json::String(s)) => (s.clone().into_bytes(), "application/json".to_owned()),
            ("json", other) => (python_json(other).into_bytes(), "application/json".to_owned()),
            ("form-multipart", Json::Object(map)) => multipart(call, map)?,
            ("form-multipart", _) => {
                return Err("failed to parse body as form-multipart: value must be a mapping".into());
            }
            ("form-urlencoded", Json::String(s)) => (s.clone().into_bytes(), FORM.to_owned()),
            ("form-urlencoded", other) => (urlencoded(other)?.into_bytes(), FORM.to_owned()),
            (_, Json::String(s)) => (s.clone().into_bytes(), FORM.to_owned()),
            (_, other) => (python_json(other).into_bytes(), FORM.to_owned()),
        };
        request.body = Some(bytes);
        kind = Some(own);
    }
    if let Some(kind) = kind {
        if !request.headers.keys().any(|k| k.eq_ignore_ascii_case("content-type")) {
            request.headers.insert("Content-Type".into(), kind);
        }
    }
    Ok(())
}

const FORM: &str = "application/x-www-form-urlencoded";

fn word(value: &Json) -> String {
    crate::render::text(&crate::render::Value::from(value))
}

fn urlencoded(value: &Json) -> Result<String, String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut add = |k: &Json, v: &Json| match v {
        Json::Array(all) => pairs.extend(all.iter().map(|v| (word(k), word(v)))),
        v => pairs.push((word(k), word(v))),
    };
    match value {
        Json::Object(map) => map.iter().for_each(|(k, v)| add(&json!(k), v)),
        Json::Array(all) => {
            for pair in all {
                match pair.as_array().map(Vec::as_slice) {
                    Some([k, v]) => add(k, v),
                    _ => return Err("failed to parse body as form_urlencoded: need more than 1 value to unpack".into()),
                }
            }
        }
        _ => return Err("failed to parse body as form_urlencoded: not a mapping or a list of pairs".into()),
    }
    let encode = |s: &str| {
        s.bytes()
            .map(|b| match b {
                b' ' => "+".to_owned(),
                b if b.is_ascii_alphanumeric() || b"_.-~".contains(&b) => char::from(b).to_string(),
                b => format!("%{b:02X}"),
            })
            .collect::<String>()
    };
    Ok(pairs.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect::<Vec<_>>().join("&"))
}

fn multipart(call: &Call, map: &Fields) -> Result<(Vec<u8>, String), String> {
    let boundary = hex::encode(rand::random::<[u8; 16]>());
    let mut out = Vec::new();
    for (name, value) in map {
        let get = |k: &str| value.get(k).and_then(Json::as_str);
        let (bytes, file, kind) = match value {
            Json::Object(_) => {
                let bytes = match (get("content"), get("filename")) {
                    (Some(content), _) => content.as_bytes().to_vec(),
                    (None, Some(file)) => {
                        let path = call.scope.search.find("files", file).map_err(|_| not_found(call, "files", file))?;
                        std::fs::read(&path).map_err(|e| format!("uri: can't read {}: {e}", path.display()))?
                    }
                    (None, None) => return Err("at least one of filename or content must be provided".into()),
                };
                let file = get("filename").map(|f| f.rsplit('/').next().unwrap_or(f).to_owned());
                (bytes, file, get("mime_type").unwrap_or("application/octet-stream").to_owned())
            }
            other => (word(other).into_bytes(), None, "text/plain".to_owned()),
        };
        let file = file.map(|f| format!("; filename=\"{f}\"")).unwrap_or_default();
        out.extend_from_slice(
            format!(
                "--{boundary}\r\nContent-Type: {kind}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n"
            )
            .as_bytes(),
        );
        out.extend_from_slice(&bytes);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok((out, format!("multipart/form-data; boundary={boundary}")))
}

fn finish(out: &Output, url: &str, codes: &[i64], want: bool, saved: bool) -> Fields {
    let (seen, rest) = Seen::read(out);
    let size = |k: &str| seen.get(k).trim().parse::<usize>().unwrap_or(0);
    let (head, rest) = rest.split_at(size("head").min(rest.len()));
    let (error, body) = rest.split_at(size("error").min(rest.len()));
    let head = Head::read(&String::from_utf8_lossy(head));
    let tool = seen.get("status").parse::<i64>().unwrap_or(-1);
    let mut all = fields([("redirected", json!(head.redirects > 0)), ("url", json!(url)), ("changed", json!(saved))]);
    let code = if tool == 0 || head.status > 0 && tool != 28 { head.status } else { -1 };
    all.insert("status".into(), json!(code));
    let mut msg = match () {
        () if code == -1 && tool == 28 => "Connection failure: timed out".to_owned(),
        () if code == -1 => format!("Request failed: {}", failure(tool, &String::from_utf8_lossy(error))),
        () if code >= 300 => format!("HTTP Error {code}: {}", head.reason),
        () => format!("OK ({} bytes)", head.get("content-length").unwrap_or("unknown")),
    };
    let mut cookies = Fields::new();
    for (name, value) in &head.fields {
        let key = name.replace('-', "_");
        match all.get(&key).and_then(Json::as_str).map(str::to_owned) {
            Some(old) if key != "url" && key != "status" => all.insert(key, json!(format!("{old}, {value}"))),
            _ => all.insert(key, json!(value)),
        };
        if let (true, Some((k, v))) = (name == "set-cookie", value.split(';').next().and_then(|c| c.split_once('='))) {
            cookies.insert(k.trim().to_owned(), json!(v.trim()));
        }
    }
    if head.redirects > 0 {
        if let Some(to) = &head.location {
            all.insert("url".into(), json!(joined(url, to)));
        }
    } else if let Some(to) = head.get("location") {
        all.insert("location".into(), json!(joined(url, to)));
    }
    let text = String::from_utf8_lossy(body).into_owned();
    if (200..300).contains(&code) {
        let line: Vec<String> =
            cookies.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
        all.insert("cookies_string".into(), json!(line.join("; ")));
        all.insert("cookies".into(), Json::Object(cookies));
    }
    let good = codes.contains(&code);
    if want {
        all.insert("content".into(), json!(text));
    }
    if good {
        let kind = head.get("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned();
        if kind.ends_with("/json") || kind.ends_with("+json") || kind.ends_with("/javascript") {
            if let Ok(value) = serde_json::from_str::<Json>(&text) {
                all.insert("json".into(), value);
            }
        }
        if code >= 300 {
            all.insert("body".into(), json!(text));
        }
        if saved {
            all.extend(seen.facts());
            all.insert("path".into(), json!(seen.get("path")));
        }
    } else {
        let codes: Vec<String> = codes.iter().map(i64::to_string).collect();
        msg = format!("Status code was {code} and not [{}]: {msg}", codes.join(", "));
        all.insert("changed".into(), false.into());
        all.insert("failed".into(), true.into());
    }
    all.insert("msg".into(), json!(msg));
    all
}

/// A place that an answer points to, in full.
pub(super) fn joined(base: &str, to: &str) -> String {
    if to.contains("://") {
        return to.to_owned();
    }
    let (scheme, rest) = base.split_once("://").unwrap_or(("http", base));
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    match to.strip_prefix('/') {
        Some(to) => format!("{scheme}://{host}/{to}"),
        None => {
            let folder = path.rsplit_once('/').map(|(f, _)| format!("{f}/")).unwrap_or_default();
            format!("{scheme}://{host}/{folder}{to}")
        }
    }
}
