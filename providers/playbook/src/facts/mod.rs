//! Facts about a host: one script of few processes, which reads what the kernel and `/etc` tell, gives what `setup` gives.

mod device;
mod distribution;
mod hardware;
mod local;
mod network;
mod platform;
mod script;
mod seen;
mod subset;
mod virtualization;

use serde_json::Map;
use towpath_core::Json;

use seen::Seen;
pub(crate) use subset::Subset;

/// Facts by their names without `ansible_`.
type Facts = Map<String, Json>;

/// The script that looks for what `subset` wants. It only reads; local facts that are programs run, as with Ansible.
pub(crate) fn script(subset: &Subset, fact_path: &str) -> String {
    script::of(subset, fact_path)
}

/// The facts that a script's output tells, by their names without `ansible_`, and what to warn of.
pub(crate) fn read(subset: &Subset, out: &[u8]) -> Result<(Facts, Vec<String>), String> {
    let seen = Seen::of(out)?;
    let mut facts = Facts::new();
    let mut warnings = Vec::new();
    platform::add(&seen, subset, &mut facts);
    distribution::add(&seen, subset, &mut facts);
    platform::services(&seen, subset, &mut facts);
    if subset.has("network") {
        network::add(&seen, &mut facts);
    }
    if subset.has("hardware") {
        hardware::add(&seen, &mut facts);
        device::add(&seen, &mut facts);
    }
    if subset.has("virtual") {
        virtualization::add(&seen, &mut facts);
    }
    if subset.has("local") {
        warnings = local::add(&seen, &mut facts)?;
    }
    Ok((facts, warnings))
}

/// A fact's name as a variable.
pub(crate) fn prefixed(name: &str) -> String {
    match name {
        "gather_subset" | "module_setup" => name.to_owned(),
        _ if name.starts_with("ansible_") => name.to_owned(),
        _ => format!("ansible_{name}"),
    }
}

/// Leaves the facts that match one of the shell patterns, with or without `ansible_` before the name.
pub(crate) fn filter(facts: Facts, patterns: &[String]) -> Facts {
    if patterns.is_empty() {
        return facts;
    }
    let wanted = |k: &str| {
        patterns.iter().any(|p| {
            let bare = p.strip_prefix("ansible_").unwrap_or(p);
            glob(p, k) || glob(p, &format!("ansible_{k}")) || glob(bare, k)
        })
    };
    facts.into_iter().filter(|(k, _)| wanted(k)).collect()
}

/// Whether a text matches a pattern with `*`, `?` and `[...]`.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    fn go(p: &[char], t: &[char]) -> bool {
        match p.split_first() {
            None => t.is_empty(),
            Some(('*', rest)) => (0..=t.len()).any(|n| go(rest, t.get(n..).unwrap_or_default())),
            Some(('?', rest)) => t.split_first().is_some_and(|(_, t)| go(rest, t)),
            Some(('[', rest)) if rest.iter().skip(1).any(|c| *c == ']') => {
                let Some((first, tail)) = t.split_first() else { return false };
                let end = rest.iter().skip(1).position(|c| *c == ']').map_or(0, |n| n + 1);
                let (set, after) = (rest.get(..end).unwrap_or_default(), rest.get(end + 1..).unwrap_or_default());
                let (not, set) = match set.split_first() {
                    Some(('!', set)) => (true, set),
                    _ => (false, set),
                };
                let ranged = set.windows(3).any(|w| matches!(w, [a, '-', b] if a <= first && first <= b));
                (ranged || set.contains(first)) != not && go(after, tail)
            }
            Some((c, rest)) => t.split_first().is_some_and(|(f, t)| f == c && go(rest, t)),
        }
    }
    go(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_names_with_and_without_the_prefix() {
        let facts: Facts =
            ["user_id", "userspace_bits", "kernel"].map(|k| (k.to_owned(), Json::Null)).into_iter().collect();
        let names = |p: &str| filter(facts.clone(), &[p.to_owned()]).keys().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(names("ansible_user*"), "user_id userspace_bits");
        assert_eq!(names("kern?l"), "kernel");
        assert_eq!(names("ansible_[kx]ernel"), "kernel");
        assert_eq!(names("[!a-t]*_id"), "user_id");
        assert_eq!(names("x"), "");
    }

    #[test]
    fn the_basics_come_from_this_machines_own_sh() {
        let subset = Subset::of(&["all".to_owned()]).unwrap();
        for shell in [&["sh"][..], &["busybox", "sh"][..]] {
            let Ok(out) = std::process::Command::new(shell[0])
                .args(&shell[1..])
                .args(["-c", &script(&subset, "/nowhere")])
                .output()
            else {
                continue;
            };
            if !out.status.success() && shell[0] == "busybox" {
                continue;
            }
            let (facts, warnings) = read(&subset, &out.stdout).unwrap();
            assert!(warnings.is_empty(), "{warnings:?}");
            assert_eq!(facts["system"], "Linux");
            assert!(facts["memtotal_mb"].as_u64().unwrap() > 0);
            assert!(facts["user_uid"].is_number(), "{:?}", facts["user_uid"]);
            assert!(facts["date_time"]["epoch"].is_string());
            assert_eq!(String::from_utf8_lossy(&out.stderr), "");
        }
    }

    #[test]
    fn another_output_is_an_error() {
        let subset = Subset::of(&["all".to_owned()]).unwrap();
        assert!(read(&subset, b"garbage").is_err());
        assert!(read(&subset, b"").is_err());
        assert!(read(&subset, b"0123456789abcdef\n\n0123456789abcdef files\n\xff\xfe").is_err(), "it did not end");
    }
}
