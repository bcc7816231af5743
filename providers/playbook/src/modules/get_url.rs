//! `get_url`.

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::attrs::{Attrs, Mend, Seen, failed};
use super::content::{broken, temporary};
use super::http::{Head, Request, failure};
use super::spec::Rules;
use super::{Call, Decision, Fields, Module, Output, Pending, Place, fields};

/// `get_url`.
pub(super) const MODULE: Module =
    Module { names: &["get_url"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

/// When the file was changed, as a request tells it. `date` of some systems can't say.
const SINCE: &str = "printf 'since=%s\\n' \"$(date -u -r \"$d\" '+%a, %d %b %Y %H:%M:%S GMT' 2>/dev/null)\"\n";

/// Tells the tool's status, the head of the answer and the error.
const TELL: &str = "printf 'status=%s\\nhead=%s\\n\\n' \"$tp_v\" \"$(wc -c <\"$tp_w/head\")\" >&3\ncat -- \"$tp_w/head\" \"$tp_w/error\" >&3\n";

const ALGORITHMS: [&str; 6] = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"];

fn prepare(call: &Call) -> Result<Decision, String> {
    let request = Request::of(call)?;
    let (url, dest) = (request.url.clone(), call.need("dest")?);
    if !url.contains("://") {
        let more = fields([("url", json!(url)), ("status", json!(-1))]);
        return Ok(failed(format!("unknown url type: '{url}'"), more));
    }
    let checksum = match call.text("checksum").filter(|c| !c.is_empty()) {
        None => None,
        Some(c) => match c.split_once(':') {
            None => {
                let mut more = fields([
                    ("url", json!(url)),
                    ("dest", json!(dest)),
                    ("checksum_src", Json::Null),
                    ("checksum_dest", Json::Null),
                ]);
                return Ok(Decision::Probe(
                    format!("tp_stat {} -L\n", shell_quote(&dest)),
                    Box::new(move |out| {
                        more.extend(Seen::read(&out).0.facts());
                        Ok(failed("The checksum parameter has to be in format <algorithm>:<checksum>", more))
                    }),
                ));
            }
            Some((a, _)) if !ALGORITHMS.contains(&a) => {
                return Err(format!(
                    "Could not hash file '{dest}' with algorithm '{a}'. Available algorithms: {}",
                    ALGORITHMS.join(", ")
                ));
            }
            Some((a, sum)) => Some((a.to_owned(), sum.trim().to_owned())),
        },
    };
    let force = call.yes("force")? == Some(true);
    let attrs = Attrs::of(call);
    let folder = dest.ends_with('/');
    let d = shell_quote(&dest);
    let tool = checksum
        .as_ref()
        .map(|(a, sum)| {
            let list = if sum.contains("://") && !force { look_up(sum, &url) } else { String::new() };
            format!("tp_x=$({a}sum <\"$d\")\ntp_y=\n{list}printf 'want=%s\\nlisted=%s\\n' \"$tp_x\" \"$tp_y\"\n")
        })
        .unwrap_or_default();
    let script = format!(
        "d={d}\nif [ -d \"$d\" ]; then echo folder=1; fi\n{}if [ -f \"$d\" ]; then tp_sum sha1sum \"$d\"\n{SINCE}{tool}fi\n",
        attrs.probe("\"$d\"", "-L")
    );
    let tmp = call.text("tmp_dest").filter(|t| !t.is_empty());
    // What is fetched waits there.
    let (look, set) = match &tmp {
        Some(t) => {
            let t = shell_quote(t);
            (
                format!("if [ ! -e {t} ]; then echo tmp=absent; elif [ ! -d {t} ]; then echo tmp=file; fi\n"),
                format!("TMPDIR={t}\n"),
            )
        }
        None => (String::new(), String::new()),
    };
    let script = format!("{look}{script}");
    let backup = call.yes("backup")? == Some(true);
    let check = call.check;
    let mut request = request;
    Ok(Decision::Probe(
        script,
        Box::new(move |out| {
            let (seen, _) = Seen::read(&out);
            let into = seen.get("folder") == "1" || folder;
            let there = seen.regular();
            let held = checksum.as_ref().is_some_and(|(_, sum)| {
                let sum = if sum.contains("://") { seen.get("listed") } else { sum };
                seen.get("want")
                    .split(' ')
                    .next()
                    .is_some_and(|have| !have.is_empty() && have.eq_ignore_ascii_case(sum))
            });
            if there && !force && held {
                let mend = match attrs.mend(&seen, &dest) {
                    Ok(mend) => mend,
                    Err(why) => return Ok(Decision::Done(why)),
                };
                return Ok(existing(&seen, &url, &dest, &mend));
            }
            let base = if there { seen.clone() } else { seen.fresh(false) };
            let mend = match attrs.mend(&base, &dest) {
                Ok(mend) => mend,
                Err(why) => return Ok(Decision::Done(why)),
            };
            let folder = tmp.as_deref().unwrap_or_default();
            match seen.get("tmp") {
                "absent" => return Err(format!("{folder} directory does not exist.")),
                "file" => return Err(format!("{folder} is a file but should be a directory.")),
                _ => {}
            }
            // A file that is not asked for anew is fetched only if the server has a newer one.
            if there && !force && checksum.is_none() && !seen.get("since").is_empty() {
                request.headers.insert("If-Modified-Since".into(), seen.get("since").to_owned());
            }
            let script = set.clone() + &download(&request, &dest, into, backup, checksum.as_ref(), &mend);
            let asked = check.then(|| {
                request.method = "HEAD".into();
                set + &head_script(&request, &dest, into)
            });
            let file = Target { url, dest, tmp, there, old: seen };
            let Some(asked) = asked else {
                let expected = fields([("changed", json!(true))]);
                return Ok(Decision::Change(pending(script, file, expected)));
            };
            Ok(Decision::Probe(asked, Box::new(move |out| Ok(foresee(script, file, &out)))))
        }),
    ))
}

/// What is fetched, where to, and what is there.
struct Target {
    url: String,
    dest: String,
    tmp: Option<String>,
    there: bool,
    old: Seen,
}

impl Target {
    /// Where Ansible would have put what it fetches.
    fn source(&self) -> String {
        let name = temporary("").replace("/tmp/.towpath.content/.", "/tmp/.towpath.content/tmp");
        match &self.tmp {
            Some(t) => name.replace("/tmp/.towpath.content", t.trim_end_matches('/')),
            None => name,
        }
    }
}

fn pending(script: String, file: Target, expected: Fields) -> Pending {
    Pending {
        script,
        action: if file.there { Action::Update } else { Action::Create },
        subject: format!("file {}", file.dest),
        path: Some(file.dest.clone()),
        before: None,
        after: None,
        certain: false,
        foreign: false,
        expected,
        finish: Box::new(move |out| finish(&out, &file)),
    }
}

/// Asks the server for the head alone.
fn head_script(request: &Request, dest: &str, into: bool) -> String {
    format!(
        "exec 3>&1 1>&2\nd={}\n{}{}if [ -f \"$d\" ]; then tp_stat \"$d\" -L >&3; fi\n\
         printf 'path=%s\\nold=%s\\n' \"$d\" \"$(if [ -f \"$d\" ]; then sha1sum <\"$d\"; fi)\" >&3\n{TELL}",
        shell_quote(dest),
        request.script(),
        choose(request, into),
    )
}

/// What check mode gives, by the server's head.
fn foresee(script: String, file: Target, out: &Output) -> Decision {
    let (seen, head) = match answered(out, &file) {
        Ok(answer) => answer,
        Err(result) => return Decision::Done(result),
    };
    let mut result = fields([
        ("changed", json!(true)),
        ("msg", json!(ok(&head))),
        ("url", json!(file.url)),
        ("dest", json!(seen.get("path"))),
        ("src", json!(file.source())),
        ("checksum_dest", json!(seen.get("old").split(' ').next().filter(|s| !s.is_empty()))),
        // Of nothing: the body is not asked for.
        ("checksum_src", json!("da39a3ee5e6b4b0d3255bfef95601890afd80709")),
    ]);
    result.extend(seen.facts());
    Decision::Change(pending(script, file, result))
}

fn ok(head: &Head) -> String {
    format!("OK ({} bytes)", head.get("content-length").unwrap_or("unknown"))
}

/// The file has the checksum that is asked for: nothing is fetched.
fn existing(seen: &Seen, url: &str, dest: &str, mend: &Mend) -> Decision {
    let mut result = fields([
        ("changed", json!(!mend.none())),
        ("msg", json!("file already exists")),
        ("dest", json!(dest)),
        ("url", json!(url)),
        ("checksum_src", Json::Null),
        ("checksum_dest", Json::Null),
    ]);
    result.extend(seen.facts());
    if mend.none() {
        return Decision::Done(result);
    }
    Decision::Change(Pending {
        script: format!("{}p={}\n{}tp_stat \"$p\" >&3\n", super::content::QUIET, shell_quote(dest), mend.all()),
        action: Action::Update,
        subject: format!("file {dest}"),
        path: Some(dest.to_owned()),
        before: Some(Json::Object(mend.before.clone())),
        after: Some(Json::Object(mend.after.clone())),
        certain: true,
        foreign: false,
        expected: result.clone(),
        finish: super::content::settled(result, true, super::content::refused),
    })
}

/// Sets `tp_y` to the sum that a list at another address has for the file. The list is fetched without the task's options of the
/// request; the line of the file's name counts.
fn look_up(list: &str, url: &str) -> String {
    let name = url.split(['?', '#']).next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    format!(
        "tp_y=$({{ if command -v curl >/dev/null 2>&1; then curl -sSL -q -- {0}; else wget -q -O - {0}; fi; }} | while read -r a b; do b=${{b#\\*}}; \
         if [ \"${{b##*/}}\" = {1} ] || [ -z \"$b\" ]; then echo \"$a\"; break; fi; done)\n",
        shell_quote(list),
        shell_quote(name)
    )
}

/// Names the file in a folder, by the answer or the address. A server's word for a name leads to no other folder.
fn choose(request: &Request, into: bool) -> String {
    if into {
        format!(
            "n=$(sed -n 's/^[Cc]ontent-[Dd]isposition:.*filename=\"\\{{0,1\\}}\\([^\";]*\\).*/\\1/p' \"$tp_w/head\" | tr -d '\\r' | tail -n 1)\n\
             l=$(sed -n 's/^[Ll]ocation: *//p' \"$tp_w/head\" | tr -d '\\r' | tail -n 1)\n\
             n=${{n##*/}}\nif [ -z \"$n\" ]; then n=${{l:-{}}}; n=${{n%%[?#]*}}; n=${{n##*/}}; fi\ncase $n in .|..) n=;; esac\nd=${{d%/}}/${{n:-index.html}}\n",
            shell_quote(&request.url)
        )
    } else {
        String::new()
    }
}

fn download(
    request: &Request,
    dest: &str,
    into: bool,
    backup: bool,
    checksum: Option<&(String, String)>,
    mend: &Mend,
) -> String {
    let check = match checksum {
        None => String::new(),
        Some((a, sum)) => {
            let (fetch, want) = if sum.contains("://") {
                (look_up(sum, &request.url), "$tp_y".to_owned())
            } else {
                (String::new(), sum.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect())
            };
            format!(
                "{fetch}tp_x=$({a}sum <\"$tp_w/body\"); tp_x=${{tp_x%% *}}\n\
                 if [ \"$tp_x\" != \"{want}\" ]; then printf 'differs=%s\\nwanted=%s\\n' \"$tp_x\" \"{want}\" >&3; fail=1; fi\n"
            )
        }
    };
    let keep = if backup { "if [ -f \"$d\" ]; then tp_backup \"$d\"; fi\n" } else { "" };
    let choose = choose(request, into);
    format!(
        "exec 3>&1 1>&2\nd={}\n{}fail=\ncode=$(sed -n 's/^HTTP[^ ]* \\([0-9]*\\).*/\\1/p' \"$tp_w/head\" | tail -n 1)\n\
         if [ \"$tp_v\" -eq 0 ] && [ \"${{code:-200}}\" -lt 300 ]; then\n{choose}\
         printf 'path=%s\\nold=%s\\nbytes=%s\\nsum=%s\\nmd5=%s\\n' \"$d\" \"$(if [ -f \"$d\" ]; then sha1sum <\"$d\"; fi)\" \"$(wc -c <\"$tp_w/body\")\" \"$(sha1sum <\"$tp_w/body\")\" \"$(md5sum <\"$tp_w/body\")\" >&3\n\
         if [ ! -d \"${{d%/*}}/\" ]; then echo parent=absent >&3; fail=1; fi\n{check}\
         if [ -z \"$fail\" ]; then\nif cmp -s -- \"$tp_w/body\" \"$d\"; then echo same=1 >&3; else\n{keep}\
         tp_new \"$d\"\n(umask 077; set -C; cat -- \"$tp_w/body\" >\"$tp_t\")\ntp_keep \"$d\"\nmv -f -- \"$tp_t\" \"$d\"\nfi\n\
         p=$d\ntp_q=$(stat -c '%a %u %g' -- \"$d\")\n{}tp_stat \"$d\" >&3\n\
         if [ \"$tp_q\" != \"$(stat -c '%a %u %g' -- \"$d\")\" ]; then echo mended=1 >&3; fi\nfi\nfi\n\
         {TELL}",
        shell_quote(dest),
        request.script(),
        mend.all(),
    )
}

/// The head of an answer that has the file; or the result, if there is none, or the file is no newer one.
fn answered(out: &Output, file: &Target) -> Result<(Seen, Head), Fields> {
    let (seen, rest) = Seen::read(out);
    if out.rc != 0 {
        return Err(broken(out, &seen));
    }
    let size = seen.get("head").trim().parse::<usize>().unwrap_or(0);
    let (head, error) = rest.split_at(size.min(rest.len()));
    let head = Head::read(&String::from_utf8_lossy(head));
    let status = seen.get("status").parse::<i64>().unwrap_or(-1);
    let mut all = fields([("url", json!(file.url)), ("dest", json!(file.dest)), ("changed", json!(false))]);
    if file.there {
        all.extend(file.old.facts());
    }
    if status == 0 && head.status < 300 {
        return Ok((seen, head));
    }
    let msg = match status {
        0 => {
            let said = format!("HTTP Error {}: {}", head.status, head.reason);
            all.insert("status_code".into(), json!(head.status));
            if head.status == 304 {
                all.insert("msg".into(), json!(said));
                return Err(all);
            }
            all.insert("response".into(), json!(said));
            "Request failed".to_owned()
        }
        28 => "Connection failure: timed out".to_owned(),
        _ => format!("Request failed: {}", failure(status, &String::from_utf8_lossy(error))),
    };
    all.insert("failed".into(), true.into());
    all.insert("msg".into(), json!(msg));
    Err(all)
}

fn finish(out: &Output, file: &Target) -> Fields {
    let (seen, head) = match answered(out, file) {
        Ok(answer) => answer,
        Err(result) => return result,
    };
    let path = if seen.get("path").is_empty() { &file.dest } else { seen.get("path") };
    let src = file.source();
    // The file's name may come from the answer; then what was there is known only now.
    let old = Some(seen.get("old").split(' ').next().unwrap_or_default()).filter(|s| !s.is_empty());
    let mut all = fields([
        ("url", json!(file.url)),
        ("dest", json!(path)),
        ("changed", json!(false)),
        ("checksum_src", json!(seen.sum())),
        ("checksum_dest", json!(old)),
        ("src", json!(src)),
    ]);
    let fail = |mut all: Fields, msg: String| {
        if file.there {
            all.extend(file.old.facts());
        }
        all.insert("failed".into(), true.into());
        all.insert("msg".into(), json!(msg));
        all
    };
    if !seen.get("differs").is_empty() {
        let msg =
            format!("The checksum for {src} did not match {}; it was {}.", seen.get("wanted"), seen.get("differs"));
        return fail(all, msg);
    }
    if seen.get("parent") == "absent" {
        return fail(all, format!("Destination {} does not exist", super::copy::parent(path)));
    }
    let same = seen.get("same") == "1" && seen.get("mended") != "1";
    all.extend(seen.facts());
    all.extend(fields([
        ("changed", json!(!same)),
        ("msg", json!(ok(&head))),
        ("status_code", json!(head.status)),
        ("md5sum", json!(seen.get("md5").split(' ').next())),
    ]));
    if !seen.get("backup_file").is_empty() {
        all.insert("backup_file".into(), json!(seen.get("backup_file")));
    }
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Request, choose};

    #[test]
    fn a_server_names_a_file_and_no_folder() {
        let dir = tempfile::tempdir().unwrap();
        let request = Request::plain("http://h/a/from-url?x=/y".into(), true);
        for (named, wanted) in [
            ("filename=\"good.txt\"", "d/good.txt"),
            ("filename=\"../../etc/cron.d/x\"", "d/x"),
            ("filename=\"..\"", "d/index.html"),
            ("filename=\".\"", "d/index.html"),
            ("nothing", "d/from-url"),
        ] {
            std::fs::write(dir.path().join("head"), format!("Content-Disposition: attachment; {named}\r\n")).unwrap();
            let script = format!("tp_w={}\nd=d\n{}printf %s \"$d\"\n", dir.path().display(), choose(&request, true));
            let out = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&out.stdout), wanted, "{named}");
        }
    }
}
