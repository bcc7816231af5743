//! Whose things are meant, and their names and labels in the engine.

use std::collections::HashMap;

use serde_json::json;
use towpath_core::{Context, digest_json};

/// The environment that something belongs to.
pub(super) const ENVIRONMENT: &str = "towpath.environment";
/// The project that the environment belongs to.
pub(super) const PROJECT: &str = "towpath.project";
/// The step of a pipeline that made it.
pub(super) const STEP: &str = "towpath.step";
/// What it is there: `container web`.
pub(super) const RESOURCE: &str = "towpath.resource";
/// Digest of what it was made from.
pub(super) const SPEC: &str = "towpath.spec";
/// A container that runs to its end once.
pub(super) const ONCE: &str = "towpath.once";

/// Starts all labels of this crate; a spec's own may not.
pub(super) const PREFIX: &str = "towpath.";

/// The kinds of things, as addresses name them.
pub(super) const CONTAINER: &str = "container";
pub(super) const NETWORK: &str = "network";
pub(super) const VOLUME: &str = "volume";
/// What a container keeps where neither its image nor its spec names a volume: `data web /var/lib/db`.
pub(super) const DATA: &str = "data";

/// An environment of a project; in a pipeline, of one of its steps. Owners that differ in any of the three share nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    environment: String,
    project: String,
    step: String,
}

impl Owner {
    pub(super) fn of(cx: &Context, project: &str) -> Self {
        Self {
            environment: cx.environment().to_owned(),
            project: project.to_owned(),
            step: cx.step().unwrap_or_default().to_owned(),
        }
    }

    pub(super) fn environment(&self) -> &str {
        &self.environment
    }

    /// The name in the engine of something. All names are one name space there.
    pub(super) fn full(&self, name: &str) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let mut of: String = self.environment.chars().map(|c| if plain(c) { c } else { '-' }).take(40).collect();
        if of != self.environment {
            // Other letters may be all that two environments differ in.
            of.push_str(&format!("-{}", short_digest(&json!(self.environment))));
        }
        if self.project.is_empty() && self.step.is_empty() {
            return format!("towpath-{of}-{name}");
        }
        format!("towpath-{of}-{name}-{}", short_digest(&json!([self.project, self.step, self.environment, name])))
    }

    /// The name of the volume in which a container keeps what it writes below `target`.
    pub(super) fn data(&self, container: &str, target: &str) -> String {
        self.full(&format!("{container}-{}", short_digest(&json!(target))))
    }

    /// The labels of something.
    pub(super) fn labels(&self, kind: &str, name: &str, spec: &str) -> HashMap<String, String> {
        let all = [
            (ENVIRONMENT, self.environment.clone()),
            (PROJECT, self.project.clone()),
            (STEP, self.step.clone()),
            (RESOURCE, format!("{kind} {name}")),
            (SPEC, spec.to_owned()),
        ];
        let said = all.into_iter().filter(|(key, value)| !value.is_empty() || *key == SPEC);
        said.map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// The filter that finds everything of the environment; it may be another project's or step's.
    pub(super) fn filter(&self) -> HashMap<String, Vec<String>> {
        HashMap::from([("label".to_owned(), vec![format!("{ENVIRONMENT}={}", self.environment)])])
    }

    /// What something is called in its environment, told by labels and name. Labels alone prove nothing: containers inherit them
    /// from images.
    pub(super) fn own_name(&self, kind: &str, labels: &HashMap<String, String>, called: &str) -> Option<String> {
        let name = self.resource(kind, labels)?;
        (called == self.full(name)).then(|| name.to_owned())
    }

    /// The container whose data a volume holds, and where that sees it.
    pub(super) fn own_data(&self, labels: &HashMap<String, String>, called: &str) -> Option<(String, String)> {
        let (container, target) = self.resource(DATA, labels)?.split_once(' ')?;
        (called == self.data(container, target)).then(|| (container.to_owned(), target.to_owned()))
    }

    fn resource<'a>(&self, kind: &str, labels: &'a HashMap<String, String>) -> Option<&'a str> {
        let said = |key: &str| labels.get(key).map_or("", String::as_str);
        let own = said(ENVIRONMENT) == self.environment && said(PROJECT) == self.project && said(STEP) == self.step;
        labels.get(RESOURCE)?.strip_prefix(kind)?.strip_prefix(' ').filter(|_| own)
    }
}

fn short_digest(of: &serde_json::Value) -> String {
    digest_json(of).chars().take(8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(environment: &str, project: &str, step: &str) -> Owner {
        let cx = Context::builder().environment(environment).build();
        Owner::of(&if step.is_empty() { cx } else { cx.for_step(step) }, project)
    }

    #[test]
    fn two_owners_never_share_a_name() {
        let full = |environment: &str| owner(environment, "", "").full("web");
        assert_eq!(full("dev"), "towpath-dev-web");
        assert_ne!(full("a b"), full("a-b"));
        assert_ne!(full("a b"), full("a/b"));
        assert!(crate::engine::is_name(&full("ä ö/ü")));
        let all = [("", ""), ("shop", ""), ("", "shop"), ("shop", "one"), ("shop", "two"), ("shop o", "ne")];
        let names: std::collections::BTreeSet<_> = all.iter().map(|(p, s)| owner("dev", p, s).full("web")).collect();
        assert_eq!(names.len(), all.len(), "{names:?}");
        assert!(names.iter().all(|n| n.starts_with("towpath-dev-web")), "{names:?}");
        assert_ne!(owner("a", "p", "").full("b-c"), owner("a-b", "p", "").full("c"));
    }

    #[test]
    fn labels_of_others_or_inherited_ones_prove_nothing() {
        let dev = owner("dev", "shop", "one");
        let (labels, called) = (dev.labels(CONTAINER, "web", "00"), dev.full("web"));
        assert_eq!(dev.own_name(CONTAINER, &labels, &called).as_deref(), Some("web"));
        assert_eq!(dev.own_name(CONTAINER, &labels, "made-by-hand"), None);
        assert_eq!(dev.own_name(NETWORK, &labels, &called), None);
        for other in [owner("other", "shop", "one"), owner("dev", "else", "one"), owner("dev", "shop", "two")] {
            assert_eq!(other.own_name(CONTAINER, &labels, &called), None, "{other:?}");
            assert_eq!(other.own_name(CONTAINER, &labels, &other.full("web")), None, "{other:?}");
        }
        let data = dev.labels(DATA, "web /var/lib/a b", "");
        let called = dev.data("web", "/var/lib/a b");
        assert_eq!(dev.own_data(&data, &called), Some(("web".to_owned(), "/var/lib/a b".to_owned())));
        assert_eq!(dev.own_data(&data, &dev.data("web", "/other")), None);
        assert_eq!(dev.own_name(VOLUME, &data, &called), None);
    }
}
