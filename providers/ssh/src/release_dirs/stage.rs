//! Brings a release to a host.

use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use towpath_core::{
    Become, Connection, Context, Error, ErrorKind, PutOptions, Release, Result, Source, Staged, Target,
};

use super::deployer::ReleaseDirs;
use super::source::{Cargo, suits};
use super::{error, layout};
use crate::random_name;

/// The marker of a release.
#[derive(Serialize)]
struct Marker<'a> {
    version: &'a str,
    digest: &'a str,
    /// Digest of the environment, whose values may be secret.
    env: String,
    /// Paths that are links.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    shared: &'a [String],
}

/// What a release's artifact is called in errors.
fn shown(release: &Release) -> &str {
    release.artifact.as_ref().map_or("built here", |a| &a.id)
}

impl ReleaseDirs {
    pub(super) async fn bring(
        &self,
        cx: &Context,
        target: &Target,
        connection: &Arc<dyn Connection>,
        to: Option<&Become>,
        release: &Release,
    ) -> Result<Staged> {
        let host = &target.host.name;
        if release.artifact.is_none() && self.config.build.is_none() {
            // What is only known by its version is what is there.
            let script = layout::is_staged(&self.config, &release.version);
            let out = self.script(cx, host, connection, to, "stage", script, "look").await?;
            if out.stdout_text().trim() == "staged" {
                return Ok(Staged { changed: false });
            }
        }
        let placed = |e: Error| e.with_missing("host", host).with_missing("version", &release.version);
        let cargo = self.cargo(cx, release).await.map_err(placed)?;
        let reserved = [layout::MARKER, "env", ".env", "x", ".artifact"].contains(&cargo.name.as_str());
        if cargo.name.is_empty() || cargo.name.contains('/') || (reserved && !cargo.archive) {
            return Err(error(
                ErrorKind::InvalidInput,
                "stage",
                "the artifact's file name is reserved; set `file_name`",
            )
            .with("file_name", &cargo.name));
        }
        let env = layout::env_file(release)?;
        let marker = Marker {
            version: &release.version,
            digest: &cargo.digest,
            env: hex::encode(Sha256::digest(env.as_bytes())),
            shared: &self.config.shared,
        };
        let marker = serde_json::to_string(&marker)
            .map_err(|e| error(ErrorKind::Internal, "stage", "the marker can't be written").caused_by(e))?;
        let temporary = format!(".tmp-{}-{}", release.version, random_name());
        let loader = cargo.needs.as_ref().and_then(|n| n.loader.as_deref()).unwrap_or_default();
        let file = (!cargo.archive).then_some((cargo.digest.as_str(), cargo.name.as_str()));
        let found = layout::prepare(&self.config, &release.version, &temporary, loader, &marker, file);
        let found = self.script(cx, host, connection, to, "stage", found, "prepare").await?;
        let text = found.stdout_text();
        let fact = |key: &str| text.lines().find_map(|l| l.strip_prefix(key)).map(str::trim);
        if text.lines().any(|l| l == "unchanged") {
            return Ok(Staged { changed: false });
        }
        let brought = match suits(&cargo, fact("machine "), fact("libc "), &text) {
            Err(e) => Err(e.with("host", host).with("artifact", shown(release))),
            Ok(()) => {
                let there = text.lines().any(|l| l == "copied");
                self.upload(cx, host, connection, to, release, &cargo, there, &temporary, &env, &marker).await
            }
        };
        if brought.is_err() {
            // Shielded: nothing is left behind after a cancel, either. Hours later the next stage would remove it, too.
            let script = layout::discard(&self.config, &temporary);
            let cx = cx.shielded().with_timeout(std::time::Duration::from_secs(30));
            let _ = self.script(&cx, host, connection, to, "stage", script, "discard").await;
        }
        brought.map(|()| Staged { changed: true })
    }

    #[allow(clippy::too_many_arguments)]
    async fn upload(
        &self,
        cx: &Context,
        host: &str,
        connection: &Arc<dyn Connection>,
        to: Option<&Become>,
        release: &Release,
        cargo: &Cargo,
        there: bool,
        temporary: &str,
        env: &str,
        marker: &str,
    ) -> Result<()> {
        let dir = format!("{}/releases/{temporary}", self.config.root);
        let name = if cargo.archive { ".artifact" } else { &cargo.name };
        let options = PutOptions { mode: Some(0o755), r#become: to.cloned(), ..PutOptions::default() };
        let private = PutOptions { mode: Some(0o600), r#become: to.cloned(), ..PutOptions::default() };
        let (artifact, variables) = (format!("{dir}/{name}"), format!("{dir}/.env"));
        let bring = async {
            if there {
                return Ok(());
            }
            connection.put(cx, Source::File(cargo.path.clone()), &artifact, &options).await
        };
        tokio::try_join!(bring, connection.put(cx, Source::Bytes(env.to_owned().into()), &variables, &private))?;
        let script = layout::finish(&self.config, &release.version, temporary, cargo.archive, marker);
        self.script(cx, host, connection, to, "stage", script, "finish").await.map(drop)
    }
}
