//! Images from a Dockerfile, by the engine's own builder.

use std::collections::{BTreeMap, HashMap};

use bollard::body_try_stream;
use bollard::query_parameters::BuildImageOptions;
use futures::StreamExt as _;
use serde_json::json;
use towpath_core::{Context, Error, ErrorKind, EventKind, Result, digest_json};

use super::DockerfileConfig;
use super::base::Known;
use super::context::Archive;
use crate::engine::{Engine, check_reference};
use crate::errors::{failed, let_go};
use crate::{PROVIDER, random_name};

/// The build argument that the definition's base is given in.
const BASE: &str = "BASE";

/// A Dockerfile with everything that it is built with.
#[derive(Debug)]
pub(super) struct Recipe {
    path: String,
    args: BTreeMap<String, String>,
    target: Option<String>,
    archive: Archive,
    text: String,
    /// Ids of the images that it starts from, by reference.
    from: BTreeMap<String, String>,
}

impl Recipe {
    /// Reads the Dockerfile and packs its context.
    pub(super) async fn read(operation: &'static str, config: &DockerfileConfig, base: Option<&Known>) -> Result<Self> {
        let file = config.context.join(&config.path);
        let text = tokio::fs::read_to_string(&file).await.map_err(|e| {
            Error::new(
                ErrorKind::InvalidInput,
                PROVIDER,
                operation,
                "the Dockerfile can't be read: is `context` right?",
            )
            .with("file", file.display())
            .caused_by(e)
        })?;
        let (folder, always) = (config.context.clone(), config.path.clone());
        let archive = tokio::task::spawn_blocking(move || Archive::pack(&folder, &always))
            .await
            .map_err(|e| Error::new(ErrorKind::Internal, PROVIDER, operation, "packing broke off").caused_by(e))??;
        let mut args = config.args.clone();
        if let Some(base) = base {
            args.insert(BASE.to_owned(), base.id.clone());
        }
        let path = config.path.display().to_string();
        // Before anything is pulled or built.
        for reference in froms(&text, &args) {
            check_reference(operation, &reference).map_err(|e| e.with("file", file.display()))?;
        }
        Ok(Self { path, args, target: config.target.clone(), archive, text, from: BTreeMap::new() })
    }

    /// The images that its stages start from, as far as that can be told without running it.
    pub(super) fn froms(&self) -> Vec<String> {
        froms(&self.text, &self.args)
    }

    /// Says what one of [`froms`](Self::froms) is now.
    pub(super) fn starts_from(&mut self, reference: &str, id: &str) {
        self.from.insert(reference.to_owned(), id.to_owned());
    }

    /// Digest over everything that decides what comes out.
    pub(super) fn digest(&self) -> String {
        digest_json(&json!({
            "path": self.path,
            "args": self.args,
            "target": self.target,
            "context": self.archive.digest,
            "from": self.from,
        }))
    }

    /// Builds it. The engine keeps the results of its steps, so that only what has changed is done again.
    pub(super) async fn build(
        &self,
        cx: &Context,
        engine: &Engine,
        base: Option<&Known>,
        network: Option<&str>,
    ) -> Result<Known> {
        let key = self.digest();
        let options = BuildImageOptions {
            dockerfile: self.path.clone(),
            buildargs: Some(self.args.clone().into_iter().collect::<HashMap<_, _>>()),
            target: self.target.clone().unwrap_or_default(),
            networkmode: network.map(str::to_owned),
            rm: true,
            forcerm: true,
            ..BuildImageOptions::default()
        };
        let intent = json!({"dockerfile": self.path, "key": key, "base": base.map(|b| b.id.as_str())});
        let effect = format!("dockerfile/{key}");
        let make = |cx: Context| self.run(cx, engine, options.clone());
        let id: String = cx.effect_idempotent(&effect, &intent, make).await?;
        if let Some(found) = engine.image("build", &id).await? {
            return Known::of(&id, found);
        }
        // A finished effect is replayed, though somebody may have removed the image since. Under a key of its own each time, so that
        // this one is not replayed, too.
        let again = format!("{effect}/again-{}", random_name());
        let id: String = cx.effect_idempotent(&again, &intent, make).await?;
        let found = engine.image("build", &id).await?.ok_or_else(|| {
            Error::new(ErrorKind::Conflict, PROVIDER, "build", "somebody removed what the Dockerfile gave: build again")
                .with("image", &id)
                .retry_later()
        })?;
        Known::of(&id, found)
    }

    async fn run(&self, cx: Context, engine: &Engine, options: BuildImageOptions) -> Result<String> {
        for _ in 0..TRIES {
            match self.run_once(&cx, engine, options.clone()).await {
                Err(e) if lost_an_image(&e) => {
                    let message =
                        "an image was removed while the engine searched its cache: the build starts again".to_owned();
                    cx.emit(EventKind::Progress { message, done: None, total: None });
                }
                done => return done,
            }
        }
        self.run_once(&cx, engine, options).await
    }

    async fn run_once(&self, cx: &Context, engine: &Engine, options: BuildImageOptions) -> Result<String> {
        let file = &self.path;
        let archive = self.archive.stream().map_err(|e| {
            Error::new(ErrorKind::Storage, PROVIDER, "build", "the packed build context can't be read: build again")
                .with("file", file)
                .caused_by(e)
        })?;
        let mut stream = engine.docker.build_image(options, None, Some(body_try_stream(archive)));
        let all = async {
            let mut id = None;
            while let Some(said) = stream.next().await {
                let said = said.map_err(|e| {
                    let what = "the Dockerfile can't be built: see what the engine says about it, mend it, build again";
                    failed("build", what, e).with("file", file)
                })?;
                if let Some(error) = said.error_detail {
                    let message = "the Dockerfile failed: mend the step that its output ends with, then build again";
                    return Err(Error::new(ErrorKind::ToolFailed, PROVIDER, "build", message)
                        .with("file", file)
                        .caused_by(error.message.unwrap_or_default()));
                }
                for line in said.stream.iter().flat_map(|s| s.lines()).filter(|l| !l.is_empty()) {
                    cx.emit(EventKind::Output { stream: "build".into(), line: line.to_owned() });
                }
                id = said.aux.and_then(|a| a.id).or(id);
            }
            id.ok_or_else(|| {
                let message = "the engine tells no id of what it built: is it an engine that is supported?";
                Error::new(ErrorKind::Protocol, PROVIDER, "build", message).with("file", file)
            })
        };
        // When nobody reads its answer any more, the engine ends the build.
        let what = "the engine was told to end the build by closing its connection, and ends the step it is at by itself; finished \
                    steps stay in its cache";
        cx.guard(PROVIDER, "build", all).await.map_err(|e| let_go(e, what).with_missing("file", file))
    }
}

/// Builds that start again, at most. Beside two clients that make and remove images all the time, one of forty has to.
const TRIES: usize = 3;

/// Whether another client removed an image while the engine looked for a step of the build in its cache. The classic builder lists all
/// images that were made from the one before the step, reads each, and fails if one of them is gone by then, also one that has nothing
/// to do with this build.
fn lost_an_image(e: &Error) -> bool {
    e.kind() == ErrorKind::ToolFailed && e.report().contains("unable to find image \"sha256:")
}

/// References after `FROM`, without stages, with build arguments filled in. One that needs more than that is passed over.
fn froms(text: &str, args: &BTreeMap<String, String>) -> Vec<String> {
    let (mut found, mut stages): (Vec<String>, Vec<String>) = Default::default();
    let mut defaults: BTreeMap<String, String> = BTreeMap::new();
    for line in logical_lines(text) {
        let mut words = line.split_ascii_whitespace();
        match words.next().map(str::to_ascii_uppercase).as_deref() {
            Some("ARG") if found.is_empty() && stages.is_empty() => {
                for (name, default) in words.filter_map(|w| w.split_once('=')) {
                    defaults.insert(name.to_owned(), default.trim_matches(['"', '\'']).to_owned());
                }
            }
            Some("FROM") => {
                let words: Vec<&str> = words.filter(|w| !w.starts_with("--")).collect();
                let reference = words.first().and_then(|w| fill(w, args, &defaults));
                let stage = |name: &str| stages.iter().any(|s| s.eq_ignore_ascii_case(name));
                if let Some(reference) = reference.filter(|r| r != "scratch" && !stage(r)) {
                    if !found.contains(&reference) {
                        found.push(reference);
                    }
                }
                stages.push(words.get(2).copied().unwrap_or_default().to_owned());
            }
            _ => {}
        }
    }
    found
}

/// Lines with their continuations, without comments.
fn logical_lines(text: &str) -> Vec<String> {
    let (mut lines, mut open) = (Vec::new(), String::new());
    for line in text.lines().map(str::trim).filter(|l| !l.starts_with('#')) {
        match line.strip_suffix('\\') {
            Some(begin) => open.push_str(&format!("{begin} ")),
            None => lines.push(std::mem::take(&mut open) + line),
        }
    }
    lines.push(open);
    lines
}

/// Fills in `$NAME`, `${NAME}` and `${NAME:-default}`.
fn fill(word: &str, args: &BTreeMap<String, String>, defaults: &BTreeMap<String, String>) -> Option<String> {
    let value = |name: &str| args.get(name).or_else(|| defaults.get(name)).cloned();
    let mut out = String::new();
    let mut rest = word.trim_matches('"');
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(braced) = after.strip_prefix('{') {
            let (inside, tail) = braced.split_once('}')?;
            let (name, default) = inside.split_once(":-").map_or((inside, None), |(n, d)| (n, Some(d)));
            out.push_str(&value(name).or_else(|| default.map(str::to_owned))?);
            rest = tail;
        } else {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            let (name, tail) = after.split_at(end);
            out.push_str(&value(name)?);
            rest = tail;
        }
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_image_that_the_engine_has_lost_is_a_reason_to_start_again() {
        let said =
            |kind, cause: &str| lost_an_image(&Error::new(kind, PROVIDER, "build", "it failed").caused_by(cause));
        // In the words of Docker 20.10.
        let lost = format!("unable to find image \"sha256:{}\"", "e6".repeat(32));
        assert!(said(ErrorKind::ToolFailed, &lost));
        assert!(!said(ErrorKind::NotFound, &lost));
        assert!(!said(ErrorKind::ToolFailed, "Unable to find image 'web:latest' locally"));
    }

    #[test]
    fn the_images_of_a_dockerfile_are_found_without_its_stages() {
        let text = "# syntax\nARG BASE=debian:1\nARG V=\"2\"\nFROM --platform=linux/amd64 ${BASE} AS build\nRUN x \\\n  # c\n  FROM no\n\
                    FROM build AS second\nFROM alpine:$V\nFROM scratch\nFROM ${UNKNOWN}\nFROM ${X:-busybox:3}\n";
        let none = BTreeMap::new();
        assert_eq!(froms(text, &none), ["debian:1", "alpine:2", "busybox:3"]);
        let args = BTreeMap::from([("BASE".to_owned(), "sha256:00".to_owned())]);
        assert_eq!(froms(text, &args), ["sha256:00", "alpine:2", "busybox:3"]);
    }
}
