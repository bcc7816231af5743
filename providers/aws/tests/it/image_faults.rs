//! What goes wrong with AMIs: they take their time, their names are taken, AWS can't make them.

use std::time::Duration;

use towpath_aws::{AwsImageConfig, Swept};
use towpath_core::{Context, ErrorKind, ImageBuilder};

use crate::simulator::{BASE, Simulator};
use crate::support::{builder, image, unique};

#[tokio::test(flavor = "multi_thread")]
async fn an_ami_that_takes_its_time_is_waited_for() {
    let simulator = Simulator::start();
    let builder = builder(&simulator.url(), AwsImageConfig::default());
    let (cx, web) = (Context::new(), image(&unique("web"), BASE));
    let built = builder.build(&cx, &web).await.unwrap();
    let ami = simulator.world().things[&built.artifacts[0].id].clone();
    assert_eq!((ami.state.as_str(), ami.tags["towpath:state"].as_str()), ("available", "ready"));
    assert_eq!(simulator.living().len(), 2, "the AMI and its snapshot, no instance: {:?}", simulator.living());
    assert_eq!(builder.build(&cx, &web).await.unwrap().changed, 0);
    assert_eq!(simulator.count("RunInstances"), 1);
    assert!(builder.remove(&cx, &built.artifacts[0]).await.unwrap());
    assert_eq!(simulator.living(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_an_error_and_nothing_is_left() {
    let simulator = Simulator::start();
    let config = AwsImageConfig { ami_name: Some("always-the-same".into()), ..AwsImageConfig::default() };
    let builder = builder(&simulator.url(), config);
    let cx = Context::new();
    let first = builder.build(&cx, &image(&unique("web"), BASE)).await.unwrap();
    let before = simulator.living();
    let error = builder.build(&cx, &image(&unique("db"), BASE)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
    assert!(error.message().contains("`{key}`") && error.get("ami_name") == Some("always-the-same"), "{error:?}");
    assert_eq!(simulator.living(), before, "the temporary instance is gone, the first AMI is not");
    assert!(builder.probe(&cx, &first.artifacts[0]).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ami_that_aws_cannot_make_is_removed() {
    let simulator = Simulator::start();
    simulator.world().images_become = "failed".into();
    let builder = builder(&simulator.url(), AwsImageConfig::default());
    let (cx, web) = (Context::new(), image(&unique("web"), BASE));
    let error = builder.build(&cx, &web).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ToolFailed, "{error:?}");
    assert_eq!(simulator.living(), Vec::<String>::new(), "neither AMI nor snapshot nor instance");
    simulator.world().images_become = "available".into();
    assert_eq!(builder.build(&cx, &web).await.unwrap().changed, 1);
}

/// Whatever call fails for good, nothing is left but what the next build goes on with; and that build comes to its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_leaves_nothing_that_is_not_found_again() {
    for action in ["RunInstances", "StopInstances", "CreateImage", "CreateTags"] {
        let simulator = Simulator::start();
        simulator.fails(action, 1, 403, "UnauthorizedOperation");
        let builder = builder(&simulator.url(), AwsImageConfig::default());
        let (cx, web) = (Context::new(), image(&unique("web"), BASE));
        let error = builder.build(&cx, &web).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{action}: {error:?}");
        assert_eq!(simulator.living(), Vec::<String>::new(), "{action}");
        assert_eq!(builder.build(&cx, &web).await.unwrap().changed, 1, "{action}");
        assert_eq!(simulator.living().len(), 2, "{action}: {:?}", simulator.living());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cancel_leaves_is_gone_on_with_or_swept() {
    for call in ["RunInstances", "StopInstances", "CreateImage"] {
        let simulator = Simulator::start();
        let builder = builder(&simulator.url(), AwsImageConfig::default());
        let web = image(&unique("web"), BASE);
        let (cx, cancel) = Context::new().child();
        let stop = async {
            while simulator.count(call) == 0 {
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            cancel.cancel();
        };
        let (built, ()) = tokio::join!(builder.build(&cx, &web), stop);
        assert_eq!(built.unwrap_err().kind(), ErrorKind::Cancelled, "{call}");
        let instances: Vec<String> = simulator.living().into_iter().filter(|id| id.starts_with("i-")).collect();
        assert_eq!(instances, Vec::<String>::new(), "{call}: no instance goes on");
        let begun = simulator.living();
        assert_eq!(begun.len(), if call == "CreateImage" { 2 } else { 0 }, "{call}: {begun:?}");
        if call == "CreateImage" {
            let swept = builder.sweep(&Context::new()).await.unwrap();
            assert_eq!(swept, Swept { removed: begun, left: Vec::new() });
            assert_eq!(simulator.living(), Vec::<String>::new());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_ami_is_gone_on_with() {
    let simulator = Simulator::start();
    let builder = builder(&simulator.url(), AwsImageConfig::default());
    let web = image(&unique("web"), BASE);
    let (cx, cancel) = Context::new().child();
    let stop = async {
        while simulator.count("CreateImage") == 0 {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        cancel.cancel();
    };
    let (built, ()) = tokio::join!(builder.build(&cx, &web), stop);
    assert_eq!(built.unwrap_err().kind(), ErrorKind::Cancelled);
    let begun: Vec<String> = simulator.living().into_iter().filter(|id| id.starts_with("ami-")).collect();
    let plan = builder.plan(&Context::new(), &web).await.unwrap();
    assert!(format!("{plan:?}").contains("an interrupted build had begun it"), "{plan:?}");
    let built = builder.build(&Context::new(), &web).await.unwrap();
    assert_eq!((vec![built.artifacts[0].id.clone()], built.changed), (begun, 1));
    assert_eq!(simulator.count("RunInstances"), 1, "the instance was configured once");
}
