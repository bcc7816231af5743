//! Tries a suite out: does it tell what is correct from what is broken?

use std::future::Future;
use std::time::Duration;

use super::Behaviour;

/// A behaviour that takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(100);

/// Runs every behaviour of a suite against a correct implementation, where it must pass, and against one that is broken
/// in just this behaviour, where it must fail.
///
/// `broken` gets the behaviour's name. A name that it does not know leaves the implementation as it is, so the behaviour
/// passes, and the trial fails: nobody can add a behaviour without saying what breaks it.
///
/// # Panics
///
/// With the names of the behaviours that did not tell the difference.
pub async fn trial<F, G, GF, B, BF>(behaviours: Vec<Behaviour<F>>, correct: G, broken: B)
where
    F: Send + 'static,
    G: Fn() -> GF,
    GF: Future<Output = F>,
    B: Fn(&'static str) -> BF,
    BF: Future<Output = F>,
{
    let (correct, broken) = (&correct, &broken);
    // All at once, since some that are broken are noticed only after a while.
    let trials = behaviours.iter().map(|behaviour| async move {
        let name = behaviour.name;
        if let Err(why) = run(behaviour, correct().await).await {
            return Some(format!("{name} fails with a correct implementation: {why}"));
        }
        match run(behaviour, broken(name).await).await {
            Ok(()) => Some(format!("{name} passes with a broken implementation, or nobody said what breaks it")),
            Err(why) if why == HANGS => Some(format!("{name} hangs with a broken implementation")),
            Err(_) => None,
        }
    });
    let wrong: Vec<String> = futures::future::join_all(trials).await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

const HANGS: &str = "it hangs";

/// Runs one behaviour; a panic is caught and given as text.
async fn run<F: Send + 'static>(behaviour: &Behaviour<F>, fixture: F) -> Result<(), String> {
    let task = tokio::spawn((behaviour.run)(fixture));
    let abort = task.abort_handle();
    match tokio::time::timeout(LIMIT, task).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => Err(match e.try_into_panic() {
            Ok(panic) => match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
                (Some(text), _) => text.clone(),
                (None, Some(text)) => (*text).to_owned(),
                (None, None) => "a panic without words".into(),
            },
            Err(e) => e.to_string(),
        }),
        Err(_) => {
            abort.abort();
            Err(HANGS.into())
        }
    }
}
