//! Makes hosts of outputs.

use std::collections::BTreeMap;

use towpath_core::pipeline::nearest;
use towpath_core::{ConnectionSpec, Error, ErrorKind, Host, Inventory, Json, Result, Vars};

use crate::HostsFrom;
use crate::provider::TERRAFORM;
use crate::state::OutputValue;

/// The hosts of all mappings, in their order.
pub(crate) fn inventory(mappings: &[HostsFrom], outputs: &BTreeMap<String, OutputValue>) -> Result<Inventory> {
    let mut inventory = Inventory::default();
    for mapping in mappings {
        let hosts = mapping.hosts(outputs)?;
        let own = [mapping.output.clone()];
        for group in mapping.groups.as_deref().unwrap_or(&own) {
            let members = &mut inventory.groups.entry(group.clone()).or_default().hosts;
            members.extend(hosts.iter().map(|h| h.name.clone()));
        }
        for host in hosts {
            if inventory.host(&host.name).is_some() {
                let message = format!("two hosts are called `{}`: give them names of their own", host.name);
                return Err(mapping.invalid(message));
            }
            inventory.hosts.push(host);
        }
    }
    Ok(inventory)
}

/// The name that was meant, or all there are.
pub(crate) fn meant<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "it has none".to_owned(),
        None => format!("it has: {}", names.join(", ")),
    }
}

impl HostsFrom {
    fn invalid(&self, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidInput, TERRAFORM, "hosts", message).with("output", &self.output)
    }

    /// Refuses an output that can't be used: asked of a plan before anything is made, and of the state. `outputs`: names, and whether they
    /// are sensitive.
    pub(crate) fn check<'a>(&self, outputs: impl Iterator<Item = (&'a str, bool)>) -> Result<()> {
        let outputs: BTreeMap<&str, bool> = outputs.collect();
        match outputs.get(self.output.as_str()) {
            Some(false) => Ok(()),
            Some(true) => Err(self.invalid(
                "`hosts` names a sensitive output, and inventories are stored: give the hosts without secrets in an output of their own, \
                 with `nonsensitive()` if Terraform can't tell",
            )),
            None => Err(self.invalid(format!(
                "`hosts` names an output that the module does not have; {}",
                meant(&self.output, outputs.into_keys())
            ))),
        }
    }

    fn hosts(&self, outputs: &BTreeMap<String, OutputValue>) -> Result<Vec<Host>> {
        self.check(outputs.iter().map(|(name, output)| (name.as_str(), output.sensitive)))?;
        let Some(output) = outputs.get(&self.output) else { return Ok(Vec::new()) };
        let unnamed = |i: usize| format!("{}-{}", self.output, i + 1);
        match &output.value {
            Json::Null => Ok(Vec::new()),
            Json::Array(items) => items.iter().enumerate().map(|(i, item)| self.host(unnamed(i), item)).collect(),
            // A single host, and not a map of hosts.
            Json::Object(map) if map.get(&self.address).is_some_and(Json::is_string) => {
                Ok(vec![self.host(unnamed(0), &output.value)?])
            }
            Json::Object(map) => map.iter().map(|(key, item)| self.host(key.clone(), item)).collect(),
            Json::String(_) => Ok(vec![self.host(unnamed(0), &output.value)?]),
            Json::Bool(_) | Json::Number(_) => {
                Err(self.invalid("`hosts` needs an output of addresses or objects, and this is a number or yes and no"))
            }
        }
    }

    fn host(&self, default_name: String, item: &Json) -> Result<Host> {
        let mut connection: ConnectionSpec = self.connection.clone();
        let fields = match item {
            Json::String(address) => {
                connection.address = Some(address.clone());
                return Ok(Host { name: default_name, connection, ..Host::default() });
            }
            Json::Object(fields) => fields,
            other => {
                return Err(
                    self.invalid(format!("the host `{default_name}` is neither an address nor an object: {other}"))
                );
            }
        };
        let mut vars: Vars = fields.clone();
        let mut text = |field: &str| match vars.shift_remove(field) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.invalid(format!("`{field}` of the host `{default_name}` is no text: {other}"))),
        };
        let name = text(&self.name)?.unwrap_or_else(|| default_name.clone());
        if let Some(address) = text(&self.address)? {
            connection.address = Some(address);
        }
        if let Some(user) = text(&self.user)? {
            connection.user = Some(user);
        }
        if let Some(port) = vars.shift_remove(&self.port).filter(|p| !p.is_null()) {
            // Terraform turns numbers into text where a map has both.
            let number = port.as_u64().or_else(|| port.as_str().and_then(|p| p.parse().ok()));
            let number = number.and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
            let wrong = || self.invalid(format!("`{}` of the host `{name}` is no port: {port}", self.port));
            connection.port = Some(number.ok_or_else(wrong)?);
        }
        Ok(Host { name, connection, vars, ..Host::default() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use serde_json::json;

    use super::*;

    fn from(mapping: HostsFrom, value: Json) -> Result<Inventory> {
        let output = OutputValue { sensitive: false, value };
        inventory(&[mapping], &BTreeMap::from([("web".to_owned(), output)]))
    }

    fn short(inventory: &Inventory) -> Vec<String> {
        let each = inventory.hosts.iter();
        each.map(|h| format!("{} {}", h.name, h.connection.address.as_deref().unwrap_or("-"))).collect()
    }

    #[test]
    fn every_usual_shape_of_an_output_gives_hosts() {
        for (value, hosts) in [
            (json!("10.0.0.1"), vec!["web-1 10.0.0.1"]),
            (json!(["10.0.0.1", "10.0.0.2"]), vec!["web-1 10.0.0.1", "web-2 10.0.0.2"]),
            (json!({"a": "10.0.0.1", "b": "10.0.0.2"}), vec!["a 10.0.0.1", "b 10.0.0.2"]),
            (json!({"a": {"address": "10.0.0.1"}, "b": {}}), vec!["a 10.0.0.1", "b -"]),
            (json!({"address": "10.0.0.1", "name": "one"}), vec!["one 10.0.0.1"]),
            (json!([{"name": "x", "address": "10.0.0.1"}, {"address": null}]), vec!["x 10.0.0.1", "web-2 -"]),
            (json!(null), vec![]),
        ] {
            let found = from(HostsFrom::output("web"), value.clone()).unwrap();
            assert_eq!(short(&found), hosts, "{value}");
            assert_eq!(found.groups["web"].hosts.len(), hosts.len(), "they are in the output's group");
        }
    }

    #[test]
    fn fields_may_have_other_names_and_the_rest_are_variables() {
        let mapping = HostsFrom { name: "id".into(), address: "private_ip".into(), ..HostsFrom::output("web") }
            .group("app")
            .group("all_web");
        let value =
            json!([{"id": "i-1", "private_ip": "10.0.0.1", "port": "2222", "user": "admin", "zone": "a", "weight": 3}]);
        let found = from(mapping, value).unwrap();
        let host = &found.hosts[0];
        assert_eq!(short(&found), ["i-1 10.0.0.1"]);
        assert_eq!((host.connection.port, host.connection.user.as_deref()), (Some(2222), Some("admin")));
        assert_eq!(Json::Object(host.vars.clone()), json!({"zone": "a", "weight": 3}));
        assert_eq!(found.groups.keys().collect::<Vec<_>>(), ["app", "all_web"]);
    }

    #[test]
    fn what_is_no_host_is_named() {
        for (value, said) in [
            (json!(5), "number"),
            (json!([5]), "neither an address nor an object"),
            (json!([{"port": 70000}]), "no port"),
            (json!([{"name": 1}]), "`name`"),
            (json!([{"name": "x"}, {"name": "x"}]), "two hosts are called `x`"),
        ] {
            let error = from(HostsFrom::output("web"), value.clone()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(said) && error.to_string().contains("output=web"), "{value}: {error}");
        }
    }

    #[test]
    fn a_missing_output_names_the_nearest_and_a_sensitive_one_is_refused() {
        let error = from(HostsFrom::output("wev"), json!([])).unwrap_err();
        assert!(error.to_string().contains("did you mean `web`?"), "{error}");
        let secret = OutputValue { sensitive: true, value: json!(["10.0.0.1"]) };
        let error = inventory(&[HostsFrom::output("web")], &BTreeMap::from([("web".to_owned(), secret)])).unwrap_err();
        assert!(error.to_string().contains("nonsensitive()") && !error.to_string().contains("10.0.0.1"), "{error}");
    }
}
