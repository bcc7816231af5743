//! A service of a Compose file.

use std::collections::BTreeMap;

use towpath_core::{Json, Result, Vars};

use super::compose::Place;
use super::config::{ContainerSpec, DependsOn, MountKind, MountSpec, Restart};
use super::healthcheck::{duration_ms, healthcheck};
use super::spec::check_image;
use super::variables::{environment, from_files};
use super::yaml::{Kind, Node};
use crate::image::DockerfileConfig;

const KEYS: &[&str] = &[
    "image",
    "build",
    "command",
    "entrypoint",
    "environment",
    "env_file",
    "ports",
    "expose",
    "volumes",
    "tmpfs",
    "networks",
    "depends_on",
    "healthcheck",
    "restart",
    "user",
    "working_dir",
    "hostname",
    "labels",
    "init",
    "cap_add",
    "security_opt",
    "privileged",
    "extra_hosts",
    "stop_signal",
    "stop_grace_period",
];

/// Reads a service.
pub(super) fn service(name: &str, node: &Node, place: &Place) -> Result<ContainerSpec> {
    let what = format!("service `{name}`");
    let mut c = ContainerSpec::default();
    let mut of_files = BTreeMap::new();
    for (key, node) in node.pairs(&what)? {
        match key.as_str() {
            "image" => {
                c.image = node.text("`image`")?;
                check_image(&c.image).map_err(|why| node.wrong(why))?;
            }
            "command" => {
                place.learn_filled(node);
                c.command = words(node, "`command`")?;
            }
            "entrypoint" => {
                place.learn_filled(node);
                c.entrypoint = words(node, "`entrypoint`")?;
            }
            "environment" => c.env = environment(node, place)?,
            "env_file" => of_files = from_files(node, place)?,
            "ports" => {
                for port in node.items("`ports`")? {
                    c.ports.push(published(port)?);
                }
            }
            // Containers of one network reach each other's ports in any case.
            "expose" => drop(node.texts("`expose`")?),
            "volumes" => {
                for mount in node.items("`volumes`")? {
                    c.mounts.push(self::mount(mount, place)?);
                }
            }
            "tmpfs" => {
                for target in one_or_many(node, "`tmpfs`")? {
                    let (target, options) =
                        target.split_once(':').map_or((target.as_str(), None), |(t, o)| (t, Some(o)));
                    c.mounts.push(MountSpec {
                        r#type: MountKind::Tmpfs,
                        source: None,
                        target: target.to_owned(),
                        read_only: false,
                        options: options.map(str::to_owned),
                    });
                }
            }
            "networks" => c.networks = networks(node)?,
            "depends_on" => c.depends_on = depends_on(node)?,
            "healthcheck" => {
                place.learn_filled(node);
                c.healthcheck = Some(healthcheck(node)?);
            }
            "restart" => {
                c.restart = match node.text("`restart`")?.as_str() {
                    "no" => Restart::No,
                    "always" => Restart::Always,
                    "unless-stopped" => Restart::UnlessStopped,
                    "on-failure" => Restart::OnFailure,
                    other => {
                        let all = ["no", "always", "unless-stopped", "on-failure"];
                        return Err(node.unknown("`restart`", other, &all));
                    }
                }
            }
            "user" => c.user = Some(node.text("`user`")?),
            "working_dir" => c.workdir = Some(node.text("`working_dir`")?),
            "hostname" => c.hostname = Some(node.text("`hostname`")?),
            "labels" => c.labels = labels(node)?,
            "init" => c.init = node.boolean("`init`")?,
            "cap_add" => c.cap_add = node.texts("`cap_add`")?,
            "security_opt" => c.security_opt = node.texts("`security_opt`")?,
            "privileged" => c.privileged = node.boolean("`privileged`")?,
            "extra_hosts" => c.extra_hosts = node.texts("`extra_hosts`")?,
            "stop_signal" => c.stop_signal = Some(node.text("`stop_signal`")?),
            "stop_grace_period" => {
                let seconds = duration_ms(node, "`stop_grace_period`")?.div_ceil(1000);
                let seconds = u32::try_from(seconds).map_err(|_| node.wrong("`stop_grace_period` is too long"))?;
                c.stop_grace_s = Some(seconds);
            }
            "x-towpath" => extension(node, &mut c)?,
            "build" => c.build = Some(build(node, place)?),
            "container_name" => {
                let message = format!(
                    "`container_name` of {what} is not understood: containers are called after their environment and \
                     service, so that several environments fit on one engine"
                );
                return Err(node.wrong(message));
            }
            other if other.starts_with("x-") => {}
            other => return Err(node.unknown(&what, other, KEYS)),
        }
    }
    if c.image.is_empty() && c.build.is_none() {
        return Err(node.wrong(format!("{what} has neither `image` nor `build`")));
    }
    for (name, value) in of_files {
        c.env.entry(name).or_insert(value);
    }
    Ok(c)
}

/// A folder, or what is known of the Dockerfile.
fn build(node: &Node, place: &Place) -> Result<DockerfileConfig> {
    let mut build = DockerfileConfig { context: place.folder.clone(), ..DockerfileConfig::default() };
    if let Kind::Scalar(..) = &node.kind {
        build.context = place.folder.join(node.text("`build`")?);
        return Ok(build);
    }
    for (key, node) in node.pairs("`build`")? {
        match key.as_str() {
            "context" => build.context = place.folder.join(node.text("`context`")?),
            "dockerfile" => build.path = node.text("`dockerfile`")?.into(),
            "args" => build.args = environment(node, place)?,
            "target" => build.target = Some(node.text("`target`")?),
            other => return Err(node.unknown("`build`", other, &["context", "dockerfile", "args", "target"])),
        }
    }
    Ok(build)
}

/// What Compose has no words for: how the service stands in the inventory.
fn extension(node: &Node, c: &mut ContainerSpec) -> Result<()> {
    for (key, node) in node.pairs("`x-towpath`")? {
        match key.as_str() {
            "groups" => c.groups = node.texts("`groups`")?,
            "host" => c.not_a_host = !node.boolean("`host`")?,
            "once" => c.once = node.boolean("`once`")?,
            "vars" => {
                let mut vars = Vars::new();
                for (name, value) in node.pairs("`vars`")? {
                    vars.insert(name.clone(), json(value));
                }
                c.vars = vars;
            }
            other => return Err(node.unknown("`x-towpath`", other, &["groups", "host", "once", "vars"])),
        }
    }
    Ok(())
}

fn json(node: &Node) -> Json {
    match &node.kind {
        _ if node.is_null() => Json::Null,
        Kind::Scalar(text, true) => match text.as_str() {
            "true" => true.into(),
            "false" => false.into(),
            other => {
                other.parse::<i64>().map(Json::from).or(other.parse::<f64>().map(Json::from)).unwrap_or(other.into())
            }
        },
        Kind::Scalar(text, false) => text.as_str().into(),
        Kind::Seq(items) => items.iter().map(json).collect(),
        Kind::Map(pairs) => Json::Object(pairs.iter().map(|(k, v)| (k.clone(), json(v))).collect()),
    }
}

fn one_or_many(node: &Node, what: &str) -> Result<Vec<String>> {
    match &node.kind {
        Kind::Seq(_) => node.texts(what),
        _ => Ok(vec![node.text(what)?]),
    }
}

/// A list of words, or text that is split as a shell does, without being one.
fn words(node: &Node, what: &str) -> Result<Option<Vec<String>>> {
    match &node.kind {
        _ if node.is_null() => Ok(None),
        Kind::Seq(_) => node.texts(what).map(Some),
        _ => split(&node.text(what)?)
            .map(Some)
            .ok_or_else(|| node.wrong(format!("{what} has a quote that does not close"))),
    }
}

fn split(text: &str) -> Option<Vec<String>> {
    let (mut all, mut word) = (Vec::new(), None::<String>);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => all.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            c => word.get_or_insert_default().push(c),
        }
    }
    all.extend(word);
    Some(all)
}

/// `name: value` pairs, or `name=value` texts.
pub(super) fn labels(node: &Node) -> Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    match &node.kind {
        Kind::Seq(items) => {
            for item in items {
                let text = item.text("`labels`")?;
                let (name, value) = text.split_once('=').unwrap_or((&text, ""));
                labels.insert(name.to_owned(), value.to_owned());
            }
        }
        _ => {
            for (name, value) in node.pairs("`labels`")? {
                labels.insert(name.clone(), if value.is_null() { String::new() } else { value.text("`labels`")? });
            }
        }
    }
    Ok(labels)
}

fn published(node: &Node) -> Result<String> {
    let Kind::Map(pairs) = &node.kind else {
        let text = node.text("a port")?;
        super::spec::Port::parse(&text).map_err(|e| node.wrong(e.message()))?;
        return Ok(text);
    };
    let (mut target, mut published, mut address, mut protocol) =
        (String::new(), String::new(), String::new(), "tcp".to_owned());
    for (key, node) in pairs {
        match key.as_str() {
            "target" => target = node.text("`target`")?,
            "published" => published = node.text("`published`")?,
            "host_ip" => address = node.text("`host_ip`")?,
            "protocol" => protocol = node.text("`protocol`")?,
            // Ways of publishing that differ only for swarms.
            "mode" | "name" | "app_protocol" => {}
            other => return Err(node.unknown("a port", other, &["target", "published", "host_ip", "protocol"])),
        }
    }
    let address = if address.contains(':') { format!("[{address}]") } else { address };
    let text = match (address.as_str(), published.as_str()) {
        ("", "") => format!("{target}/{protocol}"),
        ("", p) => format!("{p}:{target}/{protocol}"),
        (a, p) => format!("{a}:{p}:{target}/{protocol}"),
    };
    super::spec::Port::parse(&text).map_err(|e| node.wrong(e.message()))?;
    Ok(text)
}

fn mount(node: &Node, place: &Place) -> Result<MountSpec> {
    let folder = |source: &str| match source.strip_prefix("~/") {
        Some(rest) => std::env::home_dir().unwrap_or_else(|| "/".into()).join(rest).display().to_string(),
        None => {
            let path = place.folder.join(source);
            path.components()
                .filter(|c| *c != std::path::Component::CurDir)
                .collect::<std::path::PathBuf>()
                .display()
                .to_string()
        }
    };
    let is_folder = |source: &str| source.starts_with(['.', '/', '~']);
    if let Kind::Map(pairs) = &node.kind {
        let mut m = MountSpec {
            r#type: MountKind::Volume,
            source: None,
            target: String::new(),
            read_only: false,
            options: None,
        };
        for (key, node) in pairs {
            match key.as_str() {
                "type" => {
                    m.r#type = match node.text("`type`")?.as_str() {
                        "volume" => MountKind::Volume,
                        "bind" => MountKind::Bind,
                        "tmpfs" => MountKind::Tmpfs,
                        other => return Err(node.unknown("`type`", other, &["volume", "bind", "tmpfs"])),
                    }
                }
                "source" => m.source = Some(node.text("`source`")?),
                "target" => m.target = node.text("`target`")?,
                "read_only" => m.read_only = node.boolean("`read_only`")?,
                other => return Err(node.unknown("a mount", other, &["type", "source", "target", "read_only"])),
            }
        }
        if m.r#type == MountKind::Bind {
            m.source = m.source.map(|s| folder(&s));
        }
        return Ok(m);
    }
    let text = node.text("a mount")?;
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, flags) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, flags] => (Some(*source), *target, *flags),
        _ => return Err(node.wrong(format!("`{text}` is no mount: `source:target[:ro]`"))),
    };
    let read_only = match flags {
        "" | "rw" => false,
        "ro" => true,
        other => return Err(node.unknown("a mount", other, &["ro", "rw"])),
    };
    let (kind, source) = match source {
        Some(source) if is_folder(source) => (MountKind::Bind, Some(folder(source))),
        other => (MountKind::Volume, other.map(str::to_owned)),
    };
    Ok(MountSpec { r#type: kind, source, target: target.to_owned(), read_only, options: None })
}

fn networks(node: &Node) -> Result<Vec<String>> {
    if let Kind::Seq(_) = &node.kind {
        return node.texts("`networks`");
    }
    let mut names = Vec::new();
    for (name, node) in node.pairs("`networks`")? {
        if let Some((key, node)) = node.pairs("a network of a service")?.first() {
            let why = "a service is in its networks under its own name";
            return Err(node.wrong(format!("`{key}` of the network `{name}` of a service is not understood: {why}")));
        }
        names.push(name.clone());
    }
    Ok(names)
}

fn depends_on(node: &Node) -> Result<BTreeMap<String, DependsOn>> {
    if let Kind::Seq(_) = &node.kind {
        return Ok(node.texts("`depends_on`")?.into_iter().map(|n| (n, DependsOn::Started)).collect());
    }
    let mut all = BTreeMap::new();
    for (name, node) in node.pairs("`depends_on`")? {
        let mut condition = DependsOn::Started;
        for (key, node) in node.pairs("`depends_on`")? {
            match key.as_str() {
                "condition" => {
                    condition = match node.text("`condition`")?.as_str() {
                        "service_started" => DependsOn::Started,
                        "service_healthy" => DependsOn::Healthy,
                        "service_completed_successfully" => DependsOn::Completed,
                        other => {
                            let all = ["service_started", "service_healthy", "service_completed_successfully"];
                            return Err(node.unknown("`condition`", other, &all));
                        }
                    }
                }
                "required" if node.boolean("`required`")? => {}
                other => return Err(node.unknown("`depends_on`", other, &["condition"])),
            }
        }
        all.insert(name.clone(), condition);
    }
    Ok(all)
}
