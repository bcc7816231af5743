//! What a scope promises beside Ansible's answers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use towpath_core::Json;

use super::{Engine, Scope, Search};

fn scope(vars: Json) -> Arc<Scope> {
    let layer = Arc::new(vars.as_object().unwrap().clone());
    Scope::new(Arc::new(Engine::new()), vec![layer], HashMap::new(), Arc::default(), Search::default())
}

#[test]
fn values_are_what_ansible_makes_them() {
    let s = scope(json!({"n": 3, "l": [1, "a"], "t": "{{ n }}", "d": {"k": "{{ t }}1"}, "e": "{{ l }} x"}));
    assert_eq!(s.render(&json!("{{ n }}")).unwrap(), json!(3));
    assert_eq!(s.render(&json!("{{ d.k }}")).unwrap(), json!("31"));
    assert_eq!(s.render(&json!("{{ e }}")).unwrap(), json!("[1, 'a'] x"));
    assert_eq!(s.render(&json!({"a": ["{{ n }}-{{ n > 2 }}"]})).unwrap(), json!({"a": ["3-True"]}));
    assert_eq!(s.render_text("{{ l }}").unwrap(), "[1, 'a']");
}

#[test]
fn undefined_is_named() {
    let s = scope(json!({"a": {"b": 1}, "n": "{{ gone }}"}));
    for (source, name) in [("{{ nope }}", "'nope'"), ("x {{ a.c }}", "'c'"), ("{{ n }}", "'gone'")] {
        let e = s.render(&json!(source)).unwrap_err();
        assert!(e.undefined && e.message.contains(name), "{source}: {e}");
    }
    assert_eq!(s.render(&json!("{{ nope.x.y | default('z') }}")).unwrap(), json!("z"));
    assert!(!s.test(&json!("nope is defined")).unwrap());
    assert!(s.test(&json!("nope is not defined and a.b == 1")).unwrap());
    assert!(s.test(&json!("nope")).unwrap_err().undefined);
    let circle = scope(json!({"a": "{{ b }}", "b": "{{ a }}"}));
    assert!(circle.render(&json!("{{ a }}")).unwrap_err().message.contains("circle"));
}

#[test]
fn errors_of_files_say_where() {
    let s = scope(json!({"n": 1}));
    let place = |source: &str| s.render_template(source, Some(Path::new("site.j2"))).unwrap_err().message;
    let undefined = place("first\n  port = {{ gone }}\n");
    assert_eq!(undefined, "'gone' is undefined (site.j2:2:13: `port = {{ gone }}`)");
    assert!(place("a\n{{ n + 'x' }}").contains("site.j2:2:4"), "{}", place("a\n{{ n + 'x' }}"));
    assert!(place("a\n\n{% nosuch %}").contains("site.j2:3:4"), "{}", place("a\n\n{% nosuch %}"));
}

#[test]
fn files_keep_newlines_as_ansible_does() {
    let s = scope(json!({"l": [1, 2]}));
    assert_eq!(s.render_template("{% for i in l %}\n{{ i }}\n{% endfor %}\nend\n", None).unwrap(), "1\n2\nend\n");
    assert_eq!(s.render_template("a\n  {% if true %}\nb\n  {% endif %}\n", None).unwrap(), "a\n  b\n  \n");
    assert_eq!(
        s.render_template("#jinja2: lstrip_blocks: True\na\n  {% if true %}\nb\n  {% endif %}\n", None).unwrap(),
        "a\nb\n"
    );
}

#[test]
fn options_of_a_task_and_a_header_add_up() {
    let both = "#jinja2: trim_blocks: true\n#jinja2: lstrip_blocks: True\na\n  {% if true %}\nb\n  {% endif %}\n";
    assert_eq!(scope(json!({})).render_template(both, None).unwrap(), "a\nb\n");
}

#[test]
fn looks_at_the_outside_world_are_noted() {
    for (source, impure) in [
        ("{{ n + 1 }}", false),
        ("{{ l | shuffle(seed='x') }}", false),
        ("{{ l | shuffle }}", true),
        ("{{ lookup('pipe', 'true') }}", true),
        ("{{ piped }}", true),
        ("{{ now() }}", true),
        ("{{ lookup('items', l) }}", false),
    ] {
        let s = scope(json!({"n": 1, "l": [1, 2], "piped": "{{ lookup('pipe', 'echo x') }}"}));
        s.render(&json!(source)).unwrap();
        assert_eq!(s.impure(), impure, "{source}");
    }
}

#[test]
fn unknown_names_are_noted_when_used() {
    let unknown = Arc::new(BTreeMap::from([("r".to_owned(), "a task of the run sets it".to_owned())]));
    let s = Scope::new(Arc::new(Engine::new()), Vec::new(), HashMap::new(), unknown, Search::default());
    assert_eq!(s.render(&json!("{{ 1 }}")).unwrap(), json!("1"));
    assert_eq!(s.touched(), None);
    assert!(s.test(&json!("r.changed")).is_err());
    assert!(s.touched().is_some());
}

#[test]
fn loops_are_lookups() {
    let s = scope(json!({"l": ["a", "b"]}));
    let of = |name: &str, terms: &[Json]| s.lookup(name, terms).unwrap();
    assert_eq!(of("nested", &[json!(["x"]), json!(["a", "b"])]), [json!(["x", "a"]), json!(["x", "b"])]);
    assert_eq!(of("sequence", &[json!("count=2 format=h%d")]), [json!("h1"), json!("h2")]);
    assert_eq!(of("together", &[json!(["a", "b"]), json!([1, 2])]), [json!(["a", 1]), json!(["b", 2])]);
    assert!(s.lookup("nosuch", &[]).is_err());
    let _only = super::OnlyReads::enter();
    assert!(s.render(&json!("{{ lookup('pipe', 'true') }}")).is_err());
    assert_eq!(s.render(&json!("{{ l | first }}")).unwrap(), json!("a"));
}
