//! What probes will look at, asked for many of them at once.
//!
//! A program that a probe starts costs the host a thousand times what its shell does by itself. So a probe may say in its first line what it will look
//! at; where several are sent together, one `stat` and one checksum answer for all, and the functions of the preamble take what they need from that.
//! Between that and the probes nothing is sent, so nothing that the engine does can make it untrue.

use std::fmt::Write as _;

use towpath_core::shell_quote;

const MARK: &str = "#look ";

/// A line at the beginning of a probe that will call `tp_stat PATH`, with `-L` if it follows links, and `tp_sha PATH`. Nothing for a path that can't be told.
pub(crate) fn line(path: &str, follow: &[bool], sha1: bool) -> String {
    if !path.starts_with('/') || path.contains(['\n', '\r', '\0']) {
        return String::new();
    }
    let mut kinds = String::new();
    kinds.extend(follow.iter().map(|follow| if *follow { 'l' } else { 'p' }));
    kinds.extend(sha1.then_some('s'));
    format!("{MARK}{kinds} {path}\n")
}

/// What a script said in its first lines, kinds and paths; and what follows them.
pub(super) fn of(mut text: &str) -> (Vec<(String, String)>, &str) {
    let mut looks = Vec::new();
    while let Some((line, rest)) = text.strip_prefix(MARK).and_then(|t| t.split_once('\n')) {
        if let Some((kinds, path)) = line.split_once(' ') {
            looks.push((kinds.to_owned(), path.to_owned()));
        }
        text = rest;
    }
    (looks, text)
}

/// One of these is not worth a question of its own.
const FEW: usize = 2;

/// The questions for a run of probes; empty if there are too few.
pub(super) fn ahead(looks: &[(String, String)]) -> String {
    let mut text = String::new();
    for (kind, function) in [('p', "tp_ahead tp_own"), ('l', "tp_ahead tp_via -L"), ('s', "tp_ahead_sha")] {
        let mut paths: Vec<&str> = Vec::new();
        for (kinds, path) in looks {
            if kinds.contains(kind) && !paths.contains(&path.as_str()) {
                paths.push(path);
            }
        }
        if paths.len() >= FEW {
            text.push_str(function);
            for path in paths {
                let _ = write!(text, " {}", shell_quote(path));
            }
            text.push('\n');
        }
    }
    text
}

/// Forgets the answers.
pub(super) const FORGET: &str = "tp_own= tp_via= tp_shas=\n";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn look(kinds: &str, path: &str) -> (String, String) {
        (kinds.to_owned(), path.to_owned())
    }

    #[test]
    fn a_line_says_what_a_probe_looks_at() {
        let text = format!("{}p=/etc/a\n", line("/etc/a b", &[false, true], true));
        assert_eq!(of(&text), (vec![look("pls", "/etc/a b")], "p=/etc/a\n"));
        for odd in ["relative", "/two\nlines", ""] {
            assert_eq!(line(odd, &[true], true), "", "{odd:?}");
        }
        assert_eq!(of("p=/etc/a\n"), (vec![], "p=/etc/a\n"));
    }

    #[test]
    fn many_are_asked_at_once_and_few_not() {
        let looks = [look("ls", "/a"), look("l", "/b b"), look("p", "/c"), look("l", "/a")];
        assert_eq!(ahead(&looks), "tp_ahead tp_via -L /a '/b b'\n");
        assert_eq!(ahead(&looks[..1]), "");
    }

    /// What the functions print for each path, with this machine's own `sh`.
    fn printed(paths: &[String], asked: bool) -> String {
        let looks: Vec<_> = paths.iter().map(|p| look("pls", p)).collect();
        let mut script = crate::modules::FUNCTIONS.to_owned();
        if asked {
            script.push_str(&ahead(&looks));
            // Whether anything is found there at all shows only where it is the only source.
            script.push_str("stat() { return 1; }\nsha1sum() { return 1; }\n");
        }
        for path in paths {
            let p = shell_quote(path);
            script.push_str(&format!(
                "echo {p}\ntp_stat {p}\ntp_stat {p} -L\nif [ -f {p} ]; then tp_sha {p}; echo \"$tp_h\"; fi\n"
            ));
        }
        let out = std::process::Command::new("/bin/sh").arg("-c").arg(script).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    }

    #[test]
    fn what_was_asked_at_once_is_what_each_question_gives() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let mut paths = Vec::new();
        for name in ["plain", "with blank", "quote'd", "star*", "$dollar", "-dash", "raw=1", "äöü"] {
            std::fs::write(path(name), name).unwrap();
            paths.push(path(name));
        }
        std::fs::create_dir(path("folder")).unwrap();
        std::os::unix::fs::symlink("plain", path("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", path("broken")).unwrap();
        // Whoever may make a link chooses what is printed of it.
        std::os::unix::fs::symlink("x\nuid=7\n\nraw=81a4", path("forged")).unwrap();
        paths.extend(["folder", "link", "broken", "absent", "folder/absent", "forged"].map(path));
        assert_eq!(printed(&paths, true), printed(&paths, false));
        let all = printed(&paths, true);
        assert!(all.matches("raw=").count() > 20, "{all}");
        assert!(!all.lines().any(|line| line == "uid=7" || line.is_empty()), "{all}");
    }

    #[test]
    fn a_name_that_looks_like_an_answer_is_asked_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        // Ends like the line of the checksum of another path; holds what escapes make of it.
        let mut paths = vec![path("a"), path("back\\slash")];
        std::fs::create_dir_all(format!("{}/x  {}", dir.path().display(), dir.path().display())).unwrap();
        paths.insert(0, format!("{}/x  {}", dir.path().display(), path("a")));
        for (i, p) in paths.iter().enumerate() {
            std::fs::write(p, i.to_string()).unwrap();
        }
        let looks: Vec<_> = paths.iter().map(|p| look("pls", p)).collect();
        let mut script = format!("{}{}", crate::modules::FUNCTIONS, ahead(&looks));
        for p in &paths {
            script.push_str(&format!("tp_sha {}; echo \"$tp_h\"\n", shell_quote(p)));
        }
        let out = std::process::Command::new("/bin/sh").arg("-c").arg(script).output().unwrap();
        let expected: String = (0..3).map(|i: i32| format!("{}\n", crate::sha1(i.to_string().as_bytes()))).collect();
        assert_eq!(String::from_utf8(out.stdout).unwrap(), expected);
    }
}
