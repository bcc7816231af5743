//! `deb822_repository`.

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::attrs::{Attrs, Seen};
use super::spec::Rules;
use super::steps::{FOLDER, exports, failed, put, why};
use super::{Call, Decision, Fields, Module, Output, Pending, Place, fields};

/// `deb822_repository`.
pub(super) const MODULE: Module =
    Module { names: &["deb822_repository"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

const KEYS: &str = "/etc/apt/keyrings";

/// The name as a file's: lower case, words by `-`, nothing else than letters, digits and `-_.`.
fn slug(name: &str) -> String {
    let mut all = String::new();
    for c in name.to_lowercase().chars() {
        match c {
            c if (c.is_whitespace() || c == '-') && all.ends_with('-') => {}
            c if c.is_whitespace() || c == '-' => all.push('-'),
            c if c.is_alphanumeric() || c == '_' => all.push(c),
            _ => {}
        }
    }
    all
}

/// The field of an option: `by_hash` is `By-Hash`.
fn field(option: &str) -> String {
    match option {
        "name" => "X-Repolib-Name".into(),
        "uris" => "URIs".into(),
        other => other
            .split('_')
            .map(|w| {
                let (first, rest) = w.split_at(w.len().min(1));
                format!("{}{rest}", first.to_uppercase())
            })
            .collect::<Vec<_>>()
            .join("-"),
    }
}

fn paragraph(call: &Call, signed: Option<&str>) -> String {
    let mut text = String::new();
    // In the order of the options' names.
    let options: std::collections::BTreeMap<&String, &Json> = call.args.iter().collect();
    for (option, value) in options.into_iter().filter(|(k, v)| !v.is_null() && !["mode", "state"].contains(&k.as_str()))
    {
        let value = match value {
            Json::Bool(true) => "yes".into(),
            Json::Bool(false) => "no".into(),
            Json::Array(items) => items.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(" "),
            Json::String(s) if *option == "signed_by" => signed.unwrap_or(s).to_owned(),
            Json::String(s) => s.clone(),
            other => other.to_string(),
        };
        let value = if value.trim().contains('\n') {
            // A text of several lines: each indented, an empty one as a dot.
            value
                .trim()
                .lines()
                .map(|l| if l.trim().is_empty() { "\n    .".to_owned() } else { format!("\n    {}", l.trim()) })
                .collect()
        } else {
            format!(" {}", value.trim())
        };
        text.push_str(&format!("{}:{value}\n", field(option)));
    }
    text
}

fn prepare(call: &Call) -> Result<Decision, String> {
    let name = slug(&call.need("name")?);
    let dest = format!("/etc/apt/sources.list.d/{name}.sources");
    let absent = call.text("state").as_deref() == Some("absent");
    let signed = call.text("signed_by");
    let url = signed.clone().filter(|s| ["http://", "https://", "ftp://", "file://"].iter().any(|p| s.starts_with(p)));
    let env = exports(&call.env);
    // The key is fetched by the host itself, before anything is decided, to compare it with the one that is there.
    let key = match &url {
        Some(u) if !absent => {
            let u = shell_quote(u);
            format!(
                "{FOLDER}tp_k=$tp_w/key\ncase {u} in file://*) u={u}; cat \"${{u#file://}}\" >\"$tp_k\";;\n\
                 *) if command -v curl >/dev/null; then curl -fsSL -o \"$tp_k\" {u}; else wget -q -O \"$tp_k\" {u}; fi;; esac 2>&1 || {{ echo no_key=1; exit 0; }}\n\
                 if head -n 1 \"$tp_k\" | grep -q '^-----BEGIN PGP'; then e=asc; else e=gpg; fi; echo \"ext=$e\"\n\
                 cmp -s \"$tp_k\" {KEYS}/{name}.$e || echo new_key=1\n"
            )
        }
        None => signed.as_ref().filter(|s| s.starts_with('/')).map_or_else(String::new, |s| {
            // A file of the host.
            format!("[ ! -f {} ] || echo signed_there=1\n", shell_quote(s))
        }),
        _ => String::new(),
    };
    let d = shell_quote(&dest);
    let (attrs, diff, check) = (Attrs::of(call), call.diff, call.check);
    let there = format!("for e in asc gpg; do [ -e {KEYS}/{name}.$e ] && echo has_$e=1; done\n");
    let probe = format!("{env}{key}{there}{}echo\ncat {d} 2>/dev/null\nexit 0\n", attrs.probe(&d, "-L"));
    let before_key = paragraph(call, Some("\u{1}"));
    let look = format!("tp_stat {d} -L\n");
    Ok(Decision::Probe(
        probe,
        Box::new(move |out| {
            let text = out.stdout.clone();
            let (seen, old) = Seen::read(&out);
            if seen.get("no_key") == "1" {
                let said = String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned();
                return Err(format!("Could not fetch signed_by key: {said}"));
            }
            let is = |k: &str| seen.get(k) == "1";
            let want = Want { name, dest, attrs, diff, check, look };
            if absent {
                let file = match (is("has_asc"), is("has_gpg")) {
                    (true, false) => "asc",
                    _ => "gpg",
                };
                return Ok(want.delete(&seen, &format!("{KEYS}/{}.{file}", want.name), is("has_asc") || is("has_gpg")));
            }
            let file = url
                .as_ref()
                .map(|_| format!("{KEYS}/{}.{}", want.name, if seen.get("ext") == "asc" { "asc" } else { "gpg" }));
            let repo = before_key.replace('\u{1}', file.as_deref().or(signed.as_deref()).unwrap_or_default().trim());
            // A key's text within the file is laid out like any other value of several lines.
            let repo = match (&signed, &file) {
                (Some(s), None) if s.trim().contains('\n') => before_key.replace(
                    " \u{1}",
                    &s.trim()
                        .lines()
                        .map(|l| if l.trim().is_empty() { "\n    .".to_owned() } else { format!("\n    {}", l.trim()) })
                        .collect::<String>(),
                ),
                _ => repo,
            };
            let key = file.or_else(|| signed.filter(|_| is("signed_there")));
            want.write(&seen, &old, repo, url, key, is("new_key"))
        }),
    ))
}

struct Want {
    name: String,
    dest: String,
    attrs: Attrs,
    diff: bool,
    check: bool,
    look: String,
}

impl Want {
    fn delete(&self, seen: &Seen, key: &str, has_key: bool) -> Decision {
        let there = seen.there();
        let result = fields([
            ("changed", json!(there || has_key)),
            ("repo", Json::Null),
            ("dest", json!(self.dest)),
            ("key_filename", json!(key)),
        ]);
        if !there && !has_key {
            return Decision::Done(result);
        }
        let mut expected = result.clone();
        if self.check {
            expected.extend(seen.facts());
        }
        Decision::Change(Pending {
            script: format!("rm -f {} {KEYS}/{n}.asc {KEYS}/{n}.gpg\n", shell_quote(&self.dest), n = self.name),
            action: Action::Delete,
            subject: format!("repository {}", self.name),
            path: Some(self.dest.clone()),
            before: Some(json!(self.dest)),
            after: None,
            certain: true,
            foreign: false,
            expected,
            finish: super::finish(result),
        })
    }

    fn write(
        self,
        seen: &Seen,
        old: &[u8],
        repo: String,
        url: Option<String>,
        key: Option<String>,
        new_key: bool,
    ) -> Result<Decision, String> {
        let there = seen.there();
        let new_file = Seen::default().with(&[("raw", "81a4".to_owned())]);
        let mend = self.attrs.mend(if there { seen } else { &new_file }, &self.dest).map_err(|f| why(&f))?.script;
        let new = !there || old != repo.as_bytes();
        let changed = new || new_key || !mend.is_empty();
        let mut result = fields([
            ("changed", json!(changed)),
            ("repo", json!(repo)),
            ("dest", json!(self.dest)),
            ("key_filename", json!(key)),
        ]);
        if !changed {
            result.extend(seen.facts());
            return Ok(Decision::Done(result));
        }
        let mut expected = result.clone();
        expected.extend(seen.facts());
        if self.diff && new {
            let texts = json!({
                "before": String::from_utf8_lossy(old), "after": repo,
                "before_header": if there { self.dest.as_str() } else { "/dev/null" }, "after_header": self.dest,
            });
            expected.insert("diff".into(), texts.clone());
            result.insert("diff".into(), texts);
        }
        let mut script = String::new();
        if let (Some(url), Some(key), true) = (&url, &key, new_key) {
            let (u, k) = (shell_quote(url), shell_quote(key));
            script.push_str(&format!(
                "[ -d {KEYS} ] || mkdir -m 0755 {KEYS} || exit $?\nk={k}.towpath.$$\ncase {u} in file://*) u={u}; cat \"${{u#file://}}\" >\"$k\";;\n\
                 *) if command -v curl >/dev/null; then curl -fsSL -o \"$k\" {u}; else wget -q -O \"$k\" {u}; fi;; esac || {{ r=$?; rm -f \"$k\"; exit $r; }}\n\
                 chmod 0644 \"$k\" && mv -f \"$k\" {k} || exit $?\n"
            ));
        }
        if new {
            script.push_str(&put(&self.dest, repo.as_bytes(), &mend));
        } else if !mend.is_empty() {
            script.push_str(&format!("p={}\n{mend}", shell_quote(&self.dest)));
        }
        let steps = super::steps::Steps::new();
        Ok(Decision::Change(Pending {
            script: steps.script(&script, &self.look),
            action: if there { Action::Update } else { Action::Create },
            subject: format!("repository {}", self.name),
            path: Some(self.dest.clone()),
            before: there.then(|| json!(String::from_utf8_lossy(old))),
            after: Some(json!(repo)),
            certain: true,
            foreign: false,
            expected,
            finish: Box::new(move |out: Output| {
                let (out, after) = steps.split(out);
                let Some(after) = after else { return failed(Fields::new(), out.error_text()) };
                result.extend(
                    Seen::default()
                        .with(&after.iter().map(|(k, v)| (k.as_str(), v.clone())).collect::<Vec<_>>())
                        .facts(),
                );
                result
            }),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::{field, slug};

    #[test]
    fn names_of_files_and_fields() {
        assert_eq!(slug("All of them/and more"), "all-of-themand-more");
        assert_eq!(field("check_valid_until"), "Check-Valid-Until");
        assert_eq!(field("uris"), "URIs");
    }
}
