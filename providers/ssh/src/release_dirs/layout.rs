//! The scripts of release directories. Pure text; every value is quoted.

use towpath_core::{Error, ErrorKind, Release, Result, shell_quote};

use super::{PROVIDER, ReleaseDirsConfig};
use crate::random_name;

/// Exit codes of the scripts.
pub(crate) const NOT_STAGED: i32 = 44;
pub(crate) const RESTART_FAILED: i32 = 47;
pub(crate) const STOP_FAILED: i32 = 48;
pub(crate) const NOT_SHARED: i32 = 49;

/// The marker that makes a directory a release. It is the last thing written to it.
pub(crate) const MARKER: &str = ".towpath.json";

/// A version becomes a name of a directory.
pub(crate) fn check_version(version: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    if version.is_empty() || version.len() > 128 || version.starts_with(['.', '-']) || !version.chars().all(fits) {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            PROVIDER,
            "stage",
            "the version can't be the name of a directory: letters, digits and `._+-`, not `.` or `-` first",
        )
        .with("version", version));
    }
    Ok(())
}

/// Paths that releases share become links: they are relative, and lead nowhere else.
pub(crate) fn check_shared(paths: &[String]) -> Result<()> {
    for path in paths {
        let plain = path.strip_suffix('/').unwrap_or(path);
        let bad = |part: &str| part.is_empty() || part == "." || part == "..";
        let own = [MARKER, "env"].contains(&plain);
        if own || plain.split('/').any(bad) || path.contains(char::is_control) {
            let says = "`shared` has a path that can't be one of a release: relative, without `..`, not `env`";
            return Err(Error::new(ErrorKind::InvalidInput, PROVIDER, "config", says).with("path", path));
        }
        let inside = |other: &&String| *other != path && other.starts_with(&format!("{plain}/"));
        if let Some(inner) = paths.iter().find(inside) {
            let says = "`shared` has a path inside another one: the outer one is enough";
            return Err(Error::new(ErrorKind::InvalidInput, PROVIDER, "config", says).with("path", inner));
        }
    }
    Ok(())
}

/// Links what is shared. A file that is not there is an error, before the release is one.
fn share(config: &ReleaseDirsConfig) -> String {
    let mut script = String::new();
    for path in &config.shared {
        let plain = shell_quote(path.strip_suffix('/').unwrap_or(path));
        let (made, is_dir) = match path.ends_with('/') {
            true => ("mkdir -p -- \"$s\" || exit 1\n[ -z \"$owner\" ] || chown -- \"$owner\" \"$s\" || exit 1\n", true),
            false => ("", false),
        };
        let there = if is_dir { "-d" } else { "-e" };
        script.push_str(&format!(
            "p={plain} s=\"$root/shared/\"{plain}\n{made}[ {there} \"$s\" ] || {{ echo \"$s is shared, and is not there\" >&2; exit {NOT_SHARED}; }}\n\
             rm -rf -- \"$p\"\ncase $p in */*) mkdir -p -- \"${{p%/*}}\" || exit 1;; esac\nln -s -- \"$s\" \"$p\" || exit 1\n"
        ));
    }
    script
}

/// The release's environment in a form that both `sh` and systemd's `EnvironmentFile` read.
pub(crate) fn env_file(release: &Release) -> Result<String> {
    let mut text = String::new();
    for (name, value) in &release.env {
        if !towpath_core::posix::is_variable(name) || value.contains('\0') {
            return Err(Error::new(ErrorKind::InvalidInput, PROVIDER, "stage", "a release's variable can't be set")
                .with("variable", name));
        }
        text.push_str(&format!("{name}='{}'\n", value.replace('\'', r"'\''")));
    }
    Ok(text)
}

fn argv(words: &[String]) -> String {
    words.iter().map(|w| shell_quote(w)).collect::<Vec<_>>().join(" ")
}

fn running(config: &ReleaseDirsConfig) -> String {
    match &config.running {
        // Nothing of it may reach the output, which is read.
        Some(words) => format!("{} >/dev/null 2>&1 </dev/null", argv(words)),
        None => "[ -e \"$root/.active\" ]".to_owned(),
    }
}

fn head(config: &ReleaseDirsConfig) -> String {
    let owner = config.owner.as_deref().map(shell_quote).unwrap_or_default();
    format!("root={} owner={owner}\n", shell_quote(&config.root))
}

/// Looks what is staged and what the host is, and makes a directory to fill.
///
/// A single file that another release has, too, is copied there: `copied`. Its digest is taken first, since somebody may
/// have changed it.
pub(crate) fn prepare(
    config: &ReleaseDirsConfig,
    version: &str,
    temporary: &str,
    loader: &str,
    marker: &str,
    file: Option<(&str, &str)>,
) -> String {
    let (digest, name) = file.unwrap_or_default();
    let copy = format!(
        r#"d={} n={}
for m in "$root"/releases/*/{MARKER}; do
[ -n "$d" ] && [ -f "${{m%/*}}/$n" ] && grep -qF -- "$d" "$m" && command -v sha256sum >/dev/null || continue
cp -- "${{m%/*}}/$n" "$root/releases/$t/$n" 2>/dev/null || break
if [ "$(sha256sum <"$root/releases/$t/$n")" = "$d  -" ] && chmod 0755 "$root/releases/$t/$n"; then echo copied; break; fi
rm -f -- "$root/releases/$t/$n"
done"#,
        shell_quote(digest.trim_start_matches("sha256:")),
        shell_quote(name),
    );
    format!(
        r#"{}v={v} t={t} loader={loader}
umask 022
if [ "$(cat "$root/releases/$v/{MARKER}" 2>/dev/null)" = {marker} ]; then echo unchanged; exit 0; fi
mkdir -p "$root/releases" || exit 1
find "$root/releases" -maxdepth 1 -name '.tmp-*' -mmin +60 -exec rm -rf {{}} + 2>/dev/null
mkdir -m 0755 "$root/releases/$t" || exit 1
echo "machine $(uname -m)"
echo "libc $(getconf GNU_LIBC_VERSION 2>/dev/null || echo other)"
if [ -n "$loader" ] && [ ! -e "$loader" ]; then echo "noloader"; fi
{copy}
exit 0"#,
        head(config),
        v = shell_quote(version),
        t = shell_quote(temporary),
        loader = shell_quote(loader),
        marker = shell_quote(marker),
    )
}

/// Removes a directory that is not wanted after all.
pub(crate) fn discard(config: &ReleaseDirsConfig, temporary: &str) -> String {
    format!("{}rm -rf -- \"$root/releases/\"{}", head(config), shell_quote(temporary))
}

/// Unpacks what was uploaded, marks it and moves it into its place.
pub(crate) fn finish(
    config: &ReleaseDirsConfig,
    version: &str,
    temporary: &str,
    archive: bool,
    marker: &str,
) -> String {
    let unpack = if archive {
        // Owners of another machine mean nothing here.
        "mkdir x && tar -x --no-same-owner -f .artifact -C x || exit 1\nrm -f .artifact\n\
         # The tree becomes the release itself.\n\
         for f in x/* x/.[!.]* x/..?*; do [ -e \"$f\" ] || [ -L \"$f\" ] || continue; mv -- \"$f\" . || exit 1; done\nrmdir x || exit 1\n"
    } else {
        ""
    };
    format!(
        r#"{}v={v} t={t}
umask 022
cd -- "$root/releases/$t" || exit 1
mv -- .env env.new || exit 1
{unpack}{shared}mv -f -- env.new env || exit 1
printf '%s\n' {marker} >{MARKER} || exit 1
[ -z "$owner" ] || chown -R -- "$owner" . || exit 1
cd .. || exit 1
if [ -e "$v" ]; then mv -T -- "$v" "$t-old" || exit 1; fi
mv -T -- "$t" "$v" || exit 1
rm -rf -- "$t-old""#,
        head(config),
        v = shell_quote(version),
        t = shell_quote(temporary),
        marker = shell_quote(marker),
        shared = share(config),
    )
}

/// Switches the link, restarts and removes old releases.
pub(crate) fn activate(config: &ReleaseDirsConfig, version: &str) -> String {
    format!(
        r#"{}v={v} keep={keep} r={random}
r="$root/.link-$r"
umask 022
running() {{ {running}; }}
m="$root/releases/$v/{MARKER}"
[ -f "$m" ] || exit {NOT_STAGED}
old=$(readlink "$root/current" 2>/dev/null); old=${{old##*/}}
# What was activated, and how, is in .active: the same version may have been staged anew since.
if [ "$old" = "$v" ] && [ "$(cat "$root/.active" 2>/dev/null)" = "$(cat "$m")" ] && running; then echo same; exit 0; fi
rm -f -- "$root/.active"
if [ "$old" != "$v" ]; then
if [ -n "$old" ]; then ln -s -- "releases/$old" "$r" && mv -T -f -- "$r" "$root/previous" || exit 1; fi
ln -s -- "releases/$v" "$r" && mv -T -f -- "$r" "$root/current" || exit 1
fi
{restart} </dev/null || exit {RESTART_FAILED}
cat "$m" >"$root/.active" || exit 1
previous=$(readlink "$root/previous" 2>/dev/null); previous=${{previous##*/}}
n=0
for d in $(ls -1t "$root/releases"); do
[ -f "$root/releases/$d/{MARKER}" ] || continue
n=$((n+1))
[ $n -le "$keep" ] || [ "$d" = "$v" ] || [ "$d" = "$previous" ] || rm -rf -- "$root/releases/$d"
done
exit 0"#,
        head(config),
        v = shell_quote(version),
        keep = config.keep.max(1),
        random = random_name(),
        running = running(config),
        restart = argv(&config.restart),
    )
}

/// Stops what runs.
pub(crate) fn deactivate(config: &ReleaseDirsConfig) -> String {
    let stop = match &config.stop {
        Some(words) => format!("{} </dev/null || exit {STOP_FAILED}", argv(words)),
        None => format!("echo 'the config has no `stop` command' >&2; exit {STOP_FAILED}"),
    };
    format!(
        "{}running() {{ {}; }}\nif running; then\n{stop}\nfi\nrm -f -- \"$root/.active\"",
        head(config),
        running(config)
    )
}

/// The ledger on the host: a line for each entry, the newest last. Its values are for the one who does all this.
const LEDGER: &str = ".ledger.jsonl";
/// How many entries it keeps.
const ENTRIES: usize = 50;

/// Says whether a release is staged.
pub(crate) fn is_staged(config: &ReleaseDirsConfig, version: &str) -> String {
    format!("{}[ ! -f \"$root/releases/\"{}/{MARKER} ] || echo staged", head(config), shell_quote(version))
}

/// Writes an entry. One that has the same `key` in it goes.
pub(crate) fn record(config: &ReleaseDirsConfig, key: &str, line: &str) -> String {
    format!(
        r#"{}umask 077
mkdir -p -m 0755 -- "$root" || exit 1
f="$root/{LEDGER}"
{{ tail -n {ENTRIES} "$f" 2>/dev/null | grep -vF -- {key} | tail -n {}; printf '%s\n' {line}; }} >"$f"-{random} || exit 1
mv -f -- "$f"-{random} "$f""#,
        head(config),
        ENTRIES - 1,
        key = shell_quote(key),
        line = shell_quote(line),
        random = random_name(),
    )
}

/// Reads all entries.
pub(crate) fn recorded(config: &ReleaseDirsConfig) -> String {
    format!("{}[ ! -e \"$root/{LEDGER}\" ] || cat -- \"$root/{LEDGER}\"", head(config))
}

/// Looks what is there.
pub(crate) fn probe(config: &ReleaseDirsConfig) -> String {
    format!(
        r#"{}running() {{ {}; }}
c=$(readlink "$root/current" 2>/dev/null); c=${{c##*/}}
[ -z "$c" ] || [ ! -f "$root/releases/$c/{MARKER}" ] || echo "current $c"
for d in "$root"/releases/*; do [ -f "$d/{MARKER}" ] && echo "staged ${{d##*/}}"; done
if running; then echo running; fi
exit 0"#,
        head(config),
        running(config)
    )
}
