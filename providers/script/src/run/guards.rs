//! What says that a script need not run.

use serde::{Deserialize, Serialize};
use towpath_core::{Connection, Context, Error, ErrorKind, ExitStatus, Result, shell_quote};

use super::Run;
use crate::SCRIPT;

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

/// Patterns are the shell's own, but their words are not split. User commands are read by `eval` in a shell of their own, so that
/// `exit` or `cd` in them is without effect here.
const PROBE: &str = r#"[ -z "$w" ] || cd -- "$w" 2>/dev/null || exit 90
there() { ( IFS=; for f in $1; do if [ -e "$f" ] || [ -L "$f" ]; then exit 0; fi; done; exit 1 ) }
[ -z "$c" ] || ! there "$c" || exit 91
[ -z "$r" ] || there "$r" || exit 92
[ -z "$u" ] || ! ( eval "$u" ) >/dev/null 2>&1 </dev/null || exit 93
[ -z "$o" ] || ( eval "$o" ) >/dev/null 2>&1 </dev/null || exit 94
exit 95"#;

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

/// Looks at the guards. Changes nothing, as far as the user's commands don't.
pub(crate) async fn guards(run: &Run, cx: &Context, connection: &dyn Connection) -> Result<Look> {
    let value = |v: &Option<String>| shell_quote(v.as_deref().unwrap_or_default());
    let c = &run.config;
    let script = format!(
        "w={} c={} r={} u={} o={}\n{PROBE}",
        value(&c.cwd),
        value(&c.creates),
        value(&c.removes),
        value(&c.unless),
        value(&c.only_if)
    );
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
