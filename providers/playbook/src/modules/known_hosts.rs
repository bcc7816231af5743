//! `known_hosts`: keys of hosts, plain or hashed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::spec::Rules;
use super::{Call, Decided, Decision, Fields, Module, Output, Pending, Place, fields, head};

/// `known_hosts`.
pub(super) const MODULE: Module =
    Module { names: &["known_hosts"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

/// HMAC-SHA1, by which host names are hashed.
fn hmac(key: &[u8], text: &[u8]) -> [u8; 20] {
    use sha1::Digest as _;
    let mut block = [0u8; 64];
    for (b, k) in block.iter_mut().zip(key) {
        *b = *k;
    }
    let pad = |x: u8| block.iter().map(|b| b ^ x).collect::<Vec<u8>>();
    let inner = sha1::Sha1::digest([pad(0x36).as_slice(), text].concat());
    sha1::Sha1::digest([pad(0x5c).as_slice(), &inner].concat()).into()
}

/// Whether a line's field of names is this host's.
fn names(field: &str, host: &str) -> bool {
    if let Some(hashed) = field.strip_prefix("|1|") {
        let parts = hashed.split_once('|').map(|(s, h)| (STANDARD.decode(s), STANDARD.decode(h)));
        return matches!(parts, Some((Ok(salt), Ok(hash))) if hmac(&salt, host.as_bytes()).as_slice() == hash.as_slice());
    }
    field.split(',').any(|n| n.eq_ignore_ascii_case(host))
}

/// A line's parts: marker, names, type, key.
fn parts(line: &str) -> Option<(&str, &str, &str, &str)> {
    let mut words = line.split_whitespace();
    let first = words.next().filter(|w| !w.starts_with('#'))?;
    let (marker, field) = if first.starts_with('@') { (first, words.next()?) } else { ("", first) };
    Some((marker, field, words.next()?, words.next()?))
}

fn hashed(line: &str, host: &str) -> String {
    let salt: [u8; 20] = rand::random();
    let field = format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(hmac(&salt, host.as_bytes())));
    match parts(line) {
        Some((_, _, kind, key)) => format!("{field} {kind} {key}"),
        None => line.to_owned(),
    }
}

fn prepare(call: &Call) -> Decided {
    let (path, host) = (call.need("path")?, call.need("name")?);
    let key = call.text("key");
    let hash = call.yes("hash_host")? == Some(true);
    let present = call.text("state").as_deref() == Some("present");
    if host.contains(',') {
        return Err("Comma separated list of names is not supported. Please pass a single name to lookup in the known_hosts file.".into());
    }
    if present && key.is_none() {
        return Err("No key specified when adding a host".into());
    }
    let key = key.map(|k| if k.ends_with('\n') { k } else { k + "\n" });
    if let Some(line) = &key {
        if !parts(line).is_some_and(|(_, field, ..)| names(field, &host)) {
            return Err("Host parameter does not match hashed host field in supplied key".into());
        }
    }
    let (given, check, diff) = (call.given.clone(), call.check, call.diff);
    let p = match path.strip_prefix("~/") {
        Some(rest) => format!("\"$HOME\"/{}", shell_quote(rest)),
        None => shell_quote(&path),
    };
    let script = format!(
        "tp_p={p}\nprintf 'path=%s\\n' \"$tp_p\"\n[ -e \"$tp_p\" ] && echo there=1\nstat -Lc 'stat=%u %g %U %G %a %s' -- \"$tp_p\" 2>/dev/null\necho\ncat -- \"$tp_p\" 2>/dev/null\nexit 0\n"
    );
    Ok(Decision::Probe(
        script,
        Box::new(move |out| decide(Want { p, host, key, hash, present, given, check, diff }, &out)),
    ))
}

struct Want {
    p: String,
    host: String,
    key: Option<String>,
    hash: bool,
    present: bool,
    given: Fields,
    check: bool,
    diff: bool,
}

fn decide(want: Want, out: &Output) -> Decided {
    let (seen, body) = head(out);
    let before = String::from_utf8_lossy(&body).into_owned();
    let path = seen.get("path").cloned().unwrap_or_default();
    let there = seen.contains_key("there");
    let kind = want
        .key
        .as_deref()
        .and_then(|k| Some((parts(k)?.0.to_owned(), parts(k)?.2.to_owned(), parts(k)?.3.to_owned())));
    let mut same = false;
    let mut kept = Vec::new();
    let mut gone = false;
    for line in before.lines() {
        let of = parts(line).filter(|(_, field, ..)| names(field, &want.host));
        let hit =
            of.is_some_and(|(marker, _, t, _)| kind.as_ref().is_none_or(|(m, wanted, _)| wanted == t && m == marker));
        if !hit {
            kept.push(line.to_owned());
            continue;
        }
        let as_wanted = of.is_some_and(|(_, field, _, k)| {
            kind.as_ref().is_some_and(|(_, _, wanted)| wanted == k) && field.starts_with("|1|") == want.hash
        });
        if want.present && as_wanted && !same {
            same = true;
            kept.push(line.to_owned());
        } else {
            gone = true;
        }
    }
    let changed = if want.present { !same } else { gone };
    let add = want.key.as_deref().filter(|_| want.present && !same);
    let add = add.map(|k| if want.hash { hashed(k.trim_end(), &want.host) + "\n" } else { k.to_owned() });
    let mut after: String = if changed { kept.iter().map(|l| format!("{l}\n")).collect() } else { before.clone() };
    after.extend(add);
    let mut result = want.given.clone();
    result.extend(fields([
        ("path", json!(path)),
        ("name", json!(want.host)),
        ("hash_host", json!(want.hash)),
        ("changed", json!(changed)),
    ]));
    result.entry("key").or_insert(Json::Null);
    let diff = want.diff.then(|| {
        json!({
            "before_header": if there { path.as_str() } else { "/dev/null" },
            "after_header": path, "before": before, "after": after,
        })
    });
    if want.check {
        result = fields([("changed", json!(changed))]);
    }
    result.extend(diff.map(|d| ("diff".to_owned(), d)));
    if !changed {
        if !want.check {
            attributes(&mut result, seen.get("stat").map(String::as_str));
        }
        return Ok(Decision::Done(result));
    }
    let script = format!(
        "tp_p={}\numask 022\n{}tp_t=$(mktemp \"$tp_p.XXXXXX\") || exit 1\n\
         printf %s {} >\"$tp_t\" || {{ rm -f \"$tp_t\"; exit 1; }}\nchmod 644 \"$tp_t\"\n\
         if [ -e \"$tp_p\" ]; then chmod \"$(stat -Lc %a \"$tp_p\")\" \"$tp_t\"; chown \"$(stat -Lc %u:%g \"$tp_p\")\" \"$tp_t\" 2>/dev/null; {} fi\n\
         mv -f \"$tp_t\" \"$tp_p\" || exit 1\nstat -Lc 'stat=%u %g %U %G %a %s' -- \"$tp_p\"\n",
        want.p,
        if want.present {
            "case $tp_p in */*) [ -d \"${tp_p%/*}\" ] || mkdir -m 700 \"${tp_p%/*}\" || exit 1;; esac\n"
        } else {
            ""
        },
        shell_quote(&after),
        // What ssh-keygen leaves when it takes all keys of a name out.
        if gone && want.key.is_none() { "cp -p \"$tp_p\" \"$tp_p.old\";" } else { "" },
    );
    let expected = result.clone();
    Ok(Decision::Change(Pending {
        script,
        action: if there { Action::Update } else { Action::Create },
        subject: format!("known host {}", want.host),
        path: Some(path),
        before: Some(json!(before)),
        after: Some(json!(after)),
        certain: true,
        foreign: false,
        expected,
        finish: Box::new(move |out: Output| {
            if out.rc != 0 {
                let msg = out.error_text().trim().to_owned();
                return fields([("changed", json!(false)), ("failed", json!(true)), ("msg", json!(msg))]);
            }
            attributes(&mut result, out.text().trim().strip_prefix("stat="));
            result
        }),
    }))
}

/// Owner, mode and size, from a line of `stat`.
fn attributes(result: &mut Fields, stat: Option<&str>) {
    let words: Vec<&str> = stat.unwrap_or_default().split(' ').collect();
    let [uid, gid, owner, group, mode, size] = *words.as_slice() else {
        result.insert("state".into(), json!("absent"));
        return;
    };
    let number = |n: &str| n.parse::<i64>().map_or(Json::Null, Json::from);
    result.extend(fields([
        ("uid", number(uid)),
        ("gid", number(gid)),
        ("owner", json!(owner)),
        ("group", json!(group)),
        ("mode", json!(format!("{mode:0>4}"))),
        ("size", number(size)),
        ("state", json!("file")),
    ]));
}
