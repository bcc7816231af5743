//! Filters of dates.

use super::{Filter, input};
use crate::render::dates::{self, Civil, DateTime};
use crate::render::error::{Error, Out};
use crate::render::eval::State;
use crate::render::value::{Args, Value, text};

pub(super) fn get(name: &str) -> Option<Filter> {
    Some(match name {
        "strftime" => strftime,
        "to_datetime" => |_, v, mut a| {
            let shape = a.text("format")?.unwrap_or_else(|| "%Y-%m-%d %H:%M:%S".into());
            Ok(Value::object(dates::parse(&input(&v)?, &shape)?))
        },
        _ => return None,
    })
}

fn strftime(state: &mut State, v: Value, mut args: Args) -> Out {
    let second = args.take("second").filter(|s| !s.is_none());
    let utc = args.flag("utc", false)?;
    let (seconds, part) = match second {
        Some(s) => {
            let wrong = || Error::other(format!("Invalid value for epoch value ({})", text(&s)));
            let f = match s.defined()? {
                Value::Str(t, _) => crate::render::value::parse_float(t).ok_or_else(wrong)?,
                other => other.as_float().ok_or_else(wrong)?,
            };
            (f.floor() as i64, 0)
        }
        None => {
            state.scope.note_effect()?;
            let now = chrono::Utc::now();
            (now.timestamp(), now.timestamp_subsec_micros().min(999_999))
        }
    };
    let offset = if utc { 0 } else { dates::local_offset(seconds) };
    let civil =
        Civil::new(seconds.saturating_add(i64::from(offset))).ok_or_else(|| Error::other("date value out of range"))?;
    let time = DateTime { civil, micro: part, offset: Some(offset) };
    Ok(Value::from(dates::format(&input(&v)?, &time)?))
}
