//! Lookups that run commands on the controller.

use std::process::{Command, Stdio};

use super::Query;
use crate::render::error::Error;
use crate::render::value::Value;

fn output(q: &Query, command: &str, lookup: &str) -> Result<String, Error> {
    q.scope.note_effect()?;
    let mut run = Command::new("/bin/sh");
    run.arg("-c").arg(command).stdin(Stdio::null()).stderr(Stdio::inherit());
    if let Some(dir) = q.scope.search.dirs.last().filter(|d| d.is_dir()) {
        run.current_dir(dir);
    }
    let done = run.output().map_err(|e| Error::other(format!("lookup_plugin.{lookup}({command}): {e}")))?;
    if !done.status.success() {
        let code = done.status.code().unwrap_or(-1);
        return Err(Error::other(format!("lookup_plugin.{lookup}({command}) returned {code}")));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

pub(super) fn pipe(q: &mut Query) -> Result<Vec<Value>, Error> {
    q.texts()?.iter().map(|c| Ok(Value::outside(output(q, c, "pipe")?.trim_end()))).collect()
}

pub(super) fn lines(q: &mut Query) -> Result<Vec<Value>, Error> {
    let mut out = Vec::new();
    for command in q.texts()? {
        out.extend(output(q, &command, "lines")?.lines().map(Value::outside));
    }
    Ok(out)
}
