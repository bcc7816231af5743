//! `sequence`.

use super::Query;
use crate::render::error::Error;
use crate::render::format;
use crate::render::value::{Value, parse_int};

/// Longest sequence.
const LONGEST: i128 = 1_000_000;

pub(super) fn sequence(q: &mut Query) -> Result<Vec<Value>, Error> {
    let mut out = Vec::new();
    for term in q.texts()? {
        let plan = Plan::new(&term)?;
        plan.fill(&mut out)?;
    }
    Ok(out)
}

struct Plan {
    start: i128,
    end: Option<i128>,
    count: Option<i128>,
    stride: i128,
    format: String,
}

fn number(s: &str, name: &str) -> Result<i128, Error> {
    parse_int(s, 10).ok_or_else(|| {
        Error::other(format!(
            "Invalid type for configuration option plugin_type: lookup plugin: sequence setting: {name} (from Direct): "
        ))
    })
}

impl Plan {
    fn new(term: &str) -> Result<Self, Error> {
        let mut plan = Self { start: 1, end: None, count: None, stride: 1, format: "%d".into() };
        if term.contains('=') {
            for word in crate::load::split_words(term) {
                let Some((k, v)) = word.split_once('=') else {
                    return Err(Error::other(format!("unrecognized arguments to with_sequence: ['{word}']")));
                };
                match k {
                    "start" => plan.start = number(v, k)?,
                    "end" => plan.end = Some(number(v, k)?),
                    "count" => plan.count = Some(number(v, k)?),
                    "stride" => plan.stride = number(v, k)?,
                    "format" => plan.format = v.to_owned(),
                    other => return Err(Error::other(format!("unrecognized arguments to with_sequence: ['{other}']"))),
                }
            }
        } else {
            plan.short(term)?;
        }
        if plan.count.is_none() && plan.end.is_none() {
            return Err(Error::other("must specify count or end in with_sequence"));
        }
        if plan.count.is_some() && plan.end.is_some() {
            return Err(Error::other("can't specify both count and end in with_sequence"));
        }
        Ok(plan)
    }

    /// `start-end/stride:format`.
    fn short(&mut self, term: &str) -> Result<(), Error> {
        let wrong = || {
            Error::other(format!(
                "unrecognized arguments to with_sequence: {}",
                crate::render::value::repr(&term.into())
            ))
        };
        let (range, format) = term.split_once(':').map_or((term, None), |(r, f)| (r, Some(f)));
        let (range, stride) = range.split_once('/').map_or((range, None), |(r, s)| (r, Some(s)));
        let parse = |s: &str| parse_int(s, 0).or_else(|| parse_int(s, 10)).ok_or_else(wrong);
        match range.split_once('-').filter(|(a, _)| !a.is_empty()) {
            Some((a, b)) => {
                self.start = parse(a)?;
                self.end = Some(parse(b)?);
            }
            None => self.end = Some(parse(range)?),
        }
        if let Some(s) = stride {
            self.stride = parse(s)?;
        }
        if let Some(f) = format {
            self.format = f.to_owned();
        }
        Ok(())
    }

    fn fill(&self, out: &mut Vec<Value>) -> Result<(), Error> {
        let end = match (self.end, self.count) {
            (Some(end), _) => end,
            (None, Some(0)) => return Ok(()),
            (None, Some(n)) => self.start + self.stride * (n - 1),
            (None, None) => return Ok(()),
        };
        if self.stride > 0 && end < self.start {
            return Err(Error::other("to count backwards make stride negative"));
        }
        if self.stride < 0 && end > self.start {
            return Err(Error::other("to count forward don't make stride negative"));
        }
        if self.stride == 0 {
            return Ok(());
        }
        if (end - self.start) / self.stride > LONGEST {
            return Err(Error::other("the sequence is too long"));
        }
        if self.format.matches('%').count() != 1 {
            return Err(Error::other(format!("bad formatting string: {}", self.format)));
        }
        let mut at = self.start;
        while if self.stride > 0 { at <= end } else { at >= end } {
            let text = format::percent(&self.format, &Value::Int(at))
                .map_err(|_| Error::other(format!("problem formatting {at} with '{}'", self.format)))?;
            out.push(Value::from(text));
            at += self.stride;
        }
        Ok(())
    }
}
