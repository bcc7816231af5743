use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha1_of_ssh::Sha1;
use towpath_core::{Error, ErrorKind, Json, Result, Secret};

use crate::address::decoded;
use crate::provider::STRIDER;

const DO: &str = "webhook";

/// Who sent a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushFrom {
    /// GitHub, or something that speaks like it: somebody pushed.
    Github,
    /// Strider: the tests of a push are over. It says so **before** it deploys.
    Strider,
}

/// What a webhook says, once its signature was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// Who sent it.
    pub from: PushFrom,
    /// The project: `acme/web`.
    pub project: String,
    /// The branch; `None` where a tag was pushed.
    pub branch: Option<String>,
    /// The commit.
    pub commit: String,
    /// The commit's message, as GitHub tells it.
    pub message: Option<String>,
    /// Whether its author wants no job: `[skip ci]` or `[ci skip]` is in the message.
    pub skip: bool,
    /// The exit code of the tests, as Strider tells it.
    pub test_exit_code: Option<i64>,
    /// The repository's address.
    pub repository: Option<String>,
}

/// Verifies a webhook and reads it: `X-Hub-Signature: sha1=...`, an HMAC-SHA1 with the secret that both sides know.
///
/// Understood are GitHub's form (a field `payload`) and JSON, signed over the body as it is, and what Strider's plugin sends: a JSON body
/// `{"payload": "..."}` whose signature is over the same payload **as a form**, so that it has to be encoded again. Compared in constant time.
/// Nothing of a body is believed, nor parsed further than that, before its signature fits.
///
/// It is a pure function: use it inside of any HTTP server, or see [`WebhookListener`](crate::WebhookListener). A signed body that somebody
/// recorded can be sent again: what it starts must bear that, as a deployment of a version that runs already does.
///
/// # Errors
///
/// [`Denied`](ErrorKind::Denied): no signature, several, or one that does not fit.
/// [`InvalidInput`](ErrorKind::InvalidInput): it is signed, but no such body; or the secret is empty.
/// [`Unsupported`](ErrorKind::Unsupported): it is signed, and no push: a `ping`, a removed branch.
pub fn verify(headers: &[(&str, &str)], body: &[u8], secret: &Secret) -> Result<Push> {
    if secret.expose().is_empty() {
        return Err(invalid("an empty secret would let everybody in: give one"));
    }
    let given = signature(headers)?;
    let of_strider = strider_payload(body);
    let mut fits = signed(secret, body, &given);
    for form in of_strider.iter().flat_map(|payload| forms(payload)) {
        // All of them, whatever came before: how long it takes says nothing.
        fits |= signed(secret, form.as_bytes(), &given);
    }
    if !fits {
        return Err(Error::new(
            ErrorKind::Denied,
            STRIDER,
            DO,
            "the signature does not fit: is the secret the same on both sides?",
        ));
    }
    if let Some(event) = header(headers, "x-github-event").filter(|e| *e != "push") {
        let message = format!("it is signed, and no push but `{}`", event.chars().take(40).collect::<String>());
        return Err(Error::new(ErrorKind::Unsupported, STRIDER, DO, message));
    }
    let payload = match of_strider {
        Some(payload) => payload,
        None if is_form(headers) => form_field(body).ok_or_else(|| invalid("the form has no field `payload`"))?,
        None => String::from_utf8(body.to_vec()).map_err(|_| invalid("the body is no UTF-8"))?,
    };
    let json: Json = serde_json::from_str(&payload)
        .map_err(|e| invalid("the payload is no JSON").with("line", e.line()).with("column", e.column()))?;
    read(&json)
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, STRIDER, DO, message)
}

fn header<'a>(headers: &[(&str, &'a str)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| *v)
}

fn signature(headers: &[(&str, &str)]) -> Result<Vec<u8>> {
    let denied = |message: &str| Error::new(ErrorKind::Denied, STRIDER, DO, message);
    let mut all = headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case("x-hub-signature")).map(|(_, v)| v.trim());
    let first =
        all.next().ok_or_else(|| denied("there is no `X-Hub-Signature`: set the webhook's secret at its sender"))?;
    if all.next().is_some() {
        return Err(denied("there are several `X-Hub-Signature`"));
    }
    let digits = first.strip_prefix("sha1=").ok_or_else(|| denied("`X-Hub-Signature` does not begin with `sha1=`"))?;
    hex::decode(digits).map_err(|_| denied("`X-Hub-Signature` is not hexadecimal"))
}

fn signed(secret: &Secret, text: &[u8], signature: &[u8]) -> bool {
    Hmac::<Sha1>::new_from_slice(secret.expose().as_bytes()).is_ok_and(|mut mac| {
        mac.update(text);
        mac.verify_slice(signature).is_ok()
    })
}

/// `{"payload": "<json text>"}`
fn strider_payload(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Outer {
        payload: String,
    }
    serde_json::from_slice::<Outer>(body).ok().map(|outer| outer.payload)
}

/// The payload as a form, in each way in which JavaScript's libraries write one: they differ in what needs no `%`, and in the blank.
fn forms(payload: &str) -> [String; 3] {
    let form = |plain: &str, blank: Option<char>| {
        let mut out = String::with_capacity(payload.len() * 2 + 8);
        out.push_str("payload=");
        for byte in payload.bytes() {
            let c = char::from(byte);
            match blank.filter(|_| byte == b' ') {
                Some(blank) => out.push(blank),
                None if byte.is_ascii_alphanumeric() || plain.contains(c) => out.push(c),
                None => out.push_str(&format!("%{byte:02X}")),
            }
        }
        out
    };
    // `querystring`, `qs` (RFC 3986), `URLSearchParams`.
    [form("-_.!~*'()", None), form("-_.~", None), form("-_.*", Some('+'))]
}

fn is_form(headers: &[(&str, &str)]) -> bool {
    let kind = header(headers, "content-type").unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn form_field(body: &[u8]) -> Option<String> {
    let body = std::str::from_utf8(body).ok()?;
    let value = body.split('&').find_map(|pair| pair.strip_prefix("payload="))?;
    decoded(&value.replace('+', " "))
}

fn read(json: &Json) -> Result<Push> {
    let text =
        |pointer: &str| json.pointer(pointer).and_then(Json::as_str).filter(|t| !t.is_empty()).map(str::to_owned);
    let needed =
        |value: Option<String>, name: &str| value.ok_or_else(|| invalid(&format!("the payload has no `{name}`")));
    if json.get("test_exitcode").is_some() {
        return Ok(Push {
            from: PushFrom::Strider,
            project: needed(text("/project").or_else(|| text("/project/name")), "project")?,
            branch: text("/branch"),
            commit: needed(text("/commit_id"), "commit_id")?,
            message: None,
            skip: false,
            test_exit_code: json.get("test_exitcode").and_then(Json::as_i64),
            repository: text("/repo_url"),
        });
    }
    let reference = needed(text("/ref"), "ref")?;
    if json.get("deleted").and_then(Json::as_bool) == Some(true) {
        let message = format!("it is signed, and no push: `{reference}` was removed");
        return Err(Error::new(ErrorKind::Unsupported, STRIDER, DO, message));
    }
    let message = text("/head_commit/message");
    Ok(Push {
        from: PushFrom::Github,
        project: needed(text("/repository/full_name"), "repository.full_name")?,
        branch: reference.strip_prefix("refs/heads/").map(str::to_owned),
        commit: needed(text("/after"), "after")?,
        skip: message.as_deref().is_some_and(|m| m.contains("[skip ci]") || m.contains("[ci skip]")),
        message,
        test_exit_code: None,
        repository: text("/repository/html_url").or_else(|| text("/repository/url")),
    })
}
