//! What is refused before anything is touched.

use towpath_aws::{
    AwsAutoScaling, AwsAutoScalingConfig, Protected, RefreshConfig, Replacement, RollingConfig, ScalingProcess,
};
use towpath_core::{Context, Deployer as _, ErrorKind, Release, TargetGroup};

use super::simulator::Simulator;
use super::{both, deployer, group, moves, refresh, release, rolling};
use crate::support::{client, moto};

/// The move is refused with these words, and nothing was changed.
async fn refused(simulator: &Simulator, how: Replacement, release: &Release, kind: ErrorKind, words: &[&str]) {
    let error = moves(&deployer(simulator, how), release).await.unwrap_err();
    let text = error.report();
    assert_eq!(error.kind(), kind, "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is missing: {text}");
    }
    let world = simulator.world();
    let changes = ["Start", "Update", "Set", "Terminate", "Create", "Suspend"];
    let changed = world.calls.iter().find(|c| changes.iter().any(|verb| c.starts_with(verb)));
    assert_eq!(changed, None, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_that_can_not_be_started() {
    let v1 = release("v1", "ami-00aa");
    for how in both() {
        let simulator = Simulator::start(2, 3);
        let no_artifact = Release { artifact: None, ..v1.clone() };
        refused(&simulator, how.clone(), &no_artifact, ErrorKind::InvalidInput, &["kind `ami`", "v1"]).await;
        let env = Release { env: [("PORT".to_owned(), "80".to_owned())].into(), ..v1.clone() };
        refused(&simulator, how.clone(), &env, ErrorKind::InvalidInput, &["user data", "PORT"]).await;
        let missing = release("v9", "ami-0404");
        refused(&simulator, how.clone(), &missing, ErrorKind::NotFound, &["ami-0404", "us-east-1"]).await;
        let pending = release("v9", "ami-00cc");
        refused(&simulator, how.clone(), &pending, ErrorKind::Conflict, &["ami-00cc", "pending"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_can_not_be_moved() {
    let v1 = release("v1", "ami-00aa");
    for how in both() {
        let simulator = Simulator::start(2, 3);
        let nobody = TargetGroup { name: "wbe".into(), ..group() };
        let error = deployer(&simulator, how.clone()).start(&Context::new(), &nobody, &v1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        assert!(error.report().contains("no such Auto Scaling group"), "{}", error.report());
        simulator.world().configuration = true;
        refused(&simulator, how.clone(), &v1, ErrorKind::Unsupported, &["launch configuration"]).await;
        simulator.world().configuration = false;
        simulator.world().suspended.insert("Terminate".into());
        refused(&simulator, how.clone(), &v1, ErrorKind::Conflict, &["suspended=Terminate"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_refresh_is_left_alone() {
    let simulator = Simulator::start(2, 3);
    simulator.world().frozen = true;
    let deployer = deployer(&simulator, refresh());
    let cx = Context::new();
    let job = deployer.start(&cx, &group(), &release("v1", "ami-00aa")).await.unwrap();
    assert!(deployer.probe_group(&cx, &group()).await.unwrap().moving);
    for how in both() {
        let error =
            super::deployer(&simulator, how).start(&cx, &group(), &release("v2", "ami-00bb")).await.unwrap_err();
        assert_eq!((error.kind(), error.get("refresh")), (ErrorKind::Conflict, Some(job.id.as_str())), "{error:?}");
    }
    assert_eq!(simulator.count("CancelInstanceRefresh"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_room_for_a_new_instance_and_instances_that_would_stay_old() {
    let v1 = release("v1", "ami-00aa");
    let simulator = Simulator::start(2, 2);
    let error = moves(&deployer(&simulator, rolling()), &v1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    assert!(error.report().contains("rolling.surge: false"), "{}", error.report());
    assert_eq!(simulator.world().group_version, "$Default");
    simulator.world().instances[0].protected = true;
    let how = RefreshConfig { protected: Some(Protected::Ignore), ..RefreshConfig::default() };
    let error = moves(&deployer(&simulator, Replacement::Refresh(how)), &v1).await.unwrap_err();
    assert_eq!((error.kind(), error.get("protected")), (ErrorKind::Conflict, Some("1")), "{error:?}");
    assert_eq!(simulator.count("StartInstanceRefresh"), 0);
}

#[test]
fn settings_that_make_no_sense() {
    let refresh = |change: fn(&mut RefreshConfig)| {
        let mut config = RefreshConfig::default();
        change(&mut config);
        AwsAutoScalingConfig::default().how(Replacement::Refresh(config))
    };
    let none = RollingConfig { batch: 0, ..RollingConfig::default() };
    let suspend = Some(vec![ScalingProcess::InstanceRefresh]);
    let suspends = AwsAutoScalingConfig { suspend, ..AwsAutoScalingConfig::default() };
    for (config, words) in [
        (refresh(|c| c.max_healthy_percent = 201), "max_healthy_percent"),
        (refresh(|c| (c.min_healthy_percent, c.max_healthy_percent) = (50, 160)), "100 apart"),
        (refresh(|c| c.checkpoints = vec![50, 20]), "rise"),
        (refresh(|c| c.checkpoints = vec![20, 50]), "end with 100"),
        (refresh(|c| c.checkpoint_delay_s = Some(1)), "needs `checkpoints`"),
        (refresh(|c| c.bake_s = 200_000), "two days"),
        (AwsAutoScalingConfig::default().how(Replacement::Rolling(none)), "rolling.batch"),
        (suspends, "instance_refresh"),
    ] {
        let error = AwsAutoScaling::new(config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().contains(words), "{words:?} is missing: {error}");
    }
}

/// What moto has of Auto Scaling: groups, tags, processes. It has no instance refreshes, and answers with a page that says so.
#[tokio::test(flavor = "multi_thread")]
async fn against_moto_processes_are_suspended_and_resumed_and_a_missing_operation_is_named() {
    let Some(moto) = moto().await else { return };
    let endpoint = moto.endpoint();
    let name = crate::support::unique("asg");
    moto.ask(&format!(
        "import boto3\nasg = boto3.client('autoscaling', region_name='us-east-1', endpoint_url='{endpoint}', aws_access_key_id='x', aws_secret_access_key='x')\n\
         lt = ec2().create_launch_template(LaunchTemplateName='{name}', LaunchTemplateData={{'ImageId': 'ami-12c6146b', 'InstanceType': 't3.small'}})\n\
         asg.create_auto_scaling_group(AutoScalingGroupName='{name}', MinSize=1, MaxSize=2, AvailabilityZones=['us-east-1a'], LaunchTemplate={{'LaunchTemplateName': '{name}', 'Version': '1'}})\n\
         asg.suspend_processes(AutoScalingGroupName='{name}', ScalingProcesses=['ScheduledActions'])"
    ));
    let state = || {
        moto.ask(&format!(
            "import boto3\nasg = boto3.client('autoscaling', region_name='us-east-1', endpoint_url='{endpoint}', aws_access_key_id='x', aws_secret_access_key='x')\n\
             g = asg.describe_auto_scaling_groups(AutoScalingGroupNames=['{name}'])['AutoScalingGroups'][0]\n\
             print(*sorted(p['ProcessName'] for p in g['SuspendedProcesses']), '|', *[t['Key'] + '=' + t['Value'] for t in g['Tags']])"
        ))
    };
    let deployer = AwsAutoScaling::new(AwsAutoScalingConfig::default().client(client(&endpoint))).unwrap();
    let cx = Context::new();
    assert!(deployer.preflight(&cx).await.unwrap().ok[0].starts_with("arn:aws:"));
    deployer.suspend(&cx, &name).await.unwrap();
    assert_eq!(
        state(),
        "AZRebalance AlarmNotification ScheduledActions | towpath:suspended=AZRebalance AlarmNotification"
    );
    deployer.suspend(&cx, &name).await.unwrap();
    deployer.resume(&cx, &name).await.unwrap();
    assert_eq!(state(), "ScheduledActions |", "what others suspended stays so");
    deployer.resume(&cx, &name).await.unwrap();
    deployer.resume(&cx, "no-such-group").await.expect("nothing is left to resume");
    let error = deployer.suspend(&cx, "no-such-group").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    let there = TargetGroup { name, ..group() };
    let error = deployer.probe_group(&cx, &there).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error:?}");
    assert!(error.report().contains("DescribeInstanceRefreshes failed"), "{}", error.report());
}
