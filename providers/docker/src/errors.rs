//! Failures of the engine as towpath's errors.

use std::error::Error as StdError;
use std::io;

use bollard::errors::Error as EngineError;
use towpath_core::{Error, ErrorKind, Retry};

use crate::PROVIDER;

/// The status code of an answer that says no.
pub(crate) fn status(e: &EngineError) -> Option<u16> {
    match e {
        EngineError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// The first cause of a failure that is the operating system's.
fn io_error(e: &EngineError) -> Option<&io::Error> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(e);
    while let Some(c) = cause {
        if let Some(found) = c.downcast_ref::<io::Error>() {
            return Some(found);
        }
        cause = c.source();
    }
    None
}

/// Carries a failure of the way to an engine through the library, which knows its own errors only.
pub(crate) fn carry(e: Error) -> EngineError {
    EngineError::IOError { err: io::Error::other(e) }
}

/// What was carried.
fn carried(e: &EngineError) -> Option<&Error> {
    io_error(e)?.get_ref()?.downcast_ref()
}

/// What a failed request means; `what` is the sentence.
pub(crate) fn failed(operation: &'static str, what: impl Into<String>, e: EngineError) -> Error {
    if let Some(way) = carried(&e) {
        let error = Error::new(way.kind(), PROVIDER, operation, what).caused_by(way.report());
        return if way.retry() == Retry::Later { error.retry_later() } else { error };
    }
    let kind = match &e {
        EngineError::DockerResponseServerError { status_code, .. } => match status_code {
            400 => ErrorKind::InvalidInput,
            401 | 403 => ErrorKind::Denied,
            404 => ErrorKind::NotFound,
            409 => ErrorKind::Conflict,
            _ => ErrorKind::ToolFailed,
        },
        EngineError::DockerStreamError { .. } | EngineError::DockerContainerWaitError { .. } => ErrorKind::ToolFailed,
        EngineError::RequestTimeoutError => ErrorKind::Timeout,
        EngineError::JsonDataError { .. } | EngineError::JsonSerdeError { .. } | EngineError::StrParseError { .. } => {
            ErrorKind::Protocol
        }
        EngineError::SocketNotFoundError(_) => ErrorKind::Unreachable,
        EngineError::URLParseError { .. }
        | EngineError::InvalidURIError { .. }
        | EngineError::UnsupportedURISchemeError { .. } => ErrorKind::InvalidInput,
        _ => match io_error(&e) {
            Some(io) if io.kind() == io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            _ => ErrorKind::Unreachable,
        },
    };
    let error = Error::new(kind, PROVIDER, operation, what);
    let error = if kind == ErrorKind::Unreachable { error.retry_later() } else { error };
    match e {
        // Its own words, without the library's around them.
        EngineError::DockerResponseServerError { message, .. } => error.caused_by(message),
        EngineError::DockerStreamError { error: message } => error.caused_by(message),
        other => match io_error(&other).map(ToString::to_string) {
            Some(io) => error.caused_by(io),
            None => error.caused_by(other),
        },
    }
}

/// What a cancel or a deadline has left of a request that the engine worked at: its connection is closed, and that is all it is told.
pub(crate) fn let_go(e: Error, what: &'static str) -> Error {
    let message = match e.kind() {
        ErrorKind::Cancelled => format!("cancelled; {what}"),
        ErrorKind::Timeout if e.provider() == PROVIDER && std::error::Error::source(&e).is_none() => {
            format!("out of time; {what}")
        }
        _ => return e,
    };
    let mut new = Error::new(e.kind(), e.provider(), e.operation(), message);
    if e.kind() == ErrorKind::Timeout {
        new = new.retry_later();
    }
    new
}
