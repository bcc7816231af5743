//! What a person sees: the page of a real run on real hosts, and the terminal.

use crate::place::{HERE, Place};

const HOSTILE: &str = "</script><script>alert(1)</script>";

#[test]
fn the_page_of_a_real_run_tells_all_and_runs_nothing() {
    let place = Place::new()
        .with(
            "site.yml",
            &format!(
                "
- hosts: all
  tasks:
    - name: Make the folder
      file: {{ path: /srv/web, state: directory }}
    - name: Say something hostile
      shell: echo '{HOSTILE}'; echo see https://example.org/x >&2; exit 7
      when: inventory_hostname == 'web-2'
"
            ),
        )
        .with(
            "p.yml",
            "
name: page
steps:
  fleet:
    provision: { local: { hosts: 2, name: web } }
  site:
    configure: { playbook: { file: site.yml } }
    inventory: { from: fleet.inventory }
  never:
    record: local
    observations: []
    after: site
",
        );
    let run = place.towpath(&["run", "p.yml"]).ends(1);
    let path = place.runs(".html").pop().unwrap();
    let page = std::fs::read_to_string(&path).unwrap();
    for part in ["fleet", "provision local", "site", "configure playbook", "never", ">skipped</span>", "web-1", "web-2"]
    {
        assert!(page.contains(part), "{part}");
    }
    // The error with its whole context, and the hosts' results by task.
    for part in ["Say something hostile", "site.yml:6", "exit_status", "<dd>7</dd>", "Make the folder", ">changed</td>"]
    {
        assert!(page.contains(part), "no {part} in {page}\n{run:?}");
    }
    assert!(page.contains("&lt;/script&gt;&lt;script&gt;alert(1)"), "the host's output is text");
    assert_eq!(page.matches("<script").count(), 0);
    for loads in ["src=\"", "href=\"http", "url(", "@import", "<link", "style=\""] {
        assert!(!page.contains(loads), "{loads}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |p: &std::path::Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(mode(&place.runs(".jsonl")[0]), 0o600);
    }
    assert_eq!(place.towpath(&["destroy", "p.yml"]).ends(0).out, "fleet: 2 things removed\n");
    assert_eq!(place.towpath(&["destroy", "p.yml", "--json"]).ends(0).json()[0]["removed"], 0, "gone already");
}

#[test]
fn a_page_that_cannot_be_written_is_a_warning() {
    let place = Place::new().with("file", "").with("p.yml", crate::place::NOTES);
    let run = place.towpath(&["run", "p.yml", "--page", "file/page.html"]).ends(0);
    assert!(run.err.contains("warning: ") && run.err.contains("file/page.html"), "{run:?}");
    assert!(run.out.contains(": done in ") && !run.out.contains("page:"), "{run:?}");
}

/// `script` of util-linux gives the command a terminal.
#[test]
fn a_terminal_shows_what_runs_and_a_pipe_gets_plain_lines() {
    let text = format!(
        "
name: shown
steps:
  ask:
    gate: local
    inventory: {HERE}
    rule:
      checks: [{{ name: yes, probe: {{ command: {{ argv: ['true'] }} }} }}]
      hold_s: 0.4
"
    );
    let place = Place::new().with("p.yml", &text);
    if !std::process::Command::new("script").arg("--version").output().is_ok_and(|o| o.status.success()) {
        assert!(std::env::var_os("TOWPATH_TEST_REQUIRE").is_none(), "install `script` (bsdutils)");
        println!("NOT RUN: the display on a terminal: install `script` (bsdutils)");
        return;
    }
    let on_terminal = |term: &str, no_color: Option<&str>| {
        let command = format!("{} run p.yml", env!("CARGO_BIN_EXE_towpath"));
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &command, "/dev/null"]).current_dir(place.path()).env("TERM", term).env_remove("NO_COLOR");
        script.stdin(std::process::Stdio::null());
        if let Some(value) = no_color {
            script.env("NO_COLOR", value);
        }
        let out = script.output().unwrap();
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    let live = on_terminal("xterm-256color", None);
    assert!(live.contains("\u{1b}["), "it moves the cursor: {live:?}");
    assert!(live.contains("0 of 1 steps over, 1 under way") && live.contains("+ ask"), "{live:?}");
    let grey = on_terminal("xterm-256color", Some("1"));
    assert!(grey.contains("+ ask") && !grey.contains("\u{1b}[3") && !grey.contains("\u{1b}[2m"), "{grey:?}");
    for plain in [on_terminal("dumb", None), {
        let said = place.towpath(&["run", "p.yml"]).ends(0);
        said.err + &said.out
    }] {
        assert!(plain.contains("ask starts") && !plain.contains('\u{1b}'), "{plain:?}");
    }
}
