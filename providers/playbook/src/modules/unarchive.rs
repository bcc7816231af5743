//! `unarchive`: by the tools of the target, `tar` and `unzip`.

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::attrs::{Attrs, Mode, Seen, failed};
use super::content::{QUIET, broken, print, temporary};
use super::copy::not_found;
use super::http::Request;
use super::spec::Rules;
use super::steps::FOLDER;
use super::unarchive_url::fetched;
use super::{Call, Decision, Fields, Module, Output, Pending, Place, fields};

/// `unarchive`.
pub(super) const MODULE: Module = Module {
    names: &["unarchive"],
    rules: Rules {
        early: Some(early),
        through: Some("ansible.legacy.unarchive"),
        mutually_exclusive: &[&["include", "exclude"]],
        ..Rules::NONE
    },
    missing: &[],
    place: Place::Host,
    prepare,
};

fn early(call: &Call) -> Result<(), String> {
    let given = |k: &str| call.given.get(k).is_some_and(|v| !v.is_null());
    if !given("src") || !given("dest") {
        return Err("src (or content) and dest are required".into());
    }
    if given("copy") && given("remote_src") {
        return Err("parameters are mutually exclusive: ('copy', 'remote_src')".into());
    }
    Ok(())
}

struct Wanted {
    src: String,
    /// What this side sends.
    bytes: Option<Vec<u8>>,
    dest: String,
    attrs: Attrs,
    exclude: Vec<String>,
    include: Vec<String>,
    extra: Vec<String>,
    newer: bool,
    list: bool,
}

fn prepare(call: &Call) -> Result<Decision, String> {
    let remote = call.yes("remote_src")? == Some(true) || call.yes("copy")? == Some(false);
    let (src, dest) = (call.need("src")?, call.need("dest")?);
    let list = |key: &str| call.list(key).unwrap_or_default();
    let request = match remote && src.contains("://") {
        true => Some(Request::plain(src.clone(), call.yes("validate_certs")?.unwrap_or(true))),
        false => None,
    };
    let check = call.check;
    let creates = call.text("creates");
    let mut w = Wanted {
        src,
        bytes: None,
        dest,
        attrs: Attrs::of(call),
        exclude: list("exclude"),
        include: list("include"),
        extra: list("extra_opts"),
        newer: call.yes("keep_newer")? == Some(true),
        list: call.yes("list_files")? == Some(true),
    };
    let local = if remote {
        None
    } else {
        Some(call.scope.search.find("files", &w.src).map_err(|_| not_found(call, "files", &w.src)))
    };
    let guard = creates
        .as_deref()
        .map(|c| format!("if [ -e {} ]; then echo creates; fi\n", shell_quote(c)))
        .unwrap_or_default();
    let next = move || -> Result<Decision, String> {
        if let Some(request) = request {
            return Ok(fetched(request, check, move |path| {
                w.src = path;
                look(w)
            }));
        }
        if let Some(path) = local {
            let path = path?;
            w.bytes = Some(std::fs::read(&path).map_err(|e| format!("unarchive: can't read {}: {e}", path.display()))?);
        }
        Ok(look(w))
    };
    let Some(creates) = creates else { return next() };
    Ok(Decision::Probe(
        guard,
        Box::new(move |out| {
            if out.text().trim() != "creates" {
                return next();
            }
            Ok(Decision::Done(fields([
                ("changed", json!(false)),
                ("skipped", json!(true)),
                ("msg", json!(format!("skipped, since {creates} exists"))),
            ])))
        }),
    ))
}

/// How an archive is read.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Tar(&'static str),
    Zip,
}

impl Kind {
    /// By the first bytes, in octal, as `od` prints them.
    fn of(magic: &str, tail: &str) -> Option<Self> {
        let magic = magic.replace(' ', "");
        Some(match magic.as_str() {
            m if m.starts_with("504b0304") || m.starts_with("504b0506") => Self::Zip,
            m if m.starts_with("1f8b") => Self::Tar("-z"),
            m if m.starts_with("425a68") => Self::Tar("-j"),
            m if m.starts_with("fd377a585a00") => Self::Tar("-J"),
            m if m.starts_with("28b52ffd") => Self::Tar("--use-compress-program=zstd"),
            _ if tail.contains("ustar") => Self::Tar(""),
            _ => return None,
        })
    }

    fn handler(self) -> &'static str {
        match self {
            Self::Zip => "ZipArchive",
            Self::Tar("") => "TarArchive",
            Self::Tar("-z") => "TgzArchive",
            Self::Tar("-j") => "TarBzipArchive",
            Self::Tar("-J") => "TarXzArchive",
            Self::Tar(_) => "TarZstdArchive",
        }
    }
}

impl Wanted {
    fn words(list: &[String]) -> String {
        list.iter().map(|w| format!(" {}", shell_quote(w))).collect()
    }

    fn filters(&self) -> String {
        let exclude: String = self.exclude.iter().map(|e| format!(" --exclude={}", shell_quote(e))).collect();
        format!("{}{exclude}", Self::words(&self.extra))
    }
}

/// Puts the archive of this side where the script can read it, and names it `$s`.
fn staged(bytes: Option<&[u8]>, src: &str) -> String {
    match bytes {
        None => format!("s={}\n", shell_quote(src)),
        Some(bytes) => format!("{FOLDER}s=$tp_w/source\n{} >\"$s\"\n", print(bytes)),
    }
}

/// What is in the archive, and what of it is there already. An archive of this side is read from a temporary for that.
fn look(w: Wanted) -> Decision {
    let script = format!(
        "{}d={}\n{}if [ ! -e \"$s\" ]; then echo source=absent; exit 0; fi\nif [ ! -r \"$s\" ]; then echo source=closed; exit 0; fi\n\
         printf 'magic=%s\\n' \"$(od -An -tx1 -N6 <\"$s\" | tr -d '\\n')\"\nprintf 'tail=%s\\n' \"$(dd if=\"$s\" bs=1 skip=257 count=5 2>/dev/null | tr -d '\\000')\"\n\
         printf 'tar=%s\\nunzip=%s\\n' \"$(command -v gtar || command -v tar)\" \"$(command -v unzip)\"\n",
        staged(w.bytes.as_deref(), &w.src),
        shell_quote(&w.dest),
        w.attrs.probe("\"$d\"", "-L"),
    );
    Decision::Probe(script, Box::new(move |out| compare(w, &Seen::read(&out).0)))
}

fn compare(w: Wanted, seen: &Seen) -> Result<Decision, String> {
    let shown = if w.bytes.is_some() { temporary("source").replace("/.source", "/source") } else { w.src.clone() };
    match seen.get("source") {
        "absent" => return Ok(failed(format!("Source '{shown}' does not exist"), Fields::new())),
        "closed" => return Ok(failed(format!("Source '{shown}' not readable"), Fields::new())),
        _ => {}
    }
    if !seen.directory() {
        return Ok(failed(format!("dest '{}' must be an existing dir", w.dest), Fields::new()));
    }
    let Some(kind) = Kind::of(seen.get("magic"), seen.get("tail")) else {
        let msg = format!(
            "Failed to find handler for \"{shown}\". Make sure the required command to extract the file is installed."
        );
        return Ok(failed(msg, Fields::new()));
    };
    let tool = seen.get(if matches!(kind, Kind::Zip) { "unzip" } else { "tar" }).to_owned();
    if tool.is_empty() {
        let msg = format!(
            "Failed to find handler for \"{shown}\". Make sure the required command to extract the file is installed.\nUnable to find required '{}' binary in the path.",
            if matches!(kind, Kind::Zip) { "unzip" } else { "tar" }
        );
        return Ok(failed(msg, Fields::new()));
    }
    let stage = staged(w.bytes.as_deref(), &w.src);
    let dest = shell_quote(&w.dest);
    // `tar --diff` knows whether all is there; `unzip` does not, so sizes and times are compared by what it lists.
    let script = match kind {
        Kind::Tar(flag) => {
            let filters = w.filters();
            let include = Wanted::words(&w.include);
            format!(
                "{stage}cd {dest}\n{tool} --list {flag}{filters} -f \"$s\"{include} 2>/dev/null >&1\necho\n\
                 {tool} --diff {flag}{filters} -f \"$s\"{include} 2>&1 | sort -u\nexit 0\n"
            )
        }
        Kind::Zip => format!(
            "{stage}cd {dest}\nunzip -Z1 \"$s\"{} 2>/dev/null\necho\n\
             unzip -Z1 \"$s\"{0} 2>/dev/null | while IFS= read -r f; do case $f in */) [ -d \"$f\" ] || echo \"$f: missing\";; *) unzip -p \"$s\" \"$f\" 2>/dev/null | cmp -s - \"$f\" || echo \"$f: missing\";; esac; done\nexit 0\n",
            zip_filters(&w)
        ),
    };
    let seen = seen.clone();
    Ok(Decision::Probe(script, Box::new(move |out| decide(w, &seen, kind, &tool, shown, &out))))
}

fn zip_filters(w: &Wanted) -> String {
    let exclude = if w.exclude.is_empty() { String::new() } else { format!(" -x{}", Wanted::words(&w.exclude)) };
    format!("{}{exclude}", Wanted::words(&w.include))
}

/// Lines of `tar --diff` that tell of content; owner, mode and time may be the task's.
fn matters(line: &str, w: &Wanted) -> bool {
    let owned = w.attrs.owner.is_some();
    let grouped = w.attrs.group.is_some();
    match line {
        "" => false,
        l if l.contains("Uid differs") => !owned,
        l if l.contains("Gid differs") => !grouped,
        l if l.contains("Mode differs") => w.attrs.mode.is_none(),
        l if l.contains("Mod time differs") => !w.newer,
        _ => true,
    }
}

fn decide(w: Wanted, seen: &Seen, kind: Kind, tool: &str, shown: String, out: &Output) -> Result<Decision, String> {
    let text = out.text();
    let (names, differences) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
    let names: Vec<String> = names.lines().filter(|l| !l.is_empty()).map(str::to_owned).collect();
    let extract = differences.lines().any(|l| matters(l, &w));
    let mut result = fields([("handler", json!(kind.handler())), ("src", json!(shown)), ("dest", json!(w.dest))]);
    if w.list {
        result.insert("files".into(), json!(names));
    }
    let wants = w.attrs.any();
    let command = match kind {
        Kind::Tar(flag) => {
            let mut all = vec![tool.to_owned(), "--extract".into(), "-C".into(), w.dest.clone()];
            all.extend((!flag.is_empty()).then(|| flag.to_owned()));
            all.extend((!w.extra.is_empty()).then(|| "--show-transformed-names".to_owned()));
            all.extend(w.extra.iter().cloned());
            all.extend(w.newer.then(|| "--keep-newer-files".to_owned()));
            for (name, value) in [("owner", &w.attrs.owner), ("group", &w.attrs.group)] {
                all.extend(value.iter().map(|v| format!("--{name}={v}")));
            }
            all.extend(w.exclude.iter().map(|e| format!("--exclude={e}")));
            all.extend(["-f".to_owned(), shown]);
            all.extend(w.include.iter().cloned());
            all
        }
        Kind::Zip => {
            let mut all = vec![tool.to_owned(), if w.newer { "-uo".into() } else { "-o".to_owned() }, shown];
            all.extend(w.extra.iter().cloned());
            all.extend(w.include.iter().cloned());
            if !w.exclude.is_empty() {
                all.push("-x".into());
                all.extend(w.exclude.iter().cloned());
            }
            all.extend(["-d".to_owned(), w.dest.clone()]);
            all
        }
    };
    let run: Vec<String> = command
        .iter()
        .map(|word| {
            if Some(word) == result.get("src").and_then(Json::as_str).map(str::to_owned).as_ref() {
                "\"$s\"".into()
            } else {
                shell_quote(word)
            }
        })
        .collect();
    let mut script = String::from(QUIET);
    script.push_str(&staged(w.bytes.as_deref(), &w.src));
    if extract {
        script.push_str(&format!(
            "set +e\ntp_o=$({} 2>&1); tp_v=$?\nset -e\nprintf 'rc=%s\\n' \"$tp_v\" >&3\nif [ \"$tp_v\" -ne 0 ]; then printf '%s\\n' \"$tp_o\"; exit 1; fi\n",
            run.join(" ")
        ));
    }
    // Owner and mode of all that came out, one path at a time.
    let mut mend = String::new();
    if wants {
        for name in &names {
            let p = shell_quote(&format!("{}/{}", w.dest.trim_end_matches('/'), name.trim_end_matches('/')));
            mend.push_str(&format!("p={p}\n{}", each(&w.attrs)));
        }
        script.push_str(&format!(
            "tp_before=$({0})\n{mend}if [ \"$tp_before\" != \"$({0})\" ]; then echo mended=1 >&3; fi\n",
            states(&w.dest, &names)
        ));
    }
    script.push_str(&format!("tp_stat {} >&3\n", shell_quote(&w.dest)));
    if !extract && !wants {
        result.extend(seen.facts());
        result.insert("changed".into(), false.into());
        return Ok(Decision::Done(result));
    }
    let mut expected = result.clone();
    expected.extend(seen.facts());
    expected.insert("changed".into(), json!(extract));
    if matches!(kind, Kind::Tar(_)) {
        expected = fields([
            ("changed", json!(false)),
            ("skipped", json!(true)),
            ("msg", json!("remote module (ansible.legacy.unarchive) does not support check mode when using gtar")),
        ]);
    }
    let path = w.dest;
    Ok(Decision::Change(Pending {
        script,
        action: Action::Update,
        subject: format!("folder {path}"),
        path: Some(path),
        before: None,
        after: Some(json!({ "files": names })),
        certain: extract,
        foreign: false,
        expected,
        finish: Box::new(move |out| {
            let (seen, _) = Seen::read(&out);
            if out.rc != 0 {
                let mut all = broken(&out, &seen);
                all.insert(
                    "msg".into(),
                    json!(format!(
                        "failed to unpack {} to {}",
                        result.get("src").and_then(Json::as_str).unwrap_or_default(),
                        result.get("dest").and_then(Json::as_str).unwrap_or_default()
                    )),
                );
                all.insert(
                    "extract_results".into(),
                    json!({ "cmd": command, "rc": out.rc, "out": "", "err": out.error_text() }),
                );
                return all;
            }
            let mut all = result;
            if extract {
                all.insert("extract_results".into(), json!({ "cmd": command, "rc": 0, "out": "", "err": "" }));
            }
            all.insert("changed".into(), json!(extract || seen.get("mended") == "1"));
            all.extend(seen.facts());
            all
        }),
    }))
}

/// What is at each of the paths.
fn states(dest: &str, names: &[String]) -> String {
    let paths: String = names
        .iter()
        .map(|n| format!(" {}", shell_quote(&format!("{}/{}", dest.trim_end_matches('/'), n.trim_end_matches('/')))))
        .collect();
    format!("stat -c '%f %u %g' --{paths} 2>/dev/null")
}

/// Gives one path what the task wants.
fn each(attrs: &Attrs) -> String {
    let mut script = String::new();
    for (tool, want) in [("chown -h", &attrs.owner), ("chgrp -h", &attrs.group)] {
        if let Some(want) = want {
            script.push_str(&format!("{tool} {} \"$p\"\n", shell_quote(want)));
        }
    }
    let mode = match &attrs.mode {
        Some(Mode::Bits(b)) => format!("{b:05o}"),
        Some(Mode::Symbolic(s)) => shell_quote(s),
        _ => return script,
    };
    script.push_str(&format!("if [ ! -L \"$p\" ]; then chmod {mode} \"$p\"; fi\n"));
    script
}
