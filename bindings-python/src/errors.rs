use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use towpath::{Error, ErrorKind, ErrorRecord, Json, Result, Retry};

/// Makes the Python exception of an error: `towpath.Error` or the subclass of its kind.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let make = || {
        let record = pythonize::pythonize(py, &error.record())?;
        py.import("towpath.exceptions")?.call_method1("from_record", (record, error.report()))
    };
    match make() {
        Ok(exception) => PyErr::from_value(exception),
        Err(broken) => broken,
    }
}

/// Makes an error of a Python exception. A `towpath.Error` keeps its kind, place and retry.
pub(crate) fn caught(py: Python<'_>, exception: &PyErr, operation: &'static str, what: &str) -> Error {
    let record = py
        .import("towpath.exceptions")
        // `into_value` gives the object its traceback back.
        .and_then(|m| m.call_method1("to_record", (exception.clone_ref(py).into_value(py), what)))
        .and_then(|r| Ok(pythonize::depythonize::<ErrorRecord>(&r)?));
    match record {
        Ok(record) => of_record(record, operation),
        Err(broken) => {
            Error::new(ErrorKind::ToolFailed, "python", operation, format!("{what} raised {exception} ({broken})"))
        }
    }
}

fn of_record(record: ErrorRecord, operation: &'static str) -> Error {
    let operation = if record.operation.is_empty() { operation } else { interned(&record.operation) };
    let mut error = Error::new(record.kind, interned(&record.provider), operation, record.message);
    for (key, value) in &record.context {
        error = error.with(interned(key), value);
    }
    if record.retry == Retry::Later {
        error = error.retry_later();
    }
    if record.causes.is_empty() { error } else { error.caused_by(record.causes.join("\n  caused by: ")) }
}

/// Errors name providers and keys of their context by static text. Each name is kept once, for good.
fn interned(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    match names.get(name) {
        Some(known) => known,
        None => {
            let kept: &'static str = Box::leak(name.to_owned().into_boxed_str());
            names.insert(kept);
            kept
        }
    }
}

/// Reads a Python value. The classes of `towpath` are mappings; paths and enums were replaced in `_data.plain`.
pub(crate) fn from_python<T: DeserializeOwned>(py: Python<'_>, value: &Bound<'_, PyAny>, what: &str) -> PyResult<T> {
    let json: Json = pythonize::depythonize(value)
        .map_err(|e| raise(py, &invalid(format!("{what} can't be written as JSON: {e}"))))?;
    parse(json, what).map_err(|e| raise(py, &e))
}

pub(crate) fn parse<T: DeserializeOwned>(json: Json, what: &str) -> Result<T> {
    serde_json::from_value(json).map_err(|e| invalid(format!("{what} is wrong: {e}")))
}

pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, "python", "call", message)
}

pub(crate) fn to_json(value: &impl Serialize) -> Result<Json> {
    serde_json::to_value(value).map_err(|e| {
        Error::new(ErrorKind::Internal, "python", "call", "a result can't be written as JSON").caused_by(e)
    })
}

pub(crate) fn to_python<'py>(py: Python<'py>, value: &Json) -> PyResult<Bound<'py, PyAny>> {
    Ok(pythonize::pythonize(py, value)?)
}
