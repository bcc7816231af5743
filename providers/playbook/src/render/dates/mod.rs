//! Dates and times, as far as filters give them.

mod civil;
mod read;
mod write;

use std::sync::Arc;

use chrono::{Local, Offset as _, TimeZone as _, Utc};

pub(crate) use civil::Civil;
pub(crate) use read::parse;
pub(crate) use write::format;

use super::error::{Error, Out};
use super::eval::State;
use super::value::{Args, Binary, Object, Value};

/// Python's `datetime`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DateTime {
    pub(crate) civil: Civil,
    pub(crate) micro: u32,
    /// Seconds east of UTC, if it knows a zone.
    pub(crate) offset: Option<i32>,
}

/// Python's `timedelta`, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Delta(i128);

impl DateTime {
    fn micros(self) -> i128 {
        i128::from(self.civil.seconds() - i64::from(self.offset.unwrap_or(0))) * 1_000_000 + i128::from(self.micro)
    }

    fn moved(self, by: i128) -> Result<Self, Error> {
        let local = i128::from(self.civil.seconds()) * 1_000_000 + i128::from(self.micro) + by;
        let seconds = i64::try_from(local.div_euclid(1_000_000)).ok().and_then(Civil::new).ok_or_else(out_of_range)?;
        Ok(Self { civil: seconds, micro: u32::try_from(local.rem_euclid(1_000_000)).unwrap_or(0), offset: self.offset })
    }

    fn iso(self, sep: char) -> String {
        let c = self.civil;
        let micro = if self.micro > 0 { format!(".{:06}", self.micro) } else { String::new() };
        let zone = self.offset.map(|o| write::zone(o, true)).unwrap_or_default();
        format!(
            "{:04}-{:02}-{:02}{sep}{:02}:{:02}:{:02}{micro}{zone}",
            c.year, c.month, c.day, c.hour, c.minute, c.second
        )
    }
}

fn out_of_range() -> Error {
    Error::other("date value out of range")
}

/// The time zone's distance from UTC at a moment, in seconds.
pub(crate) fn local_offset(seconds: i64) -> i32 {
    Local.timestamp_opt(seconds, 0).earliest().map_or(0, |t| t.offset().fix().local_minus_utc())
}

/// The present, or its text.
pub(crate) fn now(utc: bool, shape: Option<&str>) -> Out {
    let now = Utc::now();
    let offset = if utc { 0 } else { local_offset(now.timestamp()) };
    let civil = Civil::new(now.timestamp() + i64::from(offset)).ok_or_else(out_of_range)?;
    let time = DateTime { civil, micro: now.timestamp_subsec_micros().min(999_999), offset: None };
    Ok(match shape {
        Some(shape) => Value::from(format(shape, &time)?),
        None => Value::object(time),
    })
}

impl Object for DateTime {
    fn type_name(&self) -> &'static str {
        "datetime"
    }

    fn truth(&self) -> bool {
        true
    }

    fn get_value(&self, key: &Value) -> Option<Value> {
        let c = self.civil;
        Some(Value::Int(i128::from(match key.as_str()? {
            "year" => c.year,
            "month" => i64::from(c.month),
            "day" => i64::from(c.day),
            "hour" => i64::from(c.hour),
            "minute" => i64::from(c.minute),
            "second" => i64::from(c.second),
            "microsecond" => i64::from(self.micro),
            _ => return None,
        })))
    }

    fn repr(&self) -> String {
        self.iso(' ')
    }

    fn method(&self, _: &mut State, name: &str, mut args: Args) -> Out {
        Ok(match name {
            "strftime" => Value::from(format(&args.text("format")?.unwrap_or_default(), self)?),
            "isoformat" => Value::from(self.iso('T')),
            "timestamp" => {
                let shift = if self.offset.is_none() { local_offset(self.civil.seconds()) } else { 0 };
                Value::Float(self.micros() as f64 / 1e6 - f64::from(shift))
            }
            "weekday" => Value::from(i64::from(self.civil.weekday())),
            "isoweekday" => Value::from(i64::from(self.civil.weekday() + 1)),
            "date" => Value::from(self.iso('T').split('T').next().unwrap_or_default()),
            "time" => Value::from(self.iso('T').split('T').nth(1).unwrap_or_default()),
            "replace" => {
                let mut new = *self;
                for (name, v) in &args.named {
                    let n = v.as_int().and_then(|i| i64::try_from(i).ok()).ok_or_else(out_of_range)?;
                    let small = u32::try_from(n).map_err(|_| out_of_range())?;
                    match name.as_ref() {
                        "year" => new.civil.year = n,
                        "month" => new.civil.month = small,
                        "day" => new.civil.day = small,
                        "hour" => new.civil.hour = small,
                        "minute" => new.civil.minute = small,
                        "second" => new.civil.second = small,
                        "microsecond" => new.micro = small,
                        other => {
                            return Err(Error::typed(format!(
                                "'{other}' is an invalid keyword argument for replace()"
                            )));
                        }
                    }
                }
                new.civil = new.civil.checked().ok_or_else(out_of_range)?;
                Value::object(new)
            }
            other => return self.missing(other).defined().cloned(),
        })
    }
}

impl Object for Delta {
    fn type_name(&self) -> &'static str {
        "timedelta"
    }

    fn truth(&self) -> bool {
        self.0 != 0
    }

    fn get_value(&self, key: &Value) -> Option<Value> {
        let day = 86_400_000_000;
        Some(Value::Int(match key.as_str()? {
            "days" => self.0.div_euclid(day),
            "seconds" => self.0.rem_euclid(day) / 1_000_000,
            "microseconds" => self.0.rem_euclid(1_000_000),
            _ => return None,
        }))
    }

    fn repr(&self) -> String {
        let day = 86_400_000_000;
        let (days, rest) = (self.0.div_euclid(day), self.0.rem_euclid(day));
        let (seconds, micro) = (rest / 1_000_000, rest % 1_000_000);
        let mut out = match days {
            0 => String::new(),
            1 | -1 => format!("{days} day, "),
            n => format!("{n} days, "),
        };
        out.push_str(&format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60));
        if micro > 0 {
            out.push_str(&format!(".{micro:06}"));
        }
        out
    }

    fn method(&self, _: &mut State, name: &str, _: Args) -> Out {
        match name {
            "total_seconds" => Ok(Value::Float(self.0 as f64 / 1e6)),
            other => self.missing(other).defined().cloned(),
        }
    }
}

/// A date or duration behind a value.
fn read_object(o: &Arc<dyn Object>) -> Option<Result<DateTime, Delta>> {
    let n = |name: &str| o.get_value(&Value::from(name)).and_then(|v| v.as_int());
    match o.type_name() {
        "datetime" => {
            let small = |name: &str| n(name).and_then(|i| u32::try_from(i).ok());
            let civil = Civil {
                year: n("year").and_then(|i| i64::try_from(i).ok())?,
                month: small("month")?,
                day: small("day")?,
                hour: small("hour")?,
                minute: small("minute")?,
                second: small("second")?,
            };
            let offset = o.repr().get(19..).and_then(read::zone);
            Some(Ok(DateTime { civil, micro: small("microsecond")?, offset }))
        }
        "timedelta" => Some(Err(Delta(n("days")? * 86_400_000_000 + n("seconds")? * 1_000_000 + n("microseconds")?))),
        _ => None,
    }
}

/// An operator on dates; `None` if the value is none.
pub(crate) fn operate(op: Binary, a: &Arc<dyn Object>, b: &Value) -> Option<Out> {
    let left = read_object(a)?;
    let right = match b {
        Value::Object(o) => read_object(o),
        _ => None,
    };
    Some(match (op, left, right) {
        (Binary::Sub, Ok(x), Some(Ok(y))) => Ok(Value::object(Delta(x.micros() - y.micros()))),
        (Binary::Sub, Ok(x), Some(Err(d))) => x.moved(-d.0).map(Value::object),
        (Binary::Add, Ok(x), Some(Err(d))) | (Binary::Add, Err(d), Some(Ok(x))) => x.moved(d.0).map(Value::object),
        (Binary::Add, Err(x), Some(Err(y))) => Ok(Value::object(Delta(x.0 + y.0))),
        (Binary::Sub, Err(x), Some(Err(y))) => Ok(Value::object(Delta(x.0 - y.0))),
        (Binary::Div, Err(x), Some(Err(y))) if y.0 != 0 => Ok(Value::Float(x.0 as f64 / y.0 as f64)),
        (Binary::FloorDiv, Err(x), Some(Err(y))) if y.0 != 0 => Ok(Value::Int(x.0.div_euclid(y.0))),
        (Binary::Mul, Err(x), None) => match b.as_int().and_then(|n| x.0.checked_mul(n)) {
            Some(n) => Ok(Value::object(Delta(n))),
            None => return None,
        },
        (Binary::Div, Err(x), None) => match b.as_int().filter(|n| *n != 0) {
            Some(n) => Ok(Value::object(Delta(x.0 / n))),
            None => return None,
        },
        _ => return None,
    })
}

/// `format()` of a date.
pub(crate) fn format_object(o: &Arc<dyn Object>, spec: &str) -> Option<Result<String, Error>> {
    match read_object(o)? {
        Ok(time) => Some(format(spec, &time)),
        Err(_) => None,
    }
}
