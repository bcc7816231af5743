//! `apt_repository`.

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::apt::Flags;
use super::attrs::Seen;
use super::spec::Rules;
use super::steps::{exports, failed, put, why};
use super::{Call, Decision, Fields, Module, Output, Pending, Place, fields};

/// `apt_repository`.
pub(super) const MODULE: Module =
    Module { names: &["apt_repository"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

const FOLDER: &str = "/etc/apt/sources.list.d";

/// A line of a list of sources.
struct Line {
    /// As it is written; used where it is no source.
    raw: String,
    source: Option<String>,
    enabled: bool,
    comment: String,
}

impl Line {
    fn of(raw: &str) -> Self {
        let text = raw.trim();
        let enabled = !text.starts_with('#');
        let text = text.trim_start_matches('#').trim();
        let (source, comment) = text.split_once('#').unwrap_or((text, ""));
        let words: Vec<&str> = source.split_whitespace().collect();
        let valid = words.first().is_some_and(|w| *w == "deb" || *w == "deb-src") && words.len() > 1;
        Self {
            raw: raw.to_owned(),
            source: valid.then(|| words.join(" ")),
            enabled,
            comment: comment.trim().to_owned(),
        }
    }

    fn text(&self) -> String {
        match &self.source {
            None => format!("{}\n", self.raw.trim_end()),
            Some(s) => {
                let off = if self.enabled { "" } else { "# " };
                let comment = if self.comment.is_empty() { String::new() } else { format!(" # {}", self.comment) };
                format!("{off}{s}{comment}\n")
            }
        }
    }
}

/// The file for a source without a name of its own: from the words of its address.
fn suggest(source: &str) -> String {
    let mut depth = 0;
    let bare: String = source
        .chars()
        .filter(|c| {
            if *c == '[' {
                depth += 1;
            }
            let outside = depth == 0;
            if *c == ']' && depth > 0 {
                depth -= 1;
            }
            outside
        })
        .collect();
    let address = bare.split_whitespace().nth(1).unwrap_or_default();
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let address = address.split_once('@').map_or(address, |(_, rest)| rest);
    let words: Vec<&str> = address.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
    format!("{}.list", words.join("_"))
}

fn prepare(call: &Call) -> Result<Decision, String> {
    let repo = call.need("repo")?;
    if repo.trim().is_empty() {
        return Err("Please set argument 'repo' to a non-empty value".into());
    }
    let absent = call.text("state").as_deref() == Some("absent");
    let update = call.yes("update_cache")?.unwrap_or(true).then(|| Flags::of(call)).transpose()?;
    let mode = super::attrs::Attrs::of(call);
    let filename = call.text("filename").map(|f| {
        let f = if f.ends_with(".list") { f } else { format!("{f}.list") };
        if f.starts_with('/') { f } else { format!("{FOLDER}/{f}") }
    });
    if repo.starts_with("ppa:") && !absent {
        return Err(format!(
            "the repository `{repo}` needs Launchpad, which is not supported yet: give its `deb` line"
        ));
    }
    let line = Line::of(&repo);
    let Some(source) = line.source.filter(|_| line.enabled).or_else(|| repo.starts_with("ppa:").then(|| repo.clone()))
    else {
        return Err(format!("Invalid repository string: {repo}"));
    };
    let (env, diff) = (exports(&call.env), call.diff);
    let probe = format!(
        "for f in /etc/apt/sources.list {FOLDER}/*.list; do [ -f \"$f\" ] || continue\n\
         echo \"file=$f\"; stat -c 'raw=%f' \"$f\"; echo \"size=$(wc -c <\"$f\")\"; echo; cat \"$f\"; done\nexit 0\n"
    );
    Ok(Decision::Probe(
        probe,
        Box::new(move |out| decide(Want { repo, source, absent, update, mode, filename, env, diff }, out)),
    ))
}

struct Want {
    repo: String,
    source: String,
    absent: bool,
    update: Option<Flags>,
    mode: super::attrs::Attrs,
    filename: Option<String>,
    env: String,
    diff: bool,
}

struct File {
    path: String,
    /// Type and mode, as `stat` has them.
    raw: String,
    before: Vec<u8>,
    lines: Vec<Line>,
    changed: bool,
}

fn files(out: Output) -> Vec<File> {
    let mut all = Vec::new();
    let mut rest = out.stdout;
    loop {
        let (mut seen, after) = super::head(&Output { stdout: rest, ..Output::default() });
        let Some(path) = seen.remove("file") else { return all };
        let size = seen.get("size").and_then(|s| s.trim().parse().ok()).unwrap_or(0).min(after.len());
        let (text, next) = after.split_at(size);
        let lines = String::from_utf8_lossy(text).lines().map(Line::of).collect();
        all.push(File {
            path,
            raw: seen.remove("raw").unwrap_or_default(),
            before: text.to_vec(),
            lines,
            changed: false,
        });
        rest = next.to_vec();
    }
}

fn decide(want: Want, out: Output) -> Result<Decision, String> {
    let mut all = files(out);
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    if want.absent {
        for file in &mut all {
            let count = file.lines.len();
            file.lines.retain(|l| !(l.enabled && l.source.as_deref() == Some(&want.source)));
            file.changed = file.lines.len() != count;
            if file.changed && file.lines.is_empty() {
                removed.push(file.path.clone());
            }
        }
    } else {
        let mut found = false;
        for file in &mut all {
            for line in file.lines.iter_mut().filter(|l| l.source.as_deref() == Some(&want.source)) {
                found = true;
                if !line.enabled {
                    line.enabled = true;
                    file.changed = true;
                }
            }
        }
        if !found {
            let path = want.filename.clone().unwrap_or_else(|| format!("{FOLDER}/{}", suggest(&want.source)));
            let new =
                Line { raw: String::new(), source: Some(want.source.clone()), enabled: true, comment: String::new() };
            match all.iter_mut().find(|f| f.path == path) {
                Some(file) => {
                    file.lines.push(new);
                    file.changed = true;
                }
                None => {
                    added.push(path.clone());
                    all.push(File { path, raw: "81a4".into(), before: Vec::new(), lines: vec![new], changed: true });
                }
            }
        }
    }
    let result = fields([
        ("changed", json!(all.iter().any(|f| f.changed))),
        ("repo", json!(want.repo)),
        ("sources_added", json!(added)),
        ("sources_removed", json!(removed)),
        ("state", json!(if want.absent { "absent" } else { "present" })),
    ]);
    let (mut script, mut diff) = (want.env, Vec::new());
    for file in all.iter().filter(|f| f.changed) {
        let text: String = file.lines.iter().map(Line::text).collect();
        let gone = file.lines.is_empty();
        diff.push(json!({
            "before": String::from_utf8_lossy(&file.before),
            "after": text,
            "before_header": if file.before.is_empty() { "/dev/null" } else { &file.path },
            "after_header": if gone { "/dev/null" } else { &file.path },
        }));
        if gone {
            script.push_str(&format!("rm -f {} || exit $?\n", shell_quote(&file.path)));
            continue;
        }
        let mend =
            want.mode.mend(&Seen::default().with(&[("raw", file.raw.clone())]), &file.path).map_err(|f| why(&f))?;
        script.push_str(&put(&file.path, text.as_bytes(), &mend.script));
    }
    if diff.is_empty() {
        return Ok(Decision::Done(result));
    }
    let flags = want.update;
    if let Some(flags) = &flags {
        script.push_str(&flags.update());
    }
    let mut result = result;
    if want.diff {
        result.insert("diff".into(), Json::Array(diff));
    }
    Ok(Decision::Change(Pending {
        script,
        action: if want.absent { Action::Delete } else { Action::Create },
        subject: format!("repository {}", want.source),
        path: None,
        before: None,
        after: (!want.absent).then(|| json!(want.source)),
        certain: true,
        foreign: false,
        expected: result.clone(),
        finish: Box::new(move |out| match (&flags, out.rc) {
            (_, 0) => result,
            (Some(flags), 77) => failed(Fields::new(), flags.not_updated(&out.error_text())),
            _ => failed(Fields::new(), out.error_text()),
        }),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_after_addresses() {
        for (source, name) in [
            ("deb [trusted=yes] file:/var/tmp/arepo ./", "file_var_tmp_arepo.list"),
            ("deb http://user:pw@127.0.0.1:9/x-y/z_1 bookworm main", "127_0_0_1_9_x_y_z_1.list"),
            ("deb http://u.example.org:8080/a/?x=y bookworm main", "u_example_org_8080_a_x_y.list"),
            ("deb [trusted=yes] cdrom:[Debian]/ bookworm main", "cdrom.list"),
        ] {
            assert_eq!(suggest(source), name);
        }
    }

    #[test]
    fn lines_are_written_as_they_mean() {
        assert_eq!(Line::of("deb  a   b main  # c").text(), "deb a b main # c\n");
        assert_eq!(Line::of("#deb a b").text(), "# deb a b\n");
        assert_eq!(Line::of("rubbish").text(), "rubbish\n");
    }
}
