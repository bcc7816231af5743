//! What says that a script need not run.

use serde::{Deserialize, Serialize};
use towpath_core::{Connection, Context, Error, ErrorKind, ExitStatus, Result, shell_quote};

use super::Run;
use crate::{RunConfig, SCRIPT};

/// The guard that keeps a script from running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Guarded {
    /// `creates` is there.
    Creates,
    /// `removes` is gone.
    Removes,
    /// `unless` succeeds.
    Unless,
    /// `only_if` fails.
    OnlyIf,
    /// None of the steps of `if_changed` has changed anything.
    IfChanged,
}

/// What looking at the guards told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing keeps it from running.
    Runs,
    /// A guard does.
    Held(Guarded),
    /// The working directory is not there, so that guards can't be looked at.
    NoDirectory,
}

/// Whether something matches: patterns are the shell's own, but their words are not split. In a shell of its own, as are the user's
/// commands: nothing that is set here is seen by them, and no `exit` or `cd` in them is felt here.
const THERE: &str = r#"for f in $1; do if [ -e "$f" ] || [ -L "$f" ]; then exit 0; fi; done; exit 1"#;

impl Guarded {
    /// The guard with its value.
    pub(crate) fn shown(self, run: &Run) -> String {
        let (name, value) = match self {
            Self::Creates => ("creates", &run.config.creates),
            Self::Removes => ("removes", &run.config.removes),
            Self::Unless => ("unless", &run.config.unless),
            Self::OnlyIf => ("only_if", &run.config.only_if),
            Self::IfChanged => return format!("if_changed: {}", run.config.if_changed.join(", ")),
        };
        format!("{name}: {}", value.as_deref().unwrap_or_default())
    }
}

/// The guards as a script that says by its status what they say.
fn probe(config: &RunConfig) -> String {
    let mut script = String::new();
    let mut add = |value: &Option<String>, line: &dyn Fn(String) -> String| {
        script.extend(value.as_deref().map(|v| format!("{}\n", line(shell_quote(v)))));
    };
    add(&config.cwd, &|v| format!("CDPATH= cd -- {v} 2>/dev/null || exit 90"));
    add(&config.creates, &|v| format!("! ( IFS=; set -- {v}; {THERE} ) || exit 91"));
    add(&config.removes, &|v| format!("( IFS=; set -- {v}; {THERE} ) || exit 92"));
    add(&config.unless, &|v| format!("! ( eval {v} ) >/dev/null 2>&1 </dev/null || exit 93"));
    add(&config.only_if, &|v| format!("( eval {v} ) >/dev/null 2>&1 </dev/null || exit 94"));
    script + "exit 95"
}

/// Looks at the guards. Changes nothing, as far as the user's commands don't.
pub(crate) async fn guards(run: &Run, cx: &Context, connection: &dyn Connection) -> Result<Look> {
    let script = probe(&run.config);
    let mut exec = run.exec(script);
    exec.label = Some(format!("guards of {}", run.title));
    let out = connection.exec(cx, &exec).await?;
    Ok(match out.status {
        ExitStatus::Code(90) => Look::NoDirectory,
        ExitStatus::Code(91) => Look::Held(Guarded::Creates),
        ExitStatus::Code(92) => Look::Held(Guarded::Removes),
        ExitStatus::Code(93) => Look::Held(Guarded::Unless),
        ExitStatus::Code(94) => Look::Held(Guarded::OnlyIf),
        ExitStatus::Code(95) => Look::Runs,
        ref status => {
            return Err(Error::new(ErrorKind::ToolFailed, SCRIPT, "guards", "the guards of a step can't be looked at")
                .with("exit_status", status)
                .caused_by(cx.masker().mask(&out.stderr_text()).into_owned()));
        }
    })
}
