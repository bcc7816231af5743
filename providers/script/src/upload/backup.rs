//! Keeps a file that is about to be replaced.

use towpath_core::{Connection, Context, Error, ErrorKind, Exec, ExitStatus, Result, shell_quote};

use super::{Upload, Wanted};
use crate::SCRIPT;

/// Gives the old file a second name: nothing is written that something in the way could lead elsewhere, and owner, mode and times stay.
/// Its number says nothing of its content, as a digest would. Names that are taken are left alone, unless an attempt before this one has
/// put the very file there; `ln` itself refuses one that is taken in between.
///
/// Where no second name can be had (a file of somebody else, a file system without), it is a copy that only its writer can read: made as
/// a new file (`set -C`), so that no link is followed, and renamed.
const BACKUP: &str = r#"n=1
while :; do
b=$f.~$n~
if [ ! -e "$b" ] && [ ! -L "$b" ]; then
ln -n -- "$f" "$b" 2>/dev/null && exit 0
if [ ! -e "$b" ] && [ ! -L "$b" ]; then break; fi
elif [ ! -L "$b" ] && [ -f "$b" ]; then
if [ "$f" -ef "$b" ] || cmp -s -- "$f" "$b"; then exit 0; fi
fi
n=$((n+1))
[ "$n" -lt 1000 ] || exit 91
done
umask 077
set -C
t=$b.$r
trap 'rm -f -- "$t"' EXIT
trap 'exit 143' HUP INT TERM
cat -- "$f" >"$t" && mv -f -- "$t" "$b"
"#;

impl Upload {
    /// Keeps the file that is at a path as `NAME.~NUMBER~` beside it.
    pub(super) async fn backup(&self, cx: &Context, connection: &dyn Connection, wanted: &Wanted) -> Result<()> {
        let random = format!("{:016x}", rand::random::<u64>());
        let mut exec = Exec::script(format!("f={} r={random}\n{BACKUP}", shell_quote(&wanted.path)));
        exec.r#become.clone_from(&self.to);
        exec.label = Some(format!("backup of {}", wanted.path));
        let out = connection.exec(cx, &exec).await?;
        if out.status == ExitStatus::Code(91) {
            let message = "there are 999 backups of it already: remove some";
            return Err(Error::new(ErrorKind::Conflict, SCRIPT, "upload", message).with("path", &wanted.path));
        }
        out.success(SCRIPT, "upload", connection.host(), &exec).map(drop)
    }
}
