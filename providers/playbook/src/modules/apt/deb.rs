//! Files of packages: what they need first, then `dpkg -i`.

use serde_json::json;
use towpath_core::shell_quote;

use super::names::compare;
use super::{Task, failed, fields, said, seen};
use crate::modules::steps::Steps;
use crate::modules::{Decision, Fields, Finish};

pub(super) fn prepare(task: Task, file: String, downgrade: bool, force: bool) -> Result<Decision, String> {
    if task.state != "present" {
        return Err("deb only supports state=present".into());
    }
    if file.contains("://") {
        return Err(format!("`deb` takes files of the host so far, not `{file}`: fetch it with get_url first"));
    }
    let probe = format!(
        "{}f={}\n[ -r \"$f\" ] || {{ echo none=1; exit 0; }}\n\
         p=$(dpkg-deb -f \"$f\" Package 2>/dev/null) || {{ echo bad=1; exit 0; }}\n\
         v=$(dpkg-deb -f \"$f\" Version); echo \"package=$p\"; echo \"version=$v\"\n\
         n=$(dpkg-query -W -f '${{db:Status-Abbrev}}|${{Version}}' \"$p\" 2>/dev/null)\n\
         case $n in ?i*) n=${{n#*|}}; echo \"now=$n\"; [ \"$n\" != \"$v\" ] || exit 0;; esac\n\
         if s=$(apt-get -s -y --allow-downgrades install \"$f\" 2>&1); then\n\
         echo \"first=$(printf '%s\\n' \"$s\" | awk -v p=\"$p\" '$1 == \"Inst\" && $2 != p {{ v = ($3 ~ /^\\[/) ? $4 : $3; sub(/^\\(/, \"\", v); printf \"%s=%s \", $2, v }}')\"\n\
         else echo \"lacks=$(printf '%s\\n' \"$s\" | sed -n 's/.*Depends: \\([^ ]*\\).* but it is not.*/\\1/p' | head -n 1)\"; fi\nexit 0\n",
        task.env,
        shell_quote(&file)
    );
    Ok(Decision::Probe(
        probe,
        Box::new(move |out| {
            let seen = seen(out);
            let get = |k: &str| seen.get(k).map(String::as_str).unwrap_or_default();
            if seen.contains_key("none") {
                return Err(format!(
                    "Unable to install package: E:Could not open file {file} - open (2: No such file or directory)"
                ));
            }
            if seen.contains_key("bad") {
                return Err("Unable to install package: E:Invalid archive signature".into());
            }
            if let Some(now) = seen.get("now") {
                if now == get("version") {
                    let mut same = fields([("changed", json!(false))]);
                    said(&mut same, &Default::default(), true);
                    return Ok(Decision::Done(same));
                }
                if !downgrade && !force && compare(now, get("version")).is_gt() {
                    return Err("A later version is already installed".into());
                }
            }
            if !get("lacks").is_empty() {
                return Err(format!("Dependency is not satisfiable: {}\n", get("lacks")));
            }
            let first: Vec<String> = get("first").split_whitespace().map(str::to_owned).collect();
            Ok(change(&task, &file, get("package"), &first, force))
        }),
    ))
}

fn change(task: &Task, file: &str, package: &str, first: &[String], force: bool) -> Decision {
    let simulate = if task.flags.simulate { " --simulate" } else { "" };
    let force = if force { " --force-all" } else { "" };
    let line = format!("dpkg{}{simulate}{force} -i {file}", task.flags.dpkg());
    let mut script = task.env.clone();
    if !first.is_empty() {
        script.push_str(&format!("{}[ $? = 0 ] || exit 76\n", task.flags.run(&task.flags.install(first))));
    }
    script.push_str(&format!("dpkg{}{simulate}{force} -i {} || exit 75\n", task.flags.dpkg(), shell_quote(file)));
    let steps = Steps::new();
    let script = steps.script(&script, "");
    let shown = line.clone();
    let finish: Finish = Box::new(move |out| {
        let rc = out.rc;
        let (out, done) = steps.split(out);
        let mut result = fields([("changed", json!(true))]);
        said(&mut result, &out, true);
        match (done, rc) {
            (Some(_), _) => result,
            (None, 75) => failed(result, format!("{shown} failed")),
            (None, _) => failed(result, out.error_text()),
        }
    });
    if task.flags.simulate {
        return Decision::Probe(script, Box::new(move |out| Ok(super::packages::foreseen(finish(out), &line))));
    }
    Decision::Change(task.pending(
        script,
        format!("package {package}"),
        Fields::from_iter([("changed".to_owned(), json!(true))]),
        finish,
    ))
}
