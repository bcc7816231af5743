//! What one of them has set up, the other one leaves as it is.

use super::{cases, ours, start, theirs};
use crate::modules::ask::Ansible;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_left_for_the_other_one() {
    let Some(ansible) = Ansible::find() else {
        let what = "NOT RUN: roles applied by one and checked by the other: install ansible-core 2.18 and set \
                    TOWPATH_TEST_ANSIBLE to its ansible-playbook";
        eprintln!("{what}");
        assert!(std::env::var_os("TOWPATH_TEST_FULL").is_none(), "{what}");
        return;
    };
    for case in cases() {
        let (Some(here), Some(there)) = (start(), start()) else { return };
        let (_, recap, error) = ours(&here, &case).await;
        assert_eq!(recap["failed"], 0, "{case}: {error}");
        let after = tokio::task::block_in_place(|| theirs(&ansible, &here, &case));
        let counts = (&after.recap["failed"], &after.recap["changed"]);
        assert_eq!(counts, (&0.into(), &0.into()), "{case}: Ansible after towpath: {}", after.said);

        let before = tokio::task::block_in_place(|| theirs(&ansible, &there, &case));
        assert_eq!(before.recap["failed"], 0, "{case}: {}", before.said);
        let (tasks, recap, error) = ours(&there, &case).await;
        let changed: Vec<_> = tasks.iter().filter(|t| t["status"] == "changed").map(|t| &t["task"]).collect();
        assert_eq!(
            (&recap["failed"], &recap["changed"]),
            (&0.into(), &0.into()),
            "{case}: towpath after Ansible: {changed:?} {error}"
        );
    }
}
