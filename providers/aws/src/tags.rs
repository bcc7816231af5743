//! Tags by which resources are found again, and who made what is temporary.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_sdk_ec2::types::{Filter, ResourceType, Tag, TagSpecification};
use towpath_core::{Context, Error, ErrorKind, Result, Timestamp};

use crate::PROVIDER;

/// Starts all tags of this crate; a config's own may not.
pub(crate) const PREFIX: &str = "towpath:";
/// Whose environment it is, beside its name.
pub(crate) const OWNER: &str = "towpath:owner";
pub(crate) const ENVIRONMENT: &str = "towpath:environment";
pub(crate) const HOST: &str = "towpath:host";
/// Counts how often the host was made.
pub(crate) const GENERATION: &str = "towpath:generation";
/// Short digests of what the instance was made from, by field.
pub(crate) const SPEC: &str = "towpath:spec";
/// The process that made it.
pub(crate) const MAKER: &str = "towpath:maker";
/// The run in which it was made.
pub(crate) const RUN: &str = "towpath:run";
/// When, in seconds.
pub(crate) const SINCE: &str = "towpath:since";
/// What it is: [`TEMPORARY`], [`BUILDING`], [`READY`], [`REMOVING`].
pub(crate) const STATE: &str = "towpath:state";
pub(crate) const KEY: &str = "towpath:content-key";
pub(crate) const IMAGE: &str = "towpath:image";
pub(crate) const BASE: &str = "towpath:base";
pub(crate) const VERSION: &str = "towpath:version";
/// Which processes of an Auto Scaling group towpath has suspended.
pub(crate) const SUSPENDED: &str = "towpath:suspended";
/// What an Auto Scaling group is being moved to by towpath: [`Moving`](crate::scaling).
pub(crate) const MOVING: &str = "towpath:moving";

/// Needed for a build only.
pub(crate) const TEMPORARY: &str = "temporary";
/// Not finished: its tests or copies are to come.
pub(crate) const BUILDING: &str = "building";
/// Finished.
pub(crate) const READY: &str = "ready";
/// Half removed.
pub(crate) const REMOVING: &str = "removing";

/// Tags by name.
pub(crate) type Tags = BTreeMap<String, String>;

pub(crate) fn list(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(k, v)| Tag::builder().key(k).value(v).build()).collect()
}

pub(crate) fn specification(kind: ResourceType, tags: &Tags) -> TagSpecification {
    TagSpecification::builder().resource_type(kind).set_tags(Some(list(tags))).build()
}

/// The value of a tag.
pub(crate) fn get<'a>(tags: &'a [Tag], name: &str) -> Option<&'a str> {
    tags.iter().find(|t| t.key() == Some(name)).and_then(Tag::value)
}

pub(crate) fn filter(name: impl Into<String>, values: &[&str]) -> Filter {
    Filter::builder().name(name).set_values(Some(values.iter().map(|v| (*v).to_owned()).collect())).build()
}

/// A filter on a tag.
pub(crate) fn tagged(tag: &str, values: &[&str]) -> Filter {
    filter(format!("tag:{tag}"), values)
}

/// Checks tags that a user wants. Source: "Tag your Amazon EC2 resources", tag restrictions.
pub(crate) fn check<'a>(field: &str, tags: impl IntoIterator<Item = (&'a String, &'a String)>) -> Result<()> {
    let mut count = 0;
    for (name, value) in tags {
        count += 1;
        let wrong = if name.is_empty() || name.chars().count() > 128 {
            "a name has 1 to 128 characters"
        } else if name.starts_with(PREFIX) || name.to_ascii_lowercase().starts_with("aws:") {
            "names that start with `towpath:` or `aws:` are taken"
        } else if value.chars().count() > 256 {
            "a value has at most 256 characters"
        } else {
            continue;
        };
        let message = format!("`{field}` has the tag {name:?}: {wrong}");
        return Err(Error::new(ErrorKind::InvalidInput, PROVIDER, "config", message));
    }
    if count > 35 {
        let message = format!("`{field}` has {count} tags: AWS takes 50, of which towpath needs some; 35 are left");
        return Err(Error::new(ErrorKind::InvalidInput, PROVIDER, "config", message));
    }
    Ok(())
}

/// Builds of this very process. One that belongs to this process and is not here was dropped.
static IN_USE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn in_use() -> MutexGuard<'static, BTreeSet<String>> {
    IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Marks everything that one build makes with the process that it runs in. The mark ends with the value.
#[derive(Debug)]
pub(crate) struct Maker(pub(crate) String);

impl Drop for Maker {
    fn drop(&mut self) {
        in_use().remove(&self.0);
    }
}

/// This boot of this machine.
fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let hex: String = id.chars().filter(char::is_ascii_hexdigit).take(12).collect();
    if hex.is_empty() { "0".into() } else { hex }
}

/// Start time of a process in clock ticks since boot, so that a reused id is not mistaken for it.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; what follows is counted from its end.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

impl Maker {
    pub(crate) fn new() -> Self {
        let (pid, random) = (std::process::id(), hex::encode(rand::random::<[u8; 4]>()));
        let name = format!("{}-{pid}-{}-{random}", boot(), started(pid).unwrap_or_default());
        in_use().insert(name.clone());
        Self(name)
    }

    /// The random letters, for names.
    pub(crate) fn random(&self) -> &str {
        self.0.rsplit('-').next().unwrap_or_default()
    }

    /// Tags of what it makes.
    pub(crate) fn tags(&self, cx: &Context, state: &str) -> Tags {
        let mut tags = Tags::from([
            (MAKER.to_owned(), self.0.clone()),
            (STATE.to_owned(), state.to_owned()),
            (SINCE.to_owned(), seconds().to_string()),
        ]);
        if let Some(run) = cx.run() {
            tags.insert(RUN.to_owned(), run.to_string());
        }
        tags
    }
}

/// Now, in seconds.
pub(crate) fn seconds() -> u64 {
    Timestamp::now().0 / 1000
}

/// Whether somebody still works with what has these tags.
///
/// A maker on this machine is looked for. One on another machine counts as gone when its run goes on here, or after `stale_s`.
pub(crate) fn lives(cx: &Context, tags: &[Tag], stale_s: u64) -> bool {
    let maker = get(tags, MAKER).unwrap_or_default();
    let mut words = maker.split('-');
    let pid = |w: Option<&str>| w.and_then(|w| w.parse::<u32>().ok());
    let (its_boot, pid, start) = (words.next(), pid(words.next()), words.next().and_then(|w| w.parse::<u64>().ok()));
    if its_boot == Some(boot().as_str())
        && let (Some(pid), Some(start)) = (pid, start)
    {
        return started(pid) == Some(start) && (pid != std::process::id() || in_use().contains(maker));
    }
    // The engine continues a run only when its former process is gone.
    if get(tags, RUN).is_some_and(|run| cx.run().is_some_and(|own| own.to_string() == run)) {
        return false;
    }
    let since: u64 = get(tags, SINCE).and_then(|s| s.parse().ok()).unwrap_or_default();
    seconds().saturating_sub(since) < stale_s
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn by(maker: &str, since: u64) -> Vec<Tag> {
        list(&Tags::from([(MAKER.into(), maker.into()), (SINCE.into(), since.to_string())]))
    }

    #[test]
    fn a_build_lives_as_long_as_its_process_works_at_it() {
        let cx = Context::new();
        let maker = Maker::new();
        let tags = list(&maker.tags(&cx, TEMPORARY));
        assert!(lives(&cx, &tags, 60));
        drop(maker);
        assert!(!lives(&cx, &tags, 60), "this process goes on, its build does not");
        let other = format!("{}-1-{}-ab", boot(), started(1).unwrap());
        assert!(lives(&cx, &by(&other, 0), 60), "process 1 runs, however old it is");
        assert!(!lives(&cx, &by(&format!("{}-1-5-ab", boot()), seconds()), 60), "a reused process id");
    }

    #[test]
    fn a_build_on_another_machine_is_left_alone_for_some_time() {
        let cx = Context::new();
        assert!(lives(&cx, &by("0123-1-5-ab", seconds()), 60));
        assert!(!lives(&cx, &by("0123-1-5-ab", seconds() - 61), 60));
        assert!(!lives(&cx, &[], 60), "nobody's");
    }

    #[test]
    fn tags_of_others_are_refused() {
        let check = |name: &str| check("tags", &Tags::from([(name.to_owned(), "x".to_owned())]));
        assert!(check("team").is_ok());
        for bad in ["", "towpath:host", "aws:x", "AWS:x"] {
            assert_eq!(check(bad).unwrap_err().kind(), ErrorKind::InvalidInput, "{bad}");
        }
    }
}
