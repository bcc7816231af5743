//! Reads answers: the only place that makes an [`ErrorKind`] of a status.

use serde::de::DeserializeOwned;
use towpath_core::{Error, ErrorKind, Result};

use crate::client::Reply;
use crate::provider::STRIDER;

/// A login that was not taken.
pub(crate) fn denied(reply: &Reply, operation: &'static str) -> Option<Error> {
    let to_login = reply.location.as_deref().is_some_and(|to| {
        let path = to.split(['?', '#']).next().unwrap_or_default();
        path == "/login" || path.ends_with("/login")
    });
    match reply.status {
        401 => Some(wrong_pair(operation, 401)),
        // Strider sends strangers to its page for logins instead of saying 401.
        302 | 303 | 307 if to_login => Some(Error::new(
            ErrorKind::Denied,
            STRIDER,
            operation,
            "the server does not know this user (it redirects to its login): look at `user`, `password` and `project`",
        )),
        403 => Some(
            Error::new(
                ErrorKind::Denied,
                STRIDER,
                operation,
                "this user may not do that: give them the rights on the project",
            )
            .with("status", 403),
        ),
        _ => None,
    }
}

pub(crate) fn wrong_pair(operation: &'static str, status: u16) -> Error {
    Error::new(ErrorKind::Denied, STRIDER, operation, "the server refuses this user or password").with("status", status)
}

/// A status that means nothing good. What the body says is not shown: it may be a page, or hold a user.
pub(crate) fn unexpected(status: u16, operation: &'static str, what: &str) -> Error {
    let error = |kind, message: String| Error::new(kind, STRIDER, operation, message).with("status", status);
    match status {
        300..=399 => error(ErrorKind::Protocol, format!("{what} was redirected, which is not followed: look at `url`")),
        404 => error(ErrorKind::NotFound, format!("the server does not know {what}: look at `project`")),
        400 => error(ErrorKind::InvalidInput, format!("the server refuses {what}")),
        409 => error(ErrorKind::AlreadyExists, format!("the server has {what} already")),
        502..=504 => error(ErrorKind::Unreachable, format!("a proxy can't reach the server for {what}")).retry_later(),
        500..=599 => {
            error(ErrorKind::ToolFailed, format!("the server failed at {what}: look into its log")).retry_later()
        }
        _ => error(ErrorKind::Protocol, format!("the server answers {what} in a way that it never should")),
    }
}

/// A status that must be 200, and a body that must be JSON.
pub(crate) fn json<T: DeserializeOwned>(status: u16, body: &[u8], operation: &'static str) -> Result<T> {
    whole(status, body, operation, "the request")
}

/// As [`json`], naming what was asked for.
pub(crate) fn whole<T: DeserializeOwned>(status: u16, body: &[u8], operation: &'static str, what: &str) -> Result<T> {
    if status != 200 {
        return Err(unexpected(status, operation, what));
    }
    serde_json::from_slice(body).map_err(|e| {
        // The text is not shown: serde's error may quote it, so only the place is kept.
        Error::new(
            ErrorKind::Protocol,
            STRIDER,
            operation,
            format!("the answer to {what} is not what Strider 2.4 answers"),
        )
        .with("line", e.line())
        .with("column", e.column())
    })
}

/// A status that must be one of the good ones.
pub(crate) fn done(reply: &Reply, operation: &'static str, what: &str) -> Result<()> {
    match reply.status {
        200..=204 => Ok(()),
        other => Err(unexpected(other, operation, what)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use towpath_core::Retry;

    fn reply(status: u16, location: Option<&str>) -> Reply {
        Reply { status, location: location.map(str::to_owned), date: None, body: bytes::Bytes::new() }
    }

    #[test]
    fn a_redirect_to_the_login_is_a_refusal() {
        let kind = |status, to| denied(&reply(status, to), "start").map(|e| e.kind());
        assert_eq!(kind(302, Some("/login?ember=true")), Some(ErrorKind::Denied));
        assert_eq!(kind(302, Some("https://ci/strider/login")), Some(ErrorKind::Denied));
        assert_eq!(kind(302, Some("/elsewhere?next=/login")), None);
        assert_eq!(kind(401, None), Some(ErrorKind::Denied));
        assert_eq!(kind(200, None), None);
        assert_eq!(unexpected(302, "start", "the start").kind(), ErrorKind::Protocol);
    }

    #[test]
    fn what_may_pass_is_retried() {
        assert_eq!(unexpected(500, "start", "it").retry(), Retry::Later);
        assert_eq!(unexpected(502, "start", "it").kind(), ErrorKind::Unreachable);
        assert_eq!(unexpected(404, "start", "it").retry(), Retry::Never);
    }

    #[test]
    fn a_strange_body_is_not_repeated() {
        let error = json::<Vec<u8>>(200, br#"{"hash": "$2a$10$abcdef"}"#, "start").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(!error.report().contains("$2a"), "{}", error.report());
    }
}
