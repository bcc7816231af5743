//! What a job's message says for towpath: Strider gives no id for a job that it starts, and knows no versions.

use crate::address::{decoded, encoded};

/// Found again in `trigger.message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) service: String,
    pub(crate) version: String,
    /// Of one start; nobody else has it.
    pub(crate) token: String,
}

const OPEN: &str = "[towpath ";

impl Tag {
    /// Every value is encoded, so that none can end the tag or forge another one.
    pub(crate) fn text(&self) -> String {
        let Self { service, version, token } = self;
        format!("{OPEN}service={} version={} token={token}]", encoded(service), encoded(version))
    }

    /// Reads the last tag of a message: what stands before it is free text.
    pub(crate) fn read(message: &str) -> Option<Self> {
        let tag = message.trim_end().strip_suffix(']')?;
        let (_, fields) = tag.rsplit_once(OPEN)?;
        let mut values = fields.split(' ');
        let mut next = |name: &str| values.next()?.strip_prefix(name)?.strip_prefix('=').and_then(decoded);
        let tag = Self { service: next("service")?, version: next("version")?, token: next("token")? };
        (values.next().is_none() && is_token(&tag.token)).then_some(tag)
    }
}

/// A new one.
pub(crate) fn new_token() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

pub(crate) fn is_token(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_again_whatever_is_in_it() {
        for version in ["v2", "1.0 beta]", "a=b token=x", "ü"] {
            let tag = Tag { service: "web".into(), version: version.into(), token: new_token() };
            let message = format!("web to live [towpath service=x version=y token={}] {}\n", new_token(), tag.text());
            assert_eq!(Tag::read(&message).unwrap(), tag, "{message}");
        }
    }

    #[test]
    fn what_is_no_tag_is_none() {
        for text in
            ["", "manually started", "[towpath service=a version=b]", "[towpath service=a version=b token=c]", "]"]
        {
            assert_eq!(Tag::read(text), None, "{text}");
        }
    }
}
