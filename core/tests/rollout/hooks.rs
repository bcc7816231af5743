use std::sync::{Arc, Mutex};

use towpath_core::pipeline::Values;
use towpath_core::rollout::{BlueGreen, Hook, HookRun, Phase, Rolling, Rollout, RolloutOutcome};
use towpath_core::{CallOutput, Context, Error, ErrorKind, FunctionEntry, Result, StepFunction};

use super::world::release;
use super::{Desk, strategy};

/// Writes down what it is called with, and fails if it is told to.
#[derive(Clone)]
struct Note {
    name: &'static str,
    heard: Arc<Mutex<Vec<String>>>,
    fails: bool,
}

#[async_trait::async_trait]
impl StepFunction for Note {
    async fn call(&self, _: &Context, inputs: Values) -> Result<CallOutput> {
        let text = |key: &str| inputs.get(key).and_then(|v| v.as_str()).unwrap_or("-").to_owned();
        let line = format!("{} {} {}->{} {}", self.name, text("service"), text("from"), text("version"), text("host"));
        self.heard.lock().unwrap().push(line);
        if self.fails { Err(Error::new(ErrorKind::ToolFailed, "test", "hook", "no database")) } else { Ok(().into()) }
    }
}

pub struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    pub fn new() -> Self {
        Self(Arc::default())
    }

    pub fn with(&self, rollout: Rollout, names: &[&'static str], failing: &str) -> Rollout {
        names.iter().fold(rollout, |rollout, name| {
            let note = Note { name, heard: Arc::clone(&self.0), fails: *name == failing };
            rollout.function(*name, FunctionEntry::new(note))
        })
    }

    pub fn lines(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn hooked() -> Rolling {
    let call = HookRun::function;
    strategy()
        .hook(Hook::before(Phase::Rollout, call("migrate")).undo(call("unmigrate")))
        .hook(Hook::after(Phase::Activate, call("warm")).undo(call("cool")))
        .hook(Hook::after(Phase::Rollout, call("tell")))
        .hook(Hook::before(Phase::Rollback, call("alarm")))
}

const NAMES: [&str; 6] = ["migrate", "unmigrate", "warm", "cool", "tell", "alarm"];

#[tokio::test]
async fn hooks_run_around_their_phases() {
    let (desk, heard) = (Desk::of(&["a", "b"]), Heard::new());
    desk.run(strategy(), "v1").await;
    let rollout = heard.with(desk.rollout(hooked()), &NAMES, "");
    let report = rollout.run(&desk.cx(), &release("v2"), &desk.world.targets()).await.unwrap();
    assert_eq!(report.outcome, RolloutOutcome::Deployed, "{report:?}");
    let wanted = ["migrate web v1->v2 -", "warm web v1->v2 a", "warm web v1->v2 b", "tell web v1->v2 -"];
    assert_eq!(heard.lines(), wanted);
}

#[tokio::test]
async fn a_rollback_takes_hooks_back_the_last_one_first_when_the_former_release_runs() {
    let (desk, heard) = (Desk::of(&["a", "b"]), Heard::new());
    desk.run(strategy(), "v1").await;
    desk.world.lock().bad.insert("v2".into());
    let rollout = heard.with(desk.rollout(hooked()), &NAMES, "");
    let report = rollout.run(&desk.cx(), &release("v2"), &desk.world.targets()).await.unwrap();
    assert_eq!(report.outcome, RolloutOutcome::RolledBack, "{report:?}");
    let wanted = [
        "migrate web v1->v2 -",
        "warm web v1->v2 a",
        "alarm web v1->v2 -",
        // On the way back it warms the former release, too.
        "warm web v2->v1 a",
        "cool web v1->v2 a",
        "unmigrate web v1->v2 -",
    ];
    assert_eq!(heard.lines(), wanted);
    assert!(desk.world.serving().values().all(|v| v == "v1"));
}

#[tokio::test]
async fn a_hook_that_fails_first_leaves_everything_untouched_and_is_taken_back() {
    let (desk, heard) = (Desk::of(&["a", "b"]), Heard::new());
    desk.run(strategy(), "v1").await;
    desk.world.lock().log.clear();
    let rollout = heard.with(desk.rollout(hooked()), &NAMES, "migrate");
    let report = rollout.run(&desk.cx(), &release("v2"), &desk.world.targets()).await.unwrap();
    assert_eq!(report.outcome, RolloutOutcome::Failed, "{report:?}");
    assert!(
        report.reason.as_deref().unwrap().contains("the hook before rollout failed: test hook: no database"),
        "{report:?}"
    );
    assert_eq!(desk.world.log(), [""; 0]);
    assert!(heard.lines().contains(&"unmigrate web v1->v2 -".to_owned()));
    // Not refused: it was never tried.
    assert_eq!(desk.run(strategy(), "v2").await.outcome, RolloutOutcome::Deployed);
}

#[tokio::test]
async fn a_hook_that_fails_last_takes_the_release_back() {
    let (desk, heard) = (Desk::of(&["a", "b"]), Heard::new());
    desk.run(strategy(), "v1").await;
    let rollout = heard.with(desk.rollout(hooked()), &NAMES, "tell");
    let report = rollout.run(&desk.cx(), &release("v2"), &desk.world.targets()).await.unwrap();
    assert_eq!(report.outcome, RolloutOutcome::RolledBack, "{report:?}");
    assert!(desk.world.serving().values().all(|v| v == "v1"));
}

#[tokio::test]
async fn a_hook_that_fails_after_a_switch_finds_the_former_release_still_running() {
    let (desk, heard) = (Desk::of(&["blue-1", "green-1"]), Heard::new());
    let groups = BlueGreen::groups("blue", "green").stop_old(true);
    let switch = |strategy: Rolling| Rolling { blue_green: Some(groups.clone()), ..strategy };
    desk.run(switch(strategy()), "v1").await;
    let rollout = heard.with(desk.rollout(switch(hooked())), &NAMES, "tell");
    let report = rollout.run(&desk.cx(), &release("v2"), &desk.world.targets()).await.unwrap();
    assert_eq!(report.outcome, RolloutOutcome::RolledBack, "{report:?}");
    assert_eq!(desk.world.serving().into_iter().collect::<Vec<_>>(), [("blue-1".into(), "v1".into())]);
    assert_eq!(desk.world.wrongs(), [""; 0]);
}

#[tokio::test]
async fn a_function_that_is_not_there_is_refused_before_anything_is_touched() {
    let desk = Desk::of(&["a"]);
    let error = desk.rollout(hooked()).run(&desk.cx(), &release("v1"), &desk.world.targets()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("function=migrate"), "{error}");
    assert_eq!(desk.world.log(), [""; 0]);
}
