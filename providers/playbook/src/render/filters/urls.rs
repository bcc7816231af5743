//! `urlsplit`.

use super::{Filter, input};
use crate::render::error::{Error, Out};
use crate::render::eval::State;
use crate::render::value::{Args, Value};

pub(super) fn get(name: &str) -> Option<Filter> {
    (name == "urlsplit").then_some(split as Filter)
}

/// The parts of an address.
pub(crate) fn parts(url: &str) -> Result<Vec<(&'static str, Value)>, Error> {
    let text = |s: &str| Value::from(s);
    let colon = url.find(':').filter(|i| {
        let scheme = url.get(..*i).unwrap_or("");
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    });
    let (scheme, rest) = match colon {
        Some(i) => (url.get(..i).unwrap_or("").to_ascii_lowercase(), url.get(i + 1..).unwrap_or("")),
        None => (String::new(), url),
    };
    let (netloc, rest) = match rest.strip_prefix("//") {
        Some(r) => r.split_at(r.find(['/', '?', '#']).unwrap_or(r.len())),
        None => ("", rest),
    };
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (user, host) = match netloc.rsplit_once('@') {
        Some((u, h)) => (Some(u), h),
        None => (None, netloc),
    };
    let (name, password) = match user {
        Some(u) => match u.split_once(':') {
            Some((n, p)) => (text(n), text(p)),
            None => (text(u), Value::None),
        },
        None => (Value::None, Value::None),
    };
    let (host, port) = match host.strip_prefix('[').and_then(|h| h.split_once(']')) {
        Some((h, rest)) => (h, rest.strip_prefix(':')),
        None => match host.rsplit_once(':') {
            Some((h, p)) => (h, Some(p)),
            None => (host, None),
        },
    };
    let port = match port {
        None | Some("") => Value::None,
        Some(p) => Value::Int(p.parse::<u16>().map(i128::from).map_err(|_| {
            Error::other(format!(
                "Port could not be cast to integer value as {}",
                crate::render::value::repr(&p.into())
            ))
        })?),
    };
    let hostname = if host.is_empty() { Value::None } else { Value::from(host.to_lowercase()) };
    Ok(vec![
        ("fragment", text(fragment)),
        ("hostname", hostname),
        ("netloc", text(netloc)),
        ("password", password),
        ("path", text(path)),
        ("port", port),
        ("query", text(query)),
        ("scheme", Value::from(scheme)),
        ("username", name),
    ])
}

fn split(_: &mut State, v: Value, mut args: Args) -> Out {
    let parts = parts(&input(&v)?)?;
    match args.text("query")? {
        Some(wanted) if !wanted.is_empty() => match parts.into_iter().find(|(n, _)| *n == wanted) {
            Some((_, v)) => Ok(v),
            None => Err(Error::other(format!("urlsplit: unknown URL component: {wanted}"))),
        },
        _ => Ok(Value::pairs(parts)),
    }
}
