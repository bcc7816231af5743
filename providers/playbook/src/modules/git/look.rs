//! What is there and what the remote has.

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::super::attrs::failed;
use super::super::command::{not_started, program, python_quoted};
use super::super::steps::no_program;
use super::super::{Decision, Fields, Output, Pending, fields, head};
use super::answer::{self, Failure};
use super::{Want, change, outcome};

/// Finds the repository of `$d`: its folder in `$gd`, which is empty where there is none.
const FIND: &str = r#"gd= tp_b=
if [ -n "$bare" ]; then gd=$d
elif [ -d "$d/.git" ]; then gd=$d/.git
elif [ -f "$d/.git" ]; then
gd=$(cat "$d/.git")
gd=${gd#gitdir: }
case $gd in /*) ;; *) gd=$d/$gd ;; esac
if [ ! -d "$gd" ]; then printf 'nodir=%s\n' "$gd"; fi
fi
if [ -z "$d" ] || [ ! -f "$gd/config" ]; then gd=; fi
if [ -n "$gd" ]; then printf 'there=1\ngitdir=%s\n' "$gd"; fi
"#;

/// What is checked out: the commit, changes that are not committed, the remote's address, the branch.
const LOCAL: &str = r#"cd -- "$d" || exit 1
printf 'before=%s\n' "$("$g" rev-parse HEAD 2>/dev/null)"
"#;

const STATE: &str = r#"if [ -z "$bare" ] && "$g" status --porcelain 2>/dev/null | grep -qv '^??'; then tp_b=1; echo mods=1; fi
url=$("$g" ls-remote --get-url "$R" 2>/dev/null)
now=$("$g" symbolic-ref -q HEAD)
now=${now#refs/heads/}
far=$("$g" symbolic-ref -q "refs/remotes/$R/HEAD")
far=${far#"refs/remotes/$R/"}
printf 'url=%s\nnow=%s\nfar=%s\n' "$url" "$now" "$far"
if [ -f .gitmodules ]; then echo modules=1; fi
"#;

/// Whether a fetch would bring something: all branches and tags of the remote beside those that are here.
const COMPARE: &str = r#"if [ -z "$tp_b" ] && [ "${url%/}" = "${u%/}" ] && { [ -n "$bare" ] || [ "$("$g" config --get-all "remote.$R.fetch")" = "+refs/heads/*:refs/remotes/$R/*" ]; } &&
tp_g ls-remote "$R"; then
{
if [ -n "$bare" ]; then "$g" for-each-ref --format='L %(objectname) %(refname)' refs/heads
else "$g" for-each-ref --format='L %(objectname) refs/heads/%(refname:strip=3)' "refs/remotes/$R"
fi
"$g" for-each-ref --format='L %(objectname) %(refname)' refs/tags
sed 's/^/R /' "$tp_w/o"
} 2>/dev/null | awk '
$1 == "L" { have[$3] = $2; next }
substr($3, length($3) - 2) == "^{}" { next }
index($3, "refs/heads/") == 1 || index($3, "refs/tags/") == 1 { if (have[$3] != $2) { stale = 1; exit } }
END { if (!stale) print "fresh=1" }'
tp_r=refs/heads/$v awk '$2 == ENVIRON["tp_r"] { print "branch=" $1 }' "$tp_w/o"
tp_r=refs/heads/$now awk '$2 == ENVIRON["tp_r"] { print "tip=" $1 }' "$tp_w/o"
printf 'commit=%s\n' "$("$g" rev-parse -q --verify "$v^{commit}" 2>/dev/null)"
fi
"#;

/// The probe.
pub(super) fn script(w: &Want) -> String {
    let mut s = w.prelude(true);
    s.push_str(&format!("bare={}\n{FIND}", if w.bare { "1" } else { "" }));
    if let Some(sep) = &w.separate {
        s.push_str(&format!("if [ -e {} ]; then echo separate=1; fi\n", shell_quote(sep)));
    }
    if w.url.starts_with('~') {
        s.push_str("printf 'address=%s\\n' \"$u\"\n");
    }
    s.push_str(&program(w.executable.as_deref(), "git"));
    s.push_str("printf 'git=%s\\n' \"$g\"\n");
    if let Some(option) = w.connects() {
        s.push_str(&format!(
            "case $(\"$g\" --version) in 'git version 1.'*|'git version 2.'[0-2]|'git version 2.'[0-2].*) printf 'old={option}\\n\\n'; exit 0;; esac\n"
        ));
    }
    let there = match (w.update, w.check) {
        (false, _) => String::new(),
        (true, true) => format!("{STATE}{}", ask(w)),
        (true, false) if shortcut(w) => format!("{STATE}{COMPARE}"),
        (true, false) => STATE.to_owned(),
    };
    let away = match w.check || !w.clone {
        true => {
            let (patterns, shown) = match w.head() {
                true => ("HEAD".to_owned(), "HEAD"),
                false => (PATTERNS.to_owned(), "\"refs/heads/$v\""),
            };
            format!("tp_g ls-remote \"$u\" {patterns} || tp_no run ls-remote \"$u\" -h {shown}\n")
        }
        false => ": >\"$tp_w/o\"\n".to_owned(),
    };
    s.push_str(&format!(
        ": >\"$tp_w/o\"\nif [ -n \"$gd\" ]; then\n{LOCAL}{there}{}else\n{away}fi\necho\ncat \"$tp_w/o\"\nexit 0\n",
        // What was compared is not told.
        if w.check { "" } else { ": >\"$tp_w/o\"\n" }
    ));
    s
}

const PATTERNS: &str = "\"refs/heads/$v\" \"refs/tags/$v\" \"refs/tags/$v^{}\"";

/// What the version is at the remote, where only that is asked.
fn ask(w: &Want) -> String {
    if !w.head() {
        return format!("tp_g ls-remote \"$R\" {PATTERNS} || tp_no run ls-remote \"$R\" -h \"refs/heads/$v\"\n");
    }
    "tp_g branch --no-color -a || tp_no branches\n\
     now=${now:-${far:-None}}\n\
     tp_g ls-remote \"$R\" \"refs/heads/$now\" || tp_no run ls-remote \"$R\" -h \"refs/heads/$now\"\n"
        .to_owned()
}

/// Whether nothing can be left to do where commits and references are the same.
fn shortcut(w: &Want) -> bool {
    w.refspec.is_none()
        && w.depth.is_none()
        && w.archive.is_none()
        && w.separate.is_none()
        && !w.verify
        && !w.remote.contains('/')
}

/// A commit of the remote: of a branch, a tag, or what the version itself is.
fn revision(version: &str, names: &[String], body: &str) -> Option<String> {
    let find = |name: &str| {
        body.lines().find_map(|l| l.split_once('\t').filter(|(_, n)| *n == name).map(|(id, _)| id.to_owned()))
    };
    names.iter().find_map(|n| find(n)).or_else(|| (version != "HEAD").then(|| version.to_owned()))
}

fn names(version: &str) -> Vec<String> {
    vec![format!("refs/heads/{version}"), format!("refs/tags/{version}^{{}}"), format!("refs/tags/{version}")]
}

/// Reads the probe.
pub(super) fn decide(mut w: Want, out: &Output) -> Result<Decision, String> {
    let (seen, body) = head(out);
    let get = |k: &str| seen.get(k).map(String::as_str).unwrap_or_default();
    if out.rc != 0 {
        return Err(out.error_text().trim().to_owned());
    }
    if !get("nodir").is_empty() {
        let msg = "Current repo does not have a valid reference to a separate Git dir or it refers to the invalid path";
        return Ok(failed(msg, fields([("details", json!(format!("{} is not a directory", get("nodir"))))])));
    }
    let there = get("there") == "1";
    let moved = there && w.separate.as_ref().is_some_and(|s| s.trim_end_matches('/') != get("gitdir"));
    if moved && !w.check && get("separate") == "1" {
        let path = w.separate.unwrap_or_default();
        return Ok(failed(format!("Separate-git-dir path {path} already exists."), Fields::new()));
    }
    if !get("address").is_empty() {
        w.url = get("address").to_owned();
    }
    if let Some((_, name)) = get("unstarted").split_once(' ') {
        let cmd = format!("{} --version", python_quoted(name));
        return Ok(Decision::Done(not_started(get("unstarted"), cmd)));
    }
    if seen.contains_key("path") {
        return Err(no_program("git", get("path")));
    }
    if !get("old").is_empty() {
        return Err(format!("the option `{}` of `git` needs git 2.3 or later on the target", get("old")));
    }
    if !get("fail").is_empty() {
        return Ok(Decision::Done(Failure::read(&seen, &body).fields(&w)));
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    let git = get("git").to_owned();
    if !there {
        return absent(w, &git, &body, get("oldssh") == "1");
    }
    let gitdir = get("gitdir").to_owned();
    let state = State {
        git,
        before: get("before").to_owned(),
        mods: get("mods") == "1",
        other: w.update && get("url").trim_end_matches('/') != w.url.trim_end_matches('/'),
        from: moved.then_some(gitdir),
        there,
    };
    if !w.update {
        let more = w.archive.is_some() || moved;
        let result = outcome(json!(state.before), &state.before, more);
        if !more {
            return Ok(Decision::Done(result));
        }
        return Ok(Decision::Change(pending(w, state, result, true)));
    }
    if state.mods && !w.force {
        let msg = format!("Local modifications exist in the destination: {} (force=no).", w.place());
        return Ok(failed(msg, fields([("before", json!(state.before))])));
    }
    let modules = w.recursive && !w.bare && get("modules") == "1";
    if w.check {
        let branch = [get("now"), get("far"), "None"].into_iter().find(|b| !b.is_empty()).unwrap_or_default();
        let names = if w.head() { vec![format!("refs/heads/{branch}")] } else { names(&w.version) };
        let Some(after) = revision(&w.version, &names, &body) else { return Ok(undetermined()) };
        let changed = state.other || state.before != after;
        let mut result = outcome(json!(state.before), &after, changed);
        result.insert("remote_url_changed".into(), json!(state.other));
        warn(&mut result, get("oldssh") == "1");
        // Submodules and the like are looked at by a run only.
        let unsure = modules || state.mods || moved || !shortcut(&w);
        if state.before == after || !w.diff {
            return Ok(foreseen(w, state, result, unsure));
        }
        let from = names.into_iter().find(|n| body.contains(&format!("\t{n}"))).unwrap_or_default();
        let script = change::difference(&w, &state, &after, from.trim_end_matches("^{}"));
        return Ok(Decision::Probe(
            script,
            Box::new(move |out| {
                let mut result = result;
                result.insert("diff".into(), answer::difference(&out, &state.before, &after));
                Ok(foreseen(w, state, result, unsure))
            }),
        ));
    }
    let still = match (w.bare, w.head()) {
        (true, _) => true,
        (_, true) => !get("now").is_empty() && get("tip") == state.before,
        (_, false) if !get("branch").is_empty() => get("now") == w.version && get("branch") == state.before,
        (_, false) => get("now").is_empty() && get("commit") == state.before,
    };
    let mut result = outcome(json!(state.before), &state.before, false);
    result.insert("remote_url_changed".into(), json!(state.other));
    if get("fresh") == "1" && still && !modules {
        warn(&mut result, get("oldssh") == "1");
        return Ok(Decision::Done(result));
    }
    result.insert("changed".into(), true.into());
    Ok(Decision::Change(pending(w, state, result, false)))
}

/// A repository before its change.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) git: String,
    pub(super) before: String,
    /// Whether something is changed and not committed.
    pub(super) mods: bool,
    /// Whether the remote has another address.
    pub(super) other: bool,
    /// Its folder, if that moves.
    pub(super) from: Option<String>,
    pub(super) there: bool,
}

/// What a run would give, for check mode and plans.
fn foreseen(w: Want, state: State, result: Fields, unsure: bool) -> Decision {
    let changed = result.get("changed") == Some(&json!(true));
    if !changed && !unsure {
        return Decision::Done(result);
    }
    Decision::Change(pending(w, state, result, changed))
}

fn undetermined() -> Decision {
    let mut more = fields([("rc", json!(0))]);
    super::super::steps::said(&mut more, &Output::default(), true);
    failed("Could not determine remote revision for HEAD", more)
}

/// Nothing is there yet.
fn absent(w: Want, git: &str, body: &str, old: bool) -> Result<Decision, String> {
    let state =
        State { git: git.to_owned(), before: String::new(), mods: false, other: false, from: None, there: false };
    let mut result = outcome(Json::Null, "", true);
    if !w.check && w.clone {
        return Ok(Decision::Change(pending(w, state, result, true)));
    }
    let names = if w.head() { vec!["HEAD".to_owned()] } else { names(&w.version) };
    let Some(after) = revision(&w.version, &names, body) else { return Ok(undetermined()) };
    result.insert("after".into(), json!(after));
    if w.diff {
        result.insert("diff".into(), answer::fresh(&after));
    }
    warn(&mut result, old);
    if !w.clone {
        // As Ansible has it: said to be changed, and nothing is.
        return Ok(Decision::Done(result));
    }
    Ok(Decision::Change(pending(w, state, result, true)))
}

fn warn(result: &mut Fields, old: bool) {
    if old {
        result.insert("warnings".into(), json!([answer::OLD_SSH]));
    }
}

fn pending(w: Want, state: State, expected: Fields, certain: bool) -> Pending {
    let dest = w.place().to_owned();
    Pending {
        script: change::script(&w, &state),
        action: if state.there { Action::Update } else { Action::Create },
        subject: format!("repository {dest}"),
        // An archive or a folder of git's may be anywhere.
        path: (w.archive.is_none() && w.separate.is_none()).then_some(dest),
        before: state.there.then(|| json!(state.before)),
        after: expected.get("after").filter(|a| a.as_str() != Some("")).cloned(),
        certain,
        // Hooks are commands that somebody else wrote.
        foreign: true,
        expected,
        finish: Box::new(move |out| answer::finish(&w, &state, &out)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_branches_then_tags_then_themselves() {
        let body =
            "a1\trefs/heads/x\na2\trefs/tags/x\na3\trefs/tags/y\na4\trefs/tags/y^{}\na5\trefs/heads/z/refs/heads/w\n";
        let of = |v: &str| revision(v, &names(v), body);
        assert_eq!(of("x").as_deref(), Some("a1"));
        assert_eq!(of("y").as_deref(), Some("a4"));
        assert_eq!(of("w").as_deref(), Some("w"));
        assert_eq!(revision("HEAD", &["HEAD".into()], body), None);
    }
}
