//! What would stand in the way of a container, told before anything is touched.

use std::net::IpAddr;

use bollard::query_parameters::InspectNetworkOptions;
use towpath_core::{Context, Error, ErrorKind, Result};

use super::body::Plan;
use super::config::ServiceContainer;
use super::look::World;
use super::names::Owner;
use super::reach::Place;
use super::ready::loopback;
use crate::PROVIDER;
use crate::errors::{failed, status};

const ACTIVATE: &str = "activate";

/// Fails where a name, a network or a port can't be had.
pub(super) async fn check(
    cx: &Context,
    place: &Place<'_>,
    owner: &Owner,
    container: &ServiceContainer,
    (plan, world): (&Plan, &World),
) -> Result<()> {
    for name in [owner.name.clone(), owner.aside(&plan.version, &plan.spec)] {
        let there = place.engine.container(ACTIVATE, &name).await?;
        if there.is_some() && world.called(&name).is_none() {
            let message = "a container that is not this service's has its name: rename or remove it, or set `name`";
            return Err(Error::new(ErrorKind::AlreadyExists, PROVIDER, ACTIVATE, message).with("container", name));
        }
    }
    for network in &container.networks {
        match place.engine.docker.inspect_network(network, None::<InspectNetworkOptions>).await {
            Ok(_) => {}
            Err(e) if status(&e) == Some(404) => {
                let message = "the target's engine has no such network: `docker network create` it";
                return Err(Error::new(ErrorKind::NotFound, PROVIDER, ACTIVATE, message).with("network", network));
            }
            Err(e) => return Err(failed(ACTIVATE, "a network can't be looked at", e).with("network", network)),
        }
    }
    ports(cx, place, plan, world).await
}

async fn ports(cx: &Context, place: &Place<'_>, plan: &Plan, world: &World) -> Result<()> {
    let wanted: Vec<(&str, &str, u16)> = plan
        .ports
        .iter()
        .filter_map(|p| Some((p.address.as_str(), p.target.rsplit('/').next()?, p.published.parse().ok()?)))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let others = place.engine.containers(ACTIVATE, std::collections::HashMap::new()).await?;
    for (address, protocol, port) in wanted {
        let taken = |by: &str| {
            let message =
                format!("the port is taken by {by}, which is not this service's: stop that, or publish another one");
            Error::new(ErrorKind::Conflict, PROVIDER, ACTIVATE, message)
                .with("port", format!("{address}:{port}/{protocol}"))
        };
        let mut own = false;
        for other in &others {
            let publishes = other.ports.iter().flatten().any(|p| {
                let same = p.public_port == Some(port) && p.typ.is_some_and(|t| t.to_string() == protocol);
                same && overlap(p.ip.as_deref().unwrap_or_default(), address)
            });
            if !publishes {
                continue;
            }
            if world.all.iter().any(|c| Some(&c.id) == other.id.as_ref()) {
                own = true;
                continue;
            }
            let name = other.names.iter().flatten().next().map_or("", |n| n.trim_start_matches('/'));
            return Err(taken(&format!("the container `{name}`")));
        }
        // No container: another program of the machine, which only a connection tells.
        if !own && protocol == "tcp" && place.dial(cx, &loopback(address), port).await.is_ok() {
            return Err(taken("a program of the target"));
        }
    }
    Ok(())
}

/// Whether two addresses can't publish the same port.
fn overlap(a: &str, b: &str) -> bool {
    let any = |t: &str| t.is_empty() || t.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    let v6 = |t: &str| t.contains(':');
    a == b || (v6(a) == v6(b) && (any(a) || any(b)))
}

#[cfg(test)]
mod tests {
    use super::overlap;

    #[test]
    fn addresses_are_in_each_others_way_where_the_kernel_says_so() {
        for (a, b) in [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("10.0.0.1", "0.0.0.0"), ("::", "::1")] {
            assert!(overlap(a, b), "{a} {b}");
        }
        for (a, b) in [("127.0.0.1", "10.0.0.1"), ("::1", "127.0.0.1"), ("::", "127.0.0.1")] {
            assert!(!overlap(a, b), "{a} {b}");
        }
    }
}
