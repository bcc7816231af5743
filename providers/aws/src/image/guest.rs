//! Reaches the temporary instance, and leaves it as it should be baked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_ec2::types::Instance;
use base64::Engine as _;
use indexmap::IndexMap;
use towpath_core::equivalence::Contents;
use towpath_core::{
    Become, Configurator, Connection, ConnectionSpec, Context, Error, ErrorKind, EventKind, Exec, ExecOutput, Group,
    Host, Inventory, Json, Result, Targets, shell_quote,
};

use super::bake::Bake;
use super::config::TestCommand;
use super::temporary::{Access, Bench};
use crate::PROVIDER;
use crate::environment::{connection, describe, vars};
use crate::wait::{Look, Patience, Wait};

/// cloud-init installs keys and packages while one may log in already.
const WAIT_CLOUD_INIT: &str =
    "if command -v cloud-init >/dev/null 2>&1; then cloud-init status --wait >/dev/null 2>&1; fi; :";

/// How long a refusal counts as `not yet`: sshd starts before cloud-init has installed the key.
const REFUSED_S: u64 = 45;

/// An instance that is entered.
pub(super) struct Guest<'a> {
    bake: &'a Bake<'a>,
    bench: &'a Bench<'a>,
    id: String,
    host: Host,
    has_temporary_key: bool,
}

impl<'a> Guest<'a> {
    /// Waits until the instance lets one log in, and has finished its own set-up.
    pub(super) async fn enter(
        cx: &Context,
        bake: &'a Bake<'a>,
        bench: &'a Bench<'a>,
        id: &str,
        access: &Access,
    ) -> Result<Self> {
        let ec2 = bake.ec2;
        let found = describe(cx, ec2, "build", |r| r.instance_ids(id)).await?;
        let instance = found.first().ok_or_else(|| {
            ec2.at("build", "DescribeInstances", id)
                .error(ErrorKind::Conflict, "somebody removed the temporary instance")
        })?;
        let connection = Self::connection(cx, bake, id, instance, access).await?;
        let host = Host { name: bake.image.name.clone(), connection, ..Host::default() };
        let this = Self { bake, bench, id: id.to_owned(), host, has_temporary_key: access.key.is_some() };
        let connected = this.connect(cx).await?;
        cx.emit(EventKind::Progress { message: format!("{id} lets one in"), done: None, total: None });
        let done = connected.exec(cx, &Exec::script(WAIT_CLOUD_INIT)).await;
        connected.close().await;
        done?;
        Ok(this)
    }

    async fn connection(
        cx: &Context,
        bake: &Bake<'_>,
        id: &str,
        instance: &Instance,
        access: &Access,
    ) -> Result<ConnectionSpec> {
        let config = &bake.builder.config;
        let facts = vars(bake.ec2, instance);
        let name = &bake.image.name;
        let mut made = connection("build", name, &config.connection, &facts, instance, config.address)?;
        let is_ssh = made.kind.is_empty() || made.kind == "ssh";
        if let Some(file) = access.key.as_ref().filter(|_| is_ssh) {
            made.options.insert("identity_file".into(), Json::from(file.display().to_string()));
            made.options.insert("identities_only".into(), true.into());
        }
        let decided = ["host_key", "host_keys", "known_hosts"].iter().any(|o| made.options.contains_key(*o));
        if is_ssh && !decided {
            let key = console_key(cx, bake, id).await?;
            made.options.insert("host_key".into(), key.into());
        }
        Ok(made)
    }

    async fn connect(&self, cx: &Context) -> Result<Arc<dyn Connection>> {
        let config = &self.bake.builder.config;
        let begun = Instant::now();
        let limit = Duration::from_secs(config.ssh_timeout_s.unwrap_or(300));
        let mut refused: Option<Instant> = None;
        loop {
            let error = match self.bake.image.connector.connect(cx, &self.host).await {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            let may_change = match error.kind() {
                ErrorKind::Unreachable => true,
                ErrorKind::Timeout => !cx.is_cancelled() && cx.deadline().is_none_or(|at| Instant::now() < at),
                ErrorKind::Denied => refused.get_or_insert_with(Instant::now).elapsed().as_secs() < REFUSED_S,
                _ => false,
            };
            if !may_change || begun.elapsed() >= limit {
                return Err(error.with("instance", &self.id).with("region", &self.bake.ec2.region));
            }
            // Each attempt costs a small machine that boots more than a question costs AWS.
            let pause = config.wait.pause().clamp(Duration::from_millis(500), Duration::from_secs(5));
            cx.sleep(PROVIDER, "build", pause).await?;
        }
    }

    /// The instance as the only host, called like the image.
    fn targets(&self) -> Targets {
        let group = || Group { hosts: vec![self.host.name.clone()], ..Group::default() };
        let groups: IndexMap<String, Group> =
            self.bake.builder.config.groups.iter().map(|g| (g.clone(), group())).collect();
        let inventory = Inventory { hosts: vec![self.host.clone()], groups, ..Inventory::default() };
        Targets::new(inventory, Arc::clone(&self.bake.image.connector))
    }

    /// Runs configurators one after the other.
    pub(super) async fn configure(&self, cx: &Context, what: &str, all: &[Arc<dyn Configurator>]) -> Result<()> {
        let total = all.len();
        for (n, configurator) in all.iter().enumerate() {
            cx.check(PROVIDER, "build")?;
            let message = format!("{what} {} ({} of {total})", self.host.name, n + 1);
            cx.emit(EventKind::Progress { message, done: Some(n as u64), total: Some(total as u64) });
            // Below the instance: what was done in another one is not done in this one.
            let inside = cx.scoped(&format!("{}/{what}/{n}", self.id));
            let done = configurator.apply(&inside, &self.targets()).await?;
            if let Some((host, summary)) = done.hosts.iter().find(|(_, s)| s.failed > 0 || s.unreachable > 0) {
                return Err(Error::new(ErrorKind::ToolFailed, PROVIDER, "build", format!("{what} failed"))
                    .with("host", host)
                    .with("failed", summary.failed)
                    .with("unreachable", summary.unreachable));
            }
        }
        Ok(())
    }

    /// Takes the temporary key out of every account's authorized keys: it must not open what is started from the image.
    pub(super) async fn forget_key(&self, cx: &Context) -> Result<()> {
        if !self.has_temporary_key {
            return Ok(());
        }
        let connected = self.bake.image.connector.connect(cx, &self.host).await?;
        let done = self.forget_key_over(cx, connected.as_ref()).await;
        connected.close().await;
        done
    }

    /// The same over a connection that is there, and the last one that the key opens.
    async fn forget_key_over(&self, cx: &Context, connected: &dyn Connection) -> Result<()> {
        let name = shell_quote(&self.bench.name());
        let script = format!(
            "name={name}\ncut -d: -f6 /etc/passwd | sort -u | while read -r home; do\n  f=$home/.ssh/authorized_keys\n  \
             [ -f \"$f\" ] && grep -qF -- \"$name\" \"$f\" || continue\n  \
             t=$(mktemp) && {{ grep -vF -- \"$name\" \"$f\" >\"$t\" || [ $? -eq 1 ]; }} && cat \"$t\" >\"$f\" && rm -f \"$t\" || exit 1\ndone"
        );
        let out = connected.exec(cx, &self.as_user(Exec::script(script), true)).await?;
        if out.status.is_success() {
            return Ok(());
        }
        let message = "the temporary key can't be taken out of the image: the user needs sudo without a password; or name a key pair \
                       of your own in `instance.key_name`";
        Err(Error::new(ErrorKind::ToolFailed, PROVIDER, "build", message)
            .with("instance", &self.id)
            .with("exit_status", &out.status))
    }

    /// Reads packages, files, users and units, as root.
    pub(super) async fn contents(&self, cx: &Context) -> Result<Contents> {
        let is_root = self.host.connection.user.as_deref() == Some("root");
        let connected = self.bake.image.connector.connect(cx, &self.host).await?;
        let read = async {
            if self.has_temporary_key {
                // It is in no AMI.
                self.forget_key_over(cx, connected.as_ref()).await?;
            }
            Contents::of(cx, connected.as_ref(), "", (!is_root).then(Become::root)).await
        }
        .await;
        connected.close().await;
        read
    }

    /// Runs a test's script.
    pub(super) async fn test(&self, cx: &Context, test: &TestCommand) -> Result<()> {
        let mut exec = Exec::script(&test.script).timeout(Duration::from_secs(test.timeout_s.unwrap_or(300)));
        exec.label = test.name.clone();
        let shown = exec.shown();
        cx.emit(EventKind::Progress { message: format!("test: {shown}"), done: None, total: None });
        let out = self.run(cx, exec, test.root).await.map_err(|e| e.with("test", &shown))?;
        if out.status.is_success() {
            return Ok(());
        }
        let said: String = String::from_utf8_lossy(&out.stderr).trim().chars().take(1000).collect();
        Err(Error::new(ErrorKind::Unhealthy, PROVIDER, "build", "a test of the new AMI failed, and the AMI is removed")
            .with("test", shown)
            .with("exit_status", &out.status)
            .caused_by(cx.masker().mask(&said).into_owned()))
    }

    async fn run(&self, cx: &Context, exec: Exec, root: bool) -> Result<ExecOutput> {
        let connected = self.bake.image.connector.connect(cx, &self.host).await?;
        let out = connected.exec(cx, &self.as_user(exec, root)).await;
        connected.close().await;
        out
    }

    /// As root, or as who logs in.
    fn as_user(&self, exec: Exec, root: bool) -> Exec {
        let is_root = self.host.connection.user.as_deref() == Some("root");
        if root && !is_root { exec.become_user(Become::root()) } else { exec }
    }
}

/// The host's key as cloud-init prints it to the console, which nobody between here and AWS can forge.
async fn console_key(cx: &Context, bake: &Bake<'_>, id: &str) -> Result<String> {
    let ec2 = bake.ec2;
    let patience = Patience { timeout_s: bake.builder.config.ssh_timeout_s.or(Some(300)), ..bake.builder.config.wait };
    let wait = Wait {
        cx,
        region: &ec2.region,
        operation: "build",
        goal: format!("the host key on the console of {id}"),
        patience,
    };
    let looked = wait
        .until(|| async {
            let at = ec2.at("build", "GetConsoleOutput", id);
            let answer = ec2.api.get_console_output().instance_id(id).send().await.map_err(|e| at.failed(e))?;
            let encoded = answer.output().unwrap_or_default().replace(['\n', '\r'], "");
            let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap_or_default();
            Ok(match key_in(&String::from_utf8_lossy(&bytes)) {
                Some(key) => Look::Done(key),
                None => Look::NotYet("no host key is printed".into()),
            })
        })
        .await;
    looked.map_err(|e| match e.kind() {
        ErrorKind::Timeout if cx.deadline().is_none_or(|at| Instant::now() < at) => Error::new(
            ErrorKind::Denied,
            PROVIDER,
            "build",
            "the instance's console shows no host key (its image has no cloud-init?): give `connection.options` a `known_hosts` or \
             `host_key`, or trust the first key with `host_keys: accept_new`",
        )
        .with("instance", id)
        .with("region", &ec2.region),
        _ => e,
    })
}

/// Finds the key between cloud-init's marks; one of the kinds that every server has, the best first.
fn key_in(console: &str) -> Option<String> {
    let (_, rest) = console.split_once("-----BEGIN SSH HOST KEY KEYS-----")?;
    let (keys, _) = rest.split_once("-----END SSH HOST KEY KEYS-----")?;
    // The console may put its own words before a line.
    let find = |kind: &str| {
        let at = keys.find(kind)?;
        let line = keys.get(at..)?.lines().next()?;
        let mut words = line.split_ascii_whitespace();
        Some(format!("{} {}", words.next()?, words.next()?))
    };
    ["ssh-ed25519 ", "ecdsa-sha2-nistp256 ", "ssh-rsa "].into_iter().find_map(find)
}

#[cfg(test)]
mod tests {
    use super::key_in;

    #[test]
    fn the_host_key_is_found_between_the_marks_only() {
        let console = "[   12.1] cloud-init: ssh-ed25519 AAAAforged x\r\n-----BEGIN SSH HOST KEY KEYS-----\r\n\
                       ecdsa-sha2-nistp256 AAAAecdsa root@ip\r\n[  13.0] ci-info: ssh-ed25519 AAAAgood root@ip\r\n\
                       -----END SSH HOST KEY KEYS-----\r\n";
        assert_eq!(key_in(console).as_deref(), Some("ssh-ed25519 AAAAgood"));
        assert_eq!(
            key_in("-----BEGIN SSH HOST KEY KEYS-----\nssh-ed25519 AAAA x\n"),
            None,
            "not all of it is there yet"
        );
        assert_eq!(key_in("login:"), None);
    }
}
