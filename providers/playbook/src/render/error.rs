//! What goes wrong while a template is read or evaluated.

use super::value::Value;

/// How Ansible words an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Something is undefined.
    Undefined,
    /// Python's `TypeError`.
    Type,
    /// The template can't be read.
    Syntax,
    /// Any other.
    Other,
}

#[derive(Debug, Clone)]
pub(crate) struct Error {
    pub(crate) why: Why,
    pub(crate) message: String,
    /// The offset in the source, innermost first.
    pub(crate) at: Option<usize>,
    /// Where it is, if in another file than the one rendered.
    pub(crate) place: Option<String>,
}

pub(crate) type Out = Result<Value, Error>;

impl Error {
    fn new(why: Why, message: impl Into<String>) -> Self {
        Self { why, message: message.into(), at: None, place: None }
    }

    pub(crate) fn undefined(message: impl Into<String>) -> Self {
        Self::new(Why::Undefined, message)
    }

    pub(crate) fn typed(message: impl Into<String>) -> Self {
        Self::new(Why::Type, message)
    }

    pub(crate) fn syntax(at: usize, message: impl Into<String>) -> Self {
        Self { at: Some(at), ..Self::new(Why::Syntax, message) }
    }

    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self::new(Why::Other, message)
    }

    /// Notes where it happened, unless that is known.
    pub(crate) fn or_at(mut self, at: usize) -> Self {
        self.at.get_or_insert(at);
        self
    }
}
