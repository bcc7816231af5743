use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use towpath_core::{Context, ErrorKind, Secret, SecretRef};
use towpath_strider::{Push, PushFrom, WebhookConfig, WebhookListener, verify};

use crate::support::eventually;

const SECRET: &str = "shared between both";
const PUSH: &str = r#"{"ref":"refs/heads/release/1.2","after":"4b825dc642cb6eb9a060e54bf8d69288fbee4904","repository":{"full_name":"acme/web","html_url":"https://git.example.test/acme/web"},"head_commit":{"message":"Größe: 50% off! (really) ~ *now* it's"}}"#;
const TESTED: &str = r#"{"project":"acme/web","commit_id":"4b825dc642cb6eb9a060e54bf8d69288fbee4904","branch":"master","repo_url":"https://git.example.test/acme/web.git","test_exitcode":0,"finish_time":"Größe (50%) ~ *it's!"}"#;

/// Runs a program that has nothing to do with this crate, and gives what it prints.
fn other(program: &str, arguments: &[&str], input: &str) -> Option<String> {
    let child = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        let what = format!("NOT RUN: HMACs of {program}: install it (Debian: apt-get install nodejs openssl)");
        eprintln!("{what}");
        assert!(std::env::var_os("TOWPATH_TEST_REQUIRE").is_none(), "{what}");
        return None;
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success());
    Some(String::from_utf8(out.stdout).unwrap())
}

fn openssl(text: &str) -> Option<String> {
    let printed = other("openssl", &["dgst", "-sha1", "-hmac", SECRET, "-r"], text)?;
    Some(format!("sha1={}", printed.split(' ').next().unwrap()))
}

/// Node's own crypto and form encoders, as Strider's plugin uses them.
fn node_signature(encoder: &str, payload: &str) -> Option<String> {
    let program = format!(
        "const p = require('fs').readFileSync(0, 'utf8');
         const form = {{ querystring: () => require('querystring').stringify({{ payload: p }}), url: () => new URLSearchParams({{ payload: p }}).toString(),
                        rfc3986: () => 'payload=' + encodeURIComponent(p).replace(/[!'()*]/g, c => '%' + c.charCodeAt(0).toString(16).toUpperCase()) }}['{encoder}']();
         process.stdout.write('sha1=' + require('crypto').createHmac('sha1', '{SECRET}').update(form).digest('hex'));"
    );
    other("node", &["-e", &program], payload)
}

fn form_of(payload: &str) -> String {
    format!(
        "payload={}",
        payload.bytes().map(|b| if b == b' ' { "+".into() } else { format!("%{b:02X}") }).collect::<String>()
    )
}

fn read(headers: &[(&str, &str)], body: &str) -> towpath_core::Result<Push> {
    verify(headers, body.as_bytes(), &Secret::new(SECRET))
}

#[test]
fn githubs_form_and_json_are_taken() {
    let form = form_of(PUSH);
    for (kind, body) in
        [("application/x-www-form-urlencoded; charset=utf-8", form.as_str()), ("application/json", PUSH)]
    {
        let Some(signature) = openssl(body) else { return };
        let push =
            read(&[("Content-Type", kind), ("X-GitHub-Event", "push"), ("X-Hub-Signature", &signature)], body).unwrap();
        assert_eq!(
            (push.from, push.project.as_str(), push.branch.as_deref()),
            (PushFrom::Github, "acme/web", Some("release/1.2"))
        );
        assert_eq!((push.commit.as_str(), push.skip), ("4b825dc642cb6eb9a060e54bf8d69288fbee4904", false));
        assert_eq!(push.message.as_deref(), Some("Größe: 50% off! (really) ~ *now* it's"));
    }
}

#[test]
fn striders_json_is_verified_as_the_form_that_it_signs() {
    let body = serde_json::json!({ "payload": TESTED }).to_string();
    for encoder in ["querystring", "url", "rfc3986"] {
        let Some(signature) = node_signature(encoder, TESTED) else { return };
        let push = read(&[("content-type", "application/json"), ("x-hub-signature", &signature)], &body).unwrap();
        assert_eq!(
            (push.from, push.test_exit_code, push.branch.as_deref()),
            (PushFrom::Strider, Some(0), Some("master")),
            "{encoder}"
        );
    }
}

#[test]
fn a_signature_that_does_not_fit_lets_nobody_in() {
    let Some(good) = openssl(PUSH) else { return };
    let Some(of_strider) = node_signature("querystring", TESTED) else { return };
    let mut turned = good.clone().into_bytes();
    let last = turned.last_mut().unwrap();
    *last = if *last == b'0' { b'1' } else { b'0' };
    let turned = String::from_utf8(turned).unwrap();
    let denied = |headers: &[(&str, &str)], body: &str| {
        let error = read(headers, body).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{headers:?} {error:?}");
        assert!(!error.report().contains(SECRET));
    };
    denied(&[], PUSH);
    denied(&[("x-hub-signature", &turned)], PUSH);
    denied(&[("x-hub-signature", good.get(..20).unwrap())], PUSH);
    denied(&[("x-hub-signature", "sha1=")], PUSH);
    denied(&[("x-hub-signature", "sha1=zz")], PUSH);
    denied(&[("x-hub-signature", &good.replace("sha1=", "sha256="))], PUSH);
    denied(&[("x-hub-signature", &good), ("X-Hub-Signature", &good)], PUSH);
    denied(&[("x-hub-signature", &good)], &PUSH.replace("release/1.2", "release/1.3"));
    denied(
        &[("x-hub-signature", &of_strider)],
        &serde_json::json!({ "payload": TESTED.replace("master", "evil") }).to_string(),
    );
    assert_eq!(
        verify(&[("x-hub-signature", &good)], PUSH.as_bytes(), &Secret::new("other secret")).unwrap_err().kind(),
        ErrorKind::Denied
    );
    assert_eq!(
        verify(&[("x-hub-signature", &good)], PUSH.as_bytes(), &Secret::new("")).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

#[test]
fn what_is_signed_and_no_push_is_told_apart() {
    let kind = |headers: &[(&str, &str)], body: &str| {
        let signature = openssl(body)?;
        let mut all = vec![("x-hub-signature", signature.as_str())];
        all.extend(headers);
        Some(read(&all, body).map(|p| p.skip).map_err(|e| e.kind()))
    };
    let Some(ping) = kind(&[("x-github-event", "ping")], r#"{"zen":"x"}"#) else { return };
    assert_eq!(ping, Err(ErrorKind::Unsupported));
    assert_eq!(kind(&[], &PUSH.replace("\"after\"", "\"deleted\":true,\"after\"")), Some(Err(ErrorKind::Unsupported)));
    assert_eq!(kind(&[], "no json"), Some(Err(ErrorKind::InvalidInput)));
    assert_eq!(kind(&[], r#"{"ref":"refs/heads/x"}"#), Some(Err(ErrorKind::InvalidInput)));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(kind(&form, "other=x"), Some(Err(ErrorKind::InvalidInput)));
    assert_eq!(kind(&[], &PUSH.replace("(really)", "[skip ci]")), Some(Ok(true)));
}

/// Sends bytes as they are, and gives the status.
fn send(address: SocketAddr, head: &str, body: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("{head}\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes()).unwrap();
    // A server that refuses may close before it has read all.
    let _ = stream.write_all(body);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_listener_hands_over_what_is_signed_and_nothing_else() {
    let Some(signature) = openssl(PUSH) else { return };
    let (cx, token) = Context::builder().secret("hook", Secret::new(SECRET)).build().child();
    let mut config = WebhookConfig::new("127.0.0.1:0".parse().unwrap(), SecretRef::Given("hook".into()));
    config.path = "/hooks".into();
    config.max_body_bytes = 10_000;
    let listener = WebhookListener::bind(&cx, config).await.unwrap();
    let address = listener.address();
    let again = WebhookConfig::new(address, SecretRef::Given("hook".into()));
    assert_eq!(WebhookListener::bind(&cx, again).await.unwrap_err().kind(), ErrorKind::Conflict);
    let pushes: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&pushes);
    let serving = tokio::spawn(async move {
        listener
            .serve(&cx, |push| {
                let seen = Arc::clone(&seen);
                async move {
                    seen.lock().unwrap().push(push.commit);
                    Ok(())
                }
            })
            .await
    });
    let statuses = tokio::task::spawn_blocking(move || {
        let signed = format!("POST /hooks HTTP/1.1\r\nx-hub-signature: {signature}");
        let ping = r#"{"zen":"x"}"#;
        let of_ping = openssl(ping).unwrap();
        // One that never says more does not hold the others.
        let _silent = TcpStream::connect(address).unwrap();
        [
            send(address, &signed, PUSH.as_bytes()),
            send(
                address,
                &format!("POST /hooks HTTP/1.1\r\nx-github-event: ping\r\nx-hub-signature: {of_ping}"),
                ping.as_bytes(),
            ),
            send(address, &signed, b"something else"),
            send(address, "POST /hooks HTTP/1.1", PUSH.as_bytes()),
            send(
                address,
                &format!("POST /hooks HTTP/1.1\r\nx-hub-signature: {}", openssl("no json").unwrap()),
                b"no json",
            ),
            send(address, &signed, &vec![b'x'; 20_000]),
            send(address, "POST /elsewhere HTTP/1.1", b""),
            send(address, "GET /hooks HTTP/1.1", b""),
            send(address, &signed, PUSH.as_bytes()),
        ]
    })
    .await
    .unwrap();
    assert_eq!(statuses, [204, 204, 401, 401, 400, 413, 404, 405, 204]);
    eventually("both pushes", || pushes.lock().unwrap().len() == 2).await;
    token.cancel();
    serving.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}
