use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// How many targets are changed at once. In JSON and YAML a number, or a text such as `"25%"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Batch {
    /// So many.
    Count(u32),
    /// This share of all, 1 to 100; rounded down, at least one.
    Percent(u32),
}

impl Batch {
    /// The number of targets, of `all`. At least one.
    pub fn size(self, all: usize) -> usize {
        let size = match self {
            Self::Count(n) => usize::try_from(n).unwrap_or(usize::MAX),
            Self::Percent(p) => all.saturating_mul(usize::try_from(p).unwrap_or(usize::MAX)) / 100,
        };
        size.max(1)
    }

    /// As [`size`](Self::size), with a share rounded up: for what must be left.
    pub fn size_up(self, all: usize) -> usize {
        match self {
            Self::Count(_) => self.size(all),
            Self::Percent(p) => all.saturating_mul(usize::try_from(p).unwrap_or(usize::MAX)).div_ceil(100),
        }
    }
}

impl Serialize for Batch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(n) => serializer.serialize_u32(*n),
            Self::Percent(p) => serializer.collect_str(&format_args!("{p}%")),
        }
    }
}

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Batch;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a count from 1, or a share from \"1%\" to \"100%\"")
            }
            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Batch, E> {
                u32::try_from(n)
                    .ok()
                    .filter(|n| *n > 0)
                    .map(Batch::Count)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(n), &self))
            }
            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Batch, E> {
                u64::try_from(n)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(n), &self))
                    .and_then(|n| self.visit_u64(n))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Batch, E> {
                let share = text.strip_suffix('%').and_then(|p| p.trim().parse::<u32>().ok());
                share
                    .filter(|p| (1..=100).contains(p))
                    .map(Batch::Percent)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl JsonSchema for Batch {
    fn schema_name() -> Cow<'static, str> {
        "Batch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How many targets are changed at once: a count, or a share such as \"25%\".",
            "oneOf": [
                { "type": "integer", "minimum": 1 },
                { "type": "string", "pattern": "^(100|[1-9][0-9]?) *%$" }
            ]
        })
    }
}
