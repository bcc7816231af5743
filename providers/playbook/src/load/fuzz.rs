//! Playbooks and roles made wrong never panic, never hang, and each error names its file and line.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Loader, load_playbook, yaml};
use crate::mutate::{changes, mutated, rounds};
use crate::render::Engine;

/// What playbooks are made of.
const PIECES: &[&str] = &[
    ": ",
    "- ",
    "\n",
    "\n  ",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "<<: *a",
    "!vault |",
    "!unsafe ",
    "!!str ",
    "|",
    ">-",
    "'",
    "\"",
    "#",
    "?",
    "---",
    "{{ x }}",
    "{{",
    "{% if",
    "null",
    "~",
    "yes",
    "0x-8000000000000000",
    "-0b1",
    "1e999",
    "0o7",
    "1_000",
    "- hosts: all",
    "tasks:",
    "block:",
    "rescue:",
    "always:",
    "when:",
    "loop:",
    "with_items:",
    "with_",
    "loop_control:",
    "register:",
    "notify:",
    "vars:",
    "roles:",
    "name:",
    "args:",
    "action:",
    "local_action:",
    "import_tasks: main.yml",
    "include_tasks:",
    "import_role: {name: common}",
    "import_playbook: site.yml",
    "meta:",
    "meta: flush_handlers",
    "dependencies:",
    "become:",
    "tags:",
    "debug: msg=x",
    "command: echo a=b",
    "delegate_to:",
    "listen:",
    "\t",
    "\u{feff}",
    "\u{0}",
    "\r",
    "ü",
    "日本",
];

/// The playbooks that are compared with Ansible, and the roles they use.
fn site() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/roles/site")
}

struct Place {
    dir: tempfile::TempDir,
    /// Each file with the playbook that reads it.
    files: Vec<(PathBuf, PathBuf)>,
}

fn copy(from: &Path, to: &Path, role: Option<&str>, files: &mut Vec<(PathBuf, PathBuf)>, top: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let mut entries: Vec<_> = std::fs::read_dir(from).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for entry in entries {
        let name = entry.file_name().unwrap().to_string_lossy().into_owned();
        let target = to.join(&name);
        if entry.is_dir() {
            let of_role = from.ends_with("roles").then_some(name.as_str());
            copy(&entry, &target, of_role.or(role), files, top);
            continue;
        }
        std::fs::copy(&entry, &target).unwrap();
        if entry.extension().is_some_and(|e| e == "yml") {
            let playbook = match role {
                Some("common") => "users.yml".to_owned(),
                Some(role) => format!("{role}.yml"),
                None if from == site() => name,
                None => continue,
            };
            files.push((target, top.join(playbook)));
        }
    }
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        copy(&site(), dir.path(), None, &mut files, dir.path());
        Self { dir, files }
    }

    fn load(&self, playbook: &Path) -> Result<usize, String> {
        let loader = Loader {
            playbook_dir: self.dir.path().to_path_buf(),
            roles_path: Vec::new(),
            extra: Arc::default(),
            engine: engine(),
            defaults: crate::load::Inherit::default(),
        };
        let start = Instant::now();
        let done = load_playbook(&loader, playbook).map(|plays| plays.len()).map_err(|e| e.report());
        assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
        done
    }
}

fn engine() -> Arc<Engine> {
    static ENGINE: OnceLock<Arc<Engine>> = OnceLock::new();
    ENGINE.get_or_init(|| Arc::new(Engine::new())).clone()
}

/// An error names a file of this folder and a line in it.
fn has_place(report: &str, dir: &Path) -> bool {
    let dir = dir.display().to_string();
    report.match_indices(&dir).any(|(at, _)| {
        let rest = report[at..].split([' ', ',', ')']).next().unwrap_or_default();
        rest.split(':').nth(1).is_some_and(|line| line.parse::<usize>().is_ok())
    })
}

proptest! {
    #![proptest_config(rounds(400))]

    #[test]
    fn wrong_playbooks(which in any::<prop::sample::Index>(), changes in changes(PIECES)) {
        // One place for each thread would be as good; a new one each time costs a tenth of a second.
        thread_local! { static PLACE: Place = Place::new(); }
        PLACE.with(|place| {
            let (file, playbook) = &place.files[which.index(place.files.len())];
            let text = std::fs::read_to_string(file).unwrap();
            std::fs::write(file, mutated(&text, &changes)).unwrap();
            let done = place.load(playbook);
            std::fs::write(file, text).unwrap();
            if let Err(report) = done {
                assert!(has_place(&report, place.dir.path()), "no place in: {report}");
            }
        });
    }

    #[test]
    fn random_yaml(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        let _ = yaml::parse(Path::new("x.yml"), &pieces.concat()).map(|n| n.json());
    }
}

#[test]
fn what_stands_in_the_repository_loads() {
    let place = Place::new();
    for (_, playbook) in &place.files {
        assert!(place.load(playbook).unwrap() > 0);
    }
}

fn alone(text: &str) -> Result<usize, String> {
    let place = Place { dir: tempfile::tempdir().unwrap(), files: Vec::new() };
    let file = place.dir.path().join("site.yml");
    std::fs::write(&file, text).unwrap();
    let done = place.load(&file);
    if let Err(report) = &done {
        assert!(has_place(report, place.dir.path()), "no place in: {report}");
    }
    done
}

#[test]
fn bombs_are_refused() {
    // Each line holds the one before ten times.
    let mut laughs = String::from("- hosts: all\n  vars:\n    a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    let mut merges = String::from("- hosts: all\n  vars:\n    m0: &m0 {k: v}\n");
    for i in 1..40 {
        let many = vec![format!("*a{}", i - 1); 10].join(", ");
        laughs.push_str(&format!("    a{i}: &a{i} [{many}]\n"));
        merges.push_str(&format!("    m{i}: &m{i} {{l: *m{}, r: *m{}, <<: *m{}}}\n", i - 1, i - 1, i - 1));
    }
    let long = "x".repeat(1 << 20);
    let repeated = format!("- hosts: all\n  vars:\n    a: &a {long}\n    b: [{}]\n", vec!["*a"; 2000].join(", "));
    for text in [laughs, merges, repeated] {
        let report = alone(&text).unwrap_err();
        assert!(report.contains("aliases"), "{report}");
    }
}

#[test]
fn deep_and_long_files_end() {
    let blocks = |n: usize| {
        let open: String = (0..n).map(|i| format!("{}- block:\n", "  ".repeat(i + 2))).collect();
        format!("- hosts: all\n  tasks:\n{open}{}- debug:\n", "  ".repeat(n + 2))
    };
    assert_eq!(alone(&blocks(25)), Ok(1));
    assert!(alone(&blocks(90)).unwrap_err().contains("deep"));
    let nested = |open: &str, n: usize, close: &str| {
        format!("- hosts: all\n  vars: {{a: {}{}}}\n", open.repeat(n), close.repeat(n))
    };
    assert_eq!(alone(&nested("[", 150, "]")), Ok(1));
    for text in [
        nested("[", 250, "]"),
        nested("[", 100_000, "]"),
        nested("{a: ", 100_000, "}"),
        nested("- ", 100_000, ""),
        format!(
            "- hosts: all\n  vars:\n    a:\n{}",
            (0..5000).map(|i| format!("{}- \n", " ".repeat(i + 4))).collect::<String>()
        ),
        "? ".repeat(50_000),
        "&a ".repeat(50_000),
        "!a ".repeat(50_000),
    ] {
        assert!(alone(&text).is_err());
    }
    let vars: String = (0..50_000).map(|i| format!("    v{i}: {i}\n")).collect();
    assert_eq!(alone(&format!("- hosts: all\n  vars:\n{vars}")), Ok(1));
    let tasks = "  - debug: msg={{ x }}\n".repeat(20_000);
    assert_eq!(alone(&format!("- hosts: all\n  tasks:\n{tasks}")), Ok(1));
}

#[test]
fn circles_are_refused() {
    for (file, text, role) in [
        ("site.yml", "- import_playbook: site.yml\n", ""),
        ("more.yml", "- import_tasks: more.yml\n- import_tasks: more.yml\n", ""),
        ("more.yml", "- block:\n  - import_tasks: more.yml\n", ""),
        ("more.yml", "- import_role: {name: r}\n", "- import_role: {name: r}\n"),
        ("more.yml", "- import_role: {name: r}\n", "- import_tasks: ../../../more.yml\n"),
    ] {
        let place = Place { dir: tempfile::tempdir().unwrap(), files: Vec::new() };
        let put = |name: &str, text: &str| {
            let path = place.dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("site.yml", "- hosts: all\n  tasks:\n  - import_tasks: more.yml\n");
        put(file, text);
        put("roles/r/tasks/main.yml", role);
        let report = place.load(&place.dir.path().join("site.yml")).unwrap_err();
        assert!(report.contains("circle") && has_place(&report, place.dir.path()), "{report}");
    }
}
