//! Ansible's tests of values.

use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error};

use super::filters::{regex, wrong};
use super::python::text;

fn flag(result: &Value, name: &str) -> Result<bool, Error> {
    Ok(result.get_attr(name)?.is_true())
}

fn pattern(v: &Value, pattern: &str, kwargs: &Kwargs, wrap: fn(&str) -> String) -> Result<bool, Error> {
    let case = kwargs.get::<Option<bool>>("ignorecase")?.unwrap_or(false);
    let multi = kwargs.get::<Option<bool>>("multiline")?.unwrap_or(false);
    Ok(regex(&wrap(pattern), case, multi)?.is_match(&text(v)))
}

/// Compares as Python's `LooseVersion`: numbers by value, the rest as text.
fn version(a: Value, b: Value, operator: Option<String>, _: Kwargs) -> Result<bool, Error> {
    fn parts(v: &str) -> Vec<(bool, u64, String)> {
        let mut out: Vec<String> = Vec::new();
        for piece in v.split(['.', '-', '+', '~']) {
            let mut last = None;
            for c in piece.chars() {
                let digit = c.is_ascii_digit();
                if last != Some(digit) {
                    out.push(String::new());
                }
                last = Some(digit);
                if let Some(w) = out.last_mut() {
                    w.push(c);
                }
            }
        }
        out.into_iter()
            .map(|p| p.parse().map_or_else(|_| (false, 0, p.clone()), |n| (true, n, String::new())))
            .collect()
    }
    let order = parts(&text(&a)).cmp(&parts(&text(&b)));
    Ok(match operator.as_deref().unwrap_or("==") {
        "==" | "=" | "eq" => order.is_eq(),
        "!=" | "<>" | "ne" => order.is_ne(),
        "<" | "lt" => order.is_lt(),
        "<=" | "le" => order.is_le(),
        ">" | "gt" => order.is_gt(),
        ">=" | "ge" => order.is_ge(),
        o => return Err(wrong(format!("`{o}` compares no versions"))),
    })
}

pub(super) fn add(env: &mut Environment<'static>) {
    for name in ["failed", "failure"] {
        env.add_test(name, |v: Value| flag(&v, "failed"));
    }
    for name in ["succeeded", "success", "successful"] {
        env.add_test(name, |v: Value| flag(&v, "failed").map(|f| !f));
    }
    for name in ["changed", "change"] {
        env.add_test(name, |v: Value| flag(&v, "changed"));
    }
    for name in ["skipped", "skip"] {
        env.add_test(name, |v: Value| flag(&v, "skipped"));
    }
    env.add_test("reachable", |v: Value| flag(&v, "unreachable").map(|f| !f));
    env.add_test("match", |v: Value, p: String, k: Kwargs| pattern(&v, &p, &k, |p| format!("\\A(?:{p})")));
    env.add_test("search", |v: Value, p: String, k: Kwargs| pattern(&v, &p, &k, str::to_owned));
    env.add_test("regex", |v: Value, p: String, k: Kwargs| pattern(&v, &p, &k, str::to_owned));
    env.add_test("version", version);
    env.add_test("version_compare", version);
    env.add_test("contains", |v: Value, item: Value| -> Result<bool, Error> {
        if let (Some(s), Some(i)) = (v.as_str(), item.as_str()) {
            return Ok(s.contains(i));
        }
        Ok(v.try_iter()?.any(|x| x == item))
    });
    env.add_test("subset", |a: Value, b: Value| -> Result<bool, Error> {
        let b: Vec<Value> = b.try_iter()?.collect();
        Ok(a.try_iter()?.all(|v| b.contains(&v)))
    });
    env.add_test("superset", |a: Value, b: Value| -> Result<bool, Error> {
        let a: Vec<Value> = a.try_iter()?.collect();
        Ok(b.try_iter()?.all(|v| a.contains(&v)))
    });
    // Jinja's own panics on zero.
    env.add_test("divisibleby", |a: i64, b: i64| -> Result<bool, Error> {
        a.checked_rem(b).map(|r| r == 0).ok_or_else(|| wrong("integer modulo by zero"))
    });
    env.add_test("directory", |v: Value| std::path::Path::new(&text(&v)).is_dir());
    env.add_test("is_dir", |v: Value| std::path::Path::new(&text(&v)).is_dir());
    env.add_test("file", |v: Value| std::path::Path::new(&text(&v)).is_file());
    env.add_test("is_file", |v: Value| std::path::Path::new(&text(&v)).is_file());
    env.add_test("exists", |v: Value| std::path::Path::new(&text(&v)).exists());
    env.add_test("link_exists", |v: Value| std::path::Path::new(&text(&v)).symlink_metadata().is_ok());
    for name in ["link", "is_link"] {
        env.add_test(name, |v: Value| std::path::Path::new(&text(&v)).is_symlink());
    }
    for name in ["abs", "is_abs"] {
        env.add_test(name, |v: Value| text(&v).starts_with('/'));
    }
    env.add_test("all", |v: Value| -> Result<bool, Error> { Ok(v.try_iter()?.all(|x| x.is_true())) });
    env.add_test("any", |v: Value| -> Result<bool, Error> { Ok(v.try_iter()?.any(|x| x.is_true())) });
    env.add_test("unreachable", |v: Value| flag(&v, "unreachable"));
    env.add_test("truthy", |v: Value| v.is_true());
    env.add_test("falsy", |v: Value| !v.is_true());
}
