//! `stat`, and the keys that it shares with `find`.

use serde_json::json;
use towpath_core::{Json, shell_quote};

use super::attrs::Seen;
use super::spec::Rules;
use super::{Call, Decision, Fields, Module, Place, fields};

/// `stat`.
pub(super) const MODULE: Module =
    Module { names: &["stat"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

/// What `stat -c` prints for [`numbers`], beyond `tp_stat`.
pub(super) const MORE: &str = "inode=%i\ndev=%d\nblocks=%b\nblock_size=%o\nmajor=%t\nminor=%T\nmtime=%Y\natime=%X\nctime=%Z\nmtimes=%y\natimes=%x\nctimes=%z";

fn prepare(call: &Call) -> Result<Decision, String> {
    let path = call.need("path")?;
    let follow = if call.yes("follow")? == Some(true) { "-L" } else { "" };
    let p = shell_quote(&path);
    let mut script = format!("p={p}\ntp_g=$tp_f\ntp_f=\"$tp_f\n{MORE}\"\ntp_stat \"$p\" {follow}\ntp_f=$tp_g\n");
    // Without following, a link has no content of its own, and its target's is not asked for.
    let file = if follow.is_empty() { "[ ! -L \"$p\" ] && " } else { "" };
    if call.yes("get_checksum")? == Some(true) {
        let tool = shell_quote(&format!("{}sum", call.need("checksum_algorithm")?));
        script.push_str(&format!("if {file}[ -f \"$p\" ] && [ -r \"$p\" ]; then tp_sum {tool} \"$p\"; fi\n"));
    }
    script.push_str("if [ -L \"$p\" ]; then tp_tell source \"$(readlink -f -- \"$p\")\"; fi\n");
    script.push_str("for t in r w x; do if test -$t \"$p\"; then echo $t=1; fi; done\n");
    script.push_str(
        "if [ -z \"$tp_s\" ] && [ ! -L \"$p\" ]; then d=${p%/*}; while [ -n \"$d\" ] && [ ! -e \"$d\" ]; do case $d in */*) d=${d%/*};; *) d=;; esac; done\n\
         if [ -n \"$d\" ] && [ ! -d \"$d\" ]; then echo 'error=Not a directory'; elif [ -n \"$d\" ] && [ ! -x \"$d\" ]; then echo 'error=Permission denied'; fi; fi\n",
    );
    let (mime, attributes) = (call.yes("get_mime")? == Some(true), call.yes("get_attributes")? == Some(true));
    if mime {
        let flag = if follow.is_empty() { "" } else { "-L " };
        script.push_str(&format!(
            "if [ -n \"$tp_s\" ] && command -v file >/dev/null 2>&1; then printf 'mime=%s\\n' \"$(file {flag}--mime-type --mime-encoding -- \"$p\" 2>/dev/null)\"; fi\n"
        ));
    }
    if attributes {
        script.push_str(
            "if [ -n \"$tp_s\" ] && command -v lsattr >/dev/null 2>&1; then printf 'attributes=%s\\n' \"$(lsattr -vd -- \"$p\" 2>/dev/null)\"; fi\n",
        );
    }
    Ok(Decision::Probe(
        script,
        Box::new(move |out| {
            let (seen, _) = Seen::read(&out);
            if !seen.get("error").is_empty() {
                return Err(seen.get("error").to_owned());
            }
            let mut stat = fields([("exists", json!(seen.there()))]);
            if seen.there() {
                stat.insert("path".into(), json!(path));
                stat.extend(numbers(&seen));
                stat.extend(fields([
                    ("blocks", seen.number("blocks")),
                    ("block_size", seen.number("block_size")),
                    ("device_type", json!(device(&seen))),
                    ("readable", json!(seen.get("r") == "1")),
                    ("writeable", json!(seen.get("w") == "1")),
                    ("executable", json!(seen.get("x") == "1")),
                ]));
                if seen.link() {
                    stat.insert("lnk_source".into(), json!(seen.get("source")));
                    stat.insert("lnk_target".into(), json!(seen.get("target")));
                }
                if !seen.sum().is_empty() {
                    stat.insert("checksum".into(), json!(seen.sum()));
                }
                if mime {
                    let (mut kind, mut charset) = ("unknown", "unknown");
                    if let Some((a, b)) = seen.get("mime").rsplit_once(':').and_then(|(_, v)| v.split_once(';')) {
                        kind = a.trim();
                        charset = b.trim().strip_prefix("charset=").unwrap_or(b.trim());
                    }
                    stat.insert("mimetype".into(), json!(kind));
                    stat.insert("charset".into(), json!(charset));
                }
                if attributes {
                    stat.extend(flags(seen.get("attributes")));
                }
            }
            Ok(Decision::Done(fields([("changed", json!(false)), ("stat", Json::Object(stat))])))
        }),
    ))
}

/// The version number of a file and its `chattr` flags, from `lsattr -v`.
fn flags(line: &str) -> Fields {
    const NAMES: [(char, &str); 19] = [
        ('A', "noatime"),
        ('a', "append"),
        ('c', "compressed"),
        ('C', "nocow"),
        ('d', "nodump"),
        ('D', "dirsync"),
        ('e', "extents"),
        ('E', "encrypted"),
        ('h', "blocksize"),
        ('i', "immutable"),
        ('I', "indexed"),
        ('j', "journalled"),
        ('N', "inline"),
        ('s', "zero"),
        ('S', "synchronous"),
        ('t', "notail"),
        ('T', "blockroot"),
        ('u', "undelete"),
        ('X', "compressedraw"),
    ];
    let mut words = line.split_whitespace();
    let (version, letters) = (words.next(), words.next().unwrap_or_default().replace('-', ""));
    let names: Vec<&str> = letters
        .chars()
        .filter_map(|c| match c {
            'Z' => Some("compresseddirty"),
            c => NAMES.iter().find(|(l, _)| *l == c).map(|(_, n)| *n),
        })
        .collect();
    fields([("version", json!(version)), ("attributes", json!(names)), ("attr_flags", json!(letters))])
}

fn device(seen: &Seen) -> u64 {
    let hex = |k: &str| u64::from_str_radix(seen.get(k), 16).unwrap_or(0);
    let (major, minor) = (hex("major"), hex("minor"));
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12
}

/// Seconds with their fraction.
fn time(seen: &Seen, key: &str) -> Json {
    let long = seen.get(&format!("{key}s"));
    let fraction = long.split_once('.').map_or("0", |(_, f)| f.split(' ').next().unwrap_or("0"));
    format!("{}.{fraction}", seen.get(key)).parse::<f64>().map_or_else(|_| seen.number(key), Json::from)
}

/// Type, owner, mode, size and times, by the names that `stat` and `find` give them.
pub(super) fn numbers(seen: &Seen) -> Fields {
    let (format, mode) = (seen.format(), seen.mode());
    let is = |bits: u32| json!(format == bits);
    let may = |bit: u32| json!(mode & bit != 0);
    let mut all = fields([
        ("mode", json!(format!("{mode:04o}"))),
        ("isdir", is(0o040_000)),
        ("ischr", is(0o020_000)),
        ("isblk", is(0o060_000)),
        ("isreg", is(0o100_000)),
        ("isfifo", is(0o010_000)),
        ("islnk", is(0o120_000)),
        ("issock", is(0o140_000)),
        ("isuid", may(0o4000)),
        ("isgid", may(0o2000)),
        ("rusr", may(0o400)),
        ("wusr", may(0o200)),
        ("xusr", may(0o100)),
        ("rgrp", may(0o040)),
        ("wgrp", may(0o020)),
        ("xgrp", may(0o010)),
        ("roth", may(0o004)),
        ("woth", may(0o002)),
        ("xoth", may(0o001)),
        ("uid", seen.number("uid")),
        ("gid", seen.number("gid")),
        ("size", seen.number("size")),
        ("inode", seen.number("inode")),
        ("dev", seen.number("dev")),
        ("nlink", seen.number("nlink")),
        ("mtime", time(seen, "mtime")),
        ("atime", time(seen, "atime")),
        ("ctime", time(seen, "ctime")),
    ]);
    for (key, from) in [("pw_name", "owner"), ("gr_name", "group")] {
        if !matches!(seen.get(from), "" | "UNKNOWN") {
            all.insert(key.into(), json!(seen.get(from)));
        }
    }
    all
}
