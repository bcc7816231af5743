//! The last step: what its containers run, its labels and its names; and how it is removed.

use std::collections::HashMap;

use bollard::models::ContainerConfig;
use bollard::query_parameters::{ListImagesOptions, RemoveImageOptions, TagImageOptions};
use serde_json::json;
use towpath_core::{Artifact, Context, Error, ErrorKind, ImageDefinition, Result};

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
    vec![default_tag(&image.name, key)]
}

/// The name of an image that was given none.
fn default_tag(image: &str, key: &str) -> String {
    let plain: String = image
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect::<String>()
        .split('-')
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-");
    let name = if plain.is_empty() { "image" } else { &plain };
    // An engine's longest name has 255 characters.
    let name = name.get(..200).unwrap_or(name).trim_end_matches('-');
    format!("towpath/{name}:{}", key.get(..12).unwrap_or(key))
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
            given.map_err(|e| {
                failed("build", "the image can't be given a name: see what the engine says", e)
                    .with("image", id)
                    .with("tag", &tag)
            })
        };
        cx.effect_idempotent(&effect, json!({"tag": tag, "image": id}), give).await?;
    }
    Ok(())
}

/// The names of an image that this builder gave it, and those that others gave it.
fn owned(
    config: &DockerImageConfig,
    image: &Known,
    key: &str,
    name: &str,
    names: Vec<String>,
) -> (Vec<String>, Vec<String>) {
    let labelled = image.config.labels.as_ref().and_then(|l| l.get(NAME)).map_or("", String::as_str);
    let mut own: Vec<String> = config.tags.clone();
    own.extend([default_tag(name, key), default_tag(labelled, key)]);
    let own: Vec<String> = own.iter().map(|tag| plain(tag)).collect();
    names.into_iter().partition(|tag| own.contains(&plain(tag)))
}

/// A tag without what engines add to it.
fn plain(tag: &str) -> String {
    // Podman says `localhost/` of what has no registry.
    let tag =
        ["docker.io/library/", "docker.io/", "localhost/"].iter().find_map(|p| tag.strip_prefix(p)).unwrap_or(tag);
    match tag.rsplit_once(':') {
        Some((_, version)) if !version.contains('/') => tag.to_owned(),
        _ => format!("{tag}:latest"),
    }
}

/// Takes away the names that this builder gave an image; then the image itself, with the layers that only it needs, unless
/// others gave it names. Gives `false` if there is none.
pub(super) async fn remove(
    cx: &Context,
    engine: &Engine,
    config: &DockerImageConfig,
    artifact: &Artifact,
) -> Result<bool> {
    let reference = artifact.id.as_str();
    let Some(found) = engine.image("remove", reference).await? else { return Ok(false) };
    let key = found.config.as_ref().and_then(|c| c.labels.as_ref()?.get(BUILD).cloned()).unwrap_or_default();
    if found.comment.as_deref() != Some(comment(&key).as_str()) {
        let message = "the image was not built by this builder: `docker rmi` it if it is to go";
        return Err(Error::new(ErrorKind::InvalidInput, PROVIDER, "remove", message).with("image", reference));
    }
    let names = found.repo_tags.clone().unwrap_or_default();
    let known = Known::of(reference, found)?;
    let (mut own, others) = owned(config, &known, &key, &artifact.name, names);
    if others.is_empty() {
        check_unused(engine, &known.id).await?;
        if own.is_empty() {
            own.push(known.id.clone());
        }
    } else {
        cx.warn(format!(
            "the image {} stays, since others call it {}: `docker rmi` that if it is to go, too",
            known.id,
            others.join(", ")
        ));
    }
    let intent = json!({"remove": known.id, "names": own});
    cx.effect_idempotent(&format!("remove/{}", known.id), intent, |_| async {
        for name in &own {
            // Somebody may have given the name to another image since.
            let still = engine.image("remove", name).await?.and_then(|i| Known::of(name, i).ok());
            if still.is_none_or(|now| now.id != known.id) {
                continue;
            }
            match engine.docker.remove_image(name, None::<RemoveImageOptions>, None).await {
                Ok(_) => {}
                Err(e) if status(&e) == Some(404) => {}
                Err(e) => {
                    let what =
                        "the image can't be removed: a container or another image may need it, remove that first";
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
