//! Random templates never panic and never hang.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;

use super::{Engine, Scope, Search};

/// Pieces that random templates are made of; together they reach every corner sooner than letters do.
const PIECES: &[&str] = &[
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "-",
    "+",
    "*",
    "**",
    "/",
    "//",
    "%",
    "~",
    "|",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ":",
    ",",
    ".",
    "=",
    "==",
    "<",
    " ",
    "\n",
    "'",
    "\"",
    "\\",
    "a",
    "l",
    "d",
    "s",
    "n",
    "gone",
    "1",
    "0",
    "99999999999999999",
    "1.5",
    "true",
    "none",
    "if",
    "else",
    "endif",
    "for",
    "in",
    "endfor",
    "set",
    "endset",
    "macro",
    "m",
    "endmacro",
    "call",
    "endcall",
    "filter",
    "endfilter",
    "with",
    "endwith",
    "raw",
    "endraw",
    "block",
    "endblock",
    "is",
    "not",
    "and",
    "or",
    "defined",
    "default",
    "map",
    "select",
    "join",
    "sort",
    "range",
    "loop",
    "items",
    "append",
    "update",
    "format",
    "center",
    "replace",
    "regex_replace",
    "to_yaml",
    "to_json",
    "combine",
    "flatten",
    "indent",
    "wordwrap",
    "truncate",
    "round",
    "int",
    "strftime",
    "human_readable",
    "ü",
    "日",
    "\u{0}",
    "recursive",
    "super",
    "self",
    "vars",
    "dict",
    "namespace",
    "cycler",
];

fn scope() -> Arc<Scope> {
    let vars = json!({
        "a": "{{ a }}", "l": [3, "x", null, [1]], "d": {"k": {"x": [1, 2]}, "y": "{{ n }}"}, "s": "Hello ü", "n": 7,
        "long": "{{ 'ab' * 100000 }}",
    });
    let layer = Arc::new(vars.as_object().unwrap().clone());
    Scope::new(Arc::new(Engine::new()), vec![layer], HashMap::new(), Arc::default(), Search::default())
}

fn survives(source: &str) {
    let start = Instant::now();
    let s = scope();
    let _ = s.render(&json!(source));
    let _ = s.render_template(source, None);
    let _ = s.test(&json!(source));
    assert!(start.elapsed() < Duration::from_secs(120), "took {:?}", start.elapsed());
}

proptest! {
    #![proptest_config(crate::mutate::rounds(256))]

    #[test]
    fn random_templates(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        survives(&pieces.concat());
    }

    #[test]
    fn random_expressions(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..20)) {
        survives(&format!("{{{{ {} }}}}", pieces.join(" ")));
    }
}

#[test]
fn large_and_deep_templates_end() {
    for source in [
        "{{ ".to_owned() + &"(".repeat(5000),
        "{{ ".to_owned() + &"[".repeat(5000) + &"]".repeat(5000) + " }}",
        "{{ ".to_owned() + &"not ".repeat(5000) + "n }}",
        "{{ ".to_owned() + &"-".repeat(5000) + "n }}",
        "{{ n".to_owned() + &" + n".repeat(5000) + " }}",
        "{{ s".to_owned() + &" | upper".repeat(5000) + " }}",
        "{{ d".to_owned() + &".x".repeat(5000) + " }}",
        "{{ n if n else ".to_owned() + &"n if n else ".repeat(5000) + "n }}",
        "{% if n %}".repeat(3000),
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}".to_owned(),
        "{% for i in range(1000000) %}{% for j in range(1000000) %}x{% endfor %}{% endfor %}".to_owned(),
        "{{ 'x' * 99999999999 }}{{ [1] * 99999999999 }}".to_owned(),
        "{{ 9 ** 9 ** 9 }}".to_owned(),
        "{{ '%999999999d' % 1 }}{{ '{:>999999999}'.format(1) }}".to_owned(),
        "{{ 'a' | center(999999999999) }}".to_owned(),
        "{% set x = [] %}{% do x.append(x) %}{{ x }}{{ x | to_json }}{{ x | to_yaml }}{{ x == x }}".to_owned(),
        "{% set x = {} %}{% do x.update({'x': x}) %}{{ x }}{{ x | combine(x, recursive=true) }}{{ [x] | flatten }}".to_owned(),
        "{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' is match('(a+)+$b') }}".to_owned(),
        "{{ range(60) | permutations | list | length }}".to_owned(),
        "{% set ns = namespace(t='x') %}{% for i in range(60) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}{{ ns.t | length }}".to_owned(),
        "{{ long | length }}{{ long | regex_replace('b', long) }}".to_owned(),
    ] {
        survives(&source);
    }
}
