//! Lists of algorithms, as `Ciphers` and its like have them.

use super::pattern::wildcard;

/// Applies a list to what is used by default, which is all that may be used: `a,b` takes only these, `+a` adds nothing that
/// is not there already, `-a` takes away, `^a` puts first.
pub(crate) fn apply<T: Clone>(list: &str, ours: &[T], name: impl Fn(&T) -> String) -> Vec<T> {
    let (sign, rest) = match list.chars().next() {
        Some(c @ ('+' | '-' | '^')) => (c, list.get(1..).unwrap_or_default()),
        _ => (' ', list),
    };
    let hit = |pattern: &str, one: &T| wildcard(pattern.trim(), &name(one));
    let listed = |one: &T| rest.split(',').any(|p| hit(p, one));
    match sign {
        '+' => ours.to_vec(),
        '-' => ours.iter().filter(|o| !listed(o)).cloned().collect(),
        '^' => ours.iter().filter(|o| listed(o)).chain(ours.iter().filter(|o| !listed(o))).cloned().collect(),
        _ => {
            let mut rank: Vec<(usize, &T)> =
                ours.iter().filter_map(|o| rest.split(',').position(|p| hit(p, o)).map(|at| (at, o))).collect();
            rank.sort_by_key(|(at, _)| *at);
            rank.into_iter().map(|(_, o)| o.clone()).collect()
        }
    }
}

/// Whether a list lets an algorithm be used.
pub(crate) fn allows(list: Option<&str>, name: &str) -> bool {
    list.is_none_or(|l| !apply(l, &[name], |n| (*n).to_owned()).is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_narrow_and_order() {
        let ours = ["a1", "a2", "b"];
        let of = |list| apply(list, &ours, |s| (*s).to_owned());
        assert_eq!(of("b,x,a*"), ["b", "a1", "a2"]);
        assert_eq!(of("+x"), ours);
        assert_eq!(of("-a*"), ["b"]);
        assert_eq!(of("^b"), ["b", "a1", "a2"]);
        assert!(of("x").is_empty());
        assert!(allows(None, "a") && allows(Some("+x"), "a") && allows(Some("a,b"), "a") && !allows(Some("-a"), "a"));
    }
}
