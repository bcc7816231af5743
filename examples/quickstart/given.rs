//! Hosts that exist already. Only their SSH port need be reachable, so the balancer on this machine reaches the service through
//! connections to them.

use std::path::Path;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use towpath::local::LocalBalancer;
use towpath::ssh::{Ssh, SshConfig};
use towpath::{
    Backend, Balancer as _, Connection, Connector as _, Context, Endpoint, Error, ErrorKind, Inventory, Json, Result,
};

/// The hosts of an inventory.
pub(crate) struct Given(Inventory);

impl Given {
    pub(crate) fn load(file: &Path) -> Result<Self> {
        let mut inventory = towpath::playbook::load_inventory(file)?;
        for (name, value) in [("http_port", Json::from(8080)), ("towpath_root", Json::from(""))] {
            inventory.vars.entry(name).or_insert(value);
        }
        Ok(Self(inventory))
    }

    pub(crate) fn inventory(&self) -> &Inventory {
        &self.0
    }

    /// Opens a local port for each host's service, and tells the balancer. Gives the balancer's address.
    pub(crate) async fn reach(&self, cx: &Context, balancer: &LocalBalancer) -> Result<String> {
        let ssh = Ssh::new(SshConfig::default());
        for host in &self.0.hosts {
            let port = self.0.effective(host).fill("{{ http_port }}")?;
            let port: u16 = port.parse().map_err(|e| {
                Error::new(ErrorKind::InvalidInput, "quickstart", "inventory", "`http_port` is no port")
                    .with("host", &host.name)
                    .caused_by(e)
            })?;
            let connection = ssh.connect(cx, host).await?;
            let listener = TcpListener::bind(("127.0.0.1", 0)).await;
            let failed = |e| Error::new(ErrorKind::Internal, "quickstart", "tunnel", "no local port").caused_by(e);
            let listener = listener.map_err(failed)?;
            let here = listener.local_addr().map_err(failed)?.port();
            tokio::spawn(forward(cx.clone(), listener, connection, port));
            balancer.add(cx, &Backend { name: host.name.clone(), address: "127.0.0.1".into(), port: here }).await?;
        }
        balancer.address(cx).await
    }
}

async fn forward(cx: Context, listener: TcpListener, connection: Arc<dyn Connection>, port: u16) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let (cx, connection) = (cx.clone(), Arc::clone(&connection));
        tokio::spawn(async move { join(&cx, &mut stream, &*connection, port).await });
    }
}

/// A service that is not there closes the connection, as it would without a tunnel.
async fn join(cx: &Context, stream: &mut TcpStream, connection: &dyn Connection, port: u16) {
    if let Ok(mut far) = connection.dial(cx, &Endpoint::Tcp("127.0.0.1".into(), port)).await {
        let _ = tokio::io::copy_bidirectional(stream, &mut far).await;
    }
}
