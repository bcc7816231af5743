//! Owner, group and mode.

use std::collections::HashMap;

use serde_json::json;
use towpath_core::{Json, shell_quote};

use super::{Call, Fields};

/// A shell function that prints what is at a path. `$2` is `-L` to follow links.
pub(crate) const STAT: &str = r#"tp_stat() {
if [ -L "$1" ] && [ -z "$2" ]; then echo type=link; echo "target=$(readlink "$1")"
elif [ -d "$1" ]; then echo type=directory
elif [ -f "$1" ]; then echo type=file
elif [ -e "$1" ]; then echo type=other
elif [ -L "$1" ]; then echo type=link; echo "target=$(readlink "$1")"
else echo type=absent; return; fi
stat $2 -c 'mode=%a
uid=%u
gid=%g
owner=%U
group=%G
size=%s
inode=%i
nlink=%h
mtime=%Y
atime=%X
ctime=%Z' "$1" 2>/dev/null || stat -c 'mode=%a
uid=%u
gid=%g
owner=%U
group=%G
size=%s' "$1"
}
"#;

/// What a task wants.
#[derive(Debug, Clone, Default)]
pub(super) struct Attrs {
    pub(super) owner: Option<String>,
    pub(super) group: Option<String>,
    pub(super) mode: Option<Mode>,
}

#[derive(Debug, Clone)]
pub(super) enum Mode {
    Bits(u32),
    Symbolic(String),
    Preserve,
}

impl Attrs {
    pub(super) fn of(call: &Call) -> Result<Self, String> {
        let mode = match call.args.get("mode") {
            None | Some(Json::Null) => None,
            Some(Json::Number(n)) => Some(Mode::Bits(n.as_u64().unwrap_or(0) as u32)),
            Some(Json::String(s)) if s == "preserve" => Some(Mode::Preserve),
            Some(Json::String(s)) => Some(match u32::from_str_radix(s, 8) {
                Ok(bits) => Mode::Bits(bits),
                Err(_) if s.contains(['=', '+', '-']) => Mode::Symbolic(s.clone()),
                Err(_) => return Err(format!("mode must be octal or symbolic, not `{s}`")),
            }),
            Some(other) => return Err(format!("mode must be octal or symbolic, not {other}")),
        };
        Ok(Self { owner: call.text("owner"), group: call.text("group"), mode })
    }

    /// The mode that something would have; `now` if nothing is wanted.
    pub(super) fn bits(&self, now: u32, directory: bool) -> Result<Option<u32>, String> {
        match &self.mode {
            None | Some(Mode::Preserve) => Ok(None),
            Some(Mode::Bits(b)) => Ok(Some(*b)),
            Some(Mode::Symbolic(s)) => symbolic(s, now, directory).map(Some),
        }
    }

    /// What differs from what the probe saw, and the commands that mend it for `"$p"`.
    pub(super) fn differing(
        &self,
        seen: &HashMap<String, String>,
        link: bool,
    ) -> Result<(Fields, Fields, String), String> {
        let (mut before, mut after, mut script) = (Fields::new(), Fields::new(), String::new());
        let get = |k: &str| seen.get(k).map(String::as_str).unwrap_or_default();
        let flag = if link { "-h " } else { "" };
        for (name, id, want, tool) in [("owner", "uid", &self.owner, "chown"), ("group", "gid", &self.group, "chgrp")] {
            if let Some(want) = want {
                if want != get(name) && want != get(id) {
                    before.insert(name.into(), get(name).into());
                    after.insert(name.into(), want.as_str().into());
                    script.push_str(&format!("{tool} {flag}{} \"$p\"\n", shell_quote(want)));
                }
            }
        }
        let now = u32::from_str_radix(get("mode"), 8).unwrap_or(0);
        if !link {
            if let Some(bits) = self.bits(now, get("type") == "directory")? {
                if bits != now || script.contains("chown") && bits & 0o6000 != 0 {
                    before.insert("mode".into(), json!(format!("{now:04o}")));
                    after.insert("mode".into(), json!(format!("{bits:04o}")));
                    script.push_str(&format!("chmod {bits:o} \"$p\"\n"));
                }
            }
        }
        Ok((before, after, script))
    }
}

/// `u=rwX,g-w` on top of `now`.
fn symbolic(text: &str, now: u32, directory: bool) -> Result<u32, String> {
    let bad = || format!("`{text}` is no symbolic mode");
    let mut mode = now;
    for clause in text.split(',') {
        let at = clause.find(['=', '+', '-']).ok_or_else(bad)?;
        let (who, rest) = clause.split_at(at);
        let who = if who.is_empty() || who.contains('a') { "ugo" } else { who };
        let mut rest = rest.chars().peekable();
        while let Some(op) = rest.next() {
            let mut perms = String::new();
            while let Some(c) = rest.next_if(|c| !"=+-".contains(*c)) {
                perms.push(c);
            }
            for w in who.chars() {
                let shift = match w {
                    'u' => 6,
                    'g' => 3,
                    'o' => 0,
                    _ => return Err(bad()),
                };
                let (mut bits, mut special) = (0, 0);
                for c in perms.chars() {
                    match c {
                        'r' => bits |= 4,
                        'w' => bits |= 2,
                        'x' => bits |= 1,
                        'X' if directory || mode & 0o111 != 0 => bits |= 1,
                        'X' => {}
                        's' if w == 'u' => special |= 0o4000,
                        's' if w == 'g' => special |= 0o2000,
                        's' => {}
                        't' => special |= 0o1000,
                        'u' => bits |= mode >> 6 & 7,
                        'g' => bits |= mode >> 3 & 7,
                        'o' => bits |= mode & 7,
                        _ => return Err(bad()),
                    }
                }
                match op {
                    '=' => mode = mode & !(7 << shift) | bits << shift | special,
                    '+' => mode |= bits << shift | special,
                    _ => mode &= !(bits << shift | special),
                }
            }
        }
    }
    Ok(mode)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::symbolic;

    #[test]
    fn symbolic_modes() {
        assert_eq!(symbolic("u=rw,g=r,o=", 0o777, false).unwrap(), 0o640);
        assert_eq!(symbolic("a+X", 0o644, true).unwrap(), 0o755);
        assert_eq!(symbolic("g+s,o-rwx", 0o755, true).unwrap(), 0o2750);
        assert!(symbolic("z=r", 0, false).is_err());
    }
}
