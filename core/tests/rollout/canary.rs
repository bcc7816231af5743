use std::sync::Arc;

use towpath_core::VerdictKind;
use towpath_core::rollout::{Approval, Batch, CanaryStep, Rolling, RolloutOutcome, TargetOutcome};
use towpath_core::testkit::{HttpReply, HttpServer};

use super::{Desk, gate, strategy};

const EIGHT: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

fn steps(steps: impl Into<Vec<CanaryStep>>) -> Rolling {
    Rolling { canary: steps.into(), ..strategy() }.batch(Batch::Count(3))
}

#[tokio::test]
async fn it_goes_on_in_steps_and_then_in_batches() {
    let desk = Desk::of(&EIGHT);
    desk.run(strategy(), "v1").await;
    desk.world.lock().log.clear();
    let two = [CanaryStep::of(Batch::Count(1)).bake(gate()), CanaryStep::of(Batch::Percent(50)).bake(gate())];
    assert_eq!(desk.run(steps(two), "v2").await.outcome, RolloutOutcome::Deployed);
    let log = desk.world.log();
    let baked: Vec<&String> =
        log.iter().filter(|l| l.starts_with("assess") && (l.len() > 8 || **l == "assess a")).collect();
    // The canary's own health check, its bake, then the bake of all four.
    assert_eq!(baked, ["assess a", "assess a", "assess a b c d"]);
    let at = |what: &str| log.iter().position(|l| l == what).unwrap();
    assert!(at("assess a b c d") < at("drain e"), "{log:?}");
    assert!(at("assess a b c d") > at("add d v2"), "{log:?}");
    assert_eq!(desk.world.wrongs(), [""; 0]);
}

#[tokio::test]
async fn a_release_that_fails_its_bake_never_reaches_the_others() {
    let desk = Desk::of(&EIGHT);
    desk.run(strategy(), "v1").await;
    desk.world.lock().bad_under_load.insert("v2".into());
    let report = desk.run(steps([CanaryStep::of(Batch::Count(2)).bake(gate())]), "v2").await;
    assert_eq!(report.outcome, RolloutOutcome::RolledBack);
    let touched: Vec<&str> =
        report.targets.iter().filter(|t| t.state != TargetOutcome::Untouched).map(|t| t.host.as_str()).collect();
    assert_eq!(touched, ["a", "b"]);
    assert!(desk.world.serving().values().all(|v| v == "v1"));
}

#[tokio::test]
async fn a_question_in_the_middle_is_answered_by_a_file() {
    let desk = Desk::of(&EIGHT);
    desk.run(strategy(), "v1").await;
    let folder = tempfile::tempdir().unwrap();
    let answer = folder.path().join("answer");
    // An answer from before the question is none.
    std::fs::write(&answer, "yes long ago").unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    std::fs::File::options().write(true).open(&answer).unwrap().set_modified(old).unwrap();
    let ask = Approval::ask("is the canary well?").file(&answer);
    let strategy = steps([CanaryStep::of(Batch::Count(1)).approval(ask)]);
    let control = desk.control();
    let answering = async {
        loop {
            if let Some(status) = control.status().await.unwrap().filter(|s| !s.questions.is_empty()) {
                assert_eq!((status.phase.as_str(), status.done), ("asking", 1));
                assert_eq!(status.questions[0].text, "is the canary well?");
                assert_eq!(desk.world.serving()["b"], "v1");
                std::fs::write(&answer, "no anna: the queue grows").unwrap();
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let (report, ()) = tokio::join!(desk.run(strategy, "v2"), answering);
    assert_eq!(report.outcome, RolloutOutcome::RolledBack);
    assert_eq!(report.reason.as_deref(), Some("refused by anna: the queue grows"));
    assert!(desk.world.serving().values().all(|v| v == "v1"));
    assert_eq!(desk.left().await, []);
}

/// A command asks a web service over HTTP, until it has an answer.
#[tokio::test]
async fn a_web_service_is_asked_until_it_has_an_answer() {
    for (word, outcome) in [("yes ops-bot", RolloutOutcome::Deployed), ("no ops-bot", RolloutOutcome::Failed)] {
        let desk = Desk::of(&["a", "b"]);
        desk.run(strategy(), "v1").await;
        let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (heads, word) = (Arc::clone(&asked), word.to_owned());
        let server = HttpServer::start(move |request| {
            let mut heads = heads.lock().unwrap();
            heads.push(request.head.lines().next().unwrap_or_default().to_owned());
            let (status, text) = if heads.len() == 1 { (503, "later") } else { (200, word.as_str()) };
            HttpReply::Answer(status, "text/plain".into(), text.into())
        });
        let script =
            format!("exec curl -fsS \"{}/$TOWPATH_SERVICE/$TOWPATH_VERSION?at=$TOWPATH_ASKED_AT\"", server.url());
        let ask = Approval::ask("may it go?").command(["sh", "-c", &script]);
        let report = desk.run(Rolling { approval: Some(ask), ..strategy() }, "v2").await;
        assert_eq!(report.outcome, outcome, "{report:?}");
        let asked = asked.lock().unwrap();
        assert!(asked.len() == 2 && asked[0].starts_with("GET /web/v2?at=1"), "{asked:?}");
        assert_eq!(asked[0], asked[1], "one question");
        if outcome == RolloutOutcome::Failed {
            assert_eq!(report.reason.as_deref(), Some("refused by ops-bot; no target was touched"));
            assert!(desk.world.serving().values().all(|v| v == "v1"));
        }
    }
}

#[tokio::test]
async fn an_inconclusive_bake_counts_as_its_policy_says() {
    let desk = Desk::of(&EIGHT);
    desk.run(strategy(), "v1").await;
    desk.world.lock().verdicts.extend([VerdictKind::Pass, VerdictKind::Inconclusive]);
    let report = desk.run(steps([CanaryStep::of(Batch::Count(1)).bake(gate())]), "v2").await;
    assert_eq!(report.outcome, RolloutOutcome::RolledBack, "{report:?}");
    assert!(report.reason.unwrap().contains("no clear answer in time"));
}
