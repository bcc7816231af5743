//! Runs configurators in temporary containers, and keeps what comes out of each.

use std::collections::HashMap;
use std::sync::Arc;

use bollard::query_parameters::ListImagesOptions;
use indexmap::IndexMap;
use serde_json::json;
use towpath_core::{
    ConnectionSpec, Context, Error, ErrorKind, EventKind, Group, Host, ImageDefinition, Inventory, Result, Targets,
};

use super::DockerImageConfig;
use super::base::{Known, as_container};
use super::container::{Temporary, forget};
use super::key::Chain;
use super::labels::{BUILD, comment};
use crate::PROVIDER;
use crate::engine::Engine;
use crate::errors::failed;

/// The image that was built for a key, the oldest one of several. Gives its id.
pub(super) async fn find(engine: &Engine, operation: &'static str, key: &str) -> Result<Option<String>> {
    let options = ListImagesOptions {
        // Those that others are made from are not shown otherwise.
        all: true,
        filters: Some(HashMap::from([("label".to_owned(), vec![format!("{BUILD}={key}")])])),
        ..ListImagesOptions::default()
    };
    let found = engine.docker.list_images(Some(options)).await;
    let mut found = found.map_err(|e| failed(operation, "the engine's images can't be listed", e))?;
    found.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
    for image in found {
        // The label is inherited by images that somebody makes from this one; the comment is not.
        if let Some(inspected) = engine.image(operation, &image.id).await?
            && inspected.comment.as_deref() == Some(comment(key).as_str())
        {
            return Known::of(&image.id, inspected).map(|known| Some(known.id));
        }
    }
    Ok(None)
}

/// How many configurators need not run again, and the image to go on from.
pub(super) async fn kept(engine: &Engine, operation: &'static str, chain: &Chain) -> Result<(usize, Option<String>)> {
    for (n, key) in chain.layers.iter().enumerate().rev() {
        if let Some(id) = find(engine, operation, key).await? {
            return Ok((n + 1, Some(id)));
        }
    }
    Ok((0, None))
}

async fn known(engine: &Engine, id: &str) -> Result<Option<Known>> {
    match engine.image("build", id).await? {
        Some(found) => Known::of(id, found).map(Some),
        None => Ok(None),
    }
}

fn vanished(id: &str) -> Error {
    Error::new(ErrorKind::Conflict, PROVIDER, "build", "somebody removed an image while it was built on: build again")
        .with("image", id)
        .retry_later()
}

/// Runs the configurators that were not run on this base before. Gives what comes out.
pub(super) async fn layers(
    cx: &Context,
    engine: &Engine,
    config: &DockerImageConfig,
    image: &ImageDefinition,
    base: Known,
    chain: &Chain,
) -> Result<Known> {
    warn_of_volumes(cx, &base);
    let (first, kept) = kept(engine, "build", chain).await?;
    let mut from = match kept {
        Some(id) => known(engine, &id).await?.ok_or_else(|| vanished(&id))?,
        None => base,
    };
    let total = chain.layers.len();
    for (n, key) in chain.layers.iter().enumerate().skip(first) {
        cx.check(PROVIDER, "build")?;
        let message = format!("configuring {} ({} of {total})", image.name, n + 1);
        cx.emit(EventKind::Progress { message, done: Some(n as u64), total: Some(total as u64) });
        let layer = Layer { engine, config, image, from: &from, n, key };
        let (effect, intent) = (format!("layer/{key}"), json!({"configure": n, "layer": key, "from": from.id}));
        let made: String = cx
            .effect(
                &effect,
                intent,
                |cx| async move { layer.make(&cx).await },
                |cx| async move {
                    forget(&cx, engine).await?;
                    find(engine, "build", key).await
                },
            )
            .await?;
        // A finished effect is replayed, though somebody may have removed the image since.
        let id = match known(engine, &made).await? {
            Some(_) => made,
            None => layer.make(&cx.scoped(&format!("{effect}/again"))).await?,
        };
        from = known(engine, &id).await?.ok_or_else(|| vanished(&id))?;
    }
    Ok(from)
}

/// What lies in a volume is no part of an image.
fn warn_of_volumes(cx: &Context, base: &Known) {
    let volumes = base.config.volumes.as_deref().unwrap_or_default();
    if !volumes.is_empty() {
        cx.warn(format!(
            "the base {} declares volumes: what is written below {} does not become part of the image",
            base.reference,
            volumes.join(", ")
        ));
    }
}

/// One configurator's work.
#[derive(Clone, Copy)]
struct Layer<'a> {
    engine: &'a Engine,
    config: &'a DockerImageConfig,
    image: &'a ImageDefinition,
    from: &'a Known,
    n: usize,
    key: &'a str,
}

impl Layer<'_> {
    async fn make(self, cx: &Context) -> Result<String> {
        let name = host_name(&self.image.name);
        let container = Temporary::create(cx, self.engine, self.config, self.from, self.key, &name).await?;
        let made = async {
            container.start().await?;
            let configurator =
                self.image.configure.get(self.n).ok_or_else(|| {
                    Error::new(ErrorKind::Internal, PROVIDER, "build", "a key without its configurator")
                })?;
            // Below the container's name: what was done in another one is not done in this one.
            let inside = cx.scoped(&container.name);
            let done = configurator.apply(&inside, &self.targets(&container.name)).await?;
            if let Some((host, summary)) = done.hosts.iter().find(|(_, s)| s.failed > 0 || s.unreachable > 0) {
                return Err(Error::new(ErrorKind::ToolFailed, PROVIDER, "build", "a configurator failed")
                    .with("host", host)
                    .with("failed", summary.failed)
                    .with("unreachable", summary.unreachable));
            }
            cx.check(PROVIDER, "build")?;
            container.stop().await?;
            container.commit(self.key, as_container(&self.from.config)).await
        }
        .await;
        container.remove_after(made).await
    }

    /// The container as the only host, called like the image.
    fn targets(&self, container: &str) -> Targets {
        let mut connection = ConnectionSpec {
            kind: PROVIDER.to_owned(),
            address: Some(container.to_owned()),
            // Configuring is root's work, whoever runs the image later.
            user: self.from.is_for_another_user().then(|| "0".to_owned()),
            ..ConnectionSpec::default()
        };
        if let Some(engine) = &self.config.host {
            connection.options.insert("host".into(), engine.as_str().into());
        }
        let host = Host { name: self.image.name.clone(), connection, ..Host::default() };
        let group = || Group { hosts: vec![host.name.clone()], ..Group::default() };
        let groups: IndexMap<String, Group> = self.config.groups.iter().map(|g| (g.clone(), group())).collect();
        let inventory = Inventory { hosts: vec![host.clone()], groups, ..Inventory::default() };
        Targets::new(inventory, Arc::clone(&self.image.connector))
    }
}

/// A host name that is always the same, since playbooks may see it.
fn host_name(image: &str) -> String {
    let plain: String =
        image.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).take(63).collect();
    match plain.trim_matches('-') {
        "" => "image".to_owned(),
        name => name.to_owned(),
    }
}
