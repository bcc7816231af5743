//! Removes temporary containers that a crash left.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::ContainerSummaryStateEnum as State;
use serde::{Deserialize, Serialize};
use serde_json::json;
use towpath_core::{Context, EventKind, Result, Timestamp};

use super::labels::BUILD;
use super::owner::{Maker, maker};
use crate::engine::Engine;

/// So long after it was made a temporary container that does not run belongs to no build any more, whoever made it.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// What a sweep did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Swept {
    /// Names of the temporary containers that were removed.
    pub removed: Vec<String>,
    /// Names of those that are left: a living process works with them; or they were made on another machine or in another
    /// PID namespace, and run or are less than a day old.
    pub left: Vec<String>,
}

/// Removes temporary containers whose maker is gone.
pub(super) async fn sweep(cx: &Context, engine: &Engine) -> Result<Swept> {
    let labelled = HashMap::from([("label".to_owned(), vec![BUILD.to_owned()])]);
    let found = engine.containers("sweep", labelled).await?;
    let mut swept = Swept::default();
    for container in found {
        // A container of a finished image has the label, too, by inheritance; but not such a name.
        let names = container.names.iter().flatten().map(|n| n.trim_start_matches('/'));
        let Some((name, maker)) = names.filter_map(|n| Some((n.to_owned(), maker(n)?))).next() else { continue };
        let runs = matches!(container.state, Some(State::RUNNING | State::PAUSED | State::RESTARTING));
        let made =
            Timestamp(u64::try_from(container.created.unwrap_or_default()).unwrap_or_default().saturating_mul(1000));
        if is_left(maker, runs, Timestamp::now().since(made)) {
            swept.left.push(name);
            continue;
        }
        let key = format!("sweep/{name}");
        let removed: bool =
            cx.effect_idempotent(&key, json!({"remove": name}), |_| engine.remove_container("sweep", &name)).await?;
        if removed {
            let message = format!("removed {name}, which an interrupted build had left");
            cx.emit(EventKind::Progress { message, done: None, total: None });
            swept.removed.push(name);
        }
    }
    swept.removed.sort();
    swept.left.sort();
    Ok(swept)
}

/// Whether a container of this age is left in peace.
fn is_left(maker: Maker, runs: bool, age: Duration) -> bool {
    match maker {
        Maker::Lives => true,
        Maker::Gone => false,
        // A living build's container does not run before it is started, and while it is committed.
        Maker::Elsewhere => runs || age < FORGOTTEN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_made_is_removed_only_when_nobody_can_work_with_it() {
        let (young, old) = (Duration::from_secs(60), Duration::from_secs(25 * 3600));
        assert!(is_left(Maker::Elsewhere, false, young), "it is made or committed just now");
        assert!(is_left(Maker::Elsewhere, true, old));
        assert!(!is_left(Maker::Elsewhere, false, old));
        assert!(is_left(Maker::Lives, false, old) && !is_left(Maker::Gone, true, young));
    }
}
