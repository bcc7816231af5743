//! The engine over a store in memory: graph, retries, failures, resume, plan, approval, leases.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use towpath_core::pipeline::{
    CallStep, Command, Engine, OnFailure, Output, OutputKind, Pipeline, PipelineBuilder, ResumeOptions, RetryPolicy,
    RunOptions, Values, commands,
};
use towpath_core::{
    Context, Error, ErrorKind, Event, EventKind, LeaseAnswer, LeaseOwner, LeaseRequest, MemoryStore, OwnerProcess,
    Record, Registry, RunFilter, RunState, Secret, SecretRef, StepState, Store,
};

#[derive(Default)]
struct World {
    done: Mutex<Vec<String>>,
    failures_left: AtomicUsize,
}

impl World {
    fn count(&self, what: &str) -> usize {
        self.done.lock().unwrap().iter().filter(|d| *d == what).count()
    }
}

/// `act/v1` does one effect named by its input `name`; `flaky/v1` fails as long as `failures_left` says.
fn registry(world: &Arc<World>) -> Arc<Registry> {
    let mut registry = Registry::new();
    let w = Arc::clone(world);
    registry
        .function("act/v1", move |cx: Context, inputs: Values| {
            let w = Arc::clone(&w);
            async move {
                let name = inputs["name"].as_str().unwrap().to_owned();
                let said = name.clone();
                cx.effect_idempotent("act", json!({ "name": name }), |_| async move {
                    w.done.lock().unwrap().push(name);
                    Ok(())
                })
                .await?;
                Ok(Values::from([("said".to_owned(), json!(said))]))
            }
        })
        .output("said", OutputKind::String);
    let w = Arc::clone(world);
    registry
        .function("flaky/v1", move |_cx: Context, inputs: Values| {
            let w = Arc::clone(&w);
            async move {
                if inputs.get("mend") == Some(&json!(true)) {
                    w.failures_left.store(0, Ordering::SeqCst);
                }
                let left = w.failures_left.load(Ordering::SeqCst);
                if left > 0 {
                    w.failures_left.store(left - 1, Ordering::SeqCst);
                    return Err(Error::new(ErrorKind::Unreachable, "test", "flaky", "not yet").retry_later());
                }
                Ok(Values::from([("answer".to_owned(), json!(42))]))
            }
        })
        .output("answer", OutputKind::Number);
    registry.function("wait/v1", |cx: Context, _: Values| async move {
        cx.sleep("test", "wait", Duration::from_secs(600)).await
    });
    Arc::new(registry)
}

fn engine(world: &Arc<World>, store: &Arc<MemoryStore>) -> Engine {
    Engine::new(registry(world), Arc::clone(store) as Arc<dyn Store>)
}

fn fresh() -> (Arc<World>, Arc<MemoryStore>) {
    (Arc::new(World::default()), Arc::new(MemoryStore::new()))
}

fn act(p: &PipelineBuilder, name: &str) -> CallStep {
    p.call(name, "act/v1").input("name", json!(name))
}

#[tokio::test]
async fn steps_run_along_the_graph_and_hand_outputs_on() {
    let (world, store) = fresh();
    let p = PipelineBuilder::new("graph");
    let first = act(&p, "first");
    let _ = p.call("second", "act/v1").input("name", first.output::<String>("said"));
    let report = engine(&world, &store).run(&p.finish(), RunOptions::default()).await.unwrap();
    assert_eq!(report.state, RunState::Done);
    assert_eq!(*world.done.lock().unwrap(), ["first", "first"]);
    let said: String = report.output(&Output::of("second", "said")).unwrap();
    assert_eq!(said, "first");
    assert!(store.leases().await.unwrap().is_empty(), "the environment is free again");
}

#[tokio::test]
async fn a_passing_failure_is_tried_again_and_a_lasting_one_stops_the_run() {
    let (world, store) = fresh();
    world.failures_left.store(2, Ordering::SeqCst);
    let p = PipelineBuilder::new("retry");
    let policy = RetryPolicy { attempts: 3, wait_s: 0.01, ..RetryPolicy::default() };
    let flaky = p.call("flaky", "flaky/v1").retry(policy);
    let _ = act(&p, "after").after(&flaky);
    let report = engine(&world, &store).run(&p.finish(), RunOptions::default()).await.unwrap();
    assert_eq!((report.state, report.step("flaky").unwrap().attempts), (RunState::Done, 3));

    world.failures_left.store(9, Ordering::SeqCst);
    let report = engine(&world, &store).run(&p.finish(), RunOptions::default()).await.unwrap();
    assert_eq!(report.state, RunState::Failed);
    assert_eq!(report.step("flaky").unwrap().state, Some(StepState::Failed));
    assert_eq!(report.step("flaky").unwrap().error.as_ref().unwrap().message, "not yet");
    assert_eq!(report.step("after").unwrap().state, Some(StepState::Skipped));
}

#[tokio::test]
async fn a_failure_that_may_pass_by_skips_only_what_needs_its_outputs() {
    let (world, store) = fresh();
    world.failures_left.store(1, Ordering::SeqCst);
    let p = PipelineBuilder::new("continue");
    let flaky = p.call("flaky", "flaky/v1").on_fail(OnFailure::Continue);
    let _ = p.call("user", "act/v1").input("name", json!("user")).input("n", flaky.output::<f64>("answer"));
    let _ = act(&p, "after").after(&flaky);
    let report = engine(&world, &store).run(&p.finish(), RunOptions::default()).await.unwrap();
    let state = |n: &str| report.step(n).unwrap().state.unwrap();
    assert_eq!(report.state, RunState::Done);
    assert_eq!(state("flaky"), StepState::Ignored);
    assert_eq!(state("user"), StepState::Skipped);
    assert_eq!(state("after"), StepState::Done);
}

#[tokio::test]
async fn a_failed_run_is_resumed_with_other_parameters_and_finished_steps_stay_finished() {
    let (world, store) = fresh();
    world.failures_left.store(9, Ordering::SeqCst);
    let p = PipelineBuilder::new("resume");
    let mend = p.parameter("mend", false);
    let before = act(&p, "before");
    let flaky = p.call("flaky", "flaky/v1").input("mend", &mend).after(&before);
    let _ = act(&p, "after").after(&flaky);
    let engine = engine(&world, &store);
    assert_eq!(engine.run(&p.finish(), RunOptions::default()).await.unwrap().state, RunState::Failed);
    let unknown = ResumeOptions { values: Values::from([("mned".to_owned(), json!(true))]), rerun: vec![] };
    let error = engine.resume(None, unknown).await.unwrap_err();
    assert!(error.message().contains("did you mean `mend`"), "{error}");
    let values = Values::from([("mend".to_owned(), json!(true))]);
    let report = engine.resume(None, ResumeOptions { values, rerun: vec![] }).await.unwrap();
    assert_eq!(report.state, RunState::Done);
    assert_eq!((world.count("before"), world.count("after")), (1, 1));
    assert_eq!(store.runs(&RunFilter::default(), 9).await.unwrap().len(), 1, "still the same run");
    let again = ResumeOptions { values: Values::new(), rerun: vec!["before".into()] };
    assert_eq!(engine.resume(None, again).await.unwrap().state, RunState::Done);
    assert_eq!((world.count("before"), world.count("after")), (2, 2), "asked for: it and what needs it");
}

#[tokio::test]
async fn a_cancel_ends_the_run_and_what_it_runs() {
    let (world, store) = fresh();
    let p = PipelineBuilder::new("cancel");
    let wait = p.call("wait", "wait/v1");
    let _ = act(&p, "after").after(&wait);
    let token = CancellationToken::new();
    let canceller = token.clone();
    let engine = engine(&world, &store).cancel(token).listener(Arc::new(move |e: &Event| {
        if matches!(e.kind, EventKind::StepStarted { .. }) {
            canceller.cancel();
        }
    }));
    let report = engine.run(&p.finish(), RunOptions::default()).await.unwrap();
    assert_eq!(report.state, RunState::Cancelled);
    assert_eq!(report.step("wait").unwrap().state, None);
    assert_eq!(world.count("after"), 0);
}

#[tokio::test]
async fn a_step_that_asks_waits_for_the_answer() {
    let (world, store) = fresh();
    let p = PipelineBuilder::new("ask");
    let _ = act(&p, "asks").approval("Really?");
    for (granted, state) in [(true, RunState::Done), (false, RunState::Failed)] {
        let engine = engine(&world, &store);
        let answer = engine.clone();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel::<towpath_core::RunId>();
        let asking = engine.listener(Arc::new(move |e: &Event| {
            if let (EventKind::ApprovalNeeded { .. }, Some(run)) = (&e.kind, &e.run) {
                tell.send(run.clone()).unwrap();
            }
        }));
        let pipeline = p.finish();
        let (report, ()) = tokio::join!(asking.run(&pipeline, RunOptions::default()), async {
            let run = told.recv().await.unwrap();
            let unknown = answer.approve(&run, "nobody", true, "anna").await.unwrap_err();
            assert_eq!(unknown.kind(), ErrorKind::NotFound);
            answer.approve(&run, "asks", granted, "anna").await.unwrap();
        });
        assert_eq!(report.unwrap().state, state);
    }
    assert_eq!(world.count("asks"), 1);
}

#[tokio::test]
async fn a_second_run_waits_for_a_living_owner_and_not_for_a_dead_one() {
    let (world, store) = fresh();
    let owner = |id: &str, process| LeaseOwner { id: id.into(), run: None, label: format!("{id} label"), process };
    let mut dead = OwnerProcess::this().unwrap();
    dead.started += 1;
    let request = |owner| LeaseRequest {
        key: "environment/default".into(),
        owner,
        reason: "because".into(),
        ttl_ms: 600_000,
        undo: None,
    };
    store.acquire(&request(owner("dead", Some(dead)))).await.unwrap();
    let p = PipelineBuilder::new("waits");
    let _ = act(&p, "step");
    let pipeline = p.finish();
    let report = engine(&world, &store).run(&pipeline, RunOptions::default()).await.unwrap();
    assert_eq!(report.state, RunState::Done, "nobody waits ten minutes for a dead process");

    let answer = store.acquire(&request(owner("alive", OwnerProcess::this()))).await.unwrap();
    let LeaseAnswer::Granted(lease) = answer else { panic!("it is free: {answer:?}") };
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let waiting = engine(&world, &store).listener(Arc::new(move |e: &Event| {
        if let EventKind::Waiting { holder, .. } = &e.kind {
            tell.send(holder.clone()).unwrap();
        }
    }));
    let (report, ()) = tokio::join!(waiting.run(&pipeline, RunOptions::default()), async {
        assert_eq!(told.recv().await.unwrap(), "alive label: because");
        store.release(&lease.fence()).await.unwrap();
    });
    assert_eq!(report.unwrap().state, RunState::Done);
}

#[tokio::test]
async fn an_unfinished_run_of_another_definition_is_not_continued_by_accident() {
    let (world, store) = fresh();
    let build = |name: &str| -> Pipeline {
        let p = PipelineBuilder::new("web");
        let _ = act(&p, name);
        p.finish()
    };
    let engine = engine(&world, &store);
    engine.run(&build("old"), RunOptions::default()).await.unwrap();
    let mut run = store.runs(&RunFilter::default(), 1).await.unwrap().remove(0);
    run.state = RunState::Unfinished;
    store.update_run(&run).await.unwrap();
    let error = engine.run(&build("new"), RunOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(world.count("new"), 0);
    let report = engine.run(&build("new"), RunOptions { fresh: true, ..RunOptions::default() }).await.unwrap();
    assert_eq!((report.state, report.resumed), (RunState::Done, false));
}

#[tokio::test]
async fn a_plan_touches_nothing_defers_and_is_refused_when_changed_by_hand() {
    let (world, store) = fresh();
    let p = PipelineBuilder::new("plan");
    let first = act(&p, "first");
    let _ = p.call("second", "act/v1").input("name", first.output::<String>("said"));
    let engine = engine(&world, &store);
    let mut plan = engine.plan(&p.finish(), RunOptions::default()).await.unwrap();
    assert!(world.done.lock().unwrap().is_empty());
    assert!(store.runs(&RunFilter::default(), 9).await.unwrap().is_empty());
    assert_eq!(plan.plan.deferred[0].waits_for, ["first.said"]);
    assert!(!plan.is_empty());
    assert_eq!(engine.apply(&plan).await.unwrap().state, RunState::Done);
    plan.pipeline.name = "other".into();
    assert_eq!(engine.apply(&plan).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn an_interrupted_opaque_effect_stops_the_run_and_asks() {
    let (_, store) = fresh();
    let calls = Arc::new(AtomicUsize::new(0));
    let mut registry = Registry::new();
    let c = Arc::clone(&calls);
    registry.function("opaque/v1", move |cx: Context, _: Values| {
        let c = Arc::clone(&c);
        async move {
            cx.effect_opaque("migrate", json!({}), |_| async move {
                // The first time the answer is lost, as after a broken connection.
                if c.fetch_add(1, Ordering::SeqCst) == 0 {
                    return Err(Error::new(ErrorKind::Unreachable, "test", "migrate", "connection lost").retry_later());
                }
                Ok(())
            })
            .await
        }
    });
    let engine = Engine::new(Arc::new(registry), Arc::clone(&store) as Arc<dyn Store>);
    let p = PipelineBuilder::new("opaque");
    let _ = p.call("migrate", "opaque/v1").retry(RetryPolicy { wait_s: 0.0, ..RetryPolicy::attempts(3) });
    let error = engine.run(&p.finish(), RunOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
    assert_eq!(calls.load(Ordering::SeqCst), 1, "not done again without a word");
    let status = engine.status(None).await.unwrap().unwrap();
    assert_eq!(status.run.state, RunState::Unfinished);
    let rerun = ResumeOptions { values: Values::new(), rerun: vec!["migrate".into()] };
    assert_eq!(engine.resume(None, rerun).await.unwrap().state, RunState::Done);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_scheduler_gives_the_same_commands_for_the_same_journal() {
    let (world, store) = fresh();
    let p = PipelineBuilder::new("pure");
    let a = act(&p, "a");
    let b = act(&p, "b").after(&a);
    let _ = act(&p, "c").after(&b);
    let _ = act(&p, "d").after(&a);
    engine(&world, &store).run(&p.finish(), RunOptions::default()).await.unwrap();
    let run = store.runs(&RunFilter::default(), 1).await.unwrap().remove(0);
    let journal = store.journal(&run.id).await.unwrap();
    for end in 0..journal.len() {
        let part = &journal[..end];
        let next = commands(&p.finish(), part);
        assert_eq!(next, commands(&p.finish(), part));
        let over = part.iter().filter(|e| matches!(e.record, Record::StepFinished { .. })).count() == 4;
        assert!(!next.is_empty(), "after {end} records something is always left to do");
        assert_eq!(over, matches!(next[..], [Command::Finish { .. }]), "{next:?}");
    }
}

#[tokio::test]
async fn a_secret_given_in_code_is_stored_nowhere_and_a_warning_says_what_that_means() {
    let mut registry = Registry::new();
    registry.function("use/v1", |cx: Context, _: Values| async move {
        let secret = cx.resolve(&SecretRef::Given("db".into())).await?;
        assert_eq!(secret.expose(), "correct horse");
        cx.effect_idempotent("use", json!({ "with": secret.expose() }), |_| async { Ok(()) }).await?;
        Ok(Values::from([("said".to_owned(), json!(secret.expose()))]))
    });
    let registry = Arc::new(registry);
    let store = Arc::new(MemoryStore::new());
    let seen: Arc<Mutex<Vec<Event>>> = Arc::default();
    let events = Arc::clone(&seen);
    let engine = Engine::new(Arc::clone(&registry), Arc::clone(&store) as Arc<dyn Store>)
        .listener(Arc::new(move |e: &Event| events.lock().unwrap().push(e.clone())));
    let p = PipelineBuilder::new("p");
    p.call("use", "use/v1");
    let p = p.finish();

    let without = engine.run(&p, RunOptions::default()).await.unwrap();
    let error = format!("{:?}", without.steps[0].error);
    assert_eq!(without.state, RunState::Failed);
    assert!(error.contains("secret") && error.contains("db"), "{error}");

    let engine = engine.secret("db", Secret::new("correct horse"));
    let report = engine.run(&p, RunOptions::default()).await.unwrap();
    assert_eq!(report.state, RunState::Done, "{report:?}");
    let journal = serde_json::to_string(&store.journal(&report.run).await.unwrap()).unwrap();
    assert!(journal.contains("use/use") && !journal.contains("correct horse"), "{journal}");
    let told = serde_json::to_string(&*seen.lock().unwrap()).unwrap();
    assert!(told.contains("secrets given in code (`db`)") && !told.contains("correct horse"), "{told}");
    assert!(!format!("{engine:?}").contains("correct horse"));
}
