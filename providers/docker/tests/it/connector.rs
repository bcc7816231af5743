//! The behaviour suite of connectors.

use std::sync::Arc;

use towpath_core::testkit::connector::ConnectorFixture;
use towpath_core::{Become, Context, Endpoint};
use towpath_docker::DockerConnector;

pub(crate) async fn fixture_of(user: &str) -> Option<ConnectorFixture> {
    let container = crate::shared().await?;
    let dir = format!("/tmp/it-{}", crate::number());
    container.sh(&format!("mkdir {dir}; chown {user}:{user} {dir}"));
    let host = container.host_as("web1", user);
    let mut unreachable = host.clone();
    unreachable.connection.address = Some("towpath-no-such-container".into());
    let refused = container.host_as("refused", "nobody-at-all");
    Some(ConnectorFixture {
        provider: Arc::new(DockerConnector::default()),
        host,
        unreachable,
        may_answer_later: true,
        refused,
        dir,
        listens: Some((Endpoint::Tcp("127.0.0.1".into(), 22), "SSH-2.0-".into())),
        r#become: Some((Become::root(), "root".into())),
        cx: Context::new(),
        keep: Box::new(container),
    })
}

async fn plain() -> Option<ConnectorFixture> {
    fixture_of("deploy").await
}

/// As the container's own user, becoming a lesser one.
async fn as_root() -> Option<ConnectorFixture> {
    let mut f = fixture_of("root").await?;
    f.host.connection.user = None;
    f.r#become = Some((Become { user: "deploy".into(), ..Become::root() }, "deploy".into()));
    Some(f)
}

mod behaviour {
    towpath_core::connector_behaviour!(super::plain);
}

mod behaviour_as_root {
    towpath_core::connector_behaviour!(super::as_root);
}
