//! Comparison of versions.

use std::cmp::Ordering;

use super::Test;
use crate::render::error::{Error, Out};
use crate::render::eval::{State, shown};
use crate::render::value::{Args, Value, compare, repr};

pub(super) fn get(name: &str) -> Option<Test> {
    matches!(name, "version" | "version_compare").then_some(version as Test)
}

fn failed(why: impl std::fmt::Display) -> Error {
    Error::other(format!("Version comparison failed: {why}"))
}

fn version(_: &mut State, v: Value, mut args: Args) -> Out {
    let other = shown(&args.need("version")?)?;
    let operator = args.text("operator")?.unwrap_or_else(|| "eq".into());
    let strict = args.take("strict").filter(|s| !s.is_none());
    let kind = args.text("version_type")?;
    let own = shown(&v)?;
    if own.is_empty() {
        return Err(Error::other("Input version value cannot be empty"));
    }
    if other.is_empty() {
        return Err(Error::other("Version parameter to compare against cannot be empty"));
    }
    if strict.is_some() && kind.is_some() {
        return Err(Error::other("Cannot specify both 'strict' and 'version_type'"));
    }
    let good: fn(Ordering) -> bool = match operator.as_str() {
        "==" | "=" | "eq" => Ordering::is_eq,
        "!=" | "<>" | "ne" => Ordering::is_ne,
        "<" | "lt" => Ordering::is_lt,
        "<=" | "le" => Ordering::is_le,
        ">" | "gt" => Ordering::is_gt,
        ">=" | "ge" => Ordering::is_ge,
        other => {
            return Err(Error::other(format!(
                "Invalid operator type ({other}). Must be one of '==', '=', 'eq', '<', 'lt', '<=', 'le', '>', 'gt', '>=', 'ge', '!=', '<>', 'ne'"
            )));
        }
    };
    let strict = strict.map_or(Ok(false), |s| s.truth())?;
    let order = match kind.as_deref() {
        Some("semver" | "semantic") => semantic(&own)?.cmp(&semantic(&other)?),
        Some("pep440") => pep440(&own)?.cmp(&pep440(&other)?),
        Some("strict") => strictly(&own)?.cmp(&strictly(&other)?),
        None if strict => strictly(&own)?.cmp(&strictly(&other)?),
        None | Some("loose") => loose(&own, &other, &operator)?,
        Some(other) => {
            return Err(Error::other(format!(
                "Invalid version type ({other}). Must be one of 'loose', 'strict', 'semver', 'semantic', 'pep440'"
            )));
        }
    };
    Ok(Value::Bool(good(order)))
}

/// Numbers and words, as they come.
fn parts(s: &str) -> Value {
    let mut out: Vec<String> = Vec::new();
    let kind = |c: char| match c {
        '0'..='9' => 0,
        'a'..='z' => 1,
        '.' => 2,
        _ => 3,
    };
    for c in s.chars() {
        match out.last_mut() {
            Some(part) if c != '.' && part.chars().next_back().is_some_and(|p| kind(p) == kind(c)) => part.push(c),
            _ => out.push(c.to_string()),
        }
    }
    let value = |p: String| p.parse::<i64>().map_or_else(|_| Value::from(p), Value::from);
    Value::list(out.into_iter().filter(|p| p != ".").map(value).collect())
}

fn loose(a: &str, b: &str, operator: &str) -> Result<Ordering, Error> {
    let (a, b) = (parts(a), parts(b));
    let _ = operator;
    // It asks for equality first, then whether it is smaller.
    if crate::render::value::equal(&a, &b) {
        return Ok(Ordering::Equal);
    }
    let order = compare("<", &a, &b).map_err(|e| failed(e.message))?;
    Ok(order.unwrap_or(Ordering::Equal))
}

type Strict = (Vec<u64>, Option<(char, u64)>);

fn strictly(s: &str) -> Result<(Vec<u64>, bool, Strict), Error> {
    let wrong = || failed(format!("invalid version number {}", repr(&s.into())));
    let (numbers, pre) = match s.find(['a', 'b']) {
        Some(i) => {
            let (n, p) = s.split_at(i);
            let mut chars = p.chars();
            let letter = chars.next().unwrap_or('a');
            (n, Some((letter, chars.as_str().parse::<u64>().map_err(|_| wrong())?)))
        }
        None => (s, None),
    };
    let mut all: Vec<u64> = numbers.split('.').map(|p| p.parse().map_err(|_| wrong())).collect::<Result<_, _>>()?;
    if !(2..=3).contains(&all.len()) {
        return Err(wrong());
    }
    all.resize(3, 0);
    Ok((all, pre.is_none(), (Vec::new(), pre)))
}

/// A part of a pre-release: a number is smaller than a word.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Word(String),
}

fn semantic(s: &str) -> Result<(Vec<u64>, bool, Vec<Part>), Error> {
    let wrong = || failed(format!("invalid semantic version {}", repr(&s.into())));
    let bare = s.split('+').next().unwrap_or(s);
    let (core, pre) = match bare.split_once('-') {
        Some((c, p)) => (c, Some(p)),
        None => (bare, None),
    };
    let numbers: Vec<u64> = core.split('.').map(|p| p.parse().map_err(|_| wrong())).collect::<Result<_, _>>()?;
    if numbers.len() != 3 {
        return Err(wrong());
    }
    let parts = pre
        .into_iter()
        .flat_map(|p| p.split('.'))
        .map(|p| p.parse().map_or_else(|_| Part::Word(p.to_owned()), Part::Number));
    Ok((numbers, pre.is_none(), parts.collect()))
}

type Release = (u64, Vec<u64>, (i8, u64), (i8, u64), (i8, u64), String);

fn pep440(s: &str) -> Result<Release, Error> {
    let wrong = || failed(format!("Invalid version: {}", repr(&s.into())));
    let text = s.trim().to_lowercase();
    let text = text.strip_prefix('v').unwrap_or(&text);
    let (text, local) = text.split_once('+').unwrap_or((text, ""));
    let (epoch, text) = match text.split_once('!') {
        Some((e, t)) => (e.parse().map_err(|_| wrong())?, t),
        None => (0, text),
    };
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (numbers, mut rest) = text.split_at(end);
    let mut release: Vec<u64> =
        numbers.trim_end_matches('.').split('.').map(|p| p.parse().map_err(|_| wrong())).collect::<Result<_, _>>()?;
    while release.last() == Some(&0) {
        release.pop();
    }
    let (mut pre, mut post, mut dev) = ((1, 0), (0, 0), (1, 0));
    let mut any_pre = false;
    while !rest.is_empty() {
        rest = rest.trim_start_matches(['.', '-', '_']);
        let word_end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(word_end);
        let tail = tail.trim_start_matches(['.', '-', '_']);
        let number_end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (number, tail) = tail.split_at(number_end);
        let n: u64 = if number.is_empty() { 0 } else { number.parse().map_err(|_| wrong())? };
        match word {
            "a" | "alpha" => pre = (-3, n),
            "b" | "beta" => pre = (-2, n),
            "rc" | "c" | "pre" | "preview" => pre = (-1, n),
            "post" | "rev" | "r" | "" if !number.is_empty() || !word.is_empty() => post = (1, n),
            "dev" => dev = (0, n),
            _ => return Err(wrong()),
        }
        any_pre |= pre.0 < 0;
        rest = tail;
    }
    // A development release without another mark is before all of them.
    if dev.0 == 0 && !any_pre && post.0 == 0 {
        pre = (-4, 0);
    }
    Ok((epoch, release, pre, post, dev, local.to_owned()))
}
