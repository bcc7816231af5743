//! Content of files through the shell.

use serde_json::json;
use towpath_core::{Json, shell_quote};

use super::attrs::Seen;
use super::words::with_file;
use super::{Fields, Finish, fields};
use crate::carry::Output;

/// Prints bytes with nothing but the shell's own `printf`.
pub(super) fn print(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return ":".into();
    }
    let mut out = String::from("{\n");
    for chunk in bytes.chunks(4000) {
        out.push_str("printf '%b' '");
        for b in chunk {
            match b {
                b'\n' => out.push('\n'),
                b'\'' => out.push_str(r"'\''"),
                b'\\' => out.push_str(r"\\"),
                b' '..=b'~' => out.push(char::from(*b)),
                b => out.push_str(&format!("\\0{b:03o}")),
            }
        }
        out.push_str("'\n");
    }
    out.push('}');
    out
}

/// A file to be written.
#[derive(Debug, Default)]
pub(super) struct Write<'a> {
    pub(super) path: &'a str,
    /// Prints the content.
    pub(super) print: &'a str,
    /// Mends owner and mode of `"$p"`: before the file gets to its place, and there.
    pub(super) mend: (&'a str, &'a str),
    pub(super) validate: Option<&'a str>,
    pub(super) backup: bool,
    /// Writes to where a link points, rather than in the link's place.
    pub(super) follow: bool,
    /// Gives it the owner and mode of a new file, whatever was there.
    pub(super) fresh: bool,
    /// Nothing was at the path when it was looked at.
    pub(super) new: bool,
    /// Writes into the file that is there if it can't be replaced.
    pub(super) in_place: bool,
}

/// The beginning of every change: what commands print does not mix with what the change says, on descriptor 3.
pub(super) const QUIET: &str = "exec 3>&1 1>&2\nset -e\n";

impl Write<'_> {
    /// The change: a temporary beside the file, validated, given owner and mode, then put in its place. Ends with what is
    /// there then; [`settled`] reads it.
    pub(super) fn script(&self) -> String {
        format!("{QUIET}{}", self.body(true))
    }

    /// The same without its beginning, for a script of several; `tell` says what is there then.
    pub(super) fn body(&self, tell: bool) -> String {
        let mut s = format!("d={}\n", shell_quote(self.path));
        if self.follow {
            s.push_str("if [ -L \"$d\" ]; then d=$(readlink -f -- \"$d\"); fi\n");
        }
        let (mend, late) = self.mend;
        // What nobody is told to keep for himself, and what gets the mode of a new file, is made with it.
        let sets_mode = mend.contains("chmod ");
        let plain = self.new && !sets_mode;
        let (private, public) =
            if plain { ("", "") } else { ("tp_k=${tp_mask:-$(umask)}\numask 077\n", "umask \"$tp_k\"\n") };
        let also = if self.validate.is_some() { " \"$tp_t.e\"" } else { "" };
        s.push_str(&format!(
            "tp_new \"$d\"\ntrap 'for tp_k in \"$tp_t\"{also}; do [ ! -e \"$tp_k\" ] || rm -f -- \"$tp_k\"; done' EXIT\n\
             {private}set -C\n{} >\"$tp_t\"\nset +C\n{public}",
            self.print
        ));
        if let Some(v) = self.validate {
            s.push_str(&check(v));
        }
        s.push_str(match (self.fresh, self.new) {
            (true, _) => "tp_keep ''\n",
            (_, true) => "tp_keep \"$d\" done\n",
            (_, false) => "tp_keep \"$d\"\n",
        });
        if self.backup {
            s.push_str("if [ -f \"$d\" ]; then tp_backup \"$d\"; fi\n");
        }
        let or = if self.in_place { " 2>/dev/null || cat -- \"$tp_t\" >\"$d\"" } else { "" };
        s.push_str(&format!("p=$tp_t\n{mend}mv -f -- \"$tp_t\" \"$d\"{or}\np=$d\n{late}"));
        if tell {
            s.push_str("tp_stat \"$d\" >&3\n");
        }
        s
    }
}

/// Runs the playbook's own check on the temporary, and ends with what it said if it refuses.
fn check(command: &str) -> String {
    format!(
        "rm -f -- \"$tp_t.e\"; (umask 077; set -C; : >\"$tp_t.e\")\nset +e\n\
         tp_o=$({} 2>\"$tp_t.e\" </dev/null); tp_v=$?\nset -e\n\
         printf 'validate=%s\\nvalidator=%s\\n' \"$tp_v\" {} >&3\n\
         if [ \"$tp_v\" -ne 0 ]; then printf '\\n%s\\037' \"$tp_o\" >&3; cat -- \"$tp_t.e\" >&3; exit 0; fi\n",
        with_file(command, "\"$tp_t\""),
        shell_quote(command.split_whitespace().next().unwrap_or_default())
    )
}

/// What a refused check makes of the result, from its status, output and error output.
pub(super) type Refused = fn(i64, &str, &str) -> Fields;

/// Most modules say it this way.
pub(super) fn refused(rc: i64, _: &str, err: &str) -> Fields {
    fields([("msg", json!(format!("failed to validate: rc:{rc} error:{err}")))])
}

/// `copy` and `template` say it that way.
pub(super) fn refused_copy(rc: i64, out: &str, err: &str) -> Fields {
    let lines = |s: &str| json!(s.lines().collect::<Vec<_>>());
    fields([
        ("msg", json!("failed to validate")),
        ("exit_status", json!(rc)),
        ("stdout", json!(out)),
        ("stderr", json!(err)),
        ("stdout_lines", lines(out)),
        ("stderr_lines", lines(err)),
    ])
}

/// How a change's script failed.
pub(super) fn broken(out: &Output, seen: &Seen) -> Fields {
    let said = out.error_text();
    let mut all = fields([("changed", json!(false)), ("failed", json!(true)), ("msg", json!(said.trim()))]);
    match seen.get("fail") {
        "" => {}
        fail if fail.starts_with("chattr") => {
            all.insert("msg".into(), json!(fail));
            all.insert("details".into(), json!(format!("Error while setting attributes: {said}")));
        }
        fail => {
            all.insert("msg".into(), json!(format!("{fail}{}{}", errno(&said), seen.get("tail"))));
        }
    }
    if !seen.get("path").is_empty() {
        all.insert("path".into(), json!(seen.get("path")));
        all.extend(seen.facts());
    }
    all
}

/// An error of a tool in Python's words: `[Errno 13] Permission denied`.
pub(super) fn errno(said: &str) -> String {
    if said.trim().ends_with("hard link not allowed for directory") {
        return "[Errno 1] Operation not permitted".into();
    }
    let said = said.trim().replace("Directory nonexistent", "No such file or directory");
    const ALL: [(&str, i32); 14] = [
        ("Operation not permitted", 1),
        ("No such file or directory", 2),
        ("Permission denied", 13),
        ("Device or resource busy", 16),
        ("File exists", 17),
        ("Invalid cross-device link", 18),
        ("Not a directory", 20),
        ("Is a directory", 21),
        ("Text file busy", 26),
        ("No space left on device", 28),
        ("Read-only file system", 30),
        ("File name too long", 36),
        ("Directory not empty", 39),
        ("Too many levels of symbolic links", 40),
    ];
    let last = said.lines().last().unwrap_or_default();
    match ALL.iter().find(|(text, _)| last.ends_with(text)) {
        Some((text, number)) => format!("[Errno {number}] {text}"),
        None => last.to_owned(),
    }
}

/// The result of a change: `result`, the facts of the file if `facts`, and the copy that was kept.
pub(super) fn settled(result: Fields, facts: bool, refused: Refused) -> Finish {
    Box::new(move |out: Output| {
        let mut all = result;
        let (seen, rest) = Seen::read(&out);
        if out.rc != 0 {
            return broken(&out, &seen);
        }
        if let Ok(rc @ 1..) = seen.get("validate").parse::<i64>() {
            let rest = String::from_utf8_lossy(&rest);
            let (stdout, stderr) = rest.split_once('\u{1f}').unwrap_or((&rest, ""));
            let mut all = match rc {
                127 if stderr.contains("not found") => {
                    let name = seen.get("validator");
                    fields([
                        ("rc", json!(2)),
                        ("cmd", json!(format!("{name} {}", temporary("source")))),
                        ("msg", json!(format!("[Errno 2] No such file or directory: b'{name}'"))),
                        ("stdout", json!("")),
                        ("stderr", json!("")),
                        ("stdout_lines", json!([])),
                        ("stderr_lines", json!([])),
                    ])
                }
                rc => refused(rc, stdout, stderr),
            };
            all.insert("changed".into(), false.into());
            all.insert("failed".into(), true.into());
            return all;
        }
        if facts {
            all.extend(seen.facts());
        }
        if let Some(md5) = seen.get("md5").split(' ').next().filter(|m| !m.is_empty()) {
            all.insert("md5sum".into(), json!(md5));
        }
        for key in ["backup_file", "backup"] {
            if (key == "backup") == all.contains_key("backup") && !seen.get("backup_file").is_empty() {
                all.insert(key.into(), json!(seen.get("backup_file")));
            }
        }
        all
    })
}

/// As `done`; but where the file was written and an owner's name then turned out to be unknown, that is the result, with what is
/// known of the file.
pub(super) fn unless_wrong(done: Finish, wrong: Option<Fields>) -> Finish {
    Box::new(move |out| {
        let (now, _) = Seen::read(&out);
        let all = done(out);
        match wrong {
            Some(mut wrong) if !all.contains_key("failed") => {
                wrong.extend(now.facts());
                wrong
            }
            _ => all,
        }
    })
}

/// A text for a plan's difference; `None` if it is large or no text.
pub(super) fn shown(bytes: &[u8]) -> Option<Json> {
    if bytes.len() > 100_000 {
        return None;
    }
    std::str::from_utf8(bytes).ok().map(Json::from)
}

/// A name of a file on the target that is gone when the result is read: where Ansible would have put what it sends.
pub(super) fn temporary(name: &str) -> String {
    let mut nonce = hex::encode(rand::random::<[u8; 4]>());
    nonce.insert(0, '.');
    match name {
        "" => format!("/tmp/.towpath.content/{nonce}"),
        name => format!("/tmp/.towpath{nonce}/.{name}"),
    }
}

/// Prints the MD5 sum of a path, for results that have it.
pub(super) fn md5(path: &str) -> String {
    format!("printf 'md5=' >&3; md5sum <\"{path}\" >&3 2>/dev/null || echo >&3\n")
}

/// A text in an encoding.
pub(super) fn encoded(text: &str, encoding: &str) -> Result<Vec<u8>, String> {
    let narrow = |most: u32| {
        text.chars()
            .map(|c| match u32::from(c) {
                n if n < most => Ok(n as u8),
                _ => Err(format!("`{c}` is not in the encoding `{encoding}`")),
            })
            .collect()
    };
    let wide = |little: bool| -> Vec<u8> {
        text.encode_utf16().flat_map(|u| if little { u.to_le_bytes() } else { u.to_be_bytes() }).collect()
    };
    match encoding.to_lowercase().replace('_', "-").as_str() {
        "utf-8" | "utf8" => Ok(text.as_bytes().to_vec()),
        "utf-8-sig" => Ok([b"\xef\xbb\xbf", text.as_bytes()].concat()),
        "ascii" | "us-ascii" => narrow(128),
        "latin-1" | "latin1" | "iso-8859-1" | "iso8859-1" => narrow(256),
        "utf-16" | "utf16" => Ok([vec![0xff, 0xfe], wide(true)].concat()),
        "utf-16-le" | "utf-16le" => Ok(wide(true)),
        "utf-16-be" | "utf-16be" => Ok(wide(false)),
        _ => Err(format!(
            "the encoding `{encoding}` is not supported; there are utf-8, utf-8-sig, utf-16, utf-16-le, utf-16-be, ascii and latin-1"
        )),
    }
}

/// JSON as Python's `json.dumps` writes it.
pub(super) fn python_json(value: &Json) -> String {
    match value {
        Json::Object(map) => {
            let parts: Vec<String> = map.iter().map(|(k, v)| format!("{}: {}", quoted(k), python_json(v))).collect();
            format!("{{{}}}", parts.join(", "))
        }
        Json::Array(items) => format!("[{}]", items.iter().map(python_json).collect::<Vec<_>>().join(", ")),
        Json::String(s) => quoted(s),
        other => other.to_string(),
    }
}

fn quoted(text: &str) -> String {
    let plain = json!(text).to_string();
    let mut out = String::with_capacity(plain.len());
    for c in plain.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

/// Lines as Python's `splitlines` finds them.
pub(super) fn python_lines(text: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest
            .find(['\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'])
            .unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        all.push(line);
        rest = after.strip_prefix("\r\n").unwrap_or_else(|| {
            let mut chars = after.chars();
            chars.next();
            chars.as_str()
        });
    }
    all
}
