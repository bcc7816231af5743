//! `apt_key`: keys that apt trusts, by the `apt-key` and `gpg` of the target.

use std::collections::HashMap;

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::content::print;
use super::http::{Head, Request, failure};
use super::spec::Rules;
use super::steps::{FOLDER, PATHS, exports, failed, no_program, said};
use super::{Call, Decided, Decision, Fields, Module, Output, Pending, Place, fields, head};

/// `apt_key`.
pub(super) const MODULE: Module = Module {
    names: &["apt_key"],
    rules: Rules { mutually_exclusive: &[&["data", "file", "keyserver", "url"]], ..Rules::NONE },
    missing: &[],
    place: Place::Host,
    prepare,
};

/// Where a key comes from.
enum Source {
    Nowhere,
    Data(String),
    File(String),
    Server(String),
    Url(Box<Request>),
}

struct Want {
    id: Option<String>,
    source: Source,
    keyring: Option<String>,
    absent: bool,
    check: bool,
    env: String,
}

/// A key's name in its three lengths.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Id {
    given: String,
    short: String,
    long: String,
    whole: String,
}

impl Id {
    fn read(given: &str) -> Option<Self> {
        let whole = given.to_uppercase();
        let whole = whole.strip_prefix("0X").unwrap_or(&whole).to_owned();
        let last = |n: usize| whole.get(whole.len().saturating_sub(n)..).unwrap_or_default().to_owned();
        let good = whole.bytes().all(|b| b.is_ascii_hexdigit()) && (whole.len() == 8 || whole.len() >= 16);
        good.then(|| Self { given: given.to_owned(), short: last(8), long: last(16), whole: whole.clone() })
    }

    /// The name among those of a list; a short name is looked for among short ones.
    fn name(&self) -> &str {
        &self.long
    }

    fn fields(&self, changed: bool) -> Fields {
        fields([
            ("changed", json!(changed)),
            ("id", json!(self.given)),
            ("short_id", json!(self.short)),
            ("fp", json!(self.long)),
            ("key_id", json!(self.whole)),
        ])
    }

    /// The names of the keys and subkeys of `apt-key`'s list, as long as this one.
    fn list(&self, text: &str) -> Vec<String> {
        text.lines()
            .filter(|l| l.starts_with("pub") || l.starts_with("sub"))
            .filter_map(|l| l.split_once('/')?.1.split_whitespace().next())
            .map(|id| match self.long.len() {
                8 => id.get(id.len().saturating_sub(8)..).unwrap_or(id).to_owned(),
                _ => id.to_owned(),
            })
            .collect()
    }
}

fn prepare(call: &Call) -> Decided {
    let some = |k: &str| call.text(k).filter(|v| !v.is_empty());
    let source = match (some("data"), some("file"), some("keyserver"), some("url")) {
        (Some(data), ..) => Source::Data(data),
        (_, Some(file), ..) => Source::File(file),
        (_, _, Some(server), _) => Source::Server(server),
        (.., Some(_)) => Source::Url(Box::new(Request::of(call)?)),
        _ => Source::Nowhere,
    };
    let want = Want {
        id: some("id"),
        source,
        keyring: some("keyring"),
        absent: call.text("state").as_deref() == Some("absent"),
        check: call.check,
        env: exports(&call.env),
    };
    match (&want.id, &want.source) {
        (None, Source::Server(_)) => return Err("Missing key_id, required with keyserver.".into()),
        (None, Source::Nowhere) => return Ok(invalid(None)),
        (Some(id), _) if Id::read(id).is_none() => return Ok(invalid(want.id.as_deref())),
        _ => {}
    }
    let mut s = want.prelude();
    if want.id.is_none() {
        s.push_str(&want.identify());
    }
    // A list would make a keyring that is not there.
    s.push_str(&format!("{}tp_tell\n", want.list(true)));
    Ok(Decision::Probe(s, Box::new(move |out| decide(want, &out))))
}

fn invalid(id: Option<&str>) -> Decision {
    Decision::Done(failed(fields([("id", json!(id))]), "Invalid key_id"))
}

/// `tp_r WORDS` runs a program and keeps what it says; `tp_tell` prints that, and the list of keys.
const TOOLS: &str = r#"tp_r() {
"$@" >"$tp_w/o" 2>"$tp_w/e"
tp_v=$?
}
tp_tell() {
printf 'rc=%s\n' "$tp_v"
for tp_x in o e list; do [ -e "$tp_w/$tp_x" ] || : >"$tp_w/$tp_x"; printf '%s=%s\n' "$tp_x" "$(wc -c <"$tp_w/$tp_x")"; done
echo
cat "$tp_w/o" "$tp_w/e" "$tp_w/list"
exit 0
}
tp_need() { command -v "$1" || { printf 'program=%s\npath=%s\n\n' "$1" "$PATH"; exit 1; }; }
tp_v=0
"#;

impl Want {
    fn prelude(&self) -> String {
        // Fetching makes a folder anew, which then serves for all.
        let fetch = match &self.source {
            Source::Url(request) => format!("tp_fetch() {{\n{}set +e\n}}\n", request.script()),
            _ => String::new(),
        };
        format!(
            "{}LANG=C.utf8 LC_ALL=C.utf8 LC_MESSAGES=C.utf8 LANGUAGE=C.utf8\nexport LANG LC_ALL LC_MESSAGES LANGUAGE\n{PATHS}{TOOLS}{fetch}\
             {FOLDER}\
             k=$(tp_need apt-key) || {{ printf '%s\\n\\n' \"$k\"; exit 0; }}\n\
             p=$(tp_need gpg) || {{ printf '%s\\n\\n' \"$p\"; exit 0; }}\n",
            self.env
        )
    }

    /// Has gpg say which key it is, or tells that there is none to fetch.
    fn identify(&self) -> String {
        match &self.source {
            Source::Data(data) => {
                format!("{} >\"$tp_w/key\"\ntp_r \"$p\" --with-colons - <\"$tp_w/key\"\n", print(data.as_bytes()))
            }
            Source::File(file) => format!("tp_r \"$p\" --with-colons {} </dev/null\n", shell_quote(file)),
            Source::Url(_) => format!("{FETCH}tp_r \"$p\" --with-colons - <\"$tp_w/body\"\n"),
            Source::Nowhere | Source::Server(_) => String::new(),
        }
    }

    fn words(&self) -> String {
        self.keyring.as_ref().map(|k| format!(" --keyring {}", shell_quote(k))).unwrap_or_default()
    }

    fn list(&self, look: bool) -> String {
        let list = format!(
            "\"$k\"{} adv --list-public-keys --keyid-format=long >\"$tp_w/list\" 2>/dev/null </dev/null",
            self.words()
        );
        match (&self.keyring, look) {
            (Some(ring), true) => format!("if [ -e {} ]; then {list}; fi\n", shell_quote(ring)),
            _ => format!("{list}\n"),
        }
    }

    /// The change: the command, then the list again.
    fn change(&self, id: &Id) -> String {
        let ring = self.words();
        let run = match (&self.source, self.absent) {
            (_, true) => format!("tp_r \"$k\"{ring} del {} </dev/null\n", id.short),
            (Source::Data(data), _) => {
                format!("{} >\"$tp_w/key\"\ntp_r \"$k\"{ring} add - <\"$tp_w/key\"\n", print(data.as_bytes()))
            }
            (Source::File(file), _) => format!("tp_r \"$k\"{ring} add {} </dev/null\n", shell_quote(file)),
            (Source::Server(server), _) => format!(
                "for tp_x in 1 2 3 4 5; do\ntp_r \"$k\"{ring} adv --no-tty --keyserver {} --recv {} </dev/null\n\
                 [ \"$tp_v\" -ne 0 ] || break\ndone\n",
                shell_quote(server),
                id.whole
            ),
            (Source::Url(_), _) => format!("{FETCH}tp_r \"$k\"{ring} add - <\"$tp_w/body\"\n"),
            (Source::Nowhere, _) => String::new(),
        };
        format!(
            "{}printf 'apt_key=%s\\n' \"$k\"\n{run}if [ \"$tp_v\" -eq 0 ]; then\n{}fi\ntp_tell\n",
            self.prelude(),
            self.list(false),
        )
    }

    /// What a script says instead of its answer, if it could not begin.
    fn unready(&self, told: &Told) -> Option<Fields> {
        if !told.get("program").is_empty() {
            return Some(failed(Fields::new(), no_program(told.get("program"), told.get("path"))));
        }
        let Source::Url(request) = &self.source else { return None };
        if told.get("fetched") != "no" {
            return None;
        }
        let status = told.get("status").parse().unwrap_or(1);
        let answer = Head::read(&told.stdout);
        let why = match status {
            28 => "Connection failure: timed out".to_owned(),
            0 => format!("HTTP Error {}: {}", answer.status, answer.reason),
            status => format!("Request failed: {}", failure(status, &told.stderr)),
        };
        Some(failed(Fields::new(), format!("Failed to download key at {}: {why}", request.url)))
    }
}

/// Fetches the key to `"$tp_w/body"`, or tells why not. What was made before for temporaries is not needed then.
const FETCH: &str = r#"rm -rf -- "$tp_w"
tp_fetch
tp_c=$(sed -n 's/^HTTP[^ ]* \([0-9]*\).*/\1/p' "$tp_w/head" | tail -n 1)
if [ "$tp_v" -ne 0 ] || [ "${tp_c:-200}" -ge 300 ]; then
printf 'fetched=no\nstatus=%s\n' "$tp_v"
mv "$tp_w/head" "$tp_w/o"
mv "$tp_w/error" "$tp_w/e"
tp_tell
fi
"#;

/// What a script said.
struct Told {
    seen: HashMap<String, String>,
    stdout: String,
    stderr: String,
    list: String,
}

impl Told {
    fn read(out: &Output) -> Self {
        let (seen, body) = head(out);
        let size = |k: &str| seen.get(k).and_then(|s| s.trim().parse::<usize>().ok()).unwrap_or(0);
        let (stdout, rest) = body.split_at(size("o").min(body.len()));
        let (stderr, list) = rest.split_at(size("e").min(rest.len()));
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        Self { stdout: text(stdout), stderr: text(stderr), list: text(list), seen }
    }

    fn get(&self, key: &str) -> &str {
        self.seen.get(key).map(String::as_str).unwrap_or_default()
    }

    fn tell(&self, all: &mut Fields) {
        let out = Output { rc: 0, stdout: self.stdout.clone().into(), stderr: self.stderr.clone().into() };
        said(all, &out, true);
    }
}

fn decide(w: Want, out: &Output) -> Decided {
    if out.rc != 0 {
        return Err(out.error_text().trim().to_owned());
    }
    let told = Told::read(out);
    if let Some(why) = w.unready(&told) {
        return Ok(Decision::Done(why));
    }
    let id = match &w.id {
        Some(id) => Id::read(id),
        None => {
            let found = told.stdout.lines().find(|l| l.starts_with("pub:")).and_then(|l| l.split(':').nth(4));
            let Some(found) = found.filter(|_| told.get("rc") == "0") else { return Ok(unreadable(&w, &told)) };
            Id::read(found)
        }
    };
    let Some(id) = id else { return Ok(invalid(w.id.as_deref())) };
    let before = id.list(&told.list);
    let there = before.iter().any(|k| k == id.name());
    let mut result = id.fields(there == w.absent);
    result.insert("before".into(), json!(before));
    if there != w.absent {
        return Ok(Decision::Done(result));
    }
    if !w.absent && matches!(w.source, Source::Nowhere) && !w.check {
        result.insert("msg".into(), json!("No key to add ... how did i get here?!?!"));
        result.insert("failed".into(), true.into());
        return Ok(Decision::Done(result));
    }
    Ok(Decision::Change(Pending {
        script: w.change(&id),
        action: if w.absent { Action::Delete } else { Action::Create },
        subject: format!("key {}", id.whole),
        path: None,
        before: w.absent.then(|| json!(id.whole)),
        after: (!w.absent).then(|| json!(id.whole)),
        certain: true,
        foreign: false,
        expected: result.clone(),
        finish: Box::new(move |out| finish(&w, &id, result, &out)),
    }))
}

/// What is given is no key.
fn unreadable(w: &Want, told: &Told) -> Decision {
    let source = match &w.source {
        Source::File(file) => file.as_str(),
        _ => "inline data",
    };
    let mut all = Fields::new();
    told.tell(&mut all);
    Decision::Done(failed(all, format!("Unable to extract key from '{source}'")))
}

fn finish(w: &Want, id: &Id, mut result: Fields, out: &Output) -> Fields {
    if out.rc != 0 {
        return failed(Fields::new(), out.error_text().trim());
    }
    let told = Told::read(out);
    if let Some(why) = w.unready(&told) {
        return why;
    }
    if told.get("rc") != "0" {
        return refused(w, id, &told);
    }
    let after = id.list(&told.list);
    let there = after.iter().any(|k| k == id.name());
    result.insert("after".into(), json!(after));
    if there == w.absent {
        let msg = match w.absent {
            true => {
                "apt-key did not return an error, but the key was not removed (check that the id is correct and *not* a subkey)"
            }
            false => {
                "apt-key did not return an error, but failed to add the key (check that the id is correct and *not* a subkey)"
            }
        };
        result.insert("msg".into(), json!(msg));
        result.insert("failed".into(), true.into());
    }
    result
}

/// `apt-key` did not do it.
fn refused(w: &Want, id: &Id, told: &Told) -> Fields {
    let ring = w.keyring.as_ref().map(|k| format!(" --keyring {k}")).unwrap_or_default();
    let begin = format!("{}{ring}", told.get("apt_key"));
    let mut all = fields([("rc", json!(told.get("rc").parse::<i64>().unwrap_or(1)))]);
    told.tell(&mut all);
    let (cmd, msg) = match (&w.source, w.absent) {
        (_, true) => {
            all.insert("key_id".into(), json!(id.short));
            (format!("{begin} del {}", id.short), format!("Unable to remove a key with id: {}", id.short))
        }
        (Source::File(file), _) => {
            all.insert("keyfile".into(), json!(file));
            (format!("{begin} add {file}"), format!("Unable to add a key from file {file}"))
        }
        (Source::Server(server), _) => {
            let language: Fields = ["LANG", "LC_ALL", "LC_MESSAGES", "LANGUAGE"]
                .into_iter()
                .map(|k| (k.to_owned(), json!("C.utf8")))
                .collect();
            all.insert("forced_environment".into(), Json::Object(language));
            (
                format!("{begin} adv --no-tty --keyserver {server} --recv {}", id.whole),
                format!("Error fetching key {} from keyserver: {server}", id.whole),
            )
        }
        _ => (format!("{begin} add -"), "Unable to add a key from binary data".to_owned()),
    };
    all.insert("cmd".into(), json!(cmd));
    failed(all, msg)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn names_of_keys_have_three_lengths() {
        let id = Id::read("0x8d3d91e81a108ae4e4e94c161a64834195b76e25").unwrap();
        assert_eq!((id.short.as_str(), id.long.as_str()), ("95B76E25", "1A64834195B76E25"));
        assert_eq!(
            id.list("pub   rsa2048/1A64834195B76E25 2026-11-24 [SC]\nsub   x/AA 2026\nuid  a/b\n"),
            ["1A64834195B76E25", "AA"]
        );
        let short = Id::read("95b76e25").unwrap();
        assert_eq!(short.list("pub   rsa2048/1A64834195B76E25 2026-11-24 [SC]\n"), ["95B76E25"]);
        for wrong in ["", "1234", "123456789", "notahex1", "1A64 8341 95B7 6E25"] {
            assert!(Id::read(wrong).is_none(), "{wrong}");
        }
    }
}
