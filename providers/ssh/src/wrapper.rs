//! What runs on the host around a command.
//!
//! A short POSIX shell text, which is all that others see in `ps`. It says on standard error which process group it is
//! (the *frame*), then reads the command from standard input, up to a random line, and becomes it. So neither environment
//! nor script nor password is ever an argument, and what follows on standard input is the command's own.

use towpath_core::{Become, BecomeMethod, Error, ErrorKind, Exec, Program, RemoteGroup, Result, shell_quote};

use crate::{PROVIDER, random_name};

/// Needs only what every POSIX shell has built in, and Linux's /proc for the group; elsewhere the group is unknown.
const WRAPPER: &str = r#"g=0 s=0 b=-
if read -r l 2>/dev/null </proc/$$/stat; then
set -- ${l##*) }; g=$3
if [ "$g" != $$ ]; then read -r l 2>/dev/null </proc/$g/stat && set -- ${l##*) } || g=0; fi
shift 9; shift 9; s=$2
read -r b 2>/dev/null </proc/sys/kernel/random/boot_id || b=-
fi
printf '\n%s %s %s %s\n' $t $g $s $b >&2
p=
while IFS= read -r l; do
[ "$l" = $t ] && break
p="$p$l
"
done
[ "$l" = $t ] || exit 125
eval "$p""#;

/// A command, ready for the host.
pub(crate) struct Wrapped {
    /// The command line for the login shell.
    pub(crate) line: String,
    /// What goes to standard input first.
    pub(crate) header: Vec<u8>,
    /// Starts the frame.
    pub(crate) token: String,
    /// What sudo asks with; empty: anything that ends like a question.
    pub(crate) prompt: String,
}

fn quote(word: &str) -> String {
    // The login shell may be any: quote even what looks plain.
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Wraps a command.
pub(crate) fn wrap(exec: &Exec) -> Result<Wrapped> {
    let token = random_name();
    let prompt = format!("[{}] ", random_name());
    let text = format!("t={token}\n{WRAPPER}");
    let line = match &exec.r#become {
        None => format!("exec /bin/sh -c {}", quote(&text)),
        Some(to) => become_line(to, &prompt, &text)?,
    };
    let prompt = match &exec.r#become {
        Some(b) if b.method == BecomeMethod::Sudo => prompt,
        _ => String::new(),
    };
    Ok(Wrapped { line, header: header(exec, &token)?, token, prompt })
}

fn become_line(to: &Become, prompt: &str, text: &str) -> Result<String> {
    if to.user.is_empty() || to.user.starts_with('-') {
        return Err(invalid("the user to become is not a name").with("user", &to.user));
    }
    let mut argv = match (to.method, &to.password) {
        (BecomeMethod::Sudo, None) => vec!["sudo", "-H", "-n", "-u", &to.user],
        (BecomeMethod::Sudo, Some(_)) => vec!["sudo", "-H", "-S", "-p", prompt, "-u", &to.user],
        (BecomeMethod::Su, _) => vec!["su"],
    };
    argv.extend(to.flags.iter().map(String::as_str));
    match to.method {
        BecomeMethod::Sudo => argv.extend(["--", "/bin/sh", "-c", text]),
        BecomeMethod::Su => argv.extend(["-s", "/bin/sh", "-c", text, &to.user]),
    }
    let words = argv.iter().map(|w| quote(w)).collect::<Vec<_>>().join(" ");
    Ok(format!("exec {words}"))
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, PROVIDER, "exec", message)
}

fn header(exec: &Exec, token: &str) -> Result<Vec<u8>> {
    let mut text = String::from("unset t g s b l p; set --\n");
    for (name, value) in &exec.env {
        let plain = |(i, c): (usize, char)| c == '_' || c.is_ascii_alphabetic() || (i > 0 && c.is_ascii_digit());
        if name.is_empty() || !name.chars().enumerate().all(plain) {
            return Err(invalid("the name of an environment variable is not one").with("name", name));
        }
        text.push_str(&format!("export {name}={}\n", quote(value)));
    }
    match &exec.cwd {
        Some(dir) => text.push_str(&format!("cd -- {} || exit 1\n", shell_quote(dir))),
        None if exec.r#become.is_some() => text.push_str("cd 2>/dev/null || cd /\n"),
        None => {}
    }
    match &exec.program {
        Program::Argv(argv) => {
            if argv.is_empty() {
                return Err(invalid("there is no program to run"));
            }
            let words: Vec<_> = argv.iter().map(|w| quote(w)).collect();
            text.push_str(&format!("exec {}\n", words.join(" ")));
        }
        Program::Script(script) => {
            text.push_str(script);
            text.push('\n');
        }
    }
    if text.contains('\0') {
        return Err(invalid("a command holds a NUL character"));
    }
    text.push_str(token);
    text.push('\n');
    Ok(text.into_bytes())
}

/// What was found in standard error before the command itself could write to it.
pub(crate) enum Seen {
    /// Nothing yet.
    Nothing,
    /// So many bytes up to the end of the frame, and the group.
    Frame { start: usize, end: usize, group: Option<(u32, u64, String)> },
}

/// Looks for the frame.
pub(crate) fn find_frame(bytes: &[u8], token: &str) -> Seen {
    let mark = format!("\n{token} ");
    let Some(start) = bytes.windows(mark.len()).position(|w| w == mark.as_bytes()) else { return Seen::Nothing };
    let rest = bytes.get(start + mark.len()..).unwrap_or_default();
    let Some(length) = rest.iter().position(|b| *b == b'\n') else { return Seen::Nothing };
    let line = String::from_utf8_lossy(rest.get(..length).unwrap_or_default()).into_owned();
    let mut words = line.split(' ');
    let group = (|| {
        let (pgid, started) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let boot = words.next().filter(|b| *b != "-").unwrap_or_default().to_owned();
        (pgid > 1).then_some((pgid, started, boot))
    })();
    Seen::Frame { start, end: start + mark.len() + length + 1, group }
}

/// Ends a group: TERM, 5 s, KILL. Exits with 3 if it is gone or the id is somebody else's by now.
pub(crate) fn end_script(group: &RemoteGroup) -> String {
    format!(
        r#"g={} w={} b={}
[ "$g" -gt 1 ] || exit 3
n=
read -r n 2>/dev/null </proc/sys/kernel/random/boot_id
[ -z "$b" ] || [ "$n" = "$b" ] || exit 3
if read -r l 2>/dev/null </proc/$g/stat; then
set -- ${{l##*) }}; shift 9; shift 9
[ "$2" = "$w" ] || exit 3
fi
kill -s TERM -- "-$g" 2>/dev/null || exit 3
alive() {{
kill -s 0 -- "-$g" 2>/dev/null || return 1
# What only waits to be collected by its parent is gone.
for f in /proc/[0-9]*/stat; do
read -r l 2>/dev/null <"$f" || continue
set -- ${{l##*) }}
[ "$3" = "$g" ] && [ "$1" != Z ] && [ "$1" != X ] && return 0
done
return 1
}}
i=0
while alive; do
i=$((i+1))
if [ $i -gt 50 ]; then kill -s KILL -- "-$g" 2>/dev/null; [ $i -gt 80 ] && exit 4; fi
sleep 0.1 2>/dev/null || sleep 1
done
exit 0"#,
        group.pgid,
        group.started,
        shell_quote(&group.boot)
    )
}
