//! `debconf`.

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::spec::Rules;
use super::steps::failed;
use super::{Call, Decision, Fields, Module, Pending, Place, content, fields};

/// `debconf`.
pub(super) const MODULE: Module = Module {
    names: &["debconf"],
    rules: Rules { required_together: &[&["question", "vtype", "value"]], ..Rules::NONE },
    missing: &[],
    place: Place::Host,
    prepare,
};

fn prepare(call: &Call) -> Result<Decision, String> {
    let name = call.need("name")?;
    let (question, kind) = (call.text("question"), call.text("vtype"));
    let value = match call.args.get("value") {
        Some(Json::Array(items)) if kind.as_deref() == Some("multiselect") => Some(
            items
                .iter()
                .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
                .collect::<Vec<_>>()
                .join(", "),
        ),
        Some(Json::Array(_)) => return Err("value is only a list for the vtype `multiselect`".into()),
        _ => call.text("value"),
    };
    // Debconf writes truth in lower case.
    let value = match kind.as_deref() {
        Some("boolean") => value.map(|v| v.to_lowercase()),
        _ => value,
    };
    let unseen = call.yes("unseen")?.unwrap_or(false);
    let secret = kind.as_deref() == Some("password");
    // A password is not shown by `debconf-show`, and read from the database of passwords itself.
    let stored = match (&question, secret) {
        (Some(q), true) => format!(
            "printf '\\n'\nawk -v n={} 'BEGIN {{ RS = \"\"; FS = \"\\n\" }} $1 == \"Name: \" n {{ for (i = 2; i <= NF; i++) if (sub(/^Value: /, \"\", $i)) print $i }}' \
             /var/cache/debconf/passwords.dat 2>/dev/null\n",
            shell_quote(q)
        ),
        _ => String::new(),
    };
    let probe = format!("debconf-show {} || exit $?\n{stored}exit 0\n", shell_quote(&name));
    Ok(Decision::Probe(
        probe,
        Box::new(move |out| {
            if out.rc != 0 {
                return Err(out.error_text());
            }
            let text = out.text();
            let (shown, stored) = match secret {
                true => text.split_once("\n\n").unwrap_or((text.trim_start_matches('\n'), "")),
                false => (text.as_str(), ""),
            };
            let mut now = Fields::new();
            for line in shown.lines() {
                if let Some((key, value)) = line.trim_start_matches('*').trim().split_once(':') {
                    now.insert(key.trim().to_owned(), json!(value.trim()));
                }
            }
            let (Some(question), Some(kind), Some(value)) = (question, kind, value) else {
                return Ok(Decision::Done(fields([
                    ("changed", json!(false)),
                    ("msg", json!("")),
                    ("current", Json::Object(now)),
                ])));
            };
            let before = now.get(&question).and_then(Json::as_str).map(str::to_owned);
            let same = if secret {
                before.is_some() && stored.trim_end_matches('\n') == value
            } else {
                before.as_deref() == Some(value.as_str())
            };
            if same {
                return Ok(Decision::Done(fields([
                    ("changed", json!(false)),
                    ("msg", json!("")),
                    ("current", Json::Object(now)),
                ])));
            }
            // Of a question that is new, all that the package has is told.
            match &before {
                Some(value) => now = [(question.clone(), json!(value))].into_iter().collect(),
                None => drop(now.insert(question.clone(), json!(""))),
            }
            let result = fields([
                ("changed", json!(true)),
                ("msg", json!("")),
                ("current", json!({ &question: value })),
                ("previous", Json::Object(now)),
            ]);
            let line = format!("{name} {question} {kind} {value}\n");
            let shown = |v: &str| if secret { json!("(a password)") } else { json!(v) };
            Ok(Decision::Change(Pending {
                script: format!(
                    "{} | debconf-set-selections{}\n",
                    content::print(line.as_bytes()),
                    if unseen { " -u" } else { "" }
                ),
                action: Action::Update,
                subject: format!("answer {question} of package {name}"),
                path: None,
                before: before.as_deref().map(shown),
                after: Some(shown(&value)),
                certain: true,
                foreign: false,
                expected: result.clone(),
                finish: Box::new(move |out| {
                    if out.rc != 0 {
                        return failed(Fields::new(), out.error_text());
                    }
                    result
                }),
            }))
        }),
    ))
}
