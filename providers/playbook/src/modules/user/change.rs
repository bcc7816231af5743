//! Commands that make what is wanted.

use serde_json::json;
use towpath_core::shell_quote;

use super::super::content;
use super::{Key, Seen, Want};
use crate::modules::Fields;

/// Commands, and what they change for a plan.
#[derive(Default)]
pub(super) struct Change {
    pub(super) script: String,
    pub(super) before: Fields,
    pub(super) after: Fields,
}

fn flag(flag: &str, value: &str) -> String {
    format!("{flag} {} ", shell_quote(value))
}

pub(super) fn delete(want: &Want, seen: &Seen) -> String {
    let n = shell_quote(&want.name);
    let remove = if want.remove { "-r " } else { "" };
    if want.local {
        format!("luserdel {remove}{n}\n")
    } else if seen.get("userdel") != "1" {
        format!("deluser {}{n}\n", if want.remove { "--remove-home " } else { "" })
    } else {
        format!("userdel {}{remove}{n}\n", if want.force { "-f " } else { "" })
    }
}

/// `LANG` is kept: what the programs say is part of the result.
pub(super) fn create(want: &Want, seen: &Seen) -> Change {
    let n = shell_quote(&want.name);
    let mut all = Change::default();
    let mut flags = String::new();
    for (name, key, value) in [
        ("-Z", "seuser", &want.seuser),
        ("-u", "uid", &want.uid),
        ("-g", "group", &want.group),
        ("-c", "comment", &want.comment),
        ("-d", "home", &want.home),
        ("-s", "shell", &want.shell),
    ] {
        if let Some(value) = value {
            flags.push_str(&flag(name, value));
            all.after.insert(key.into(), json!(value));
        }
    }
    if want.uid.is_some() && want.non_unique {
        flags.push_str("-o ");
    }
    // A group of this name that is there does not become the user's own.
    if want.group.is_none() && seen.group(&want.name).is_some() {
        flags.push_str("-N ");
    }
    let groups = names(want, seen);
    if !want.local && !groups.is_empty() {
        flags.push_str(&flag("-G", &groups.join(",")));
    }
    if want.groups.is_some() {
        all.after.insert("groups".into(), json!(groups));
    }
    if want.create_home {
        if want.home.is_some() && seen.get("no_parent") == "1" {
            let home = want.home.clone().unwrap_or_default();
            all.script.push_str(&format!("h={}\n{}", shell_quote(&home), make_home(want, None)));
        }
        if !want.local {
            flags.push_str("-m ");
        }
        flags.push_str(&want.skeleton.as_ref().map(|s| flag("-k", s)).unwrap_or_default());
        flags.push_str(&want.umask.as_ref().map(|u| flag("-K", &format!("UMASK={u}"))).unwrap_or_default());
    } else {
        flags.push_str("-M ");
    }
    if want.system {
        flags.push_str("-r ");
    }
    for (key, value) in [("UID_MIN", &want.uid_min), ("UID_MAX", &want.uid_max)] {
        flags.push_str(&value.as_ref().map(|v| flag("-K", &format!("{key}={v}"))).unwrap_or_default());
    }
    if !want.local {
        if let Some(days) = want.expires {
            flags.push_str(&flag("-e", &if days < 0 { String::new() } else { date(days) }));
        }
        flags.push_str(&want.inactive.as_ref().map(|d| flag("-f", d)).unwrap_or_default());
    }
    if want.local {
        all.script.push_str(&format!("luseradd {flags}{n} || exit $?\n"));
    } else if seen.get("useradd") != "1" {
        all.script.push_str(&busybox(want, &groups));
    } else {
        all.script.push_str(&format!("useradd {flags}{n} || exit $?\n"));
    }
    if want.create_home && want.home.is_some() && seen.get("no_parent") == "1" {
        all.script.push_str(&format!("chown -R {n}: \"$h\" || exit $?\n"));
    }
    if want.local {
        if let Some(days) = want.expires {
            all.script.push_str(&format!("lchage -E {} {n} || exit $?\n", days.max(-1)));
        }
        for group in &groups {
            all.script.push_str(&format!("lgroupmod -M {n} {} || exit $?\n", shell_quote(group)));
        }
    }
    if let Some(password) = &want.password {
        let lock = if want.lock == Some(true) { "!" } else { "" };
        all.script.push_str(&set_password(want, &format!("{lock}{password}")));
        all.after.insert("password".into(), json!("(set)"));
    }
    ages(want, &Seen::default(), &mut all);
    if let Some(key) = &want.key {
        all.script.push_str(&make_key(want, key));
    }
    all
}

/// BusyBox has its own programs, with fewer options.
fn busybox(want: &Want, groups: &[String]) -> String {
    let n = shell_quote(&want.name);
    let mut flags = String::from("-D ");
    for (name, value) in
        [("-u", &want.uid), ("-G", &want.group), ("-g", &want.comment), ("-h", &want.home), ("-s", &want.shell)]
    {
        flags.push_str(&value.as_ref().map(|v| flag(name, v)).unwrap_or_default());
    }
    if !want.create_home {
        flags.push_str("-H ");
    }
    if want.system {
        flags.push_str("-S ");
    }
    let mut script = format!("adduser {flags}{n} || exit $?\n");
    for group in groups {
        script.push_str(&format!("addgroup {n} {} || exit $?\n", shell_quote(group)));
    }
    script
}

/// The wanted groups by name.
fn names(want: &Want, seen: &Seen) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for group in want.groups.iter().flatten() {
        let name = seen.group(group).map_or(group.as_str(), |(name, _)| name);
        if !all.iter().any(|g| g == name) {
            all.push(name.to_owned());
        }
    }
    all
}

pub(super) fn update(want: &Want, seen: &Seen) -> Change {
    let n = shell_quote(&want.name);
    let mut all = Change::default();
    let mut flags = String::new();
    let note = |all: &mut Change, key: &str, now: &str, then: &str| {
        all.before.insert(key.into(), json!(now));
        all.after.insert(key.into(), json!(then));
    };
    if let Some(uid) = want.uid.as_ref().filter(|u| *u != seen.get("uid")) {
        flags.push_str(&flag("-u", uid));
        if want.non_unique {
            flags.push_str("-o ");
        }
        note(&mut all, "uid", seen.get("uid"), uid);
    }
    let primary = want.group.as_ref().and_then(|g| seen.group(g));
    if let Some((name, id)) = primary.filter(|(_, id)| *id != seen.get("gid")) {
        flags.push_str(&flag("-g", id));
        note(&mut all, "group", seen.first_group(), name);
    }
    let mut own = String::new();
    if want.groups.is_some() {
        let first = seen.first_group();
        let have: Vec<&str> = seen.groups().filter(|g| *g != first).collect();
        let wanted = names(want, seen);
        let more: Vec<&String> = wanted.iter().filter(|g| *g != first && !have.contains(&g.as_str())).collect();
        let less: Vec<&&str> = have.iter().filter(|h| !want.append && !wanted.iter().any(|g| g == **h)).collect();
        if !more.is_empty() || !less.is_empty() {
            note(&mut all, "groups", &have.join(","), &wanted.join(","));
            if want.local {
                for g in more {
                    own.push_str(&format!("lgroupmod -M {n} {} || exit $?\n", shell_quote(g)));
                }
                for g in less {
                    own.push_str(&format!("lgroupmod -m {n} {} || exit $?\n", shell_quote(g)));
                }
            } else if seen.get("usermod") != "1" {
                for g in more {
                    own.push_str(&format!("addgroup {n} {} || exit $?\n", shell_quote(g)));
                }
                for g in less {
                    own.push_str(&format!("delgroup {n} {} || exit $?\n", shell_quote(g)));
                }
            } else {
                let append = if want.append { "-a " } else { "" };
                flags.push_str(&format!("{append}{}", flag("-G", &wanted.join(","))));
            }
        }
    }
    if let Some(comment) = want.comment.as_ref().filter(|c| *c != seen.get("comment")) {
        flags.push_str(&flag("-c", comment));
        note(&mut all, "comment", seen.get("comment"), comment);
    }
    let moves = want.home.as_ref().filter(|h| *h != seen.get("home"));
    if let Some(home) = moves {
        flags.push_str(&flag("-d", home));
        if want.move_home {
            flags.push_str("-m ");
        }
        note(&mut all, "home", seen.get("home"), home);
    }
    if let Some(shell) = want.shell.as_ref().filter(|s| *s != seen.get("shell")) {
        flags.push_str(&flag("-s", shell));
        note(&mut all, "shell", seen.get("shell"), shell);
    }
    let expires = want.expires.filter(|days| match seen.get("expires") {
        "" => *days >= 0,
        now => now.parse() != Ok(*days),
    });
    if let Some(days) = expires {
        note(&mut all, "expires", seen.get("expires"), &if days < 0 { "never".into() } else { date(days) });
        if want.local {
            own.push_str(&format!("lchage -E {} {n} || exit $?\n", days.max(-1)));
        } else {
            flags.push_str(&flag("-e", &if days < 0 { String::new() } else { date(days) }));
        }
    }
    let bare = |p: &str| p.trim_start_matches('!').to_owned();
    let password = want.password.as_ref().filter(|p| want.always && bare(p) != bare(seen.get("hash")));
    let locked = seen.get("locked") == "1";
    match want.lock {
        Some(true) if !locked && password.is_none() => flags.push_str("-L "),
        Some(false) if locked && password.is_none() => flags.push_str("-U "),
        _ => {}
    }
    if want.lock.is_some_and(|l| l != locked) {
        note(&mut all, "locked", if locked { "yes" } else { "no" }, if locked { "no" } else { "yes" });
    }
    if let (Some(days), false) = (&want.inactive, want.local) {
        flags.push_str(&flag("-f", days));
        note(&mut all, "inactive", "", days);
    }
    if !flags.is_empty() {
        all.script.push_str(&format!("{} {flags}{n} || exit $?\n", if want.local { "lusermod" } else { "usermod" }));
    }
    all.script.push_str(&own);
    if let Some(password) = password {
        let lock = if want.lock == Some(true) { "!" } else { "" };
        all.script.push_str(&set_password(want, &format!("{lock}{password}")));
        note(&mut all, "password", "(one)", "(another one)");
    }
    ages(want, seen, &mut all);
    let at_home = if moves.is_some() { seen.get("at_new_home") == "1" } else { seen.get("at_home") == "1" };
    let moved = moves.is_some() && want.move_home && seen.get("at_home") == "1";
    if want.create_home && !at_home && !moved {
        let home = moves.map_or(seen.get("home"), String::as_str);
        note(&mut all, "home directory", "absent", home);
        all.script.push_str(&format!("h={}\n{}", shell_quote(home), make_home(want, Some(&want.name))));
    }
    if let Some(key) = &want.key {
        if want.force || seen.get("has_key") != "1" {
            note(&mut all, "ssh key", "absent", &key.file);
            all.script.push_str(&make_key(want, key));
        }
    }
    all
}

fn ages(want: &Want, seen: &Seen, all: &mut Change) {
    let mut flags = String::new();
    for (name, key, value) in want.ages.iter().filter(|(_, key, value)| seen.get(key) != value) {
        flags.push_str(&flag(name, value));
        all.after.insert((*key).into(), json!(value));
        all.before.insert((*key).into(), json!(seen.get(key)));
    }
    if !flags.is_empty() {
        all.script.push_str(&format!("chage {flags}{} || exit $?\n", shell_quote(&want.name)));
    }
}

/// The hash goes through a pipe: an argument can be read by all users of the host.
fn set_password(want: &Want, hash: &str) -> String {
    if hash.is_empty() {
        return format!("usermod -p '' {} || exit $?\n", shell_quote(&want.name));
    }
    format!("{} | chpasswd -e || exit $?\n", content::print(format!("{}:{hash}\n", want.name).as_bytes()))
}

/// `$h` from the skeleton, with the mode that `login.defs` tells.
fn make_home(want: &Want, owner: Option<&str>) -> String {
    let skeleton = shell_quote(want.skeleton.as_deref().unwrap_or("/etc/skel"));
    let owner =
        owner.map(|n| format!("chown -R \"$(id -u {n}):$(id -g {n})\" \"$h\" || exit $?\n", n = shell_quote(n)));
    format!(
        "if [ ! -e \"$h\" ]; then\nmkdir -p \"$(dirname \"$h\")\" || exit $?\n\
         if [ -d {skeleton} ]; then cp -a {skeleton} \"$h\"; else mkdir \"$h\"; fi || exit $?\n\
         m=$(awk '$1 == \"HOME_MODE\" {{ print $2 }}' /etc/login.defs 2>/dev/null)\n\
         u=$(awk '$1 == \"UMASK\" {{ print $2 }}' /etc/login.defs 2>/dev/null)\n\
         chmod \"${{m:-$(printf '%o' $((0777 & ~0${{u:-022}})))}}\" \"$h\" || exit $?\n{}fi\n",
        owner.unwrap_or_default()
    )
}

/// A passphrase reaches `ssh-keygen` by its helper for questions, not as an argument.
fn make_key(want: &Want, key: &Key) -> String {
    let n = shell_quote(&want.name);
    let comment =
        key.comment.as_ref().map_or_else(|| "\"ansible-generated on $(uname -n)\"".into(), |c| shell_quote(c));
    let bits = key.bits.as_ref().map(|b| flag("-b", b)).unwrap_or_default();
    let (before, pass) = match &key.passphrase {
        None => (String::new(), "-N ''"),
        Some(secret) => (
            format!(
                "tp_d=$(umask 077; mktemp -d) || exit $?\ntrap 'rm -rf \"$tp_d\"' EXIT\n(umask 077; {} >\"$tp_d/p\"; printf '#!/bin/sh\\ncat \"%s\"\\n' \"$tp_d/p\" >\"$tp_d/ask\"; chmod 700 \"$tp_d/ask\")\n\
                 export SSH_ASKPASS=\"$tp_d/ask\" SSH_ASKPASS_REQUIRE=force DISPLAY=:0\n",
                content::print(secret.as_bytes())
            ),
            "",
        ),
    };
    let remove = if want.force { "rm -f \"$k\" \"$k.pub\"\n" } else { "" };
    format!(
        "l=$(getent passwd {n} 2>/dev/null || grep {pattern} /etc/passwd)\nIFS=: read -r _ _ u g _ h _ <<TP_END\n$l\nTP_END\n\
         if [ ! -d \"$h\" ]; then printf 'User %s home directory does not exist' {n} >&2; exit 1; fi\n\
         k={file}; case $k in /*) ;; *) k=${{h%/}}/$k;; esac\nd=$(dirname \"$k\")\n\
         if [ ! -d \"$d\" ]; then mkdir -m 0700 \"$d\" && chown \"$u:$g\" \"$d\" || exit $?; fi\n{before}{remove}\
         ssh-keygen -q -t {kind} {bits}-C {comment} -f \"$k\" {pass} || exit $?\n\
         chown \"$u:$g\" \"$k\" \"$k.pub\" && chmod 600 \"$k\" && chmod 644 \"$k.pub\" || exit $?\n",
        pattern = shell_quote(&format!("^{}:", regex::escape(&want.name))),
        file = shell_quote(&key.file),
        kind = shell_quote(&key.kind),
    )
}

/// The date of a day since 1970.
fn date(days: i64) -> String {
    // Civil from days, with years that begin in March.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * m + 2) / 5 + 1;
    let month = if m < 10 { m + 3 } else { m - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn days_are_dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(21915), "2030-01-01");
        assert_eq!(date(11016), "2000-02-29");
    }
}
