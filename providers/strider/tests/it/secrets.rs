use towpath_core::{Deployer as _, Secret};
use towpath_strider::Live;

use crate::simulator::PASSWORD;
use crate::support::{Durable, Seen, World, group, release};

/// Neither the password, nor the session, nor the salt and hash that the login's answer leaks, nor the branch's private key.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_in_events_journal_or_errors() {
    let script = format!("echo the password is {PASSWORD}; echo key-of-the-target >&2; exit 4");
    let Some(world) = World::new(&[("deploy", &script)]).await else { return };
    for live in [Live::SocketIo, Live::Polling] {
        let (durable, seen) = (Durable::new(), Seen::default());
        let cx = durable.context(&seen).await.for_step("roll out");
        cx.learn_secret(&Secret::new("key-of-the-target"));
        let strider = world.strider(|c| c.live(live).branch("release-{version}"));
        let preflight = strider.preflight(&cx).await.unwrap();
        let job = cx
            .effect(
                "start",
                "x",
                |cx| async move { strider.start(&cx, &group(), &release("v1")).await },
                |_| async { Ok(None) },
            )
            .await
            .unwrap();
        let error = world.live(live).follow(&cx, &job).await.unwrap_err();
        assert!(seen.text().contains("the password is ***"), "{}", seen.text());
        let session = world.simulator.control("sessions", "");
        let sessions: Vec<String> = serde_json::from_str(&session).unwrap();
        assert!(!sessions.is_empty());
        let all = format!("{} {} {error:?} {preflight:?} {job:?}", seen.text(), durable.text().await);
        for secret in [PASSWORD, "key-of-the-target", "MustNotLeak", "$2a$10", "BRANCH-PRIVATE-KEY", "connect.sid=s"]
            .into_iter()
            .chain(sessions.iter().map(String::as_str))
        {
            assert!(!all.contains(secret), "{secret} in {all}");
        }
        let strider = world.live(live);
        assert!(!format!("{strider:?}").contains(PASSWORD));
    }
}
