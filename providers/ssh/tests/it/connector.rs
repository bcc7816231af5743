use std::sync::Arc;

use towpath_core::testkit::connector::ConnectorFixture;
use towpath_core::{Become, Context, Endpoint, Json};
use towpath_ssh::{Ssh, SshConfig};

async fn fixture_of(user: &str) -> Option<ConnectorFixture> {
    let sshd = crate::sshd().await?;
    let dir = format!("/tmp/it-{}", crate::number());
    sshd.sh(&format!("mkdir {dir}; chown {user}:{user} {dir}"));
    let host = sshd.host_as("web1", user);
    let mut unreachable = host.clone();
    unreachable.connection.port = Some(9);
    let mut refused = host.clone();
    refused.connection.options.insert("known_hosts".into(), Json::from("/nonexistent/known_hosts"));
    Some(ConnectorFixture {
        provider: Arc::new(Ssh::new(SshConfig { ssh_config: Some("none".into()), ..SshConfig::default() })),
        host,
        unreachable,
        may_answer_later: true,
        refused,
        dir,
        listens: Some((Endpoint::Tcp("127.0.0.1".into(), 22), "SSH-2.0-".into())),
        r#become: Some((Become::root(), "root".into())),
        cx: Context::new(),
        keep: Box::new(sshd),
    })
}

async fn plain() -> Option<ConnectorFixture> {
    fixture_of("deploy").await
}

/// The same, becoming root with a password.
async fn with_password() -> Option<ConnectorFixture> {
    let mut f = fixture_of("asks").await?;
    let password = towpath_core::Secret::new(towpath_core::testkit::Sshd::PASSWORD);
    f.r#become = Some((Become { password: Some(password), ..Become::root() }, "root".into()));
    Some(f)
}

mod behaviour {
    towpath_core::connector_behaviour!(super::plain);
}

#[tokio::test]
async fn a_command_becomes_another_user_with_a_password() {
    if let Some(f) = with_password().await {
        towpath_core::testkit::connector::a_command_becomes_another_user(f).await;
    }
}

#[tokio::test]
async fn a_command_becomes_another_user_with_su() {
    if let Some(mut f) = fixture_of("asks").await {
        let password = towpath_core::Secret::new(towpath_core::testkit::Sshd::PASSWORD);
        let to = Become {
            user: "asks".into(),
            method: towpath_core::BecomeMethod::Su,
            password: Some(password),
            flags: Vec::new(),
        };
        f.r#become = Some((to, "asks".into()));
        towpath_core::testkit::connector::a_command_becomes_another_user(f).await;
    }
}
