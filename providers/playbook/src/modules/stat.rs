//! `stat`.

use serde_json::json;
use towpath_core::{Json, shell_quote};

use super::attrs::STAT;
use super::spec::Rules;
use super::{Call, Decision, Module, Place, fields, head};

/// `stat`.
pub(super) const MODULE: Module =
    Module { names: &["stat"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

fn prepare(call: &Call) -> Result<Decision, String> {
    let path = call.any(&["path", "dest", "name"]).ok_or("missing required argument: path")?;
    let follow = if call.yes("follow")?.unwrap_or(false) { "-L" } else { "''" };
    let algorithm = call.any(&["checksum_algorithm"]).unwrap_or_else(|| "sha1".into());
    let sum = if call.yes("get_checksum")?.unwrap_or(true) {
        format!(
            "[ -f \"$p\" ] && [ -r \"$p\" ] && echo \"sum=$({} \"$p\" 2>/dev/null | cut -d' ' -f1)\"\n",
            shell_quote(&format!("{algorithm}sum"))
        )
    } else {
        String::new()
    };
    let script = format!(
        "{STAT}p={}\ntp_stat \"$p\" {follow}\n{sum}for t in r w x; do test -$t \"$p\" && echo $t=1; done\nexit 0\n",
        shell_quote(&path)
    );
    Ok(Decision::Probe(
        script,
        Box::new(move |out| {
            let (seen, _) = head(&super::Output { stdout: [out.stdout.as_slice(), b"\n"].concat(), ..out });
            let get = |k: &str| seen.get(k).map(String::as_str).unwrap_or_default();
            let kind = get("type");
            let mut stat = fields([("exists", json!(kind != "absent"))]);
            if kind != "absent" {
                let number = |k: &str| get(k).parse::<i64>().map_or(Json::Null, Json::from);
                let mode = u32::from_str_radix(get("mode"), 8).unwrap_or(0);
                stat.extend(fields([
                    ("path", json!(path)),
                    ("isreg", json!(kind == "file")),
                    ("isdir", json!(kind == "directory")),
                    ("islnk", json!(kind == "link")),
                    ("mode", json!(format!("{mode:04o}"))),
                    ("uid", number("uid")),
                    ("gid", number("gid")),
                    ("pw_name", json!(get("owner"))),
                    ("gr_name", json!(get("group"))),
                    ("size", number("size")),
                    ("inode", number("inode")),
                    ("nlink", number("nlink")),
                    ("mtime", number("mtime")),
                    ("atime", number("atime")),
                    ("ctime", number("ctime")),
                    ("readable", json!(get("r") == "1")),
                    ("writeable", json!(get("w") == "1")),
                    ("executable", json!(get("x") == "1")),
                    ("xusr", json!(mode & 0o100 != 0)),
                    ("xgrp", json!(mode & 0o010 != 0)),
                    ("xoth", json!(mode & 0o001 != 0)),
                ]));
                if kind == "link" {
                    stat.insert("lnk_target".into(), json!(get("target")));
                }
                if !get("sum").is_empty() {
                    stat.insert("checksum".into(), json!(get("sum")));
                }
            }
            Ok(Decision::Done(fields([("changed", json!(false)), ("stat", Json::Object(stat))])))
        }),
    ))
}
