//! The engine: where it listens, and which version of its API is spoken.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::errors::Error as EngineError;
use bollard::models::{ContainerInspectResponse, ContainerSummary, ImageInspect};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptions, RemoveContainerOptions};
use bollard::{ClientVersion, Docker};
use towpath_core::{Context, Error, ErrorKind, Result};

use crate::PROVIDER;
use crate::errors::{failed, status};
use crate::reference;

const DEFAULT: &str = "unix:///var/run/docker.sock";

/// The newest version that this crate was written for.
const NEWEST: ClientVersion = ClientVersion { major_version: 1, minor_version: 51 };

/// An engine answers within that time, or nobody is there.
const ANSWER: Duration = Duration::from_secs(20);

/// Longest wait for the head of an answer, in seconds. To commit a large image takes long; a context's deadline counts too.
pub(crate) const LONGEST_S: u64 = 3600;

/// An engine that has answered.
#[derive(Clone)]
pub(crate) struct Engine {
    pub(crate) docker: Docker,
    /// Where it listens.
    pub(crate) address: Arc<str>,
    /// Its name and version, for people.
    pub(crate) version: Arc<str>,
    /// It is Podman, which differs here and there.
    pub(crate) is_podman: bool,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Engine").field(&self.address).finish()
    }
}

/// The engines that were reached, by address. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Engines {
    known: Arc<Mutex<HashMap<String, Engine>>>,
}

/// Where the engine listens: as told, as `DOCKER_HOST` says, or the usual socket.
pub(crate) fn address(told: Option<&str>) -> String {
    let from_env = || std::env::var("DOCKER_HOST").ok().filter(|h| !h.is_empty());
    told.map(str::to_owned).or_else(from_env).unwrap_or_else(|| DEFAULT.to_owned())
}

/// Fails where an address of an engine is none that can be used, before anything is touched.
pub(crate) fn check_address(operation: &'static str, address: &str) -> Result<()> {
    let refuse = |kind, message: &str| Err(Error::new(kind, PROVIDER, operation, message).with("engine", address));
    if let Some(path) = address.strip_prefix("unix://") {
        return match Path::new(path).is_absolute() {
            true => Ok(()),
            false => refuse(ErrorKind::InvalidInput, "the path of an engine's socket must be absolute: `unix:///path`"),
        };
    }
    if address.strip_prefix("tcp://").or(address.strip_prefix("http://")).is_some_and(|a| !a.is_empty()) {
        if std::env::var_os("DOCKER_TLS_VERIFY").is_some_and(|v| !v.is_empty()) {
            return refuse(
                ErrorKind::Unsupported,
                "DOCKER_TLS_VERIFY asks for TLS, which is not spoken to engines: forward its socket over SSH (`ssh -L \
                 /tmp/docker.sock:/var/run/docker.sock HOST`) and name that",
            );
        }
        return Ok(());
    }
    if address.starts_with("ssh://") || address.starts_with("https://") {
        return refuse(
            ErrorKind::Unsupported,
            "only `unix://` and plain `tcp://` are spoken to engines: forward its socket over SSH (`ssh -L \
             /tmp/docker.sock:/var/run/docker.sock HOST`) and name that",
        );
    }
    refuse(ErrorKind::InvalidInput, "this is no address of an engine: `unix:///path` or `tcp://host:port`")
}

fn client(address: &str, version: &ClientVersion) -> Result<Docker, EngineError> {
    match address.strip_prefix("unix://") {
        Some(_) => Docker::connect_with_unix(address, LONGEST_S, version),
        None => Docker::connect_with_http(address, LONGEST_S, version),
    }
}

/// `/v1.51/version` without its version: the only way to ask an engine of which nothing is known.
fn unversioned(mut request: bollard::BollardRequest) -> bollard::BollardRequest {
    let uri = request.uri().to_string();
    if let Some((before, _)) = uri.split_once("/v1.").or(uri.split_once("/version")) {
        if let Ok(plain) = format!("{before}/version").parse() {
            *request.uri_mut() = plain;
        }
    }
    request
}

impl Engines {
    /// Reaches an engine, and agrees with it on a version.
    pub(crate) async fn get(&self, cx: &Context, operation: &'static str, told: Option<&str>) -> Result<Engine> {
        cx.check(PROVIDER, operation)?;
        let address = address(told);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&address).cloned();
        if let Some(engine) = known {
            return Ok(engine);
        }
        check_address(operation, &address)?;
        let engine = agree(cx, operation, &address, |version| client(&address, version)).await?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(address, engine.clone());
        Ok(engine)
    }
}

/// Agrees with an engine on a version; `client` makes one that speaks this version.
pub(crate) async fn agree(
    cx: &Context,
    operation: &'static str,
    address: &str,
    client: impl Fn(&ClientVersion) -> Result<Docker, EngineError>,
) -> Result<Engine> {
    let nobody = |e| failed(operation, "no engine answers: start dockerd, or name another one", e);
    let ask = async {
        let docker = client(&NEWEST).map_err(nobody)?.with_request_modifier(unversioned);
        docker.version().await.map_err(nobody)
    };
    let silent = || Error::new(ErrorKind::Unreachable, PROVIDER, operation, "the engine does not answer").retry_later();
    let answer = async { tokio::time::timeout(ANSWER, ask).await.unwrap_or_else(|_| Err(silent())) };
    let said = cx.guard(PROVIDER, operation, answer).await.map_err(|e| e.with("engine", address))?;
    let version = said.api_version.as_deref().and_then(parse_version).ok_or_else(|| {
        Error::new(ErrorKind::Protocol, PROVIDER, operation, "what answers there is no engine").with("engine", address)
    })?;
    let version = if version < NEWEST { version } else { NEWEST };
    let docker = client(&version).map_err(nobody)?;
    let is_podman = said.components.iter().flatten().any(|c| c.name.starts_with("Podman"));
    let product = said.platform.map(|p| p.name).filter(|n| !n.is_empty());
    let words = [product, said.version, Some(format!("API {version}"))];
    Ok(Engine {
        docker,
        address: address.into(),
        is_podman,
        version: words.into_iter().flatten().collect::<Vec<_>>().join(" ").into(),
    })
}

fn parse_version(text: &str) -> Option<ClientVersion> {
    let (major, minor) = text.split_once('.')?;
    Some(ClientVersion { major_version: major.parse().ok()?, minor_version: minor.parse().ok()? })
}

/// Whether this is a name or id of a container, network or volume. It becomes part of a URL.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()) && name.bytes().all(plain)
}

/// Fails where a text names no image, before it becomes part of a URL.
pub(crate) fn check_reference(operation: &'static str, text: &str) -> Result<()> {
    reference::parse(text).map(drop).map_err(|why| {
        let message = format!("this is no reference of an image (`registry/name:tag`): {why}");
        Error::new(ErrorKind::InvalidInput, PROVIDER, operation, message).with("image", text.escape_debug())
    })
}

/// Asks again for a moment if the answer has an unknown word: Podman calls a container `stopped` until it has tidied up behind it,
/// which no state of the API is called.
async fn settled<T, F>(ask: impl Fn() -> F) -> std::result::Result<T, EngineError>
where
    F: Future<Output = std::result::Result<T, EngineError>>,
{
    let mut tries = 0;
    loop {
        match ask().await {
            Err(EngineError::JsonDataError { .. }) if tries < 50 => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            answer => return answer,
        }
    }
}

impl Engine {
    /// Looks at a container. `None`: there is none.
    pub(crate) async fn container(
        &self,
        operation: &'static str,
        name: &str,
    ) -> Result<Option<ContainerInspectResponse>> {
        match settled(|| self.docker.inspect_container(name, None::<InspectContainerOptions>)).await {
            Ok(found) => Ok(Some(found)),
            Err(e) if status(&e) == Some(404) => Ok(None),
            Err(e) => Err(failed(operation, "a container can't be looked at: see what the engine says", e)
                .with("container", name)),
        }
    }

    /// Lists containers, also those that do not run, by labels.
    pub(crate) async fn containers(
        &self,
        operation: &'static str,
        filters: HashMap<String, Vec<String>>,
    ) -> Result<Vec<ContainerSummary>> {
        let options = ListContainersOptions { all: true, filters: Some(filters), ..ListContainersOptions::default() };
        let found = settled(|| self.docker.list_containers(Some(options.clone()))).await;
        found.map_err(|e| failed(operation, "the engine's containers can't be listed", e))
    }

    /// Looks at an image. `None`: there is none.
    pub(crate) async fn image(&self, operation: &'static str, reference: &str) -> Result<Option<ImageInspect>> {
        check_reference(operation, reference)?;
        match self.docker.inspect_image(reference).await {
            Ok(found) => Ok(Some(found)),
            Err(e) if status(&e) == Some(404) => Ok(None),
            Err(e) => {
                Err(failed(operation, "an image can't be looked at: see what the engine says", e)
                    .with("image", reference))
            }
        }
    }

    /// Removes a container with its anonymous volumes, whatever it does. Gives `false` if there is none.
    pub(crate) async fn remove_container(&self, operation: &'static str, name: &str) -> Result<bool> {
        let options = RemoveContainerOptions { v: true, force: true, link: false };
        let mut tries = 0;
        loop {
            match self.docker.remove_container(name, Some(options.clone())).await {
                Ok(()) => return Ok(true),
                Err(e) if status(&e) == Some(404) => return Ok(false),
                // Somebody else removes it just now: wait until it is gone.
                Err(e) if status(&e) == Some(409) && tries < 100 => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(e) => {
                    return Err(
                        failed(operation, "a container can't be removed: `docker rm -f` it", e).with("container", name)
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_never_leave_their_place_in_a_url() {
        for good in ["web", "a1", "0f3c", "towpath-dev-web_1.x"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "../images/x", "a/b", "a?b", "a b", "-a", ".a", "a#", "a%2f"] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn an_address_that_is_not_spoken_is_refused_by_name() {
        let kind = |a: &str| check_address("connect", a).map_err(|e| e.kind());
        assert_eq!(kind("unix:///var/run/docker.sock"), Ok(()));
        assert_eq!(kind("unix://docker.sock"), Err(ErrorKind::InvalidInput));
        assert_eq!(kind("ssh://host"), Err(ErrorKind::Unsupported));
        assert_eq!(kind("https://host"), Err(ErrorKind::Unsupported));
        assert_eq!(kind("tcp://"), Err(ErrorKind::InvalidInput));
        assert_eq!(kind("npipe:////./pipe/docker"), Err(ErrorKind::InvalidInput));
    }
}
