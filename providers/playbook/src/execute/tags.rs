//! Which tasks take part, by their tags.

use std::sync::Arc;

use towpath_core::Json;

use super::{Playing, Run};
use crate::load::Task;
use crate::render::Scope;

/// The tags of a task; a text with commas is several.
fn tags(task: &Task, scope: &Arc<Scope>) -> Vec<String> {
    let mut out = Vec::new();
    let mut add = |v: &Json| match v {
        Json::String(s) => out.extend(s.split(',').map(|t| t.trim().to_owned()).filter(|t| !t.is_empty())),
        Json::Null => {}
        other => out.push(other.to_string()),
    };
    for tag in &task.inherit.tags {
        let value = if is_plain(tag) { tag.clone() } else { scope.render(tag).unwrap_or_else(|_| tag.clone()) };
        match &value {
            Json::Array(items) => items.iter().for_each(&mut add),
            one => add(one),
        }
    }
    out
}

fn is_plain(v: &Json) -> bool {
    v.as_str().is_none_or(|s| !s.contains("{{") && !s.contains("{%"))
}

/// Whether tags are among those that are wanted, and not among those that are not.
pub(crate) fn chosen(tags: &[String], only: &[String], skip: &[String]) -> bool {
    let has = |t: &str| tags.iter().any(|x| x == t);
    let any = |list: &[String], special: &dyn Fn(&str) -> bool| list.iter().any(|w| has(w) || special(w));
    let never = has("never");
    let take = only.is_empty() && !never
        || any(only, &|w| match w {
            "all" => !never,
            "tagged" => !tags.is_empty() && !never,
            "untagged" => tags.is_empty(),
            _ => false,
        })
        || has("always");
    if !take {
        return false;
    }
    let leave = any(skip, &|w| match w {
        "all" => !has("always") || skip.iter().any(|s| s == "always"),
        "tagged" => !tags.is_empty(),
        "untagged" => tags.is_empty(),
        _ => false,
    });
    !leave
}

impl Run<'_> {
    /// Whether a task takes part. Handlers always do.
    pub(super) fn wanted(&self, playing: &Playing<'_>, task: &Task) -> bool {
        if self.config.tags.is_empty() && self.config.skip_tags.is_empty() && task.inherit.tags.is_empty() {
            return true;
        }
        if task.inherit.handler {
            return true;
        }
        // A flush that nobody wrote is always wanted.
        if task.meta() == Some("flush_handlers") && task.name.is_none() && task.inherit.tags.len() == 1 {
            let implicit = task.pos == playing.play.pos;
            if implicit {
                return true;
            }
        }
        chosen(&tags(task, &playing.bare), &self.config.tags, &self.config.skip_tags)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn special_tags() {
        let list = |s: &str| s.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for (tags, only, skip, want) in [
            ("", "", "", true),
            ("a", "a", "", true),
            ("a", "b", "", false),
            ("always", "b", "", true),
            ("never", "", "", false),
            ("never a", "a", "", true),
            ("never", "all", "", false),
            ("never", "never", "", true),
            ("", "untagged", "", true),
            ("a", "tagged", "", true),
            ("", "tagged", "", false),
            ("a", "", "a", false),
            ("always", "", "always", false),
            ("always", "", "all", true),
            ("a", "", "tagged", false),
            ("", "", "untagged", false),
        ] {
            assert_eq!(chosen(&list(tags), &list(only), &list(skip)), want, "{tags} with {only}, without {skip}");
        }
    }
}
