//! How instances are replaced.

use std::time::Duration;

use towpath_aws::{RefreshConfig, Replacement, RollingConfig};
use towpath_core::{Context, Deployer as _, ErrorKind};

use super::simulator::{BAD_AMI, Simulator};
use super::{both, deployer, group, moves, refresh, release, rolling};
use crate::support::Seen;

#[tokio::test(flavor = "multi_thread")]
async fn all_instances_are_replaced_and_no_capacity_is_lost() {
    for how in both() {
        let simulator = Simulator::start(3, 4);
        let deployer = deployer(&simulator, how);
        let before = deployer.probe_group(&Context::new(), &group()).await.unwrap();
        assert_eq!((before.current.as_deref(), before.healthy), (Some("lt-0abc:1"), true), "no release yet");
        moves(&deployer, &release("v1", "ami-00aa")).await.unwrap();
        let world = simulator.world();
        assert_eq!(world.amis(), ["ami-00aa"; 3]);
        assert_eq!((world.desired, world.fewest), (3, 3), "as many as were wanted served all the time");
        assert_eq!(world.group_version, "2", "what is started later is the same");
        assert!(!world.tags.contains_key("towpath:moving"), "{:?}", world.tags);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_instance_must_be_healthy_at_the_target_group_before_an_old_one_goes() {
    let simulator = Simulator::start(2, 3);
    let healthy = simulator.world().instances.iter().map(|i| i.id.clone()).collect();
    simulator.world().target_group = Some(healthy);
    let deployer = deployer(&simulator, rolling());
    moves(&deployer, &release("v1", "ami-00aa")).await.unwrap();
    let world = simulator.world();
    assert_eq!(world.amis(), ["ami-00aa"; 2]);
    assert_eq!(world.target_group.as_ref().unwrap().len(), 2);
    let ends: Vec<usize> = (0..world.calls.len()).filter(|n| world.calls[*n].starts_with("Terminate")).collect();
    assert_eq!(ends.len(), 2);
    assert!(world.calls[..ends[0]].iter().filter(|c| *c == "DescribeTargetHealth").count() > 3, "{:?}", world.calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_surge_a_batch_is_missing_and_the_maximum_is_kept() {
    let simulator = Simulator::start(4, 4);
    let how = Replacement::Rolling(RollingConfig { batch: 2, surge: false, limit_s: 5 });
    moves(&deployer(&simulator, how), &release("v1", "ami-00aa")).await.unwrap();
    let world = simulator.world();
    assert_eq!(world.amis(), ["ami-00aa"; 4]);
    assert_eq!((world.desired, world.fewest), (4, 2));
    assert!(!world.calls.contains(&"SetDesiredCapacity".to_owned()));
}

/// Going back needs no new version of the template, and each release builds upon what others changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_one_version_of_the_template() {
    let simulator = Simulator::start(1, 3);
    let deployer = deployer(&simulator, refresh());
    let probe = async || deployer.probe_group(&Context::new(), &group()).await.unwrap().current;
    moves(&deployer, &release("v1", "ami-00aa")).await.unwrap();
    assert_eq!(probe().await.as_deref(), Some("v1"));
    simulator.world().add_version("ami-0000", "a larger type, by Terraform", "t3.large");
    moves(&deployer, &release("v2", "ami-00bb")).await.unwrap();
    assert_eq!(probe().await.as_deref(), Some("v2"));
    moves(&deployer, &release("v1", "ami-00aa")).await.unwrap();
    assert_eq!(probe().await.as_deref(), Some("v1"));
    // The same AMI under another name is another release.
    moves(&deployer, &release("v3", "ami-00aa")).await.unwrap();
    assert_eq!(probe().await.as_deref(), Some("v3"));
    let world = simulator.world();
    let all: Vec<(&str, &str)> = world.versions.iter().map(|v| (v.description.as_str(), v.kind.as_str())).collect();
    assert_eq!(
        all[1..],
        [
            ("towpath release v1", "t3.small"),
            ("a larger type, by Terraform", "t3.large"),
            ("towpath release v2", "t3.large"),
            ("towpath release v3", "t3.large"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_refresh_is_asked_for_is_what_the_config_says() {
    let simulator = Simulator::start(1, 3);
    simulator.world().mixed = true;
    let how = Replacement::Refresh(RefreshConfig {
        min_healthy_percent: 80,
        max_healthy_percent: 150,
        warmup_s: Some(7),
        checkpoints: vec![20, 100],
        checkpoint_delay_s: Some(60),
        bake_s: 30,
        ..RefreshConfig::default()
    });
    moves(&deployer(&simulator, how), &release("v1", "ami-00aa")).await.unwrap();
    let world = simulator.world();
    let form = &world.refreshes[0].form;
    for (name, value) in [
        ("Preferences.MinHealthyPercentage", "80"),
        ("Preferences.MaxHealthyPercentage", "150"),
        ("Preferences.InstanceWarmup", "7"),
        ("Preferences.CheckpointPercentages.member.2", "100"),
        ("Preferences.CheckpointDelay", "60"),
        ("Preferences.BakeTime", "30"),
        ("Preferences.SkipMatching", "true"),
        ("Preferences.AutoRollback", "false"),
        // The group's other instance types stay.
        ("DesiredConfiguration.MixedInstancesPolicy.LaunchTemplate.Overrides.member.1.InstanceType", "m5.large"),
    ] {
        assert_eq!(form.get(name).map(String::as_str), Some(value), "{name}: {form:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_fails_says_why() {
    let simulator = Simulator::start(1, 3);
    let how =
        Replacement::Refresh(RefreshConfig { alarms: vec!["too-many-errors".into()], ..RefreshConfig::default() });
    let error = moves(&deployer(&simulator, how), &release("v1", "ami-00aa")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unhealthy, "{error:?}");
    assert!(error.report().contains("The alarm too-many-errors is in ALARM"), "{}", error.report());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_takes_too_long_is_cancelled() {
    let simulator = Simulator::start(1, 3);
    simulator.world().frozen = true;
    let mut config = super::config(&simulator, refresh());
    config.wait.timeout_s = Some(1);
    let deployer = towpath_aws::AwsAutoScaling::new(config).unwrap();
    let error = moves(&deployer, &release("v1", "ami-00aa")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert_eq!(simulator.world().refreshes[0].status, "Cancelling");
}

/// The answer that would have had its id is lost; asked again, AWS says that one is in progress.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_starts_no_second_refresh() {
    let simulator = Simulator::start(1, 3);
    simulator.world().loses.push("StartInstanceRefresh".into());
    let job = moves(&deployer(&simulator, refresh()), &release("v1", "ami-00aa")).await.unwrap();
    assert_eq!((job.id.as_str(), simulator.world().refreshes.len()), ("refresh-1", 1));
    assert_eq!(simulator.count("StartInstanceRefresh"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_instances_that_never_serve_go_again_and_the_old_ones_serve_on() {
    let simulator = Simulator::start(2, 4);
    let error = moves(&deployer(&simulator, rolling()), &release("v1", BAD_AMI)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unhealthy, "{error:?}");
    let text = error.report();
    assert!(text.contains("Instance became unhealthy while waiting") && text.contains("not_in_service"), "{text}");
    let world = simulator.world();
    assert_eq!((world.desired, world.fewest), (2, 2));
    assert_eq!(world.amis(), ["ami-0000"; 2]);
    assert!(!world.tags.contains_key("towpath:moving"));
}

/// Another process goes on from what stands on the group.
#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_goes_on_in_another_process() {
    let simulator = Simulator::start(3, 4);
    let first = deployer(&simulator, rolling());
    let seen = Seen::default();
    let cx = seen.context().build();
    let job = first.start(&cx, &group(), &release("v1", "ami-00aa")).await.unwrap();
    let (handle, follower) = (job.clone(), cx.clone());
    let following = tokio::spawn(async move { first.follow(&follower, &handle).await });
    while !seen.text().contains("1 new instances serve") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    following.abort();
    assert!(following.await.is_err());
    let state = deployer(&simulator, rolling()).follow(&Context::new(), &job).await.unwrap();
    assert_eq!(state.current.as_deref(), Some("v1"));
    let world = simulator.world();
    assert_eq!((world.desired, world.fewest, world.amis().len()), (3, 3, 3));
}

/// Left by a move that nobody took up again; the group was scaled since.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_note_shrinks_no_group() {
    let simulator = Simulator::start(4, 6);
    simulator.world().tags.insert("towpath:moving".into(), "7 1".into());
    moves(&deployer(&simulator, rolling()), &release("v1", "ami-00aa")).await.unwrap();
    let world = simulator.world();
    assert_eq!((world.desired, world.fewest, world.amis().len()), (4, 4, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_without_an_answer_ends_no_move() {
    let simulator = Simulator::start(2, 4);
    let deployer = deployer(&simulator, rolling());
    let cx = Context::new();
    let job = deployer.start(&cx, &group(), &release("v1", "ami-00aa")).await.unwrap();
    // More than the SDK asks again by itself.
    simulator.world().fails.push(("DescribeAutoScalingGroups".into(), 4, "ServiceUnavailable".into()));
    assert_eq!(deployer.follow(&cx, &job).await.unwrap().current.as_deref(), Some("v1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_move_stays_where_it_is() {
    for how in both() {
        let simulator = Simulator::start(3, 4);
        let by_refresh = how == refresh();
        simulator.world().frozen = by_refresh;
        let deployer = deployer(&simulator, how);
        let cx = Context::new();
        let job = deployer.start(&cx, &group(), &release("v1", BAD_AMI)).await.unwrap();
        deployer.cancel(&cx, &job).await.unwrap();
        simulator.world().frozen = false;
        let error = deployer.follow(&cx, &job).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
        assert!(error.report().contains("cancelled"), "{}", error.report());
        assert_eq!(simulator.world().amis(), ["ami-0000"; 3]);
        deployer.cancel(&cx, &job).await.expect("twice is a success");
        assert!(!deployer.probe_group(&cx, &group()).await.unwrap().moving);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told() {
    let simulator = Simulator::start(2, 4);
    let (deployer, seen) = (deployer(&simulator, refresh()), Seen::default());
    let cx = seen.context().build();
    let job = deployer.start(&cx, &group(), &release("v1", "ami-00aa")).await.unwrap();
    deployer.follow(&cx, &job).await.unwrap();
    let text = seen.text();
    for words in
        ["as version 2", "web: instance refresh InProgress, 0 %", "50 %", "web: instance refresh Successful, 100 %"]
    {
        assert!(text.contains(words), "{words:?} is missing:\n{text}");
    }
}
