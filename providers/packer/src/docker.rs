//! Docker images, looked at and removed by their ids with `docker`, which Packer's own builder needs as well.
//!
//! A tag may mean another image by now. The digest of an artifact is the image's id, which never does.

use std::ffi::OsString;
use std::path::Path;

use serde::Deserialize;
use towpath_core::{Artifact, Context, Error, ErrorKind, Result};

use crate::PackerConfig;
use crate::artifact::{is_image_id, of_text};
use crate::diagnostic::tool_failed;
use crate::program;
use crate::provider::PACKER;

/// An image that the engine has, under one of its names.
#[derive(Debug, Clone, Deserialize)]
struct Named {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Repository")]
    repository: String,
    #[serde(rename = "Tag")]
    tag: String,
}

impl Named {
    /// `repository:tag`. `None`: it has no name.
    fn name(&self) -> Option<String> {
        // Source: Docker's documentation, "docker image ls": how it writes what is not there.
        (self.repository != "<none>" && self.tag != "<none>").then(|| format!("{}:{}", self.repository, self.tag))
    }
}

/// A container.
#[derive(Debug, Clone, Deserialize)]
struct Container {
    #[serde(rename = "Names")]
    names: String,
}

/// All images of the engine.
#[derive(Debug)]
pub(crate) struct Images(Vec<Named>);

impl Images {
    pub(crate) async fn list(cx: &Context, config: &PackerConfig, operation: &'static str) -> Result<Self> {
        // With those that have no name and that others are made from.
        let args = ["image", "ls", "--all", "--no-trunc", "--format", "{{json .}}"].map(OsString::from);
        let out = call(cx, config, operation, "the engine's images can't be listed", &args).await?;
        Ok(Self(parse(operation, &out)?))
    }

    /// The names of the image with this id. `None`: there is none.
    fn names(&self, id: &str) -> Option<Vec<String>> {
        let of_it: Vec<&Named> = self.0.iter().filter(|n| n.id == id).collect();
        (!of_it.is_empty()).then(|| of_it.into_iter().filter_map(Named::name).collect())
    }

    /// Says whether there is an image with this id.
    pub(crate) fn is_there(&self, id: &str) -> bool {
        self.names(id).is_some()
    }

    /// The id of the image that this name means.
    fn meant(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|n| n.name().as_deref() == Some(name)).map(|n| n.id.as_str())
    }

    /// Whether the artifact is there. `Err`: its name means another image, with this id.
    pub(crate) fn look(&self, artifact: &Artifact) -> std::result::Result<bool, String> {
        if is_image_id(&artifact.id) {
            return Ok(self.is_there(&artifact.digest));
        }
        match self.meant(&with_tag(&artifact.id)) {
            None => Ok(false),
            Some(id) if id == artifact.digest => Ok(true),
            Some(other) => Err(other.to_owned()),
        }
    }
}

/// A name without a tag means `latest`.
fn with_tag(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) { name.to_owned() } else { format!("{name}:latest") }
}

/// Refuses an artifact whose image's id nobody knows: its name alone would be a guess.
pub(crate) fn check(operation: &'static str, artifact: &Artifact) -> Result<()> {
    if is_image_id(&artifact.digest) && artifact.digest != of_text(&artifact.id) {
        return Ok(());
    }
    let what = "packer did not say which image this name means, so that it can't be looked at or removed safely: use `docker` by hand";
    Err(Error::new(ErrorKind::Unsupported, PACKER, operation, what).with("artifact", &artifact.id))
}

/// Removes the image of an artifact, with the names that are `ours`. `false`: there is none.
pub(crate) async fn remove(cx: &Context, config: &PackerConfig, artifact: &Artifact, ours: &[String]) -> Result<bool> {
    let id = &artifact.digest;
    let Some(names) = Images::list(cx, config, "remove").await?.names(id) else { return Ok(false) };
    let used = |message: &str, by: String| {
        Err(Error::new(ErrorKind::Conflict, PACKER, "remove", message).with("image", id).with("by", by))
    };
    let foreign: Vec<&str> =
        names.iter().filter(|n| !ours.iter().any(|o| with_tag(o) == **n)).map(String::as_str).collect();
    if !foreign.is_empty() {
        return used("somebody else has given the image names of their own: remove those first", foreign.join(", "));
    }
    let filter = format!("ancestor={id}");
    let args = ["ps", "--all", "--no-trunc", "--filter", &filter, "--format", "{{json .}}"].map(OsString::from);
    let out = call(cx, config, "remove", "the engine's containers can't be listed", &args).await?;
    let containers: Vec<Container> = parse("remove", &out)?;
    if let Some(container) = containers.first() {
        return used("a container is made from the image: remove that first", container.names.clone());
    }
    let intent = serde_json::json!({"remove": id, "names": names});
    cx.effect_idempotent(&format!("remove/{id}"), intent, |cx| async move {
        let mut args: Vec<OsString> = vec!["image".into(), "rm".into()];
        if names.len() > 1 {
            // Of an image with several names the engine wants to be sure that all of them are meant. What needs the image
            // keeps it all the same.
            args.push("--force".into());
        }
        args.push(id.into());
        let what = "docker can't remove the image: another one may be made from it";
        match call(&cx, config, "remove", what, &args).await {
            // Somebody else was faster.
            Err(e) if e.kind() == ErrorKind::ToolFailed => match Images::list(&cx, config, "remove").await?.names(id) {
                None => Ok(()),
                Some(_) => Err(e.with("image", id)),
            },
            done => done.map(drop),
        }
    })
    .await?;
    Ok(true)
}

/// Standard output of `docker`, in the environment that Packer has.
async fn call(
    cx: &Context,
    config: &PackerConfig,
    operation: &'static str,
    what: &str,
    args: &[OsString],
) -> Result<String> {
    let Some(docker) = program::find(config, Path::new("docker")) else {
        let what = "the program `docker` is not there, with which Packer's images are looked at: install it";
        return Err(Error::new(ErrorKind::ToolMissing, PACKER, operation, what));
    };
    let out = program::ask(cx, config, &docker, operation, args).await?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    Err(tool_failed(cx, operation, what, out.status, &String::from_utf8_lossy(&out.stderr)))
}

/// One value of JSON on each line.
fn parse<T: serde::de::DeserializeOwned>(operation: &'static str, text: &str) -> Result<Vec<T>> {
    let lines = text.lines().filter(|l| !l.trim().is_empty());
    lines.map(serde_json::from_str).collect::<std::result::Result<_, _>>().map_err(|e| {
        Error::new(ErrorKind::ToolFailed, PACKER, operation, "docker answers what is not understood").caused_by(e)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_with_their_tags() {
        for (name, full) in [
            ("web", "web:latest"),
            ("web:1", "web:1"),
            ("127.0.0.1:5000/web", "127.0.0.1:5000/web:latest"),
            ("127.0.0.1:5000/web:1", "127.0.0.1:5000/web:1"),
        ] {
            assert_eq!(with_tag(name), full);
        }
    }

    /// Recorded from Docker 20.10, its other fields left out.
    #[test]
    fn the_list_is_read() {
        let text = "{\"ID\":\"sha256:aa\",\"Repository\":\"web\",\"Tag\":\"1\",\"Size\":\"412MB\"}\n{\"ID\":\"sha256:bb\",\"Repository\":\"\\u003cnone\\u003e\",\"Tag\":\"\\u003cnone\\u003e\"}\n";
        let images = Images(parse("probe", text).unwrap());
        assert_eq!(images.names("sha256:aa"), Some(vec!["web:1".to_owned()]));
        assert_eq!(images.names("sha256:bb"), Some(Vec::new()));
        assert_eq!(images.names("sha256:cc"), None);
        assert_eq!(images.meant("web:1"), Some("sha256:aa"));
    }
}
