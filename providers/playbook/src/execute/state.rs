//! What is known about a host while a playbook runs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use towpath_core::{Become, BecomeMethod, Connection, Connector, Context, Error, Host, HostSummary, Result, Vars};

use crate::carry::{Output, Script, Shell};

/// Which shell: user, method and flags; `None` for the connection's own user.
pub(crate) type ShellKey = Option<(String, BecomeMethod, Vec<String>)>;

pub(crate) struct HostState {
    pub(crate) host: Host,
    pub(crate) connection: Option<Arc<dyn Connection>>,
    pub(crate) shells: HashMap<ShellKey, Shell>,
    pub(crate) facts: Arc<Vars>,
    /// `set_fact` and registered results.
    pub(crate) vars: Vars,
    pub(crate) unknown: BTreeMap<String, String>,
    pub(crate) notified: Vec<String>,
    pub(crate) flushed: BTreeSet<String>,
    pub(crate) failed: Option<Error>,
    pub(crate) ended: bool,
    pub(crate) played: bool,
    pub(crate) summary: HostSummary,
    /// In a plan: why nothing later is certain.
    pub(crate) dirty: Option<String>,
    /// In a plan: paths that earlier tasks would change.
    pub(crate) touched: Vec<String>,
    /// In a plan: other subjects that earlier tasks would change.
    pub(crate) changed: BTreeSet<String>,
}

impl HostState {
    pub(crate) fn new(host: Host) -> Self {
        Self {
            host,
            connection: None,
            shells: HashMap::new(),
            facts: Arc::default(),
            vars: Vars::new(),
            unknown: BTreeMap::new(),
            notified: Vec::new(),
            flushed: BTreeSet::new(),
            failed: None,
            ended: false,
            played: false,
            summary: HostSummary::default(),
            dirty: None,
            touched: Vec::new(),
            changed: BTreeSet::new(),
        }
    }

    /// Runs a script in the shell of a user, which is opened if need be.
    pub(crate) async fn run(
        &mut self,
        cx: &Context,
        connector: &dyn Connector,
        become_: Option<Become>,
        script: Script,
    ) -> Result<Output> {
        let key: ShellKey = become_.as_ref().map(|b| (b.user.clone(), b.method, b.flags.clone()));
        let shell = match self.shells.remove(&key).filter(|s| !s.has_ended()) {
            Some(s) => s,
            None => {
                let connection = match &self.connection {
                    Some(c) => c.clone(),
                    None => {
                        let c = connector.connect(cx, &self.host).await?;
                        self.connection = Some(c.clone());
                        c
                    }
                };
                Shell::open(cx, &*connection, become_).await?
            }
        };
        let out = shell.run(cx, &script).await?;
        self.shells.insert(key, shell);
        Ok(out)
    }

    /// Ends shells and connection.
    pub(crate) async fn close(&mut self) {
        for (_, shell) in self.shells.drain() {
            shell.close().await;
        }
        if let Some(c) = self.connection.take() {
            c.close().await;
        }
    }
}
