//! Archives that the target fetches before it unpacks them.

use towpath_core::{Result, shell_quote};

use super::attrs::failed;
use super::http::{Head, Request, failure};
use super::{Decided, Decision, Drive, Fields, Output, Remote, head};
use crate::carry::Script;

/// Fetches the archive, then does what `next` says for its path. It is gone in the end.
pub(super) fn fetched(
    request: Request,
    check: bool,
    next: impl FnOnce(String) -> Decision + Send + 'static,
) -> Decision {
    let drive: Drive = Box::new(move |remote| Box::pin(drive(request, check, next, remote)));
    Decision::Drive(drive)
}

/// A path of its own that ends as the address does.
fn place(url: &str) -> (String, String) {
    let nonce = hex::encode(rand::random::<[u8; 8]>());
    let folder = format!("/tmp/.towpath.{nonce}");
    let name = url.split(['?', '#']).next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let safe = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name: String = name.chars().filter(|c| safe(*c)).collect();
    let (stem, end) = name.split_once('.').map_or((name.as_str(), String::new()), |(s, e)| (s, format!(".{e}")));
    let path = format!("{folder}/{stem}{}{end}", nonce.get(..8).unwrap_or_default());
    (folder, path)
}

async fn drive(
    request: Request,
    check: bool,
    next: impl FnOnce(String) -> Decision,
    remote: &mut dyn Remote,
) -> Result<Decided> {
    let (folder, path) = place(&request.url);
    let (f, p) = (shell_quote(&folder), shell_quote(&path));
    let script = format!(
        "{}set +e\ntp_c=$(sed -n 's/^HTTP[^ ]* \\([0-9]*\\).*/\\1/p' \"$tp_w/head\" | tail -n 1)\n\
         if [ \"$tp_v\" -eq 0 ] && [ \"${{tp_c:-200}}\" -lt 300 ]; then\n\
         mkdir -m 700 -- {f} && mv -- \"$tp_w/body\" {p} || exit 1\nprintf 'fetched=1\\n'\nfi\n\
         printf 'status=%s\\nhead=%s\\n\\n' \"$tp_v\" \"$(wc -c <\"$tp_w/head\")\"\ncat -- \"$tp_w/head\" \"$tp_w/error\"\nexit 0\n",
        request.script()
    );
    let out = remote.run(Script { text: script, foreign: false }).await?;
    if let Some(why) = refusal(&request.url, &out) {
        return Ok(Ok(failed(why, Fields::new())));
    }
    let mut decision = Ok(next(path));
    loop {
        match decision {
            Ok(Decision::Probe(text, decide)) => {
                decision = decide(remote.run(Script { text, foreign: false }).await?);
            }
            Ok(Decision::Change(mut pending)) if !check => {
                pending.script = format!("(\n{}\n)\ntp_v=$?\nrm -rf -- {f}\nexit $tp_v\n", pending.script);
                return Ok(Ok(Decision::Change(pending)));
            }
            other => {
                remote.run(Script { text: format!("rm -rf -- {f}\n"), foreign: false }).await?;
                return Ok(other);
            }
        }
    }
}

/// Why nothing was fetched.
fn refusal(url: &str, out: &Output) -> Option<String> {
    let (seen, body) = head(out);
    let get = |k: &str| seen.get(k).map(|v| v.trim()).unwrap_or_default();
    if get("fetched") == "1" {
        return None;
    }
    let (top, error) = body.split_at(get("head").parse::<usize>().unwrap_or(0).min(body.len()));
    let why = match get("status").parse::<i64>() {
        Ok(0) => {
            let answer = Head::read(&String::from_utf8_lossy(top));
            format!("HTTP Error {}: {}", answer.status, answer.reason)
        }
        Ok(status) => format!("Request failed: {}", failure(status, &String::from_utf8_lossy(error))),
        Err(_) => out.error_text().trim().to_owned(),
    };
    Some(format!("Failure downloading {url}, {why}"))
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn archives_keep_their_endings() {
        let (folder, path) = place("http://h/a/x.tar.gz?b=c/d");
        assert!(path.starts_with(&format!("{folder}/x")) && path.ends_with(".tar.gz"), "{path}");
        assert!(place("http://h/").1.len() > folder.len());
    }
}
