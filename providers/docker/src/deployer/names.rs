//! Whose containers are meant, and their names, labels and marks in the engine.
//!
//! The engine is the only memory. A version is staged when its image has a name (the mark) below one that nobody can pull; it is current
//! when its container has the service's name.

use std::collections::HashMap;

use serde_json::json;
use towpath_core::{Context, Error, ErrorKind, Result, digest_json};

use super::config::DockerDeployConfig;
use crate::PROVIDER;

const ENVIRONMENT: &str = "towpath.deploy.environment";
const SERVICE: &str = "towpath.deploy.service";
const TARGET: &str = "towpath.deploy.target";
/// The version that a container runs.
pub(super) const VERSION: &str = "towpath.deploy.version";
/// Digest of what it was made from.
pub(super) const SPEC: &str = "towpath.deploy.spec";
/// Its slot, `a` or `b`, where containers run beside each other.
pub(super) const SLOT: &str = "towpath.deploy.slot";

/// No registry is ever called so: `.invalid` is reserved (RFC 2606), so a mark can't be pulled by mistake.
const MARKS: &str = "towpath.invalid";

/// Longest version, which is a tag and part of a name.
const LONGEST_VERSION: usize = 100;

/// A service of an environment on one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    environment: String,
    pub(super) service: String,
    target: String,
    /// The name of the container that serves.
    pub(super) name: String,
}

/// A version becomes a tag of an image and part of a container's name.
pub(super) fn check_version(operation: &'static str, version: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if version.is_empty()
        || version.len() > LONGEST_VERSION
        || version.starts_with(['.', '-'])
        || !version.chars().all(fits)
    {
        let message = format!(
            "the version can't be the tag of an image: 1 to {LONGEST_VERSION} letters, digits and `._-`, not `.` or `-` first"
        );
        return Err(Error::new(ErrorKind::InvalidInput, PROVIDER, operation, message).with("version", version));
    }
    Ok(())
}

fn short_digest(of: &serde_json::Value) -> String {
    digest_json(of).trim_start_matches("sha256:").chars().take(8).collect()
}

/// The text with everything else than lower-case letters and digits as dashes.
fn slug(text: &str, longest: usize) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let all: String = text.chars().map(plain).take(longest).collect();
    let parts: Vec<&str> = all.split('-').filter(|p| !p.is_empty()).collect();
    parts.join("-")
}

impl Owner {
    pub(super) fn of(cx: &Context, config: &DockerDeployConfig, target: &str) -> Self {
        let words = [cx.environment(), &config.service, target];
        let name = config.name.clone().unwrap_or_else(|| {
            let plain = words.map(|w| slug(w, 40)).join("-");
            // Other letters may be all that two of them differ in, or where one word ends.
            let exact = plain == words.join("-") && words.iter().all(|w| !w.contains('-'));
            if exact { format!("towpath-{plain}") } else { format!("towpath-{plain}-{}", short_digest(&json!(words))) }
        });
        Self {
            environment: cx.environment().to_owned(),
            service: config.service.clone(),
            target: target.to_owned(),
            name,
        }
    }

    /// The filter that finds its containers.
    pub(super) fn filter(&self) -> HashMap<String, Vec<String>> {
        let labels = self.identity().map(|(key, value)| format!("{key}={value}"));
        HashMap::from([("label".to_owned(), labels.into())])
    }

    fn identity(&self) -> [(&'static str, &str); 3] {
        [(ENVIRONMENT, &self.environment), (SERVICE, &self.service), (TARGET, &self.target)]
    }

    pub(super) fn labels(&self, version: &str, spec: &str, slot: Option<&str>) -> HashMap<String, String> {
        let own = [(VERSION, version), (SPEC, spec)];
        self.labels_with(own.into_iter().chain(slot.map(|s| (SLOT, s))))
    }

    /// Labels that say whose something is, and these.
    pub(super) fn labels_with<'a>(&self, own: impl IntoIterator<Item = (&'a str, &'a str)>) -> HashMap<String, String> {
        let identity = self.identity().map(|(key, value)| (key.to_owned(), value.to_owned()));
        identity.into_iter().chain(own.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()))).collect()
    }

    /// The name of a container that is not, or no longer, the one that serves.
    pub(super) fn aside(&self, version: &str, spec: &str) -> String {
        let short: String = spec.trim_start_matches("sha256:").chars().take(8).collect();
        format!("{}-{version}-{short}", self.name)
    }

    /// Whether a container is one of its own, told by labels and name. Labels alone prove nothing: containers inherit them from images.
    pub(super) fn owns(&self, called: &str, labels: &HashMap<String, String>) -> bool {
        let said = |key: &str| labels.get(key).map_or("", String::as_str);
        let own = self.identity().iter().all(|(key, value)| said(key) == *value);
        own && (called == self.name || called == self.aside(said(VERSION), said(SPEC)))
    }

    /// A short name that people can read, and that no other owner has.
    fn short_name(&self) -> String {
        let words = [self.environment.as_str(), &self.service, &self.target];
        let readable = slug(&format!("{}-{}", self.service, self.target), 60);
        format!("{readable}-{}", short_digest(&json!(words)))
    }

    /// What all its marks start with.
    pub(super) fn marks(&self) -> String {
        format!("{MARKS}/{}/", self.short_name())
    }

    /// The volume that keeps the ledger, by its number.
    pub(super) fn ledger(&self, number: u64) -> String {
        format!("towpath-ledger-{}-{number}", self.short_name())
    }

    /// The name of an image that is staged as this version: `repository`, `tag`.
    pub(super) fn mark(&self, digest: &str, version: &str) -> (String, String) {
        (format!("{}{}", self.marks(), digest.trim_start_matches("sha256:")), version.to_owned())
    }

    /// What a mark says: the digest and the version.
    pub(super) fn read_mark(&self, mark: &str) -> Option<(String, String)> {
        let (digest, version) = mark.strip_prefix(&self.marks())?.split_once(':')?;
        Some((format!("sha256:{digest}"), version.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(environment: &str, service: &str, target: &str) -> Owner {
        let cx = Context::builder().environment(environment).build();
        Owner::of(&cx, &DockerDeployConfig::new(service), target)
    }

    #[test]
    fn two_owners_never_share_a_name_or_a_mark() {
        assert_eq!(owner("prod", "web", "web1").name, "towpath-prod-web-web1");
        let all = [("a", "b", "c-d"), ("a", "b-c", "d"), ("a-b", "c", "d"), ("A", "b", "c-d"), ("a b", "c", "d")];
        let owners: Vec<Owner> = all.iter().map(|(e, s, t)| owner(e, s, t)).collect();
        let names: std::collections::BTreeSet<_> = owners.iter().map(|o| o.name.clone()).collect();
        let marks: std::collections::BTreeSet<_> = owners.iter().map(Owner::marks).collect();
        assert_eq!((names.len(), marks.len()), (all.len(), all.len()), "{names:?} {marks:?}");
        assert!(names.iter().all(|n| crate::engine::is_name(n)), "{names:?}");
        for owner in owners {
            let (repository, tag) = owner.mark(&format!("sha256:{}", "0f".repeat(32)), "v1.2_x-y");
            let mark = format!("{repository}:{tag}");
            assert!(crate::reference::parse(&mark).is_ok(), "{mark}");
            assert_eq!(owner.read_mark(&mark).map(|m| m.1).as_deref(), Some("v1.2_x-y"));
        }
    }

    #[test]
    fn labels_of_others_or_inherited_ones_prove_nothing() {
        let web = owner("prod", "web", "web1");
        let labels = web.labels("v1", "sha256:0123456789", Some("a"));
        assert!(web.owns("towpath-prod-web-web1", &labels));
        assert!(web.owns("towpath-prod-web-web1-v1-01234567", &labels));
        assert!(!web.owns("made-by-hand", &labels));
        assert!(!owner("prod", "web", "web2").owns("towpath-prod-web-web1", &labels));
        assert_eq!(web.read_mark("towpath.invalid/other/00:v1"), None);
    }

    #[test]
    fn a_version_that_is_no_tag_is_refused() {
        for bad in ["", ".x", "-x", "a/b", "a:b", "a+b", "a b", &"x".repeat(101)] {
            assert!(check_version("stage", bad).is_err(), "{bad}");
        }
        assert!(check_version("stage", "v1.2.3-rc_1").is_ok());
    }
}
