//! What an environment is to be: the config with its Compose file, checked as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use indexmap::IndexMap;
use serde_json::json;
use towpath_core::pipeline::nearest;
use towpath_core::{Context, Error, ErrorKind, Json, Result, Secret, digest_json};

use super::compose;
use super::config::{
    ContainerSpec, DependsOn, DockerEnvironmentConfig, Healthcheck, MountKind, NetworkSpec, VolumeSpec,
};
use crate::PROVIDER;
use crate::engine::{address, check_address, is_name};
use crate::image::{DockerImageConfig, DockerfileConfig};
use crate::reference;

/// The network of containers that name none.
pub(super) const DEFAULT_NETWORK: &str = "default";

/// Part of every digest: another way of making containers replaces them.
const FORM: u32 = 1;

/// Most milliseconds that the engine can count, which has 63 bits of nanoseconds.
pub(super) const MOST_MS: u64 = i64::MAX as u64 / 1_000_000;

/// Everything that an environment consists of.
#[derive(Clone, PartialEq, Default)]
pub(super) struct Spec {
    /// Whose it is; empty if nobody said so.
    pub(super) project: String,
    pub(super) containers: IndexMap<String, ContainerSpec>,
    pub(super) networks: BTreeMap<String, NetworkSpec>,
    pub(super) volumes: BTreeMap<String, VolumeSpec>,
    /// Values that came from files of variables or this process's environment, and may be secrets.
    pub(super) secrets: BTreeSet<String>,
}

impl fmt::Debug for Spec {
    /// Names only: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spec")
            .field("project", &self.project)
            .field("containers", &self.containers.keys())
            .field("networks", &self.networks.keys())
            .field("volumes", &self.volumes.keys())
            .finish_non_exhaustive()
    }
}

/// Why a text names no image.
pub(super) fn check_image(image: &str) -> Result<(), String> {
    reference::parse(image).map(drop).map_err(|why| format!("`image` is no reference of an image: {why}: {image:?}"))
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, PROVIDER, "config", message)
}

impl Spec {
    /// Reads the Compose file, if there is one, and checks everything.
    ///
    /// `folder`: that of the pipeline that has the config.
    pub(super) fn of(config: &DockerEnvironmentConfig, folder: Option<&Path>) -> Result<Self> {
        check_address("config", &address(config.host.as_deref()))?;
        let mut spec = match &config.compose {
            Some(file) => compose::read(file)?,
            None => Self::default(),
        };
        for (name, container) in &config.containers {
            if spec.containers.insert(name.clone(), container.clone()).is_some() {
                return Err(twice("container", name));
            }
        }
        for (name, network) in &config.networks {
            if spec.networks.insert(name.clone(), network.clone()).is_some() {
                return Err(twice("network", name));
            }
        }
        for (name, volume) in &config.volumes {
            if spec.volumes.insert(name.clone(), volume.clone()).is_some() {
                return Err(twice("volume", name));
            }
        }
        match (&config.project, &config.compose) {
            (Some(project), _) => spec.project.clone_from(project),
            (None, Some(file)) if spec.project.is_empty() => spec.project = folder_project(file.parent()),
            (None, None) if folder.is_some() => spec.project = folder_project(folder),
            _ => {}
        }
        spec.complete();
        spec.check().map_err(|e| match &config.compose {
            Some(file) => e.with_missing("file", file.display()),
            None => e,
        })?;
        Ok(spec)
    }

    /// Masks from now on what may be a secret.
    ///
    /// Not what is too short for it, and not what stands in the names of things anyway: else half of a plan would be masked.
    pub(super) fn learn_secrets(&self, cx: &Context) {
        let mut shown: Vec<&str> = vec![cx.environment(), &self.project];
        shown.extend(self.containers.keys().chain(self.networks.keys()).chain(self.volumes.keys()).map(String::as_str));
        for c in self.containers.values() {
            shown.push(&c.image);
            shown.extend(c.groups.iter().map(String::as_str));
            shown.extend(c.mounts.iter().flat_map(|m| m.source.iter().chain([&m.target])).map(String::as_str));
        }
        for secret in self.secrets.iter().filter(|s| !shown.iter().any(|name| name.contains(s.as_str()))) {
            // Somebody may print it line by line.
            let lines = secret.lines().filter(|l| secret.contains('\n') && l.len() >= 16);
            for text in lines.chain([secret.as_str()]) {
                // It gives `false` for one that is too short to be masked.
                cx.masker().learn(&Secret::new(text));
            }
        }
    }

    fn complete(&mut self) {
        let mut lonely = false;
        for container in self.containers.values_mut().filter(|c| c.networks.is_empty()) {
            container.networks.push(DEFAULT_NETWORK.to_owned());
            lonely = true;
        }
        if lonely {
            self.networks.entry(DEFAULT_NETWORK.to_owned()).or_default();
        }
    }

    fn check(&self) -> Result<()> {
        if self.containers.is_empty() && self.networks.is_empty() && self.volumes.is_empty() {
            return Err(invalid("there is nothing to make: give `containers` or `compose`".into()));
        }
        let names = self.containers.keys().chain(self.networks.keys()).chain(self.volumes.keys());
        if let Some(name) = names.into_iter().find(|n| !is_name(n) || n.len() > 63) {
            return Err(invalid(format!("a name has letters, digits and `_.-`, at most 63, not {name:?}")));
        }
        if !self.project.is_empty() && (!is_name(&self.project) || self.project.len() > 63) {
            let rule = "a project's name has letters, digits and `_.-`, at most 63";
            return Err(invalid(format!("{rule}, not {:?}", self.project)));
        }
        let labels = |what: &str, name: &str, labels: &BTreeMap<String, String>| {
            let own = labels.keys().find(|l| l.is_empty() || l.starts_with(super::names::PREFIX));
            own.map_or(Ok(()), |l| {
                let message = format!("the label {l:?} of the {what} `{name}` is not for specs: take another name");
                Err(invalid(message))
            })
        };
        self.networks.iter().try_for_each(|(name, n)| labels("network", name, &n.labels))?;
        self.volumes.iter().try_for_each(|(name, v)| labels("volume", name, &v.labels))?;
        self.containers.iter().try_for_each(|(name, c)| labels("container", name, &c.labels))?;
        for (name, container) in &self.containers {
            self.check_container(name, container).map_err(|e| e.with_missing("container", name))?;
        }
        self.levels().map(drop)
    }

    fn check_container(&self, name: &str, c: &ContainerSpec) -> Result<()> {
        match &c.build {
            Some(build) => builder_config(None, c, build).check()?,
            None if c.image.is_empty() => return Err(invalid("it needs an `image`, or `build`".into())),
            None => {}
        }
        if !c.image.is_empty() {
            check_image(&c.image).map_err(invalid)?;
        }
        if let Some(bad) = c.env.keys().chain(c.secret_env.keys()).find(|n| n.is_empty() || n.contains(['=', '\0'])) {
            return Err(invalid(format!("{bad:?} is no name of an environment variable")));
        }
        if let Some(both) = c.env.keys().find(|n| c.secret_env.contains_key(*n)) {
            return Err(invalid(format!("`{both}` is in `env` and in `secret_env`")));
        }
        for port in &c.ports {
            Port::parse(port)?;
        }
        for mount in &c.mounts {
            self.check_mount(mount)?;
        }
        for network in &c.networks {
            known("network", network, self.networks.keys())?;
        }
        for (other, condition) in &c.depends_on {
            known("container", other, self.containers.keys())?;
            let other_one = self.containers.get(other);
            if *condition == DependsOn::Completed && !other_one.is_some_and(|o| o.once) {
                return Err(invalid(format!("it waits for the end of `{other}`, which has not `once`")));
            }
            if other == name {
                return Err(invalid("it comes after itself".into()));
            }
        }
        c.healthcheck.as_ref().map_or(Ok(()), check_healthcheck)
    }

    fn check_mount(&self, mount: &super::config::MountSpec) -> Result<()> {
        if !mount.target.starts_with('/') || mount.target.contains('\0') {
            return Err(invalid(format!("the target of a mount must be an absolute path, not {:?}", mount.target)));
        }
        if mount.options.is_some() && mount.r#type != MountKind::Tmpfs {
            return Err(invalid(format!("only a `tmpfs` has `options`, not the mount of {}", mount.target)));
        }
        match (mount.r#type, mount.source.as_deref()) {
            (MountKind::Volume, Some(volume)) => known("volume", volume, self.volumes.keys()),
            (MountKind::Volume, None) => Ok(()),
            (MountKind::Bind, Some(source)) if Path::new(source).is_absolute() => Ok(()),
            (MountKind::Bind, Some(source)) => {
                Err(invalid(format!("the source of a bind must be an absolute path, not {source:?}")))
            }
            (MountKind::Bind, None) => Err(invalid(format!("the bind of {} needs a source", mount.target))),
            (MountKind::Tmpfs, None) => Ok(()),
            (MountKind::Tmpfs, Some(_)) => Err(invalid(format!("the tmpfs of {} has no source", mount.target))),
        }
    }

    /// The containers by what they wait for: those of the first level wait for none, and so on.
    pub(super) fn levels(&self) -> Result<Vec<Vec<&str>>> {
        let mut done: BTreeSet<&str> = BTreeSet::new();
        let mut levels = Vec::new();
        while done.len() < self.containers.len() {
            let ready: Vec<&str> = self
                .containers
                .iter()
                .filter(|(name, c)| {
                    !done.contains(name.as_str()) && c.depends_on.keys().all(|o| done.contains(o.as_str()))
                })
                .map(|(name, _)| name.as_str())
                .collect();
            if ready.is_empty() {
                let left = self.containers.keys().filter(|n| !done.contains(n.as_str()));
                let left = left.map(String::as_str).collect::<Vec<_>>().join(", ");
                return Err(invalid(format!("these containers wait for each other: {left}")));
            }
            done.extend(&ready);
            levels.push(ready);
        }
        Ok(levels)
    }
}

/// The project of what stands in this folder: its name, and a digest of where it is, since a second checkout is another one.
fn folder_project(folder: Option<&Path>) -> String {
    let folder = folder.filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let whole = folder.canonicalize().or_else(|_| std::path::absolute(folder)).unwrap_or_else(|_| folder.to_path_buf());
    let last = whole.file_name().unwrap_or_default().to_string_lossy();
    let plain: String = last.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    let digest = digest_json(&json!(whole.to_string_lossy()));
    match (plain.trim_matches('-'), digest.get(..8).unwrap_or_default()) {
        ("", digest) => format!("in-{digest}"),
        (name, digest) => format!("{name}-{digest}"),
    }
}

/// Fails where the engine would not take a check.
pub(crate) fn check_healthcheck(check: &Healthcheck) -> Result<()> {
    let good = match check.test.first().map(String::as_str) {
        Some("NONE") => check.test.len() == 1,
        Some("CMD") => check.test.len() > 1,
        Some("CMD-SHELL") => check.test.len() == 2,
        _ => false,
    };
    if !good {
        return Err(invalid(
            "`healthcheck.test` is `[CMD, program, argument...]`, `[CMD-SHELL, command]` or `[NONE]`".into(),
        ));
    }
    let times = [
        ("interval_ms", check.interval_ms),
        ("timeout_ms", check.timeout_ms),
        ("start_period_ms", check.start_period_ms),
    ];
    if let Some((name, _)) = times.iter().find(|(_, ms)| ms.is_some_and(|ms| ms > MOST_MS)) {
        return Err(invalid(format!("`healthcheck.{name}` is more than the engine can count: at most {MOST_MS}")));
    }
    Ok(())
}

fn twice(what: &str, name: &str) -> Error {
    invalid(format!("the {what} `{name}` is in the Compose file and in the config: change the name of one"))
}

fn known<'a>(what: &str, name: &str, all: impl Iterator<Item = &'a String> + Clone) -> Result<()> {
    if all.clone().any(|n| n == name) {
        return Ok(());
    }
    let hint = nearest(name, all.map(String::as_str)).map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
    Err(invalid(format!("there is no {what} `{name}`{hint}")))
}

/// How a container's image is built.
pub(super) fn builder_config(
    engine: Option<&str>,
    container: &ContainerSpec,
    dockerfile: &DockerfileConfig,
) -> DockerImageConfig {
    let tags = Some(container.image.clone()).filter(|i| !i.is_empty()).into_iter().collect();
    let host = engine.map(str::to_owned);
    DockerImageConfig { host, tags, dockerfile: Some(dockerfile.clone()), ..DockerImageConfig::default() }
}

/// Digest of what a container is made from, without what only the inventory needs.
pub(super) fn container_digest(spec: &ContainerSpec) -> String {
    let plain = ContainerSpec {
        not_a_host: false,
        groups: Vec::new(),
        vars: towpath_core::Vars::new(),
        // Who comes first is no part of what it is; and of an image counts what came out.
        depends_on: BTreeMap::new(),
        build: None,
        ..spec.clone()
    };
    digest(&json!(plain))
}

pub(super) fn digest(spec: &Json) -> String {
    digest_json(&json!({"form": FORM, "spec": spec}))
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) address: String,
    /// Empty: any that is free.
    pub(crate) published: String,
    /// As the engine writes it: `80/tcp`.
    pub(crate) target: String,
}

impl Port {
    /// Reads `[[address:]published:]target[/protocol]`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| invalid(format!("`ports` has {text:?}: {why}"));
        let (text_of, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
        if !["tcp", "udp", "sctp"].contains(&protocol) {
            return Err(wrong("the protocol is tcp, udp or sctp"));
        }
        let (rest, target) = text_of.rsplit_once(':').map_or(("", text_of), |(r, t)| (r, t));
        let (host, published) = rest.rsplit_once(':').map_or(("", rest), |(a, p)| (a, p));
        for port in [target, published] {
            if port.contains('-') {
                return Err(wrong("a range of ports is not understood: name each one"));
            }
        }
        let number = |p: &str| p.parse::<u16>().is_ok_and(|n| n > 0);
        if !number(target) || !(published.is_empty() || number(published)) {
            return Err(wrong("it is not like `8080:80`, `80` or `127.0.0.1:8080:80/tcp`"));
        }
        let address = match host.trim_start_matches('[').trim_end_matches(']') {
            "" => "127.0.0.1".to_owned(),
            given if given.parse::<IpAddr>().is_ok() => given.to_owned(),
            _ => return Err(wrong("the address is no IP address")),
        };
        Ok(Self { address, published: published.to_owned(), target: format!("{target}/{protocol}") })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn error(config: DockerEnvironmentConfig) -> String {
        let e = Spec::of(&config, None).expect_err("a wrong config");
        assert_eq!(e.kind(), ErrorKind::InvalidInput, "{e:?}");
        e.report()
    }

    fn with(container: ContainerSpec) -> DockerEnvironmentConfig {
        DockerEnvironmentConfig::default().container("web", container)
    }

    #[test]
    fn ports_are_on_loopback_unless_said_otherwise() {
        let port = |t: &str| Port::parse(t).map(|p| (p.address, p.published, p.target)).unwrap();
        let p = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(port("80"), p("127.0.0.1", "", "80/tcp"));
        assert_eq!(port("8080:80"), p("127.0.0.1", "8080", "80/tcp"));
        assert_eq!(port("0.0.0.0:8080:80"), p("0.0.0.0", "8080", "80/tcp"));
        assert_eq!(port("127.0.0.1::53/udp"), p("127.0.0.1", "", "53/udp"));
        assert_eq!(port("[::1]:8080:80"), p("::1", "8080", "80/tcp"));
        for bad in ["", "x", "0", "8080-8090:80", "80/icmp", "host:1:2", "70000"] {
            assert!(Port::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_does_not_fit_together_is_told_by_name() {
        assert!(error(DockerEnvironmentConfig::default()).contains("nothing to make"));
        let volume = ContainerSpec::new("debian").volume("dat", "/data");
        assert!(error(with(volume).volume("data")).contains("did you mean `data`?"));
        let alone = ContainerSpec::new("debian").after("db", DependsOn::Started);
        assert!(error(with(alone)).contains("there is no container `db`"));
        let circle = with(ContainerSpec::new("debian").after("db", DependsOn::Started))
            .container("db", ContainerSpec::new("debian").after("web", DependsOn::Started));
        assert!(error(circle).contains("wait for each other: web, db"));
        let waits = with(ContainerSpec::new("debian").after("job", DependsOn::Completed))
            .container("job", ContainerSpec::new("debian"));
        assert!(error(waits).contains("has not `once`"));
        assert!(error(with(ContainerSpec::new("../x"))).contains("no reference"));
        let mut reserved = with(ContainerSpec::new("debian")).volume("data");
        reserved.volumes.entry("data".into()).or_default().labels.insert("towpath.project".into(), "x".into());
        assert!(error(reserved).contains("the volume `data`"));
        let mut reserved = with(ContainerSpec::new("debian"));
        reserved.networks.entry("back".into()).or_default().labels.insert("towpath.resource".into(), "x".into());
        assert!(error(reserved).contains("the network `back`"));
        let mut long = ContainerSpec::new("debian").healthy_if("true");
        long.healthcheck.as_mut().unwrap().timeout_ms = Some(u64::MAX);
        assert!(error(with(long)).contains("`healthcheck.timeout_ms`"));
        assert!(error(with(ContainerSpec::new("Debian"))).contains("lower-case"));
        let project = DockerEnvironmentConfig { project: Some("a/b".into()), ..with(ContainerSpec::new("debian")) };
        assert!(error(project).contains("a project's name"));
    }

    #[test]
    fn two_folders_are_two_projects() {
        let dir = tempfile::tempdir().unwrap();
        let project = |at: &str| {
            let folder = dir.path().join(at);
            std::fs::create_dir_all(&folder).unwrap();
            Spec::of(&with(ContainerSpec::new("debian")), Some(&folder)).unwrap().project
        };
        assert_eq!(project("a/shop"), project("a/../a/shop"));
        assert_ne!(project("a/shop"), project("b/shop"));
        assert!(project("a/shop").starts_with("shop-"));
        assert_eq!(Spec::of(&with(ContainerSpec::new("debian")), None).unwrap().project, "");
        let named = DockerEnvironmentConfig { project: Some("mine".into()), ..with(ContainerSpec::new("debian")) };
        assert_eq!(Spec::of(&named, Some(dir.path())).unwrap().project, "mine");
    }

    #[test]
    fn values_of_variables_are_not_shown() {
        let spec = ContainerSpec::new("debian").env("TOKEN", "hidden-token");
        let shown = format!("{spec:?} {:?}", Spec::of(&with(spec.clone()), None).unwrap());
        assert!(shown.contains("TOKEN") && shown.contains("debian") && !shown.contains("hidden"), "{shown}");
        let mut it = Spec::of(&with(spec), None).unwrap();
        it.secrets = ["hidden-token", "debian", "web", "first line of a key\nlast"].map(str::to_owned).into();
        let cx = Context::new();
        it.learn_secrets(&cx);
        let masked = cx.masker().mask("debian web hidden-token\nfirst line of a key!").into_owned();
        assert_eq!(masked, "debian web ***\n***!");
    }

    #[test]
    fn only_what_a_container_is_made_from_replaces_it() {
        let spec = ContainerSpec::new("debian").port("80");
        let same = ContainerSpec { groups: vec!["web".into()], ..spec.clone() };
        assert_eq!(container_digest(&spec), container_digest(&same));
        let other = spec.clone().env("A", "1");
        assert_ne!(container_digest(&spec), container_digest(&other));
    }
}
