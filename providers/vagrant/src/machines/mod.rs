//! The provisioner `vagrant`: machines through the real vagrant.

mod config;
mod failure;
mod message;
mod run;
mod tool;
mod vagrantfile;
mod work;
mod world;

use std::ffi::OsString;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;
use towpath_core::{
    Applied, Capabilities, Context, Destroyed, Error, ErrorKind, Plan, Preflight, Probed, Provisioner, Result,
};

pub use self::config::{BoxSource, DockerSpec, ForwardedPort, MachineSpec, SharedFolder, VagrantConfig};
use self::run::Site;
use self::tool::Tool;
use self::work::Work;

/// Name of the provisioner in the registry and in errors.
pub(crate) const VAGRANT: &str = "vagrant";

/// Makes machines with the real `vagrant`: of a Vagrantfile of yours, or of a typed spec.
#[derive(Debug)]
pub struct Vagrant {
    config: VagrantConfig,
    tool: OnceCell<Tool>,
}

impl Vagrant {
    /// A provisioner with this config. Relative paths start at the working directory of this process.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): neither `dir` nor `machines`, or both; a machine without box and image; boxes
    /// without a provider.
    pub fn new(config: VagrantConfig) -> Result<Self> {
        config.check()?;
        let here = std::env::current_dir().map_err(|e| {
            Error::new(ErrorKind::InvalidInput, VAGRANT, "config", "the working directory is gone").caused_by(e)
        })?;
        Ok(Self { config: config.based(&here), tool: OnceCell::new() })
    }

    /// The config, its paths absolute.
    pub fn config(&self) -> &VagrantConfig {
        &self.config
    }

    /// Stops the machines that run, and leaves them where they are. Gives how many; [`apply`](Provisioner::apply) starts them again.
    ///
    /// # Errors
    ///
    /// As [`destroy`](Provisioner::destroy).
    pub async fn halt(&self, cx: &Context) -> Result<usize> {
        let (_, site) = self.ready(cx, "halt").await?;
        self.work(&site, "halt").halt(cx).await
    }

    async fn ready(&self, cx: &Context, operation: &'static str) -> Result<(Tool, Site)> {
        cx.check(VAGRANT, operation)?;
        let config = &self.config;
        let folder = match &config.dir {
            Some(dir) if !dir.join("Vagrantfile").is_file() => {
                let what = "the folder has no Vagrantfile: give another one as `dir`, or describe `machines`";
                return Err(Error::new(ErrorKind::NotFound, VAGRANT, operation, what).with("dir", dir.display()));
            }
            Some(dir) => dir.clone(),
            None => config.state_dir.join(folder_name(cx.environment())),
        };
        let tool = self.tool.get_or_try_init(|| Tool::find(cx, config, operation)).await?.clone();
        let mut env: Vec<(OsString, OsString)> = vec![("VAGRANT_CHECKPOINT_DISABLE".into(), "1".into())];
        env.extend(config.home.iter().map(|home| ("VAGRANT_HOME".into(), home.into())));
        // `status` takes no option for it.
        env.extend(config.provider.iter().map(|p| ("VAGRANT_DEFAULT_PROVIDER".into(), p.into())));
        env.extend(config.env.iter().map(|(k, v)| (k.into(), v.into())));
        for (name, secret) in &config.secret_env {
            env.push((name.into(), cx.resolve(secret).await?.expose().into()));
        }
        let grace = Duration::from_secs(config.interrupt_s.into());
        let of_docker = config.provider.as_deref() == Some("docker");
        let silent = |spec: &MachineSpec| of_docker && spec.docker.as_ref().is_some_and(|d| !d.has_ssh);
        let unreachable =
            config.machines.iter().filter(|(_, spec)| silent(spec)).map(|(name, _)| name.clone()).collect();
        let site = Site { program: tool.path.clone(), folder, env, grace, unreachable };
        Ok((tool, site))
    }

    fn work<'a>(&'a self, site: &'a Site, operation: &'static str) -> Work<'a> {
        Work { config: &self.config, site, operation }
    }
}

/// An environment's name as a folder's: what a folder can't have becomes `%` and its number.
fn folder_name(environment: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    environment.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02x}") }).collect()
}

#[async_trait]
impl Provisioner for Vagrant {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["plan", "apply", "probe", "destroy"])
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        let (tool, site) = self.ready(cx, "preflight").await?;
        let mut found = Preflight {
            ok: vec![format!("vagrant {} at {}", tool.version, tool.path.display())],
            warnings: Vec::new(),
        };
        if self.config.dir.is_some() {
            site.ok(cx, "preflight", &["validate"], false).await?;
            found.ok.push(format!("Vagrantfile {}", site.folder.join("Vagrantfile").display()));
        }
        Ok(found)
    }

    async fn plan(&self, cx: &Context) -> Result<Plan> {
        let (_, site) = self.ready(cx, "plan").await?;
        self.work(&site, "plan").plan(cx).await
    }

    async fn apply(&self, cx: &Context) -> Result<Applied> {
        let (_, site) = self.ready(cx, "apply").await?;
        self.work(&site, "apply").apply(cx).await
    }

    async fn probe(&self, cx: &Context) -> Result<Probed> {
        let (_, site) = self.ready(cx, "probe").await?;
        self.work(&site, "probe").probe(cx).await
    }

    async fn destroy(&self, cx: &Context) -> Result<Destroyed> {
        let (_, site) = self.ready(cx, "destroy").await?;
        self.work(&site, "destroy").destroy(cx).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_have_folders_of_their_own() {
        assert_eq!(folder_name("dev-1"), "dev-1");
        assert_eq!(folder_name("../a b"), "%2e%2e%2fa%20b");
    }
}
