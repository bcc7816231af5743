use std::sync::Arc;

use towpath_core::testkit::balancer::BalancerFixture;
use towpath_haproxy::{AddedServer, HaProxy, HaProxyConfig, ServerCheck};

use crate::process::{Process, text};
use crate::web::{Web, greeting};

/// Quick enough for a test, on a machine that does other things, too.
pub(crate) fn quick_check() -> ServerCheck {
    ServerCheck { inter_ms: 50, rise: 2, fall: 20 }
}

async fn fixture(section: &str, server: AddedServer, state: bool) -> Option<BalancerFixture> {
    let process = Process::start("tcp", section).await?;
    let webs = [Web::tcp("web-1").await, Web::tcp("web-2").await];
    let state_file = state.then(|| text(&process.path("state")));
    let provider = HaProxy::new(HaProxyConfig { server, state_file, ..process.config() }).unwrap();
    let front = process.front();
    Some(BalancerFixture {
        provider: Arc::new(provider),
        backends: [webs[0].backend("web-1"), webs[1].backend("web-2")],
        open: Box::new(move |()| {
            let front = front.clone();
            Box::pin(async move { greeting(&front).await.map(|(name, stream)| (name, Box::new(stream) as _)) })
        }),
        cx: process.cx.clone(),
        keep: Box::new((process, webs)),
    })
}

/// Servers that towpath adds.
mod added {
    async fn fixture() -> Option<super::BalancerFixture> {
        super::fixture("balance roundrobin", super::AddedServer::default(), false).await
    }
    towpath_core::balancer_behaviour!(fixture);
}

/// Servers that towpath adds, and HAProxy checks.
mod checked {
    async fn fixture() -> Option<super::BalancerFixture> {
        let server = super::AddedServer {
            check: Some(super::quick_check()),
            weight: Some(7),
            maxconn: Some(100),
            ..super::AddedServer::default()
        };
        super::fixture("balance leastconn", server, true).await
    }
    towpath_core::balancer_behaviour!(fixture);
}

/// Servers of the configuration, in maintenance at first, under an address of nobody.
mod configured {
    async fn fixture() -> Option<super::BalancerFixture> {
        let section = "balance random\nserver web-1 127.0.0.1:1 disabled\n\
                       server web-2 127.0.0.1:1 disabled check inter 50ms rise 1 fall 20";
        super::fixture(section, super::AddedServer::default(), true).await
    }
    towpath_core::balancer_behaviour!(fixture);
}
