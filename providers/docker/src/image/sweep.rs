//! Removes temporary containers that a crash left.

use std::collections::HashMap;

use bollard::models::ContainerSummaryStateEnum as State;
use serde::{Deserialize, Serialize};
use serde_json::json;
use towpath_core::{Context, EventKind, Result};

use super::labels::BUILD;
use super::owner::{Maker, maker};
use crate::engine::Engine;

/// What a sweep did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Swept {
    /// Names of the temporary containers that were removed.
    pub removed: Vec<String>,
    /// Names of those that are left: a living process works with them, or they run and were made on another machine.
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
        let leave = match maker {
            Maker::Lives => true,
            Maker::Gone => false,
            // It never runs on after its machine has ended.
            Maker::Elsewhere => runs,
        };
        if leave {
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
