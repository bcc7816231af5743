//! What a shell on a host is told first: the functions that frame scripts, and those that probes use.
//!
//! Functions are defined once, so that a probe costs the host one fork and what it runs, and the wire no repetition.

use towpath_core::shell_quote;

/// Most bytes of one stream of a script. The host's own watch and the reader here keep to it.
pub(super) const MOST_BYTES: usize = 32 << 20;

/// `tp_p NONCE SCRIPT` runs a script of the engine, `tp_f NONCE SCRIPT` one that runs commands of the playbook.
///
/// Both answer on standard output, and nothing that the script starts knows the nonce. A script of the engine writes there by
/// itself. One with foreign commands runs in a session of its own and writes to files, so that a child that stays behind
/// neither holds a pipe that somebody waits for nor writes into a later answer. A watch, started with the first of these, ends
/// what writes without an end, and what is left when this shell was ended from outside.
const FUNCTIONS: &str = r#"tp_n=0 tp_w= tp_d=
tp_dir() {
for tp_d in /dev/shm "${TMPDIR:-/tmp}" /tmp /var/tmp; do
case $tp_d in *[!A-Za-z0-9_./-]*) continue;; esac
tp_d=$tp_d/.towpath-$tp_id
mkdir -m 700 "$tp_d" 2>/dev/null && return 0
done
tp_d=
return 1
}
tp_bye() {
[ -z "$tp_w" ] || kill -s USR1 "$tp_w" 2>/dev/null
[ -z "$tp_d" ] || rm -rf "$tp_d"
}
tp_calm() { trap 'exit 143' TERM HUP; }
tp_watch() {
(
trap '' HUP INT TERM
trap - EXIT
tp_kill() { [ -z "$tp_k" ] || kill -s "$1" -- "-$tp_k" || kill -s "$1" "$tp_k"; }
while sleep 1; do
tp_k=
read -r tp_k <"$tp_d/p"
if ! kill -s 0 $$; then
tp_kill TERM
sleep 1
tp_kill KILL
rm -rf "$tp_d"
exit
fi
[ -d "$tp_d" ] || exit
if [ -n "$(find "$tp_d" -type f -name '[oe]?*' -size +@BLOCKS@)" ]; then
: >"$tp_d/big"
tp_kill KILL
fi
done
) </dev/null >/dev/null 2>&1 &
tp_w=$!
}
tp_end() {
if [ -s "$3" ]; then
printf '\n%s %s e\n' "$1" "$2"
cat "$3"
printf '\n%s\n' "$1"
else
printf '\n%s %s -\n' "$1" "$2"
fi
}
tp_p() {
[ -d "$tp_d" ] || tp_dir || { printf '\n%s dir -\n' "$1"; return; }
(
LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
tp_s=$2
set --
eval "$tp_s"
) </dev/null 2>"$tp_d/e"
tp_end "$1" $? "$tp_d/e"
}
tp_f() {
[ -d "$tp_d" ] || tp_dir || { printf '\n%s dir -\n' "$1"; return; }
[ -n "$tp_w" ] || tp_watch
tp_n=$((tp_n+1)) tp_o=$tp_d/o$((tp_n+1)) tp_e=$tp_d/e$((tp_n+1))
trap - TERM HUP
$tp_sid /bin/sh >"$tp_o" 2>"$tp_e" <<TP_END
echo \$\$ >$tp_d/p
unset ENV
{
$2
} </dev/null
TP_END
tp_rc=$?
tp_calm
: >"$tp_d/p"
if [ -e "$tp_d/big" ]; then
tp_rc=big
: >"$tp_o"
: >"$tp_e"
fi
[ ! -s "$tp_o" ] || cat "$tp_o"
tp_end "$1" $tp_rc "$tp_e"
rm -f "$tp_o" "$tp_e"
}
# Who this is does not change as long as the shell lives.
tp_my_uid= tp_my_gid= tp_mask=$(umask)
while read -r tp_k tp_a tp_b tp_c; do
case $tp_k in Uid:) tp_my_uid=$tp_b;; Gid:) tp_my_gid=$tp_b; break;; esac
done 2>/dev/null </proc/self/status
unset ENV CDPATH
tp_sid=
if command -v setsid >/dev/null 2>&1; then tp_sid=setsid; fi
trap tp_bye EXIT
tp_calm
"#;

/// The text that opens a shell. It answers as a script does, under `nonce`, or says that there is no folder for its files.
pub(super) fn text(nonce: &str) -> String {
    let blocks = (MOST_BYTES / 512).to_string();
    format!(
        "tp_id={}\n{}{}if tp_dir; then printf '\\n%s 0 -\\n' {nonce}; else printf '\\n%s dir -\\n' {nonce}; fi\n",
        shell_quote(&hex::encode(rand::random::<[u8; 8]>())),
        FUNCTIONS.replace("@BLOCKS@", &blocks),
        crate::modules::FUNCTIONS,
    )
}
