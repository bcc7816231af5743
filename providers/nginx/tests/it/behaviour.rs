use std::sync::Arc;

use towpath_core::testkit::balancer::BalancerFixture;
use towpath_nginx::{Nginx, NginxConfig, ServerOptions};

use crate::process::Process;
use crate::web::{Web, hold};

async fn fixture(upstream: &str, server: ServerOptions) -> Option<BalancerFixture> {
    let process = Process::start(upstream).await?;
    let webs = [Web::new("web-1").await, Web::new("web-2").await];
    let provider = Nginx::new(NginxConfig { server, ..process.config() }).unwrap();
    let front = process.front();
    Some(BalancerFixture {
        provider: Arc::new(provider),
        backends: [webs[0].backend("web-1"), webs[1].backend("web-2")],
        open: Box::new(move |()| {
            let front = front.clone();
            Box::pin(async move { hold(&front).await.map(|(name, stream)| (name, Box::new(stream) as _)) })
        }),
        cx: process.cx.clone(),
        keep: Box::new((process, webs)),
    })
}

mod plain {
    async fn fixture() -> Option<super::BalancerFixture> {
        super::fixture("", super::ServerOptions::default()).await
    }
    towpath_core::balancer_behaviour!(fixture);
}

/// With a pool of connections, and all the options.
mod pooled {
    async fn fixture() -> Option<super::BalancerFixture> {
        let server =
            super::ServerOptions { weight: Some(3), max_conns: Some(200), max_fails: Some(0), fail_timeout_s: Some(1) };
        super::fixture("zone web 64k; least_conn; keepalive 16;", server).await
    }
    towpath_core::balancer_behaviour!(fixture);
}
