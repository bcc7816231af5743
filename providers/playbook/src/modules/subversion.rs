//! `subversion`: working copies, by the `svn` of the target.

use std::collections::HashMap;

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::command::{not_started, program, python_quoted};
use super::content::print;
use super::spec::Rules;
use super::steps::{FOLDER, PATHS, exports, failed, no_program, said};
use super::{Call, Decided, Decision, Fields, Module, Output, Pending, Place, fields, head};

/// `subversion`.
pub(super) const MODULE: Module =
    Module { names: &["subversion"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

/// What a task wants. Not to be shown: it holds a password.
#[derive(Clone)]
struct Want {
    repo: String,
    dest: String,
    revision: String,
    force: bool,
    in_place: bool,
    checkout: bool,
    update: bool,
    export: bool,
    switch: bool,
    executable: Option<String>,
    /// The words before each command.
    options: Vec<String>,
    password: Option<String>,
    env: String,
    check: bool,
}

fn prepare(call: &Call) -> Decided {
    let yes = |k: &str, default: bool| Ok::<_, String>(call.yes(k)?.unwrap_or(default));
    let some = |k: &str| call.text(k).filter(|v| !v.is_empty());
    let password = some("password");
    let mut options = vec!["--non-interactive".to_owned(), "--no-auth-cache".into()];
    if !yes("validate_certs", false)? {
        options.push("--trust-server-cert".into());
    }
    if let Some(user) = some("username") {
        options.extend(["--username".to_owned(), user]);
    }
    options.extend(password.is_some().then(|| "--password-from-stdin".to_owned()));
    let want = Want {
        repo: call.need("repo")?,
        dest: some("dest").unwrap_or_default(),
        revision: call.text("revision").unwrap_or_else(|| "HEAD".into()),
        force: yes("force", false)?,
        in_place: yes("in_place", false)?,
        checkout: yes("checkout", true)?,
        update: yes("update", true)?,
        export: yes("export", false)?,
        switch: yes("switch", true)?,
        executable: some("executable"),
        options,
        password,
        env: exports(&call.env),
        check: call.check,
    };
    if want.dest.is_empty() && !want.only_asks() {
        return Err("the destination directory must be specified unless checkout=no, update=no, and export=no".into());
    }
    Ok(Decision::Probe(want.probe(), Box::new(move |out| decide(want, &out))))
}

/// `tp_no WORDS` tells how a command failed, and ends the script.
const TOOLS: &str = r#"tp_no() {
printf 'fail=1\nrc=%s\n' "$tp_v"
printf 'cmd=%s' "$1"
shift
for tp_x; do printf '\037%s' "$tp_x"; done | tr '\n' ' '
printf '\nout=%s\n\n' "$(wc -c <"$tp_w/o")"
cat "$tp_w/o" "$tp_w/e"
exit 0
}
tp_i() { sed -n 's/^Revision: /revision'"$1"'=/p; s/^URL: /url'"$1"'=/p' "$tp_w/o"; }
"#;

/// What is there now; `b` is not empty where it was changed.
const LOCAL: &str = r#"tp_s status --quiet --ignore-externals "$d" || tp_no status --quiet --ignore-externals "$d"
b=$(grep -v '^[?X]' "$tp_w/o" | grep -v '^$' | head -n 1)
"#;

impl Want {
    /// Whether it only asks for the remote's revision.
    fn only_asks(&self) -> bool {
        !self.export && !self.checkout && !self.update
    }

    fn prelude(&self) -> String {
        let options: String = self.options.iter().map(|o| format!(" {}", shell_quote(o))).collect();
        let input = match &self.password {
            Some(p) => format!("{} | ", print(p.as_bytes())),
            None => String::new(),
        };
        format!(
            "{}LC_ALL=C.UTF-8\nexport LC_ALL\n{PATHS}\
             {FOLDER}\
             u={}\nd={}\nr={}\n\
             tp_s() {{ {input}\"$g\"{options} \"$@\" >\"$tp_w/o\" 2>\"$tp_w/e\"{}; tp_v=$?; return $tp_v; }}\n{TOOLS}",
            self.env,
            shell_quote(&self.repo),
            shell_quote(&self.dest),
            shell_quote(&self.revision),
            if input.is_empty() { " </dev/null" } else { "" },
        )
    }

    fn probe(&self) -> String {
        let find = program(self.executable.as_deref(), "svn");
        let version = match self.password {
            Some(_) => "case $(\"$g\" --version --quiet) in 0.*|1.[0-9].*) printf 'old=1\\n\\n'; exit 0;; esac\n",
            None => "",
        };
        let ask = if self.only_asks() {
            "tp_s info \"$u\" || tp_no info \"$u\"\ntp_i\n".to_owned()
        } else if self.export {
            String::new()
        } else {
            let foresee = match (self.update, self.check) {
                (true, true) => format!(
                    "{LOCAL}if [ -n \"$b\" ]; then echo mods=1{}; fi\ntp_s info -r \"$r\" \"$d\" || tp_no info -r \"$r\" \"$d\"\ntp_i _then\n",
                    // Nothing more is asked where it fails.
                    if self.force { "" } else { "; echo; exit 0" },
                ),
                _ => String::new(),
            };
            format!("if [ -n \"$t\" ] && tp_s info \"$d\"; then\necho copy=1\ntp_i\n{foresee}fi\n")
        };
        format!(
            "{}t=\nif [ -n \"$d\" ] && {{ [ -e \"$d\" ] || [ -L \"$d\" ]; }}; then t=1; echo there=1; fi\n\
             {find}printf 'svn=%s\\n' \"$g\"\n{version}{ask}echo\nexit 0\n",
            self.prelude()
        )
    }

    /// The command that makes what is not there.
    fn make(&self) -> String {
        let verb = if self.export { "export" } else { "checkout" };
        let force = if self.force && self.export || self.in_place && !self.export { " --force" } else { "" };
        format!("{verb}{force} -r \"$r\" \"$u\" \"$d\"")
    }

    fn change(&self, svn: &str, there: bool, copy: bool) -> String {
        let run = |words: &str| format!("tp_s {words} || tp_no {words}\n");
        let mut s = format!("{}g={}\n: >\"$tp_w/said\"\n", self.prelude(), shell_quote(svn));
        let keep = "cat \"$tp_w/o\" >>\"$tp_w/said\"\n";
        let revert = run("revert -R \"$d\"");
        match (self.export, there, copy) {
            (true, ..) => {
                s.push_str(&format!("{}echo\nexit 0\n", run(&self.make())));
                return s;
            }
            (_, false, _) => s.push_str(&run(&self.make())),
            (_, true, false) => {
                s.push_str(&format!("{}{LOCAL}", run(&self.make())));
                if self.force {
                    s.push_str(&format!("if [ -n \"$b\" ]; then\n{revert}fi\n"));
                }
            }
            (_, true, true) => {
                s.push_str(LOCAL);
                if self.switch {
                    s.push_str(&run("switch --revision \"$r\" \"$u\" \"$d\""));
                    s.push_str(keep);
                }
                s.push_str(&match self.force {
                    true => format!("if [ -n \"$b\" ]; then\necho mods=1\n{revert}fi\n"),
                    false => "if [ -n \"$b\" ]; then printf 'mods=1\\nrefused=1\\n\\n'; exit 0; fi\n".to_owned(),
                });
                s.push_str(&run("update -r \"$r\" \"$d\""));
                s.push_str(keep);
            }
        }
        s.push_str(&run("info \"$d\""));
        s.push_str("tp_i\necho\ncat \"$tp_w/said\"\nexit 0\n");
        s
    }

    /// A command that failed; the word behind a password's option is hidden, as Ansible hides it.
    fn shown(&self, svn: &str, words: &[&str]) -> String {
        let mut all: Vec<String> = vec![svn.to_owned()];
        all.extend(self.options.iter().cloned());
        for (i, word) in words.iter().enumerate() {
            all.push(if i == 0 && self.password.is_some() { "********".into() } else { (*word).to_owned() });
        }
        all.iter().map(|w| python_quoted(w)).collect::<Vec<_>>().join(" ")
    }

    fn failure(&self, svn: &str, seen: &HashMap<String, String>, body: &[u8]) -> Fields {
        let get = |k: &str| seen.get(k).map(String::as_str).unwrap_or_default();
        let (out, err) = body.split_at(get("out").trim().parse::<usize>().unwrap_or(0).min(body.len()));
        let words: Vec<&str> = get("cmd").split('\u{1f}').collect();
        let mut all =
            fields([("cmd", json!(self.shown(svn, &words))), ("rc", json!(get("rc").parse::<i64>().unwrap_or(1)))]);
        said(&mut all, &Output { rc: 0, stdout: out.to_vec(), stderr: err.to_vec() }, true);
        failed(all, String::from_utf8_lossy(err).trim_end())
    }
}

const MODIFIED: &str = "ERROR: modified files exist in the repository.";

fn decide(w: Want, out: &Output) -> Decided {
    if out.rc != 0 {
        return Err(out.error_text().trim().to_owned());
    }
    let (seen, body) = head(out);
    let get = |k: &str| seen.get(k).map(String::as_str).unwrap_or_default();
    let is = |k: &str| get(k) == "1";
    let there = is("there");
    if let Some((_, name)) = get("unstarted").split_once(' ') {
        let cmd = w.shown(name, &first_command(&w, there));
        return Ok(Decision::Done(not_started(get("unstarted"), cmd)));
    }
    if seen.contains_key("path") {
        return Err(no_program("svn", get("path")));
    }
    if is("old") {
        return Err("the option `password` of `subversion` needs svn 1.10 or later on the target: an older one shows it to other users".into());
    }
    let svn = get("svn").to_owned();
    if is("fail") {
        return Ok(Decision::Done(w.failure(&svn, &seen, &body)));
    }
    let unchanged = fields([("changed", json!(false))]);
    let changed = fields([("changed", json!(true))]);
    let now = [format!("Revision: {}", get("revision")), format!("URL: {}", get("url"))];
    if w.only_asks() {
        let mut result = unchanged;
        result.insert("after".into(), json!(now.first()));
        return Ok(Decision::Done(result));
    }
    let copy = is("copy");
    if w.export || !there {
        if !w.export && !w.checkout {
            return Ok(Decision::Done(unchanged));
        }
        return Ok(pending(w, svn, there, false, None, changed, true));
    }
    if !copy {
        if w.in_place {
            return Ok(pending(w, svn, true, false, None, changed, true));
        }
        return Err(format!("ERROR: {} folder already exists, but its not a subversion repository.", w.dest));
    }
    if !w.update {
        return Ok(Decision::Done(unchanged));
    }
    if !w.check {
        return Ok(pending(w, svn, true, true, Some(now), changed, false));
    }
    if is("mods") && !w.force {
        return Err(MODIFIED.into());
    }
    let number = |k: &str| get(k).parse::<u64>().unwrap_or(0);
    let newer = number("revision") < number("revision_then");
    let result = fields([
        ("changed", json!(newer)),
        ("before", json!(now.first())),
        ("after", json!(format!("Revision: {}", get("revision_then")))),
    ]);
    // An older revision, another address and what is reverted are changes, too, which check mode does not tell.
    let unsure = number("revision") != number("revision_then") || is("mods") || get("url") != w.repo;
    if !newer && !unsure {
        return Ok(Decision::Done(result));
    }
    Ok(pending(w, svn, true, true, Some(now), result, newer))
}

/// The command that would have run, had its program started.
fn first_command(w: &Want, there: bool) -> Vec<&str> {
    match (w.only_asks(), w.export, there) {
        (true, ..) => vec!["info", &w.repo],
        (_, true, _) => vec!["export", "-r", &w.revision, &w.repo, &w.dest],
        (_, _, false) => vec!["checkout", "-r", &w.revision, &w.repo, &w.dest],
        (_, _, true) => vec!["info", &w.dest],
    }
}

/// Whether `switch` or `update` says that it changed a file.
fn touched(text: &str) -> bool {
    text.lines().any(|l| {
        let marks = l.get(..4).unwrap_or_default();
        marks.bytes().all(|b| b"ABCDEGRU ".contains(&b)) && !marks.trim().is_empty() && l.get(4..5) == Some(" ")
    })
}

fn pending(
    w: Want,
    svn: String,
    there: bool,
    copy: bool,
    before: Option<[String; 2]>,
    expected: Fields,
    certain: bool,
) -> Decision {
    let dest = w.dest.clone();
    Decision::Change(Pending {
        script: w.change(&svn, there, copy),
        action: if there { Action::Update } else { Action::Create },
        subject: format!("working copy {dest}"),
        path: Some(dest),
        before: before.as_ref().map(|b| json!(b)),
        after: expected.get("after").cloned(),
        certain,
        foreign: false,
        expected,
        finish: Box::new(move |out| {
            if out.rc != 0 {
                return failed(Fields::new(), out.error_text().trim());
            }
            let (seen, body) = head(&out);
            let get = |k: &str| seen.get(k).map(String::as_str).unwrap_or_default();
            if get("fail") == "1" {
                return w.failure(&svn, &seen, &body);
            }
            if get("refused") == "1" {
                return failed(Fields::new(), MODIFIED);
            }
            if w.export {
                return fields([("changed", json!(true))]);
            }
            let after = [format!("Revision: {}", get("revision")), format!("URL: {}", get("url"))];
            let changed = match &before {
                None => true,
                Some(b) => *b != after || get("mods") == "1" || touched(&String::from_utf8_lossy(&body)),
            };
            let before = before.as_ref().map_or(Json::Null, |b| json!(b));
            fields([("changed", json!(changed)), ("before", before), ("after", json!(after))])
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::touched;

    #[test]
    fn what_svn_changes_is_seen() {
        assert!(touched("U    x/a\nUpdated to revision 4.\n"));
        assert!(touched(" U   x\n"));
        assert!(!touched("Updating 'x':\nAt revision 4.\nUpdated to revision 4.\n"));
    }
}
