//! `file`: symbolic and hard links.

use serde_json::json;
use towpath_core::{Json, shell_quote};

use super::attrs::{Mend, Seen, failed};
use super::file::{Made, Now, Wanted, tail};
use super::{Decision, Fields, fields};

/// Reads what `src` means from `"$p"`: sets `$tp_a` to it, made absolute, and prints whether it is there and, for a hard
/// link, the same file. With `force`, also whether a folder in the way is empty.
pub(super) fn probe(src: &str, hard: bool, force: bool) -> String {
    let src = shell_quote(src);
    let mut script = format!(
        "case {src} in /*) tp_a={src};; *) if [ -d \"$p\" ] && [ ! -L \"$p\" ]; then tp_a=${{p%/}}/{src}; else tp_a=${{p%/*}}/{src}; fi;; esac\n\
         printf 'absolute=%s\\n' \"$tp_a\"\nif [ -e \"$tp_a\" ]; then echo source=1; fi\n"
    );
    if hard {
        script.push_str("if [ -e \"$p\" ] && [ ! -L \"$p\" ] && [ \"$p\" -ef \"$tp_a\" ]; then echo same=1; fi\n");
    }
    if force {
        script.push_str(
            "if [ -d \"$p\" ] && [ ! -L \"$p\" ] && [ -n \"$(ls -A -- \"$p\" 2>/dev/null)\" ]; then echo full=1; fi\n",
        );
    }
    script
}

/// Puts `"$tp_t"`, which `ln` makes, in the path's place.
fn place(ln: &str, prev: &str, src: &str, path: &str) -> String {
    let clear = if prev == "directory" { "rmdir -- \"$p\"\n" } else { "" };
    format!(
        "tp_new \"$p\"\n{ln} \"$tp_t\" || {{ printf '%s\\n' {} >&3; exit 1; }}\n{clear}\
         if [ -d \"$p\" ]; then rm -f -- \"$p\"; fi\nmv -f -- \"$tp_t\" \"$p\"\n\
         if [ -e \"$tp_t\" ]; then rm -f -- \"$tp_t\"; fi\n",
        tail("Error while linking: ", path, &format!(": b'{src}' -> b'{path}'"))
    )
}

/// `state: link`.
pub(super) fn link(w: Wanted, now: &Now) -> Result<Decision, String> {
    let prev = now.own.state();
    let own = now.own.get("target");
    let src = match &w.src {
        Some(src) => json!(src),
        None if prev != "link" => return Ok(failed("src is required for creating new symlinks", Fields::new())),
        None if now.target.is_none() => Json::Null,
        None => json!(own),
    };
    let more = fields([("src", src.clone())]);
    let there = w.src.is_none() || now.own.get("source") == "1";
    let refuse = |msg: String| {
        let mut all = now.own.facts();
        all.extend(fields([("path", json!(w.path))]));
        failed(msg, all)
    };
    if !there && !w.force {
        let absolute = now.own.get("absolute");
        let msg =
            format!("src file does not exist, use \"force=yes\" if you really want to create the link: {absolute}");
        let mut all = more;
        if prev != "link" || now.target.is_some() {
            all.extend(now.own.facts());
        }
        all.insert("path".into(), json!(w.path));
        return Ok(failed(msg, all));
    }
    let path = &w.path;
    match prev {
        "directory" if !w.force => {
            return Ok(refuse(format!("refusing to convert from directory to symlink for {path}")));
        }
        "directory" if now.own.get("full") == "1" => {
            return Ok(refuse(format!("the directory {path} is not empty, refusing to convert it")));
        }
        "file" | "hard" if !w.force => {
            return Ok(refuse(format!("refusing to convert from {prev} to symlink for {path}")));
        }
        _ => {}
    }
    let same = prev == "link" && w.src.as_deref().is_none_or(|s| s == own);
    // With `follow`, owner and mode are those of what the link points to; a link to nothing has none.
    let behind = if w.follow {
        now.target.clone()
    } else {
        Some(if prev == "link" { now.own.clone() } else { link_base(&now.own) })
    };
    let mend = match &behind {
        Some(seen) => match w.attrs.mend(seen, path) {
            Ok(mend) => mend,
            Err(why) => return Ok(Decision::Done(why)),
        },
        None => Mend::default(),
    };
    let facts = behind.is_some();
    let shown = if facts { now.own.clone() } else { Seen::default() };
    if same && mend.none() {
        return Ok(w.same("dest", path, &shown, more));
    }
    let (mut before, mut after) = (mend.before.clone(), mend.after.clone());
    let mut script = String::new();
    if !same {
        if prev == "link" {
            before.insert("src".into(), json!(own));
            after.insert("src".into(), src.clone());
        } else {
            before.insert("state".into(), json!(prev));
            after.insert("state".into(), json!("link"));
        }
        let target = shell_quote(src.as_str().unwrap_or_default());
        script.push_str(&place(&format!("ln -s -- {target}"), prev, src.as_str().unwrap_or_default(), path));
        if w.check {
            before.retain(|k, _| k == "src" || k == "state");
            after.retain(|k, _| k == "src" || k == "state");
        }
    }
    script.push_str(&mend.all());
    let made = Made { state: "link", before, after, facts: true, more };
    Ok(w.change("dest", path, script, &shown, made))
}

/// A link that is yet to be made, for its owner.
fn link_base(own: &Seen) -> Seen {
    own.with(&[("raw", "a1ff".into())])
}

/// `state: hard`.
pub(super) fn hard(w: Wanted, now: &Now) -> Result<Decision, String> {
    let prev = now.own.state();
    let path = &w.path;
    let Some(src) = w.src.clone() else {
        if prev == "absent" {
            return Ok(failed("src is required for creating new hardlinks", Fields::new()));
        }
        return Ok(keep(&w, now, fields([("src", Json::Null)])));
    };
    let more = fields([("src", json!(src))]);
    if !src.starts_with('/') {
        return Ok(failed("absolute paths are required", Fields::new()));
    }
    if now.own.get("source") != "1" {
        let mut all = more;
        all.insert("dest".into(), json!(path));
        return Ok(failed("src does not exist", all));
    }
    if now.own.get("same") == "1" {
        return Ok(keep(&w, now, more));
    }
    let refuse = |msg: String| {
        let mut all = now.own.facts();
        all.extend(fields([("dest", json!(path)), ("src", json!(src))]));
        failed(msg, all)
    };
    if !w.force {
        match prev {
            "hard" => return Ok(refuse("Cannot link, different hard link exists at destination".into())),
            "file" | "directory" => return Ok(refuse(format!("Cannot link, {prev} exists at destination"))),
            _ => {}
        }
    }
    if prev == "directory" && now.own.get("full") == "1" {
        return Ok(refuse(format!("the directory {path} is not empty, refusing to convert it")));
    }
    // The new name has the owner and mode of the file.
    let base = now.target.clone().unwrap_or_default();
    let mend = match w.attrs.mend(&base, path) {
        Ok(mend) => mend,
        Err(why) => return Ok(Decision::Done(why)),
    };
    let (mut before, mut after) = (Fields::new(), Fields::new());
    if !w.check {
        (before, after) = (mend.before.clone(), mend.after.clone());
    }
    before.insert("state".into(), json!(prev));
    after.insert("state".into(), json!("hard"));
    let script = format!("{}{}", place(&format!("ln -- {}", shell_quote(&src)), prev, &src, path), mend.all());
    let made = Made { state: "hard", before, after, facts: true, more };
    Ok(w.change("dest", path, script, &now.own, made))
}

/// A hard link that is there already: only its owner and mode may change.
fn keep(w: &Wanted, now: &Now, more: Fields) -> Decision {
    let mend = match w.attrs.mend(&now.own, &w.path) {
        Ok(mend) => mend,
        Err(why) => return Decision::Done(why),
    };
    if mend.none() {
        return w.same("dest", &w.path, &now.own, more);
    }
    let script = mend.all();
    let made = Made { state: "hard", before: mend.before, after: mend.after, facts: true, more };
    w.change("dest", &w.path, script, &now.own, made)
}
