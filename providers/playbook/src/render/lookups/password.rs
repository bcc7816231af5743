//! `password`: made once, then read from its file.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::Query;
use crate::render::error::Error;
use crate::render::filters::sha_crypt;
use crate::render::random::Random;
use crate::render::value::{Value, text};

const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DIGITS: &str = "0123456789";
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
const SALT: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789./";

struct Plan {
    path: String,
    length: usize,
    chars: Vec<String>,
    encrypt: Option<String>,
    seed: Option<String>,
}

pub(super) fn password(q: &mut Query) -> Result<Vec<Value>, Error> {
    q.scope.note_effect()?;
    let mut options = Vec::new();
    for name in ["length", "encrypt", "seed", "ident"] {
        if let Some(v) = q.text(name)? {
            options.push((name.to_owned(), v));
        }
    }
    let chars = match q.options.named("chars") {
        Some(v) if v.is_sequence() => Some(v.iter()?.iter().map(text).collect::<Vec<_>>()),
        Some(v) => Some(split_chars(&text(&v))),
        None => None,
    };
    let mut out = Vec::new();
    for term in q.texts()? {
        let mut plan = read_term(&term, &options)?;
        if let Some(chars) = &chars {
            plan.chars = chars.clone();
        }
        out.push(Value::outside(one(q, &plan)?));
    }
    Ok(out)
}

fn split_chars(s: &str) -> Vec<String> {
    let mut parts: Vec<String> = s.replace(",,", ",\u{1}").split(',').map(|p| p.replace('\u{1}', ",")).collect();
    parts.retain(|p| !p.is_empty());
    parts
}

fn read_term(term: &str, options: &[(String, String)]) -> Result<Plan, Error> {
    let default = ["ascii_letters", "digits", ".", ",", ":", "-", "_"];
    let mut plan = Plan {
        path: String::new(),
        length: 20,
        chars: default.iter().map(|s| (*s).to_owned()).collect(),
        encrypt: None,
        seed: None,
    };
    let (path, words) = term.split_once(' ').unwrap_or((term, ""));
    plan.path = path.to_owned();
    let mut all = options.to_vec();
    for word in words.split_whitespace() {
        match word.split_once('=') {
            Some((k, v)) => all.push((k.to_owned(), v.to_owned())),
            None => plan.path = format!("{} {word}", plan.path),
        }
    }
    for (name, value) in all {
        match name.as_str() {
            "length" => {
                plan.length = value
                    .parse::<usize>()
                    .ok()
                    .filter(|n| *n <= 1_000_000)
                    .ok_or_else(|| Error::other(format!("invalid length {value} of a password")))?;
            }
            "chars" => plan.chars = split_chars(&value),
            "encrypt" => plan.encrypt = Some(value),
            "seed" => plan.seed = Some(value),
            "ident" => return Err(Error::other("the option ident of the lookup password is not supported")),
            other => return Err(Error::other(format!("Unrecognized parameter(s) given to password lookup: {other}"))),
        }
    }
    Ok(plan)
}

fn letters(parts: &[String]) -> Vec<char> {
    let all: String = parts
        .iter()
        .map(|p| match p.as_str() {
            "ascii_letters" => format!("{LOWER}{UPPER}"),
            "ascii_lowercase" => LOWER.into(),
            "ascii_uppercase" => UPPER.into(),
            "digits" => DIGITS.into(),
            "hexdigits" => format!("{DIGITS}abcdefABCDEF"),
            "octdigits" => "01234567".into(),
            "punctuation" => PUNCTUATION.into(),
            other => other.replace(['"', '\''], ""),
        })
        .collect();
    let mut out: Vec<char> = all.chars().collect();
    out.dedup();
    out
}

fn random_text(random: &mut Random, letters: &[char], n: usize) -> String {
    (0..n).filter_map(|_| random.choose(letters).copied()).collect()
}

fn one(q: &Query, plan: &Plan) -> Result<String, Error> {
    let given = crate::render::expand_user(&plan.path);
    let base = q.scope.search.dirs.last().cloned().unwrap_or_default();
    let path = if given.starts_with('/') { Path::new(&given).to_path_buf() } else { base.join(&given) };
    let discard = path == Path::new("/dev/null");
    let wrong = |e: std::io::Error| Error::other(format!("{}: {e}", path.display()));
    let stored = match std::fs::read_to_string(&path) {
        Ok(s) if !discard => Some(s.trim_end_matches('\n').to_owned()),
        Ok(_) => None,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(wrong(e)),
    };
    let long = match plan.encrypt.as_deref() {
        None => None,
        Some("sha512" | "sha512_crypt") => Some(true),
        Some("sha256" | "sha256_crypt") => Some(false),
        Some(other) => {
            return Err(Error::other(format!(
                "password: the encryption '{other}' is not supported; there are sha512_crypt and sha256_crypt"
            )));
        }
    };
    let (password, mut salt) = match &stored {
        Some(s) => match s.rsplit_once(" salt=") {
            Some((p, salt)) => (p.to_owned(), Some(salt.split(' ').next().unwrap_or(salt).to_owned())),
            None => (s.clone(), None),
        },
        None => {
            let mut random = plan.seed.as_deref().map_or_else(Random::from_system, Random::from_text);
            (random_text(&mut random, &letters(&plan.chars), plan.length), None)
        }
    };
    let changed = stored.is_none() || long.is_some() && salt.is_none();
    if long.is_some() && salt.is_none() {
        let salts: Vec<char> = SALT.chars().collect();
        salt = Some(random_text(&mut Random::from_system(), &salts, if long == Some(true) { 16 } else { 8 }));
    }
    if changed && !discard {
        let line = match &salt {
            Some(s) if long.is_some() => format!("{password} salt={s}\n"),
            _ => format!("{password}\n"),
        };
        store(&path, &line).map_err(wrong)?;
    }
    match (long, salt) {
        (Some(long), Some(salt)) => sha_crypt(&password, &salt, None, long),
        _ => Ok(password),
    }
}

/// Writes the file for its owner only, whole or not at all.
fn store(path: &Path, line: &str) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let part = dir.join(format!(".{name}.{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    let done =
        file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&part, path));
    if done.is_err() {
        // The error that is told is the first one.
        let _ = std::fs::remove_file(&part);
    }
    done
}
