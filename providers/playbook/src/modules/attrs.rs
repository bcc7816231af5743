//! Owner, group, mode and flags of a file: what is there, what a task wants, and the commands between the two.

use std::collections::HashMap;

use serde_json::json;
use towpath_core::{Json, shell_quote};

use super::mode::symbolic;
use super::{Call, Decision, Fields, Output, fields, head};

/// Shell functions that scripts of modules call. Each shell has them once, before its first script.
///
/// * `tp_stat PATH [-L]` prints what is at a path as `key=value` lines; `-L` follows links.
/// * `tp_tell KEY VALUE` prints a value that others chose, the target of a link: a line break in it must not look like another answer.
/// * `tp_sha PATH` puts a file's SHA-1 into `$tp_h`, nothing if it can't be read.
/// * `tp_ahead VARIABLE [-L] PATH...` and `tp_ahead_sha PATH...` ask for many paths at once, for these two to find.
/// * `tp_want OWNER GROUP`, after it, prints the numbers of names that differ from what is there.
/// * `tp_fresh` prints owner, group and mask of what this user would make.
/// * `tp_gid GROUP` puts a group's number into `$tp_i`.
/// * `tp_sum TOOL PATH` prints `sum=<checksum>`.
/// * `tp_new PATH` names a temporary beside a path, in `$tp_t`.
/// * `tp_keep PATH [DONE]` gives that temporary the owner and mode of what it replaces; else, unless `DONE`, the mode of a new file.
/// * `tp_backup PATH` copies a file as Ansible does, and says so on descriptor 3.
/// * `tp_dirs PATH` makes a folder and those above it, and calls `tp_made` for each. Somebody else may make the same at this moment.
pub(crate) const PREAMBLE: &str = r#"tp_f='raw=%f
uid=%u
gid=%g
owner=%U
group=%G
size=%s
nlink=%h'
tp_usual=$tp_f tp_own= tp_via= tp_shas=
tp_ahead() {
tp_k=$1
shift
case $1 in -L) shift; tp_h=$(stat -L -c "path=%n
$tp_f" -- "$@" </dev/null 2>/dev/null);; *) tp_h=$(stat -c "path=%n
$tp_f" -- "$@" </dev/null 2>/dev/null);; esac
tp_h="
$tp_h
path="
case $tp_k in tp_via) tp_via=$tp_h;; *) tp_own=$tp_h;; esac
}
tp_ahead_sha() {
tp_k=$#
for tp_h; do if [ -f "$tp_h" ]; then set -- "$@" "$tp_h"; fi; done
shift $tp_k
if [ $# -gt 0 ]; then tp_shas="
$(sha1sum -- "$@" </dev/null 2>/dev/null)
"; fi
}
tp_tell() {
case $2 in *"
"*) printf '%s=%s\n' "$1" "$(printf %s "$2" | tr '\n' '\001')" ;;
*) printf '%s=%s\n' "$1" "$2" ;;
esac
}
tp_stat() {
tp_s= tp_h=
if [ -e "$1" ] || [ -L "$1" ]; then
if [ "$tp_f" = "$tp_usual" ]; then case $2 in -L) tp_h=$tp_via;; *) tp_h=$tp_own;; esac; fi
case $tp_h in *"
path=$1
raw="*)
tp_h=${tp_h#*"
path=$1
"}
tp_s=${tp_h%%"
path="*};;
*) tp_s=$(stat $2 -c "$tp_f" -- "$1" 2>/dev/null) || tp_s=;;
esac
fi
if [ -n "$tp_s" ]; then
printf '%s\n' "$tp_s"
if [ -z "$2" ] && [ -L "$1" ]; then tp_tell target "$(readlink -- "$1")"; fi
elif [ -L "$1" ]; then echo broken=1
fi
}
tp_want() {
case $tp_s in *"
owner=$1
"*) ;; *) [ -z "$1" ] || echo "want_uid=$(id -u "$1" 2>/dev/null)" ;; esac
case $tp_s in *"
group=$2
"*) ;; *) [ -z "$2" ] || { tp_gid "$2"; echo "want_gid=$tp_i"; } ;; esac
}
tp_fresh() { printf 'uid=%s\ngid=%s\numask=' "${tp_my_uid:-$(id -u)}" "${tp_my_gid:-$(id -g)}"; umask; }
tp_gid() {
tp_i=
if command -v getent >/dev/null 2>&1; then
tp_i=$(getent group "$1")
tp_i=${tp_i#*:*:}
tp_i=${tp_i%%:*}
else while IFS=: read -r tp_a tp_b tp_c tp_d; do if [ "$tp_a" = "$1" ]; then tp_i=$tp_c; break; fi; done </etc/group
fi
}
tp_sha() {
tp_h=
case $tp_shas in *"  $1
"*)
tp_h=${tp_shas%%"  $1
"*}
tp_h=${tp_h##*"
"};;
esac
# A line of another path may end in the same way.
case $tp_h in '' | *[!0-9a-f]*) tp_h=$(sha1sum 2>/dev/null <"$1") || tp_h=; tp_h=${tp_h%% *};; esac
}
tp_sum() { printf 'sum='; "$1" 2>/dev/null <"$2" || echo; }
tp_new() {
tp_t=$1.towpath.$$
if [ -e "$tp_t" ] || [ -L "$tp_t" ]; then rm -f -- "$tp_t"; fi
}
tp_keep() {
if [ -e "$1" ] && tp_s=$(stat -L -c '%u:%g %a' -- "$1" "$tp_t" 2>/dev/null); then
tp_k=${tp_s##*"
"} tp_s=${tp_s%%"
"*}
if [ "${tp_s% *}" != "${tp_k% *}" ]; then chown "${tp_s% *}" "$tp_t" 2>/dev/null || :; fi
if [ "${tp_s#* }" != "${tp_k#* }" ]; then chmod "${tp_s#* }" "$tp_t"; fi
elif [ -z "$2" ]; then
tp_s=${tp_mask:-$(umask)}
chmod "$(printf %o $((0666 & ~0$tp_s)))" "$tp_t"
fi
}
tp_backup() {
tp_k=$$ tp_l=$(date '+%Y-%m-%d@%H:%M:%S~')
while [ -e "$1.$tp_k.$tp_l" ]; do tp_k=$((tp_k+1)); done
tp_b=$1.$tp_k.$tp_l
cp -p -- "$1" "$tp_b" && printf 'backup_file=%s\n' "$tp_b" >&3
}
tp_dirs() {
[ -d "$1" ] && return 0
tp_r=$1/ tp_q=
while [ -n "$tp_r" ]; do
tp_q=$tp_q${tp_r%%/*} tp_r=${tp_r#*/}
if [ -e "$tp_q" ] && [ ! -d "$tp_q" ]; then echo "$tp_q: Not a directory"; return 1; fi
if [ -n "$tp_q" ] && [ ! -d "$tp_q" ]; then mkdir -- "$tp_q" 2>/dev/null || [ -d "$tp_q" ] || mkdir -- "$tp_q" || return 1; tp_made "$tp_q"; fi
tp_q=$tp_q/
done
}
"#;

/// What `tp_stat` and its companions printed.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen(HashMap<String, String>);

impl Seen {
    /// The lines up to an empty one, and what follows it.
    pub(super) fn read(out: &Output) -> (Self, Vec<u8>) {
        let (mut map, rest) = head(out);
        // As `tp_tell` writes them.
        map.values_mut().filter(|v| v.contains('\u{1}')).for_each(|v| *v = v.replace('\u{1}', "\n"));
        (Self(map), rest)
    }

    pub(super) fn get(&self, key: &str) -> &str {
        self.0.get(key).map(String::as_str).unwrap_or_default()
    }

    pub(super) fn number(&self, key: &str) -> Json {
        self.get(key).parse::<i64>().map_or(Json::Null, Json::from)
    }

    /// Whether there is something at the path; for a probe that follows links, behind them.
    pub(super) fn there(&self) -> bool {
        !self.get("raw").is_empty()
    }

    fn raw(&self) -> u32 {
        u32::from_str_radix(self.get("raw"), 16).unwrap_or(0)
    }

    pub(super) fn mode(&self) -> u32 {
        self.raw() & 0o7777
    }

    /// With the owner and group that this user's files have.
    pub(super) fn mine(&self) -> Self {
        self.with(&[("uid", self.get("my_uid").to_owned()), ("gid", self.get("my_gid").to_owned())])
    }

    /// What a new file or folder there would be.
    pub(super) fn fresh(&self, directory: bool) -> Self {
        let mode = if directory { 0o040_777 } else { 0o100_666 } & !umask(self);
        self.with(&[("raw", format!("{mode:x}")), ("nlink", "1".into()), ("new", "1".into())])
    }

    /// Whether it is what [`fresh`](Self::fresh) foresees.
    fn is_new(&self) -> bool {
        self.get("new") == "1"
    }

    /// The same with other values.
    pub(super) fn with(&self, values: &[(&str, String)]) -> Self {
        let mut map = self.0.clone();
        map.extend(values.iter().map(|(k, v)| ((*k).to_owned(), v.clone())));
        Self(map)
    }

    /// The type bits of the mode.
    pub(super) fn format(&self) -> u32 {
        self.raw() & 0o170_000
    }

    pub(super) fn directory(&self) -> bool {
        self.format() == 0o040_000
    }

    pub(super) fn link(&self) -> bool {
        self.format() == 0o120_000 || !self.get("broken").is_empty()
    }

    pub(super) fn regular(&self) -> bool {
        self.format() == 0o100_000
    }

    /// Ansible's word for it.
    pub(super) fn state(&self) -> &'static str {
        match self.format() {
            _ if self.link() => "link",
            0 => "absent",
            0o040_000 => "directory",
            _ if self.get("nlink").parse().unwrap_or(1) > 1 => "hard",
            _ => "file",
        }
    }

    /// The checksum that `tp_sum` printed.
    pub(super) fn sum(&self) -> &str {
        self.get("sum").split(' ').next().unwrap_or_default()
    }

    /// The keys that every result about a file has; none if nothing is there.
    pub(super) fn facts(&self) -> Fields {
        if !self.there() {
            return Fields::new();
        }
        let name = |k: &str, id: &str| match self.get(k) {
            "UNKNOWN" | "" => self.get(id).to_owned(),
            name => name.to_owned(),
        };
        fields([
            ("uid", self.number("uid")),
            ("gid", self.number("gid")),
            ("owner", json!(name("owner", "uid"))),
            ("group", json!(name("group", "gid"))),
            ("mode", json!(octal(self.mode()))),
            ("state", json!(self.state())),
            ("size", self.number("size")),
        ])
    }
}

/// `0644` and `04755`: what results about files call a mode.
pub(super) fn octal(mode: u32) -> String {
    format!("0{mode:03o}")
}

/// A failed result with more in it than a message.
pub(super) fn failed(msg: impl Into<String>, more: Fields) -> Decision {
    let mut all = more;
    all.insert("changed".into(), false.into());
    all.insert("failed".into(), true.into());
    all.insert("msg".into(), msg.into().into());
    Decision::Done(all)
}

/// What a task wants.
#[derive(Debug, Clone, Default)]
pub(super) struct Attrs {
    pub(super) owner: Option<String>,
    pub(super) group: Option<String>,
    pub(super) mode: Option<Mode>,
    /// For `chattr`: `+i`.
    pub(super) flags: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) enum Mode {
    Bits(u32),
    Symbolic(String),
    Preserve,
    /// No mode; an error when it would be set.
    Bad(String),
}

/// What has to be done to a file.
#[derive(Debug, Default)]
pub(super) struct Mend {
    /// As Ansible's `diff` shows it.
    pub(super) before: Fields,
    pub(super) after: Fields,
    /// The commands, for `"$p"`.
    pub(super) script: String,
    /// The commands for the file in its place: a flag like `i` would keep it from getting there.
    pub(super) late: String,
}

impl Mend {
    pub(super) fn none(&self) -> bool {
        self.script.is_empty() && self.late.is_empty()
    }

    /// All commands for a file that is in its place.
    pub(super) fn all(&self) -> String {
        format!("{}{}", self.script, self.late)
    }
}

fn digits(s: &str) -> bool {
    !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit())
}

impl Attrs {
    pub(super) fn of(call: &Call) -> Self {
        let flags = call.text("attributes").filter(|f| !f.is_empty());
        Self { owner: call.text("owner"), group: call.text("group"), mode: mode(call, "mode"), flags }
    }

    /// What reads everything that [`mend`](Self::mend) looks at. `path` is a shell word; `follow` is `-L` or nothing.
    pub(super) fn probe(&self, path: &str, follow: &str) -> String {
        let name = |n: &Option<String>| shell_quote(n.as_deref().filter(|n| !digits(n)).unwrap_or_default());
        let mut script = format!("tp_stat {path} {follow}\n");
        if self.owner.as_deref().is_some_and(|n| !digits(n)) || self.group.as_deref().is_some_and(|n| !digits(n)) {
            script.push_str(&format!("tp_want {} {}\n", name(&self.owner), name(&self.group)));
        }
        if self.any() {
            script.push_str("if [ -z \"$tp_s\" ]; then tp_fresh; fi\n");
        }
        if matches!(self.mode, Some(Mode::Symbolic(_))) {
            script.push_str("printf umask=; umask\n");
        }
        if self.flags.is_some() {
            script.push_str(&format!("printf 'flags=%s\\n' \"$(lsattr -d {path} 2>/dev/null)\"\n"));
        }
        script
    }

    /// Prints the numbers of the names, and what this user makes, for many files at once.
    pub(super) fn names(&self) -> String {
        let name = |n: &Option<String>| shell_quote(n.as_deref().filter(|n| !digits(n)).unwrap_or_default());
        format!("tp_s=\ntp_want {} {}\nprintf umask=; umask\n", name(&self.owner), name(&self.group))
    }

    /// Whether anything is wanted.
    pub(super) fn any(&self) -> bool {
        self.owner.is_some() || self.group.is_some() || self.mode.is_some() || self.flags.is_some()
    }

    /// The mode that something would have; `None` if none is wanted.
    fn bits(&self, now: u32, directory: bool, umask: u32) -> Result<Option<u32>, Fields> {
        match &self.mode {
            None | Some(Mode::Preserve) => Ok(None),
            Some(Mode::Bits(b)) => Ok(Some(*b)),
            Some(Mode::Symbolic(s)) => symbolic(s, now, directory, umask).map(Some).map_err(|_| bad(s)),
            Some(Mode::Bad(s)) => Err(bad(s)),
        }
    }

    /// The mode that something would have after it.
    pub(super) fn wanted_mode(&self, seen: &Seen) -> Option<u32> {
        self.bits(seen.mode(), seen.directory(), umask(seen)).ok().flatten()
    }

    /// What differs from what the probe saw. Fails with the result's fields if a name or the mode means nothing.
    pub(super) fn mend(&self, seen: &Seen, path: &str) -> Result<Mend, Fields> {
        let mut mend = Mend::default();
        let link = seen.link();
        let flag = if link { "-h " } else { "" };
        let fail = |mut why: Fields| {
            why.insert("path".into(), path.into());
            why.extend(seen.facts());
            why.insert("changed".into(), false.into());
            why.insert("failed".into(), true.into());
            why
        };
        for (key, id, want, tool, what) in
            [("owner", "uid", &self.owner, "chown", "user"), ("group", "gid", &self.group, "chgrp", "group")]
        {
            let Some(want) = want else { continue };
            let wanted = match self.number(seen, want, id) {
                Some(n) => n,
                None if seen.get(key) == want => continue,
                None => {
                    return Err(fail(fields([(
                        "msg",
                        json!(format!("{tool} failed: failed to look up {what} {want}")),
                    )])));
                }
            };
            if seen.get(id) == wanted {
                // A folder may hand its group on to what is made in it.
                if seen.is_new() {
                    mend.script.push_str(&format!("{tool} {flag}{wanted} \"$p\"\n"));
                }
                continue;
            }
            mend.before.insert(key.into(), seen.number(id));
            mend.after.insert(key.into(), json!(wanted.parse::<i64>().unwrap_or(-1)));
            mend.script.push_str(&format!("{tool} {flag}{wanted} \"$p\"\n"));
        }
        let now = seen.mode();
        let set = self.bits(now, seen.directory(), umask(seen)).map_err(fail)?;
        if let Some(bits) = set.filter(|_| !link) {
            // A new owner takes set-user-ID bits away.
            if bits != now || seen.is_new() || !mend.none() && bits & 0o6000 != 0 {
                if bits != now || !seen.is_new() {
                    mend.before.insert("mode".into(), json!(octal(now)));
                    mend.after.insert("mode".into(), json!(octal(bits)));
                }
                // Five digits: with fewer a folder keeps its set-user-ID and set-group-ID bits.
                mend.script.push_str(&format!("chmod {bits:05o} \"$p\"\n"));
            }
        }
        if let Some(flags) = &self.flags {
            let now = seen.get("flags").split(' ').next().unwrap_or_default().replace('-', "");
            let (op, names) = match flags.strip_prefix(['+', '-']) {
                Some(rest) => (flags.chars().next().unwrap_or('='), rest),
                None => ('=', flags.as_str()),
            };
            // As Ansible: `+i` on a file that has `i` and `e` counts as a change, and is one each time.
            if now != names || op == '-' {
                let flags = format!("{op}{names}");
                mend.late.push_str(&format!(
                    "tp_o=$(\"$(command -v chattr || echo chattr)\" {} \"$p\" 2>&1) || {{ printf 'fail=chattr failed\\npath=%s\\n' \"$p\" >&3; tp_stat \"$p\" >&3; printf '%s\\n' \"$tp_o\"; exit 1; }}\n",
                    shell_quote(&flags)
                ));
                mend.before.insert("attributes".into(), json!(now));
                mend.after.insert("attributes".into(), json!(flags));
            }
        }
        Ok(mend)
    }

    fn number(&self, seen: &Seen, want: &str, id: &str) -> Option<String> {
        if digits(want) {
            return Some(want.to_owned());
        }
        Some(seen.get(&format!("want_{id}")).to_owned()).filter(|n| digits(n))
    }
}

fn bad(mode: &str) -> Fields {
    fields([
        ("msg", json!("mode must be in octal or symbolic form")),
        ("details", json!(format!("bad symbolic permission for mode: {mode}"))),
    ])
}

fn umask(seen: &Seen) -> u32 {
    u32::from_str_radix(seen.get("umask"), 8).unwrap_or(0o022)
}

/// The mode that the option `key` gives.
pub(super) fn mode(call: &Call, key: &str) -> Option<Mode> {
    match call.args.get(key)? {
        Json::Null => None,
        Json::Number(n) => Some(Mode::Bits(n.as_u64().unwrap_or(0) as u32)),
        Json::String(s) if s == "preserve" => Some(Mode::Preserve),
        Json::String(s) => Some(match u32::from_str_radix(s, 8) {
            Ok(bits) => Mode::Bits(bits),
            Err(_) if s.contains(['=', '+', '-']) => Mode::Symbolic(s.clone()),
            Err(_) => Mode::Bad(s.clone()),
        }),
        other => Some(Mode::Bad(other.to_string())),
    }
}
