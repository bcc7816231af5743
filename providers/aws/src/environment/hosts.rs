//! Instances as hosts of an inventory.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::Instance;
use indexmap::IndexMap;
use serde_json::json;
use towpath_core::{
    ConnectionSpec, Context, Environment, Error, ErrorKind, Group, Host, Inventory, Json, Resource, Result, Vars,
};

use super::apply::facts;
use super::look::{Difference, Wanted, World};
use super::{Address, AwsEnvironmentConfig};
use crate::PROVIDER;
use crate::client::Ec2;

/// The address of an instance. An error says why there is none.
pub(crate) fn address(instance: &Instance, wanted: Address) -> Result<String, &'static str> {
    let some = |a: Option<&str>| a.filter(|a| !a.is_empty()).map(str::to_owned);
    let (public, private) = (some(instance.public_ip_address()), some(instance.private_ip_address()));
    match wanted {
        Address::Auto => public.or(private).ok_or("the instance has no address"),
        Address::Public => public.ok_or(
            "the instance has no public address: set `public_ip` and a subnet that gives one, or `address: private`",
        ),
        Address::Private => private.ok_or("the instance has no private address"),
    }
}

/// Variables that every host gets, and that its connection may name.
pub(crate) fn vars(ec2: &Ec2, instance: &Instance) -> Vars {
    let mut vars = Vars::new();
    for (name, value) in [
        ("instance_id", instance.instance_id()),
        ("private_ip", instance.private_ip_address()),
        ("public_ip", instance.public_ip_address()),
        ("region", Some(ec2.region.as_str())),
    ] {
        vars.extend(value.filter(|v| !v.is_empty()).map(|v| (name.to_owned(), Json::from(v))));
    }
    vars
}

/// How an instance is reached: the given settings, their names filled in, and its address where they have none.
pub(crate) fn connection(
    operation: &'static str,
    host: &str,
    spec: &ConnectionSpec,
    vars: &Vars,
    instance: &Instance,
    wanted: Address,
) -> Result<ConnectionSpec> {
    let filler = Host { name: host.to_owned(), vars: vars.clone(), ..Host::default() };
    let mut made = spec.clone();
    made.address = Some(match &spec.address {
        Some(address) => filler.fill(address)?,
        None => address(instance, wanted).map_err(|message| {
            Error::new(ErrorKind::NotFound, PROVIDER, operation, message)
                .with("host", host)
                .with("instance", instance.instance_id().unwrap_or_default())
        })?,
    });
    for value in made.options.values_mut() {
        if let Json::String(text) = value {
            *text = filler.fill(text)?;
        }
    }
    Ok(made)
}

fn host(ec2: &Ec2, operation: &'static str, wanted: &Wanted<'_>, instance: &Instance) -> Result<Host> {
    let facts = vars(ec2, instance);
    let connection =
        connection(operation, &wanted.host, &wanted.spec.connection, &facts, instance, wanted.spec.address)?;
    let mut vars: Vars = facts.into_iter().map(|(k, v)| (format!("aws_{k}"), v)).collect();
    vars.extend(wanted.spec.vars.clone());
    Ok(Host { name: wanted.host.clone(), connection, labels: wanted.spec.labels.clone(), vars })
}

/// What is there, as others see it.
pub(super) fn environment(
    cx: &Context,
    ec2: &Ec2,
    operation: &'static str,
    config: &AwsEnvironmentConfig,
    todo: &Difference<'_>,
    world: &World,
) -> Result<Environment> {
    let mut groups: IndexMap<String, Group> =
        config.groups.keys().map(|name| (name.clone(), Group::default())).collect();
    let mut hosts = Vec::new();
    let mut instances = BTreeMap::new();
    for wanted in &todo.wanted {
        let Some(seen) = world.hosts.get(&wanted.host) else { continue };
        hosts.push(host(ec2, operation, wanted, &seen.instance)?);
        groups.entry(wanted.group.to_owned()).or_default().hosts.push(wanted.host.clone());
        instances.insert(wanted.host.clone(), facts(seen, todo.sources.get(wanted.group)));
    }
    let resources = world.all().map(|seen| Resource {
        address: format!("ec2 instance {}", seen.host),
        id: seen.id.clone(),
        detail: json!({"region": ec2.region}),
    });
    Ok(Environment {
        name: cx.environment().to_owned(),
        inventory: Inventory { hosts, groups, ..Inventory::default() },
        outputs: BTreeMap::from([("instances".to_owned(), json!(instances))]),
        resources: resources.collect(),
        ..Environment::default()
    })
}
