//! The scripts that clone and update.

use towpath_core::shell_quote;

use super::Want;
use super::look::State;

/// The branch that `HEAD` stands for: the one that is checked out, or else the remote's.
const BRANCH: &str = r#"tp_branch() {
b=$("$g" symbolic-ref -q HEAD) && { b=${b#refs/heads/}; return; }
b=$("$g" symbolic-ref -q "refs/remotes/$R/HEAD") && { b=${b#"refs/remotes/$R/"}; return; }
b=None
}
"#;

const SWITCH_HEAD: &str = r#"tp_branch
printf 'branch=%s\n' "$b"
tp_g checkout --force "$b" || tp_no branch checkout --force "$b"
tp_g reset --hard "$R/$b" -- || tp_no reset reset --hard "$R/$b" --
"#;

const SWITCH_VERSION: &str = r#"tp_g ls-remote "$R" -h "refs/heads/$v" || tp_no run ls-remote "$R" -h "refs/heads/$v"
if [ ! -s "$tp_w/o" ]; then
tp_g checkout --force "$v" || tp_no checkout checkout --force "$v"
elif "$g" show-ref -q --verify "refs/heads/$v"; then
tp_g checkout --force "$v" || tp_no checkout checkout --force "$v"
tp_g reset --hard "$R/$v" || tp_no checkout reset --hard "$R/$v"
else
tp_g checkout --track -b "$v" "$R/$v" || tp_no checkout checkout --track -b "$v" "$R/$v"
fi
"#;

/// Finds out whether the version is a branch or a tag of the remote, in `$k`.
const KIND: &str = r#"k=
tp_g ls-remote "$u" -h "refs/heads/$v" || tp_no run ls-remote "$u" -h "refs/heads/$v"
if [ -s "$tp_w/o" ]; then k=branch; else
tp_g ls-remote "$u" -t "refs/tags/$v" || tp_no run ls-remote "$u" -t "refs/tags/$v"
if [ -s "$tp_w/o" ]; then k=tag; fi
fi
"#;

/// Submodules that are missing, or whose commits differ from what is asked for, are updated all together.
const MODULES: &str = r#"if [ -f .gitmodules ]; then
"$g" config -f .gitmodules --get-regexp '^submodule\..*\.path$' >"$tp_w/p"
c=
while read -r tp_x tp_y; do [ -e "$tp_y/.git" ] || c=1; done <"$tp_w/p"
if [ -z "$c" ]; then
tp_g submodule foreach "$g" rev-parse HEAD || tp_no hashes
cp "$tp_w/o" "$tp_w/s"
tp_g submodule foreach "$g" fetch || tp_no run submodule foreach "$g" fetch
"#;

const TRACKED: &str = r#"tp_g submodule foreach "$g" rev-parse origin/master || tp_no hashes
cmp -s "$tp_w/s" "$tp_w/o" || c=1
"#;

const STATUS: &str = r#"tp_g submodule status || tp_no run submodule status
if grep -q '^[^ ]' "$tp_w/o"; then c=1; fi
"#;

/// The change.
pub(super) fn script(w: &Want, state: &State) -> String {
    let mut s = w.prelude(false);
    s.push_str(&format!("g={}\n{BRANCH}", shell_quote(&state.git)));
    match (state.there, w.update) {
        (false, _) => clone(w, &mut s),
        (true, true) => update(w, state, &mut s),
        (true, false) => {
            relocate(w, state, &mut s);
            s.push_str("cd -- \"$d\" || exit 1\n");
        }
    }
    if !state.there || w.update {
        if !w.bare {
            s.push_str(if w.head() { SWITCH_HEAD } else { SWITCH_VERSION });
            if w.verify {
                verify(w, &mut s);
            }
            if w.recursive {
                modules(w, &mut s);
            }
        }
    }
    s.push_str("a=$(\"$g\" rev-parse HEAD 2>/dev/null)\nprintf 'after=%s\\n' \"$a\"\n");
    archive(w, &mut s);
    if w.diff && state.there && w.update {
        s.push_str(&format!(
            "if [ \"$a\" != {0} ]; then\nif tp_g diff {0} \"$a\"; then echo diff=1; tp_x=o; else echo diff=0; tp_x=e; fi\necho\ncat \"$tp_w/$tp_x\"\nexit 0\nfi\n",
            shell_quote(&state.before)
        ));
    }
    s.push_str("echo\nexit 0\n");
    s
}

fn clone(w: &Want, s: &mut String) {
    if w.depth.is_some() || w.single {
        s.push_str(KIND);
    }
    s.push_str(if w.bare { "set -- clone --bare\n" } else { "set -- clone --origin \"$R\"\n" });
    if let Some(depth) = &w.depth {
        let depth = shell_quote(depth);
        match w.head() || w.refspec.is_some() {
            true => s.push_str(&format!("set -- \"$@\" --depth {depth}\n")),
            false => s.push_str(&format!(
                "if [ -n \"$k\" ]; then set -- \"$@\" --depth {depth} --branch \"$v\"; else echo nodepth=1; fi\n"
            )),
        }
    }
    if let Some(r) = &w.reference {
        s.push_str(&format!("set -- \"$@\" --reference {}\n", shell_quote(r)));
    }
    if w.single {
        s.push_str("set -- \"$@\" --single-branch\nif [ -n \"$k\" ]; then set -- \"$@\" --branch \"$v\"; fi\n");
    }
    if let Some(sep) = &w.separate {
        s.push_str(&format!("set -- \"$@\" --separate-git-dir={}\n", shell_quote(sep)));
    }
    // Where the remote can't be reached, that is what is told.
    s.push_str(
        "set -- \"$@\" \"$u\" \"$d\"\ncase $d in */*) mkdir -p -- \"${d%/*}/\" 2>/dev/null ;; esac\n\
         if ! tp_g \"$@\"; then\ncp \"$tp_w/o\" \"$tp_w/co\"; cp \"$tp_w/e\" \"$tp_w/ce\"; tp_x=$tp_v\n\
         tp_g ls-remote \"$u\" -h \"refs/heads/$v\" || tp_no run ls-remote \"$u\" -h \"refs/heads/$v\"\n\
         mv \"$tp_w/co\" \"$tp_w/o\"; mv \"$tp_w/ce\" \"$tp_w/e\"; tp_v=$tp_x\ntp_no run \"$@\"\nfi\n\
         cd -- \"$d\" || exit 1\n",
    );
    if w.bare && w.remote != "origin" {
        s.push_str("tp_g remote add \"$R\" \"$u\" || tp_no run remote add \"$R\" \"$u\"\n");
    }
    if let Some(refspec) = &w.refspec {
        let depth = w.depth.as_ref().map(|d| format!("--depth {} ", shell_quote(d))).unwrap_or_default();
        let words = format!("fetch {depth}\"$R\" {}", shell_quote(refspec));
        s.push_str(&format!("tp_g {words} || tp_no run {words}\n"));
    }
    if w.verify {
        verify(w, s);
    }
}

/// Moves the repository's folder to where it is wanted.
fn relocate(w: &Want, state: &State, s: &mut String) {
    let (Some(from), Some(to)) = (&state.from, &w.separate) else { return };
    s.push_str(&format!(
        "tp_x={}\ncase $tp_x in */*) mkdir -p -- \"${{tp_x%/*}}/\" ;; esac\n\
         mv -- {} \"$tp_x\" || exit 1\nrm -f -- \"$d/.git\"\nprintf 'gitdir: %s\\n' \"$tp_x\" >\"$d/.git\" || exit 1\n",
        shell_quote(to),
        shell_quote(from)
    ));
}

fn update(w: &Want, state: &State, s: &mut String) {
    relocate(w, state, s);
    s.push_str("cd -- \"$d\" || exit 1\n");
    if state.mods {
        s.push_str("tp_g reset --hard HEAD || tp_no run reset --hard HEAD\n");
    }
    if state.other {
        s.push_str("tp_g remote set-url \"$R\" \"$u\" || tp_no url\n");
    }
    let force = if w.force { " --force" } else { "" };
    let refspec = w.refspec.as_ref().map(|r| format!(" {}", shell_quote(r))).unwrap_or_default();
    let all = match w.bare {
        true => {
            format!("set -- fetch{force} \"$R\" '+refs/heads/*:refs/heads/*' '+refs/tags/*:refs/tags/*'{refspec}\n")
        }
        false => format!("set -- fetch --tags{force} \"$R\"{refspec}\n"),
    };
    match &w.depth {
        None => s.push_str(&all),
        Some(depth) => {
            let begin = format!("fetch --depth {}{force} \"$R\"", shell_quote(depth));
            match (w.refspec.is_some(), w.head()) {
                (true, _) => s.push_str(&format!("set -- {begin}{refspec}\n")),
                (_, true) => s.push_str(&format!("tp_branch\nset -- {begin} \"$b\"\n")),
                _ => s.push_str(&format!(
                    "tp_branch\n{KIND}case $k in\n\
                     branch) set -- {begin}\n\
                     [ \"$b\" = \"$v\" ] || set -- \"$@\" \"+refs/heads/$v:refs/heads/$v\"\n\
                     set -- \"$@\" \"+refs/heads/$v:refs/remotes/$R/$v\" ;;\n\
                     tag) set -- {begin} \"+refs/tags/$v:refs/tags/$v\" ;;\n*) {all} ;;\nesac\n",
                )),
            }
        }
    }
    s.push_str("tp_g \"$@\" || tp_no fetch \"$@\"\n");
}

/// Has the signature checked, and the key if some are named.
fn verify(w: &Want, s: &mut String) {
    let raw = if w.allowed.is_empty() { "" } else { " --raw" };
    s.push_str(&format!(
        "tp_x=verify-commit\nif [ \"$(\"$g\" for-each-ref --format='%(objecttype)' \"refs/tags/$v\")\" = tag ]; then tp_x=verify-tag; fi\n\
         tp_g \"$tp_x\" \"$v\"{raw} || tp_no verify\n"
    ));
    if !w.allowed.is_empty() {
        let keys: String = w.allowed.iter().map(|k| format!(" {}", shell_quote(k))).collect();
        s.push_str(&format!(
            "tp_y=$(sed -n 's/^\\[GNUPG:\\] VALIDSIG \\([^ ]*\\).*/\\1/p' \"$tp_w/e\" | head -n 1)\ntp_z=\n\
             for tp_x in{keys}; do if [ \"$tp_x\" = \"$tp_y\" ]; then tp_z=1; fi; done\n\
             if [ -z \"$tp_z\" ]; then printf 'key=%s\\n' \"$tp_y\"; tp_no key; fi\n"
        ));
    }
}

fn modules(w: &Want, s: &mut String) {
    let mut words = String::from("submodule update --init --recursive");
    for (on, flag) in [(w.track, " --remote"), (w.force, " --force")] {
        words.push_str(if on { flag } else { "" });
    }
    s.push_str(&format!(
        "{MODULES}{}fi\nif [ -n \"$c\" ]; then\ntp_g submodule sync || tp_no run submodule sync\n\
         tp_g {words} || tp_no modules\necho modules=1\nfi\nfi\n",
        if w.track { TRACKED } else { STATUS }
    ));
}

/// The kinds of archives, the longer endings first.
const ENDINGS: [&str; 4] = ["tar.gz", "tgz", "tar", "zip"];

fn archive(w: &Want, s: &mut String) {
    let Some(path) = &w.archive else { return };
    let Some(kind) = ENDINGS.iter().find(|e| path.ends_with(&format!(".{e}"))) else {
        s.push_str("tp_v=0\n: >\"$tp_w/o\"; : >\"$tp_w/e\"\ntp_no ending\n");
        return;
    };
    let prefix = w.prefix.as_ref().map(|p| format!(" --prefix {}", shell_quote(p))).unwrap_or_default();
    let make = |to: &str| format!("tp_g archive --format {kind} --output {to}{prefix} \"$v\" || tp_no archive\n");
    s.push_str(&format!(
        "tp_y={}\nif [ -e \"$tp_y\" ]; then\n{}\
         if ! cmp -s \"$tp_w/a\" \"$tp_y\"; then\n\
         tp_new \"$tp_y\"\n{{ (set -C; cat \"$tp_w/a\" >\"$tp_t\") && mv -f -- \"$tp_t\" \"$tp_y\"; }} || {{ rm -f -- \"$tp_t\"; exit 1; }}\n\
         echo archived=1\nfi\nelse\n{}echo archived=1\nfi\n",
        shell_quote(path),
        make("\"$tp_w/a\""),
        make("\"$tp_y\""),
    ));
}

/// A look at what a commit of the remote would change. What is missing for it is fetched beside the repository, not into it.
pub(super) fn difference(w: &Want, state: &State, after: &str, name: &str) -> String {
    let id = after.len() >= 40 && after.bytes().all(|b| b.is_ascii_hexdigit());
    let fetch = match id && !name.is_empty() {
        true => format!(
            "if ! \"$g\" cat-file -e {0} 2>/dev/null; then\n\
             u=$(\"$g\" ls-remote --get-url \"$R\")\ntp_x=$(cd -- \"$(\"$g\" rev-parse --git-common-dir)/objects\" && pwd)\n\
             \"$g\" init -q --bare \"$tp_w/r\" && printf '%s\\n' \"$tp_x\" >\"$tp_w/r/objects/info/alternates\" &&\n\
             \"$g\" --git-dir=\"$tp_w/r\" fetch -q --no-tags --depth 1 \"$u\" {1} >/dev/null 2>&1 </dev/null\n\
             GIT_DIR=$tp_w/r\nexport GIT_DIR\nfi\n",
            shell_quote(after),
            shell_quote(name),
        ),
        false => String::new(),
    };
    format!(
        "{}g={}\ncd -- \"$d\" || exit 1\n{fetch}\
         if tp_g diff {} {}; then echo diff=1; tp_x=o; else echo diff=0; tp_x=e; fi\necho\ncat \"$tp_w/$tp_x\"\nexit 0\n",
        w.prelude(true),
        shell_quote(&state.git),
        shell_quote(&state.before),
        shell_quote(after),
    )
}
