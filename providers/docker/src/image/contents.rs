//! Reads what is in an image, without running anything of it.

use std::io::Write as _;

use futures::StreamExt as _;
use towpath_core::equivalence::Contents;
use towpath_core::{Artifact, Context, Error, ErrorKind, Result};

use super::DockerImageConfig;
use super::base::Known;
use super::container::Temporary;
use crate::PROVIDER;
use crate::engine::Engine;
use crate::errors::failed;

const OPERATION: &str = "contents";

/// Makes a container that is never started, and reads its exported tree.
pub(super) async fn contents(
    cx: &Context,
    engine: &Engine,
    config: &DockerImageConfig,
    artifact: &Artifact,
) -> Result<Contents> {
    let Some(found) = engine.image(OPERATION, &artifact.id).await? else {
        return Err(Error::new(ErrorKind::NotFound, PROVIDER, OPERATION, "there is no such image: build it again")
            .with("image", &artifact.id));
    };
    let image = Known::of(&artifact.id, found)?;
    let cx = cx.scoped(&format!("contents/{}", image.id));
    let container = Temporary::create(&cx, engine, config, &image, OPERATION, OPERATION).await?;
    let read = cx.guard(PROVIDER, OPERATION, exported(engine, &container.name)).await;
    let contents = async {
        let tree = read.map_err(|e| e.with_missing("image", &artifact.id))?;
        let contents = tokio::task::spawn_blocking(move || Contents::from_tar(tree)).await;
        contents.map_err(std::io::Error::other).and_then(|read| read).map_err(|e| {
            let kind = match e.kind() {
                std::io::ErrorKind::Unsupported => ErrorKind::Unsupported,
                _ => ErrorKind::Protocol,
            };
            Error::new(kind, PROVIDER, OPERATION, "what is in the image can't be read")
                .with("image", &artifact.id)
                .caused_by(e)
        })
    }
    .await;
    container.remove_after(contents).await
}

/// The tree of a container, in a file that has no name.
async fn exported(engine: &Engine, container: &str) -> Result<std::fs::File> {
    let unkept = |e| {
        let message = "the image's tree can't be kept in a temporary file; `TMPDIR` names a folder for it";
        Error::new(ErrorKind::Storage, PROVIDER, OPERATION, message).caused_by(e)
    };
    let mut file = tempfile::tempfile().map_err(unkept)?;
    let mut tree = engine.docker.export_container(container);
    while let Some(piece) = tree.next().await {
        let piece = piece.map_err(|e| {
            failed(OPERATION, "the image's tree can't be read: see what the engine says, then try again", e)
        })?;
        file.write_all(&piece).map_err(unkept)?;
    }
    std::io::Seek::rewind(&mut file).map_err(unkept)?;
    Ok(file)
}
