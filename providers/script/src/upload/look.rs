//! What is at some paths of a host now.

use std::collections::BTreeMap;

use towpath_core::{Connection, Context, Error, ErrorKind, Exec, ExitStatus, Result};

use super::Upload;
use crate::SCRIPT;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// A file, with the digest of its content.
    File(Has, String),
    /// A folder.
    Folder(Has),
    /// A link, a device or the like.
    Other(&'static str),
    /// The user who looks may not see it.
    Hidden,
}

/// A link to a folder: as good as a folder where one is wanted.
pub(super) const LINKED: &str = "link to a folder";

/// Owner and mode of what is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Has {
    pub(crate) uid: String,
    pub(crate) gid: String,
    pub(crate) owner: String,
    pub(crate) group: String,
    pub(crate) mode: u32,
    pub(crate) size: u64,
}

impl Has {
    /// Whether it is as wanted, where anything is wanted.
    pub(crate) fn fits(&self, mode: Option<u32>, owner: Option<&str>, group: Option<&str>) -> bool {
        mode.is_none_or(|m| m == self.mode)
            && owner.is_none_or(|o| o == self.owner || o == self.uid)
            && group.is_none_or(|g| g == self.group || g == self.gid)
    }
}

/// Everything that was found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// By path.
    pub(crate) found: BTreeMap<String, Found>,
    /// The upload's path with all links on the way to it followed.
    pub(crate) real: String,
    /// Whether the one who looks is root.
    pub(crate) root: bool,
}

/// Reads paths line by line, and says three lists: what each is, owner and mode of the files and folders, digests of the files. The
/// first of the latter two are of `/` and `/dev/null`, so that no list is empty. Three processes for any number of paths; programs by
/// their usual names: GNU's, BusyBox's, BSD's.
///
/// A file that is not there but in a folder that can't be searched may well be there.
const LOOK: &str = r#"if command -v sha256sum >/dev/null 2>&1; then h=sha256sum
elif command -v shasum >/dev/null 2>&1; then h='shasum -a 256'
elif command -v openssl >/dev/null 2>&1; then h='openssl dgst -sha256 -r'
else exit 90; fi
if stat -c %u / >/dev/null 2>&1; then s=-c f='%u %g %U %G %a %s'; else s=-f f='%u %g %Su %Sg %Lp %z'; fi
id -u
IFS= read -r p
d=$p; n=
[ -d "$p" ] || { d=${p%/*}; n=/${p##*/}; }
r=$( CDPATH= cd -P -- "${d:-/}" 2>/dev/null && pwd -P ) || r=
# A folder behind a link may have a line break in its name.
case $r in '' | *'
'*) echo ;; *) printf '%s\n' "${r%/}$n" ;; esac
l=$(cat)
each() { printf '%s\n' "$l"; }
is_file() { [ ! -L "$1" ] && [ -f "$1" ] && [ -r "$1" ]; }
each | while IFS= read -r p; do
if [ -L "$p" ]; then if [ -d "$p" ]; then echo 'link to a folder'; else echo link; fi
elif is_file "$p"; then echo file
elif [ -f "$p" ]; then echo hidden
elif [ -d "$p" ]; then echo folder
elif [ -e "$p" ]; then echo other
else
q=${p%/*}
while [ -n "$q" ] && ! [ -e "$q" ]; do q=${q%/*}; done
if [ -x "${q:-/}" ] || ! [ -d "${q:-/}" ]; then echo nothing; else echo hidden; fi
fi
done
echo
{ printf '/\0'; each | while IFS= read -r p; do
if is_file "$p" || { [ ! -L "$p" ] && [ -d "$p" ]; }; then printf '%s\0' "$p"; fi
done; } | xargs -0 stat $s "$f" --
echo
{ printf '/dev/null\0'; each | while IFS= read -r p; do
if is_file "$p"; then printf '%s\0' "$p"; fi
done; } | xargs -0 $h
exit 0"#;

impl Upload {
    /// Looks at all paths of the upload, as the user who would write them.
    pub(crate) async fn look(&self, cx: &Context, connection: &dyn Connection) -> Result<Seen> {
        let paths: Vec<&str> = self.wanted.iter().map(|w| w.path.as_str()).collect();
        let mut exec = Exec::script(LOOK).stdin(format!("{}\n{}\n", self.path, paths.join("\n")));
        exec.r#become.clone_from(&self.to);
        exec.label = Some(format!("look at {}", self.path));
        // About 200 bytes for each path.
        exec.limit_bytes = 256 << 20;
        let out = connection.exec(cx, &exec).await?;
        if out.status == ExitStatus::Code(90) {
            let message = "the host has none of `sha256sum`, `shasum` and `openssl`: install one to compare files by";
            return Err(Error::new(ErrorKind::ToolMissing, SCRIPT, "upload", message));
        }
        let out = out.success(SCRIPT, "upload", connection.host(), &exec)?;
        let text = out.stdout_text();
        let (head, lists) = text.split_once('\n').unwrap_or_default();
        let (real, lists) = lists.split_once('\n').unwrap_or_default();
        // In a folder that is not there yet are no links.
        let real = if real.is_empty() { self.path.clone() } else { real.to_owned() };
        let mut lists = lists.split("\n\n");
        let mut list = || lists.next().unwrap_or_default().lines();
        let (kinds, mut states, mut digests) = (list(), list().skip(1), list().skip(1));
        let mut found = BTreeMap::new();
        for (path, kind) in paths.iter().zip(kinds) {
            found.extend(read(kind, &mut states, &mut digests).map(|f| ((*path).to_owned(), f)));
        }
        if found.len() < paths.len() || states.next().is_some() || digests.next().is_some() {
            let message = "the host's answer makes no sense: files may have come or gone while they were looked at";
            let error =
                Error::new(ErrorKind::Conflict, SCRIPT, "upload", message).with("path", &self.path).retry_later();
            let said = out.stderr_text();
            return Err(if said.is_empty() { error } else { error.caused_by(said) });
        }
        Ok(Seen { found, real, root: head == "0" })
    }
}

fn read<'a>(
    kind: &str,
    states: &mut impl Iterator<Item = &'a str>,
    digests: &mut impl Iterator<Item = &'a str>,
) -> Option<Found> {
    Some(match kind {
        "nothing" => Found::Nothing,
        "link" => Found::Other("link"),
        "link to a folder" => Found::Other(LINKED),
        "other" => Found::Other("special file"),
        "hidden" => Found::Hidden,
        "folder" => Found::Folder(has(states.next()?)?),
        "file" => {
            let has = has(states.next()?)?;
            // A backslash in front says that the name is an odd one.
            let digest = digests.next()?.trim_start_matches('\\').get(..64)?;
            Found::File(has, digest.to_owned())
        }
        _ => return None,
    })
}

fn has(line: &str) -> Option<Has> {
    let mut words = line.split(' ');
    Some(Has {
        uid: words.next()?.to_owned(),
        gid: words.next()?.to_owned(),
        owner: words.next()?.to_owned(),
        group: words.next()?.to_owned(),
        mode: u32::from_str_radix(words.next()?, 8).ok()?,
        size: words.next()?.parse().ok()?,
    })
}
