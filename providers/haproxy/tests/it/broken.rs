//! What a real HAProxy does not do on demand: something else listens, or it hangs, or breaks off.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use towpath_core::{Balancer as _, Context, ErrorKind};
use towpath_haproxy::{HaProxy, HaProxyConfig};

/// Answers every connection with `text`, and closes it; without a text it keeps silent.
fn listener(dir: &tempfile::TempDir, text: Option<Vec<u8>>) -> HaProxyConfig {
    let path = dir.path().join("api");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let text = text.clone();
            tokio::spawn(async move {
                let mut asked = [0; 4096];
                let _ = stream.read(&mut asked).await;
                match text {
                    Some(text) => drop(stream.write_all(&text).await),
                    None => std::future::pending().await,
                }
            });
        }
    });
    HaProxyConfig { socket: path.display().to_string(), reply_limit_s: 5.0, ..HaProxyConfig::new("web") }
}

#[tokio::test]
async fn answers_that_make_no_sense_are_errors() {
    let long = [b"\n".to_vec(), vec![b'x'; 17 << 20]].concat();
    for (text, what) in [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "not HAProxy's runtime API"),
        (b"".to_vec(), "not HAProxy's runtime API"),
        (b"\n1\n".to_vec(), "makes no sense"),
        (b"\n1\n# be_id be_name srv_id srv_name\n3 web 1\n".to_vec(), "makes no sense"),
        (b"\n\xff\xfe\n".to_vec(), "makes no sense"),
        (long, "longer than"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let balancer = HaProxy::new(listener(&dir, Some(text))).unwrap();
        let error = balancer.drain(&Context::new(), "a").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error:?}");
        assert!(error.message().contains(what), "{error}");
        assert!(error.get("socket").unwrap().ends_with("/api"), "{error}");
    }
}

#[tokio::test]
async fn silence_ends_at_the_limit_or_with_a_cancel() {
    let dir = tempfile::tempdir().unwrap();
    let config = listener(&dir, None);
    let hasty = HaProxy::new(HaProxyConfig { reply_limit_s: 0.2, ..config.clone() }).unwrap();
    let error = hasty.backends(&Context::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    let patient = HaProxy::new(HaProxyConfig { reply_limit_s: 600.0, ..config }).unwrap();
    let (cx, token) = Context::new().child();
    let (result, ()) = tokio::join!(patient.drain(&cx, "a"), async { token.cancel() });
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Cancelled);
    let cx = Context::new().with_timeout(Duration::from_millis(100));
    let error = patient.wait_idle(&cx, "a", Duration::from_secs(600)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
}

#[tokio::test]
async fn nobody_there_says_where_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api").display().to_string();
    let balancer = HaProxy::new(HaProxyConfig { socket: path.clone(), ..HaProxyConfig::new("web") }).unwrap();
    let error = balancer.preflight(&Context::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.get("socket")), (ErrorKind::Unreachable, Some(path.as_str())), "{error:?}");
    assert!(error.message().contains("stats socket"), "{error}");
}

#[tokio::test]
async fn a_host_needs_a_connector() {
    let config = serde_json::json!({"backend": "web", "on": {"name": "lb-1"}});
    let balancer = HaProxy::new(serde_json::from_value(config).unwrap()).unwrap();
    let error = balancer.backends(&Context::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.get("host")), (ErrorKind::InvalidInput, Some("lb-1")), "{error:?}");
}
