//! Dying inside a step, and going on.

use std::os::unix::process::ExitStatusExt as _;

use super::{Home, assert_well, outcomes};

const SIGABRT: i32 = 6;

/// In steps without an effect of their own (waiting for load, judging) it dies before their end is written.
const STEPS: &[&str] = &[
    "fleet",
    "site",
    "image",
    "release v1",
    "traffic",
    "under load",
    "release v2",
    "v2 is well",
    "release v3",
    "metrics",
    "logs",
];

/// Each step is one point; the fast tier takes the two that matter most.
fn steps() -> Vec<&'static str> {
    if std::env::var_os("TOWPATH_TEST_FULL").is_some() { STEPS.to_vec() } else { vec!["fleet", "release v2"] }
}

#[test]
fn a_run_that_dies_in_a_step_goes_on_and_ends_in_the_same_state() {
    for step in steps() {
        let home = Home::new();
        let died = home.run(&["--json", "--crash-at", step]);
        assert_eq!(died.status.signal(), Some(SIGABRT), "{step}: {died:?}");
        assert!(died.stdout.is_empty(), "{step}: {died:?}");
        let summary = home.json(&[]);
        assert_eq!(summary["resumed"], true, "{step}: {summary}");
        assert_well(&summary);
        assert_eq!(outcomes(&summary), [("v1", "deployed"), ("v2", "deployed"), ("v3", "rolled_back")], "{step}");
        let again = home.json(&[]);
        assert_well(&again);
        assert_eq!(outcomes(&again), [("v1", "superseded"), ("v2", "unchanged"), ("v3", "refused")], "{step}");
        assert!(home.run(&["--destroy"]).status.success(), "{step}");
        assert_eq!(home.processes(), Vec::<String>::new(), "{step}");
    }
}
