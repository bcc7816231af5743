//! What runs on the host around a command.
//!
//! A short POSIX shell text, which is all that others see in `ps`. It says on standard error which process group it is
//! (the *frame*), then reads the command from standard input, between two random lines, and becomes it: what comes before, a password that nobody
//! asked for, is no command. So neither environment
//! nor script nor password is ever an argument, and what follows on standard input is the command's own.

use crate::{Become, BecomeMethod, Error, ErrorKind, Exec, Program, RemoteGroup, Result, shell_quote};

/// Needs only what every POSIX shell has built in, and Linux's /proc for the group; elsewhere the group is unknown.
///
/// Its variables have names that nobody else gives one: what is called so in the host's own environment would be gone for the command.
const WRAPPER: &str = r#"_g=0 _s=0 _b=-
if read -r _l 2>/dev/null </proc/$$/stat; then
set -- ${_l##*) }; _g=$3
if [ "$_g" != $$ ]; then read -r _l 2>/dev/null </proc/$_g/stat && set -- ${_l##*) } || _g=0; fi
shift 9; shift 9; _s=$2
read -r _b 2>/dev/null </proc/sys/kernel/random/boot_id || _b=-
fi
printf '\n%s %s %s %s\n' $_t $_g $_s $_b >&2
while IFS= read -r _l; do [ "$_l" = $_t ] && break; done
_p=
while IFS= read -r _l; do
[ "$_l" = $_t ] && break
_p="$_p$_l
"
done
[ "$_l" = $_t ] || exit 125
eval "$_p""#;

/// A command, ready for a host.
#[derive(Debug)]
pub struct Wrapped {
    /// What the host starts: `/bin/sh`, or sudo or su around it.
    pub argv: Vec<String>,
    /// What goes to standard input first.
    pub header: Vec<u8>,
    /// Starts the frame.
    pub token: String,
    /// What sudo asks with; empty for su, which asks in its own words: see [`count_prompts`].
    pub prompt: String,
}

impl Wrapped {
    /// The command line for a login shell of any kind.
    pub fn line(&self) -> String {
        // The login shell may be any: quote even what looks plain.
        let words: Vec<_> = self.argv.iter().map(|w| quote(w)).collect();
        format!("exec {}", words.join(" "))
    }
}

/// How often somebody has asked for a password: sudo with the random prompt; su, which asks once, with words that end in a colon and wait.
pub fn count_prompts(said: &[u8], prompt: &str) -> usize {
    let text = String::from_utf8_lossy(said);
    if prompt.is_empty() { usize::from(text.ends_with(": ")) } else { text.matches(prompt).count() }
}

/// Whether a shell can have a variable of this name.
pub fn is_variable(name: &str) -> bool {
    let plain = |(i, c): (usize, char)| c == '_' || c.is_ascii_alphabetic() || (i > 0 && c.is_ascii_digit());
    !name.is_empty() && name.chars().enumerate().all(plain)
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Where a command starts that names no directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Where the connection starts, which is the user's home. One who becomes another user goes to that user's home.
    AsConnected,
    /// The user's home, or `/` where that is missing.
    AtHome,
}

/// Wraps a command. `provider` is named in errors, `random` gives names that nobody can guess.
///
/// # Errors
///
/// [`InvalidInput`](ErrorKind::InvalidInput): no program, a NUL character, no user's or variable's name.
pub fn wrap(provider: &'static str, exec: &Exec, start: Start, random: fn() -> String) -> Result<Wrapped> {
    let invalid = |message| Error::new(ErrorKind::InvalidInput, provider, "exec", message);
    let (token, prompt) = (random(), format!("[{}] ", random()));
    let text = format!("_t={token}\n{WRAPPER}");
    let argv = match &exec.r#become {
        None => ["/bin/sh", "-c", &text].map(str::to_owned).into(),
        Some(to) if to.user.is_empty() || to.user.starts_with('-') => {
            return Err(invalid("the user to become is not a name").with("user", &to.user));
        }
        Some(to) => become_argv(to, &prompt, &text),
    };
    let prompt = match &exec.r#become {
        Some(b) if b.method == BecomeMethod::Sudo => prompt,
        _ => String::new(),
    };
    let header = header(exec, &token, start).map_err(|(message, name)| match name {
        Some(name) => invalid(message).with("name", name),
        None => invalid(message),
    })?;
    Ok(Wrapped { argv, header, token, prompt })
}

fn become_argv(to: &Become, prompt: &str, text: &str) -> Vec<String> {
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
    argv.into_iter().map(str::to_owned).collect()
}

fn header(exec: &Exec, token: &str, start: Start) -> std::result::Result<Vec<u8>, (&'static str, Option<String>)> {
    let mut text = format!("{token}\nunset _t _g _s _b _l _p; set --\n");
    for (name, value) in &exec.env {
        if !is_variable(name) {
            return Err(("the name of an environment variable is not one", Some(name.clone())));
        }
        text.push_str(&format!("export {name}={}\n", quote(value)));
    }
    match &exec.cwd {
        Some(dir) => text.push_str(&format!("cd -- {} || exit 1\n", shell_quote(dir))),
        None if exec.r#become.is_some() || start == Start::AtHome => text.push_str("cd 2>/dev/null || cd /\n"),
        None => {}
    }
    match &exec.program {
        Program::Argv(argv) => {
            if argv.is_empty() {
                return Err(("there is no program to run", None));
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
        return Err(("a command holds a NUL character", None));
    }
    text.push_str(token);
    text.push('\n');
    Ok(text.into_bytes())
}

/// What was found in standard error before the command itself could write to it.
#[derive(Debug)]
pub enum Seen {
    /// Nothing yet.
    Nothing,
    /// The frame.
    Frame {
        /// Bytes before it.
        start: usize,
        /// Bytes up to its end.
        end: usize,
        /// Process group, start time of its leader, boot; none where the host has no `/proc`.
        group: Option<(u32, u64, String)>,
    },
}

/// Looks for the frame.
pub fn find_frame(bytes: &[u8], token: &str) -> Seen {
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
pub(super) fn end_script(group: &RemoteGroup) -> String {
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

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    /// What is in the host's own environment reaches a command as it is, whatever it is called.
    #[test]
    fn the_environment_comes_through() {
        let names: Vec<String> = ('a'..='z').map(|c| c.to_string()).collect();
        let check = format!(r#"for name in {}; do eval "printf '%s ' \"\$$name\""; done"#, names.join(" "));
        let wrapped = wrap("test", &Exec::script(check), Start::AsConnected, || "r4nd0m".into()).unwrap();
        let mut command = Command::new(&wrapped.argv[0]);
        command.args(&wrapped.argv[1..]).envs(names.iter().map(|n| (n, n)));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&wrapped.header).unwrap();
        let out = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stdout).trim_end(), names.join(" "));
    }
}
