//! The scripts that do it, for any POSIX shell of a Linux host. Every value is quoted; nothing else comes from outside.

use std::fmt::Write as _;

use towpath_core::{Exec, shell_quote};

use crate::NginxConfig;

/// Exit codes of the scripts.
pub(crate) mod code {
    pub(crate) const CHANGED: i32 = 40;
    pub(crate) const TEST: i32 = 41;
    pub(crate) const RELOAD: i32 = 42;
    pub(crate) const SLOW: i32 = 43;
    pub(crate) const LOCK: i32 = 44;
    pub(crate) const BUSY: i32 = 45;
    pub(crate) const WRITE: i32 = 46;
    pub(crate) const NOT_RUNNING: i32 = 47;
    pub(crate) const NO_FILE: i32 = 48;
    pub(crate) const NO_FLOCK: i32 = 49;
    pub(crate) const STOPPED: i32 = 50;
}

/// Names: `$f` the file, `$k` its lock, `$t` its next content, `$o` its content before a change that is not in force yet. None of the
/// last three is matched by an `include` with a `*`. `$m` nginx's master, if it runs.
const PRELUDE: &str = r#"
LC_ALL=C; export LC_ALL
umask 077
f=$(readlink -f -- "$file") && [ -f "$f" ] || exit 48
d=${f%/*} b=${f##*/}
k=$d/.$b.lock t=$d/.$b.next o=$d/.$b.before
m=; [ ! -r "$pid_file" ] || read -r m <"$pid_file" || :
case $m in ''|*[!0-9]*) m= ;; esac
if [ -n "$m" ]; then
    case $(tr '\0' ' ' 2>/dev/null <"/proc/$m/cmdline") in 'nginx: master process'*) ;; *) m= ;; esac
fi
# One line for each worker: pid, start, user, and whether it is ending.
workers() {
    [ -n "$m" ] || return 0
    for p in /proc/[0-9]*; do
        { read -r l <"$p/stat"; } 2>/dev/null || continue
        set -- ${l##*) }
        [ "$2" = "$m" ] && [ "$1" != Z ] && [ "$1" != X ] || continue
        shift 9; shift 9; start=$2
        case $(tr '\0' ' ' 2>/dev/null <"$p/cmdline") in
            *'worker process is shutting down'*) ending=1 ;;
            *'worker process'*) ending=0 ;;
            *) continue ;;
        esac
        user=
        while read -r key _ id _; do [ "$key" != Uid: ] || user=$id; done 2>/dev/null <"$p/status"
        [ -z "$user" ] || echo "worker ${p#/proc/} $start $user $ending"
    done
}
"#;

/// A lock that ends with the process that has it, however that ends. No command that a script starts may inherit it.
const LOCK: &str = r#"
command -v flock >/dev/null || exit 49
# Asked first: a failing `exec` would end some shells at once.
( : >>"$k" ) 2>/dev/null || exit 44
exec 9>>"$k"
flock -w "$lock_limit" 9 || exit 45
"#;

const LOOK: &str = r#"
echo "master $m"
read -r boot </proc/sys/kernel/random/boot_id; echo "boot $boot"
[ ! -e "$o" ] || echo pending
workers
echo content
cat -- "$f"
"#;

const CHANGE: &str = r#"
[ -n "$m" ] || exit 47
# Whoever began a change did not end it: it stands if nginx takes it, and is taken into force with this one.
if [ -e "$o" ]; then
    if check >/dev/null 2>&1; then rm -f -- "$o"; else mv -f -- "$o" "$f"; fi
fi
now=$(sha256sum <"$f") || exit 46
[ "${now%% *}" = "$expected" ] || exit 40
rm -f -- "$t"
cat >"$t" && chown -- "$(stat -c %u:%g -- "$f")" "$t" && chmod -- "$(stat -c %a -- "$f")" "$t" || { rm -f -- "$t"; exit 46; }
# Not every system can do that for one file.
sync -- "$t" 2>/dev/null || :
cp -p -- "$f" "$o" || { rm -f -- "$o" "$t"; exit 46; }
back() { mv -f -- "$o" "$f"; }
# Nobody may be reading any more what the shell says of an ended command.
trap '' PIPE
trap 'back; exit 50' TERM HUP INT
mv -f -- "$t" "$f" || { rm -f -- "$o" "$t"; exit 46; }
said=$(check 2>&1) || { back; printf '%s\n' "$said" >&2; exit 41; }
before=$(workers)
trap - TERM HUP INT
said=$(reload 2>&1) || { back; printf '%s\n' "$said" >&2; exit 42; }
# In force: a new worker is there, and none of those before takes connections.
settled() {
    fresh=1
    while read -r _ pid start _ ending; do
        [ "$ending" = 0 ] || continue
        case $before in *"worker $pid $start "*) return 1 ;; *) fresh=0 ;; esac
    done <<W
$(workers)
W
    return $fresh
}
i=0
until settled; do
    i=$((i + 1)); [ $i -le "$reload_ticks" ] || exit 43
    sleep 0.05
done
rm -f -- "$o"
printf '%s\n' "$before"
"#;

fn words(command: &[String]) -> String {
    command.iter().map(|w| shell_quote(w)).collect::<Vec<_>>().join(" ")
}

fn prelude(config: &NginxConfig) -> String {
    let mut out = String::new();
    // Writing into a text can't fail.
    let _ = writeln!(out, "file={} pid_file={}", shell_quote(&config.file), shell_quote(&config.pid_file));
    let _ = writeln!(out, "lock_limit={} reload_ticks={}", config.lock_limit_s, u64::from(config.reload_limit_s) * 20);
    let _ = writeln!(out, "check() {{ {} </dev/null 9>&-; }}", words(&config.test_command()));
    let _ = writeln!(out, "reload() {{ {} </dev/null 9>&-; }}", words(&config.reload_command()));
    out.push_str(PRELUDE);
    out
}

fn exec(config: &NginxConfig, label: &str, text: String) -> Exec {
    let mut exec = Exec::script(text).timeout(config.limit());
    exec.label = Some(format!("{label} {}", config.file));
    exec.cwd = Some("/".to_owned());
    exec
}

/// Shows nginx's processes and the file. `locked`: after whatever change is under way.
pub(crate) fn look(config: &NginxConfig, locked: bool) -> Exec {
    exec(config, "look at nginx and", format!("{}{}{LOOK}", prelude(config), if locked { LOCK } else { "" }))
}

/// Replaces the file, if its digest is still `expected`, by `text`, and takes it into force. Prints the workers before.
pub(crate) fn change(config: &NginxConfig, expected: &str, text: &str) -> Exec {
    let script = format!("expected={}\n{}{LOCK}{CHANGE}", shell_quote(expected), prelude(config));
    exec(config, "change", script).stdin(text.as_bytes().to_vec())
}

/// Checks nginx's configuration as it is.
pub(crate) fn test(config: &NginxConfig) -> Exec {
    exec(config, "test nginx with", format!("{}check", prelude(config)))
}

/// Prints the addresses of these hosts: `name address`.
pub(crate) fn addresses<'a>(config: &NginxConfig, names: impl Iterator<Item = &'a str>) -> Exec {
    let names: Vec<String> = names.map(shell_quote).collect();
    let text = format!(
        "for n in {}; do getent ahosts \"$n\" | while read -r a _; do echo \"$n $a\"; done; done",
        names.join(" ")
    );
    exec(config, "look up the servers of", text)
}

/// Prints the lines of the kernel's tables of TCP connections, as nginx sees them, that have one of these places.
pub(crate) fn connections<'a>(config: &NginxConfig, master: u32, places: impl Iterator<Item = &'a str>) -> Exec {
    let patterns: Vec<String> = places.map(|p| format!("-e {}", shell_quote(&format!(" {p} ")))).collect();
    let text = format!(
        "for t in tcp tcp6; do
            [ -e /proc/{master}/net/$t ] || continue
            grep -F {} /proc/{master}/net/$t; [ $? -le 1 ] || exit 47
        done; exit 0",
        patterns.join(" ")
    );
    exec(config, "count connections to the servers of", text)
}

#[cfg(test)]
mod tests {
    use towpath_core::Program;

    use super::*;

    #[test]
    fn nothing_is_unquoted() {
        let config = NginxConfig {
            conf: Some("/etc/a;b".into()),
            reload: Some(vec!["systemctl".into(), "reload".into(), "my nginx; $(x)".into()]),
            ..NginxConfig::new("/srv/it's here")
        };
        let Program::Script(text) = change(&config, "none", "").program else { panic!("a script") };
        for quoted in [r"file='/srv/it'\''s here'", "nginx -c '/etc/a;b' -t", "systemctl reload 'my nginx; $(x)'"] {
            assert!(text.contains(quoted), "{quoted}: {text}");
        }
    }
}
