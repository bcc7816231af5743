//! `file`: all that is below a folder.

use serde_json::json;
use towpath_core::{Json, shell_quote};

use super::attrs::{Attrs, Mode, Seen};

/// Lists a folder that will go, for `diff`.
pub(super) const LIST: &str =
    "if [ -d \"$p\" ] && [ ! -L \"$p\" ]; then find \"$p\" -type d; echo; find \"$p\" ! -type d; fi\n";

/// What [`LIST`] printed: the folders, the first of which is the path itself, and the rest.
pub(super) fn content(rest: &[u8]) -> Json {
    let text = String::from_utf8_lossy(rest);
    let (folders, others) = text.split_once("\n\n").unwrap_or((&text, ""));
    let folders: Vec<&str> = folders.lines().skip(1).collect();
    json!({ "directories": folders, "files": others.lines().collect::<Vec<_>>() })
}

/// Prints each combination of type, mode, owner and group below the folder once, and the mask that symbolic modes look at.
pub(super) fn probe(attrs: &Attrs, follow: bool) -> String {
    let through = if follow { "; find -L \"$p\" ! -type l -exec stat -L -c '%f %u %g' {} + 2>/dev/null" } else { "" };
    let name = |n: &Option<String>| {
        shell_quote(n.as_deref().filter(|n| !n.bytes().all(|b| b.is_ascii_digit())).unwrap_or_default())
    };
    format!(
        "if [ -d \"$p\" ]; then tp_s=\ntp_want {} {}\nprintf umask=; umask\necho\n{{ find \"$p\" -exec stat -c '%f %u %g' {{}} +{through}; }} | sort -u; fi\n",
        name(&attrs.owner),
        name(&attrs.group)
    )
}

/// Whether something below is not as wanted.
pub(super) fn differs(attrs: &Attrs, rest: &[u8]) -> bool {
    let (head, combos) = Seen::read(&super::Output { stdout: rest.to_vec(), ..super::Output::default() });
    String::from_utf8_lossy(&combos).lines().any(|line| {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let one = head.with(&[("raw", word()), ("uid", word()), ("gid", word())]);
        attrs.mend(&one, "").is_ok_and(|m| !m.none())
    })
}

/// Mends all of it.
pub(super) fn mend(attrs: &Attrs, follow: bool) -> String {
    let mut script = String::new();
    let (mut all, mut behind) = (String::new(), String::new());
    for (tool, want) in [("chown", &attrs.owner), ("chgrp", &attrs.group)] {
        if let Some(want) = want {
            all.push_str(&format!("find \"$p\" -exec {tool} -h {} {{}} +\n", shell_quote(want)));
            behind.push_str(&format!("find -L \"$p\" ! -type l -exec {tool} {} {{}} +\n", shell_quote(want)));
        }
    }
    script.push_str(&all);
    if follow {
        script.push_str(&behind);
    }
    let mode = match &attrs.mode {
        Some(Mode::Bits(bits)) => format!("{bits:05o}"),
        Some(Mode::Symbolic(s)) => shell_quote(s),
        _ => return script,
    };
    let through = if follow { "-L " } else { "" };
    script.push_str(&format!("find {through}\"$p\" ! -type l -exec chmod {mode} {{}} +\n"));
    script
}
