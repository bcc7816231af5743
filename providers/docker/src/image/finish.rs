//! The last step: what its containers run, its labels and its names; and how it is removed.

use std::collections::HashMap;

use bollard::models::ContainerConfig;
use bollard::query_parameters::{ListImagesOptions, RemoveImageOptions, TagImageOptions};
use serde_json::json;
use towpath_core::{Context, Error, ErrorKind, ImageDefinition, Result};

use super::DockerImageConfig;
use super::bake::find;
use super::base::{Known, as_container};
use super::container::{Temporary, forget};
use super::labels::{BASE, BASE_DIGEST, BUILD, NAME, comment};
use crate::PROVIDER;
use crate::engine::Engine;
use crate::errors::{failed, status};

/// Makes the finished image from the last layer. Its container is never started. Gives its id.
pub(super) async fn image(
    cx: &Context,
    engine: &Engine,
    config: &DockerImageConfig,
    image: &ImageDefinition,
    (from, base): (&Known, Option<&Known>),
    key: &str,
) -> Result<String> {
    let make = |cx: Context| async move {
        let container = Temporary::create(&cx, engine, config, from, key, "image").await?;
        let made = container.commit(key, settings(config, image, from, base)).await;
        container.remove_after(made).await
    };
    let (effect, intent) = (format!("image/{key}"), json!({"image": image.name, "content_key": key, "from": from.id}));
    let made: String = cx
        .effect(&effect, intent, make, |cx| async move {
            forget(&cx, engine).await?;
            find(engine, "build", key).await
        })
        .await?;
    // A finished effect is replayed, though somebody may have removed the image since.
    match engine.image("build", &made).await? {
        Some(_) => Ok(made),
        None => make(cx.scoped(&format!("{effect}/again"))).await,
    }
}

/// The base's settings, the config's on top, and labels.
fn settings(
    config: &DockerImageConfig,
    image: &ImageDefinition,
    from: &Known,
    base: Option<&Known>,
) -> ContainerConfig {
    let mut all = as_container(&from.config);
    if let Some(entrypoint) = &config.entrypoint {
        all.entrypoint = Some(entrypoint.clone());
        all.cmd = Some(Vec::new());
    }
    if let Some(cmd) = &config.cmd {
        all.cmd = Some(cmd.clone());
    }
    let env = all.env.get_or_insert_default();
    env.retain(|e| !config.env.contains_key(e.split('=').next().unwrap_or_default()));
    env.extend(config.env.iter().map(|(k, v)| format!("{k}={v}")));
    let ports = all.exposed_ports.get_or_insert_default();
    for port in &config.expose {
        let port = if port.contains('/') { port.clone() } else { format!("{port}/tcp") };
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    if let Some(user) = &config.user {
        all.user = Some(user.clone());
    }
    if let Some(dir) = &config.workdir {
        all.working_dir = Some(dir.clone());
    }
    let labels = all.labels.get_or_insert_default();
    labels.extend(image.labels.clone());
    labels.insert(NAME.into(), image.name.clone());
    labels.insert(BASE.into(), base.map_or_else(|| "scratch".into(), |b| b.reference.clone()));
    labels.insert(BASE_DIGEST.into(), base.map_or_else(String::new, |b| b.id.clone()));
    all
}

/// The names that the image should have.
fn tags(config: &DockerImageConfig, image: &ImageDefinition, key: &str) -> Vec<String> {
    if !config.tags.is_empty() {
        return config.tags.clone();
    }
    let plain: String = image
        .name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect::<String>()
        .split('-')
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-");
    let name = if plain.is_empty() { "image" } else { &plain };
    vec![format!("towpath/{name}:{}", key.get(..12).unwrap_or(key))]
}

/// Those that it does not have.
pub(super) async fn missing_tags(
    engine: &Engine,
    operation: &'static str,
    config: &DockerImageConfig,
    image: &ImageDefinition,
    key: &str,
    id: &str,
) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for tag in tags(config, image, key) {
        let found = engine.image(operation, &tag).await?;
        let same = match found {
            Some(found) => Known::of(&tag, found)?.id == id,
            None => false,
        };
        if !same {
            missing.push(tag);
        }
    }
    Ok(missing)
}

/// Gives the image the names that it does not have.
pub(super) async fn tag(
    cx: &Context,
    engine: &Engine,
    config: &DockerImageConfig,
    image: &ImageDefinition,
    key: &str,
    id: &str,
) -> Result<()> {
    for tag in missing_tags(engine, "build", config, image, key, id).await? {
        // The image's id is in the key: the same name for another image is another effect.
        let effect = format!("tag/{}/{id}", tag.replace('/', "_"));
        let give = |_| async {
            let (repo, version) = match tag.rsplit_once(':') {
                Some((repo, version)) if !version.contains('/') => (repo, version),
                _ => (tag.as_str(), "latest"),
            };
            let options = TagImageOptions { repo: Some(repo.to_owned()), tag: Some(version.to_owned()) };
            let given = engine.docker.tag_image(id, Some(options)).await;
            given.map_err(|e| failed("build", "the image can't be given a name", e).with("tag", &tag))
        };
        cx.effect_idempotent(&effect, json!({"tag": tag, "image": id}), give).await?;
    }
    Ok(())
}

/// Removes an image with all its names, and with the layers that only it needs. Gives `false` if there is none.
pub(super) async fn remove(cx: &Context, engine: &Engine, reference: &str) -> Result<bool> {
    let Some(found) = engine.image("remove", reference).await? else { return Ok(false) };
    let key = found.config.as_ref().and_then(|c| c.labels.as_ref()?.get(BUILD).cloned()).unwrap_or_default();
    if found.comment.as_deref() != Some(comment(&key).as_str()) {
        return Err(Error::new(ErrorKind::InvalidInput, PROVIDER, "remove", "the image was not built by this builder")
            .with("image", reference));
    }
    let mut names = found.repo_tags.clone().unwrap_or_default();
    let known = Known::of(reference, found)?;
    check_unused(engine, &known.id).await?;
    if names.is_empty() {
        names.push(known.id.clone());
    }
    let intent = json!({"remove": known.id, "names": names});
    cx.effect_idempotent(&format!("remove/{}", known.id), intent, |_| async {
        for name in &names {
            match engine.docker.remove_image(name, None::<RemoveImageOptions>, None).await {
                Ok(_) => {}
                Err(e) if status(&e) == Some(404) => {}
                Err(e) => {
                    let what = "the image can't be removed: a container or another image may need it";
                    return Err(failed("remove", what, e).with("image", name));
                }
            }
        }
        Ok(())
    })
    .await?;
    Ok(true)
}

/// Looks before anything is taken away: the engine would take the names of an image that it then can't remove.
async fn check_unused(engine: &Engine, id: &str) -> Result<()> {
    let used = |message: &str, by: &str| {
        Err(Error::new(ErrorKind::Conflict, PROVIDER, "remove", message).with("image", id).with("by", by))
    };
    let of_it = HashMap::from([("ancestor".to_owned(), vec![id.to_owned()])]);
    if let Some(container) = engine.containers("remove", of_it).await?.into_iter().next() {
        let name = container.names.and_then(|n| n.into_iter().next()).unwrap_or_default();
        return used("a container is made from the image: remove that first", name.trim_start_matches('/'));
    }
    let options = ListImagesOptions { all: true, ..ListImagesOptions::default() };
    let all = engine.docker.list_images(Some(options)).await;
    let all = all.map_err(|e| failed("remove", "the engine's images can't be listed", e))?;
    match all.into_iter().find(|i| i.parent_id == id) {
        Some(child) => used("another image is made from the image: remove that first", &child.id),
        None => Ok(()),
    }
}
