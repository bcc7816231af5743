//! Hosts that exist already. Only their SSH port need be reachable, so the balancer on this machine reaches the service through
//! connections to them.

use std::path::Path;

use towpath::local::LocalBalancer;
use towpath::ssh::{Ssh, SshConfig};
use towpath::{
    Backend, Balancer as _, Connector as _, Context, Endpoint, Error, ErrorKind, Forward, Inventory, Json, Result,
};

/// The hosts of an inventory.
pub(crate) struct Given {
    inventory: Inventory,
    /// They last as long as this.
    forwards: Vec<Forward>,
}

impl Given {
    pub(crate) fn load(file: &Path) -> Result<Self> {
        let mut inventory = towpath::playbook::load_inventory(file)?;
        for (name, value) in [("http_port", Json::from(8080)), ("towpath_root", Json::from(""))] {
            inventory.vars.entry(name).or_insert(value);
        }
        Ok(Self { inventory, forwards: Vec::new() })
    }

    pub(crate) fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Opens a local port for each host's service, and tells the balancer. Gives the balancer's address.
    pub(crate) async fn reach(&mut self, cx: &Context, balancer: &LocalBalancer) -> Result<String> {
        let ssh = Ssh::new(SshConfig::default());
        for host in &self.inventory.hosts {
            let port = self.inventory.effective(host).fill("{{ http_port }}")?;
            let port: u16 = port.parse().map_err(|e| {
                Error::new(ErrorKind::InvalidInput, "quickstart", "inventory", "`http_port` is no port")
                    .with("host", &host.name)
                    .caused_by(e)
            })?;
            let connection = ssh.connect(cx, host).await?;
            let forward = towpath::forward(cx, connection, Endpoint::Tcp("127.0.0.1".into(), port)).await?;
            let here = forward.address().port();
            self.forwards.push(forward);
            balancer.add(cx, &Backend { name: host.name.clone(), address: "127.0.0.1".into(), port: here }).await?;
        }
        balancer.address(cx).await
    }
}
