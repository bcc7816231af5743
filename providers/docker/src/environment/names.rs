//! Names and labels of what an environment makes in the engine.

use std::collections::HashMap;

use towpath_core::digest_json;

/// The environment that something belongs to.
pub(super) const ENVIRONMENT: &str = "towpath.environment";
/// What it is there: `container web`.
pub(super) const RESOURCE: &str = "towpath.resource";
/// Digest of what it was made from.
pub(super) const SPEC: &str = "towpath.spec";

/// The kinds of things, as addresses name them.
pub(super) const CONTAINER: &str = "container";
pub(super) const NETWORK: &str = "network";
pub(super) const VOLUME: &str = "volume";

/// The name in the engine of something in an environment. All of them are one name space there.
pub(super) fn full(environment: &str, name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let mut of: String = environment.chars().map(|c| if plain(c) { c } else { '-' }).take(40).collect();
    if of != environment {
        // Other letters may be all that two environments differ in.
        let digest = digest_json(&environment.into());
        of.push_str(&format!("-{}", digest.get(..8).unwrap_or_default()));
    }
    format!("towpath-{of}-{name}")
}

/// The labels of something.
pub(super) fn labels(environment: &str, kind: &str, name: &str, spec: &str) -> HashMap<String, String> {
    HashMap::from([
        (ENVIRONMENT.to_owned(), environment.to_owned()),
        (RESOURCE.to_owned(), format!("{kind} {name}")),
        (SPEC.to_owned(), spec.to_owned()),
    ])
}

/// The filter that finds everything of an environment.
pub(super) fn filter(environment: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![format!("{ENVIRONMENT}={environment}")])])
}

/// What something is called in its environment, told by labels and name. Labels alone prove nothing: containers inherit them from
/// images.
pub(super) fn own_name(
    environment: &str,
    kind: &str,
    labels: &HashMap<String, String>,
    called: &str,
) -> Option<String> {
    let name = labels.get(RESOURCE)?.strip_prefix(kind)?.strip_prefix(' ')?;
    let own = labels.get(ENVIRONMENT)? == environment && called == full(environment, name);
    own.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_environments_never_share_a_name() {
        assert_eq!(full("dev", "web"), "towpath-dev-web");
        assert_ne!(full("a b", "web"), full("a-b", "web"));
        assert_ne!(full("a b", "web"), full("a/b", "web"));
        assert!(crate::engine::is_name(&full("ä ö/ü", "web")));
    }

    #[test]
    fn labels_that_were_inherited_prove_nothing() {
        let labels = labels("dev", CONTAINER, "web", "00");
        assert_eq!(own_name("dev", CONTAINER, &labels, "towpath-dev-web").as_deref(), Some("web"));
        assert_eq!(own_name("dev", CONTAINER, &labels, "made-by-hand"), None);
        assert_eq!(own_name("other", CONTAINER, &labels, "towpath-dev-web"), None);
        assert_eq!(own_name("dev", NETWORK, &labels, "towpath-dev-web"), None);
    }
}
