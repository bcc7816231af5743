use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Json, OwnerProcess, Result, Store, Timestamp};

const STATUS: &str = "status";
const PAUSE: &str = "pause";
const END: &str = "end";
const ANSWER: &str = "answer/";

/// Gives orders to a rollout that is under way, and answers to its questions: from the same process or from another one that
/// opens the same store.
///
/// An order is taken at the next safe point: between two targets, while a gate or somebody is waited for. No target is left half
/// changed. Orders hold for this rollout only.
#[derive(Debug, Clone)]
pub struct RolloutControl {
    store: Arc<dyn Store>,
    namespace: String,
    service: String,
}

/// How far a rollout is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutStatus {
    /// Tells it from the service's other rollouts.
    pub id: String,
    /// The version that it rolls out.
    pub version: String,
    /// The version that ran on all targets before; `None`: none, or several.
    #[serde(default)]
    pub from: Option<String>,
    /// What it does: `rolling`, `paused`, `asking`, `rolling back`.
    pub phase: String,
    /// Targets that run the release.
    pub done: usize,
    /// Targets in all.
    pub total: usize,
    /// What it asks, where it waits for an answer; the first one is answered first.
    #[serde(default)]
    pub questions: Vec<OpenQuestion>,
    /// Who does it: `pid 4711`.
    pub owner: String,
    /// The process that does it, for telling whether it is alive.
    #[serde(default)]
    #[schemars(skip)]
    pub process: Option<OwnerProcess>,
    /// Since when this is so.
    pub at: Timestamp,
}

/// A question of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenQuestion {
    /// Which one.
    pub key: String,
    /// What is asked.
    pub text: String,
}

/// Who said something, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Said {
    pub(super) by: String,
    #[serde(default)]
    pub(super) why: String,
}

impl Said {
    /// `anna: the queue grows`.
    pub(super) fn text(&self) -> String {
        if self.why.is_empty() { self.by.clone() } else { format!("{}: {}", self.by, self.why) }
    }
}

/// How somebody wants a rollout to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    /// Where it is.
    Stop(Said),
    /// As it was before.
    RollBack(Said),
}

/// An answer to a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) granted: bool,
    #[serde(flatten)]
    pub(super) said: Said,
}

/// What was ordered so far.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub(super) pause: Option<Said>,
    pub(super) end: Option<End>,
    pub(super) answers: BTreeMap<String, Answer>,
}

/// An order as the store keeps it: for one rollout.
#[derive(Serialize, Deserialize)]
struct Order<T> {
    id: String,
    order: T,
}

impl RolloutControl {
    /// Controls the rollout of `service` in `environment`.
    pub fn new(store: Arc<dyn Store>, environment: &str, service: &str) -> Self {
        Self { store, namespace: format!("rollout/{environment}/{service}"), service: service.to_owned() }
    }

    /// How far the rollout is; `None`: none is under way. One whose process died stays here until it is continued, or the next one
    /// begins.
    ///
    /// # Errors
    ///
    /// [`Storage`](ErrorKind::Storage).
    pub async fn status(&self) -> Result<Option<RolloutStatus>> {
        let documents = self.store.documents(&self.namespace).await?;
        documents.into_iter().find(|(key, _)| key == STATUS).map(|(_, value)| read(value)).transpose()
    }

    /// Holds the rollout before its next target. Paused already is a success.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound): no rollout of the service is under way. [`Storage`](ErrorKind::Storage).
    pub async fn pause(&self, by: &str, why: &str) -> Result<()> {
        self.order(PAUSE, Said { by: by.to_owned(), why: why.to_owned() }).await
    }

    /// Lets a paused rollout go on. Not paused is a success.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    pub async fn resume(&self) -> Result<()> {
        self.under_way().await?;
        self.store.put_document(&self.namespace, PAUSE, None).await
    }

    /// Ends the rollout where it is: targets that had their turn keep the release, the others the former one.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    pub async fn stop(&self, by: &str, why: &str) -> Result<()> {
        self.order(END, End::Stop(Said { by: by.to_owned(), why: why.to_owned() })).await
    }

    /// Takes all targets back to what was seen healthy before.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    pub async fn roll_back(&self, by: &str, why: &str) -> Result<()> {
        self.order(END, End::RollBack(Said { by: by.to_owned(), why: why.to_owned() })).await
    }

    /// Answers the question that the rollout asks now.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause); [`Conflict`](ErrorKind::Conflict): it asks nothing.
    pub async fn answer(&self, granted: bool, by: &str, why: &str) -> Result<()> {
        let status = self.under_way().await?;
        let Some(question) = status.questions.first() else {
            return Err(Error::new(ErrorKind::Conflict, "core", "rollout", "the rollout asks nothing at the moment")
                .with("service", &self.service));
        };
        let said = Said { by: by.to_owned(), why: why.to_owned() };
        self.order(&format!("{ANSWER}{}", question.key), Answer { granted, said }).await
    }

    async fn under_way(&self) -> Result<RolloutStatus> {
        self.status().await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "core", "rollout", "no rollout of this service is under way here")
                .with("service", &self.service)
                .with("store", self.store.location())
        })
    }

    async fn order<T: Serialize>(&self, key: &str, order: T) -> Result<()> {
        let id = self.under_way().await?.id;
        let document = serde_json::to_value(Order { id, order }).unwrap_or_default();
        self.store.put_document(&self.namespace, key, Some(&document)).await
    }

    /// What was ordered for the rollout of this id.
    pub(super) async fn orders(&self, id: &str) -> Result<Orders> {
        let mut orders = Orders::default();
        for (key, value) in self.store.documents(&self.namespace).await? {
            if value.get("id").and_then(Json::as_str) != Some(id) {
                continue;
            }
            match key.as_str() {
                PAUSE => orders.pause = Some(read::<Order<Said>>(value)?.order),
                END => orders.end = Some(read::<Order<End>>(value)?.order),
                key => {
                    if let Some(question) = key.strip_prefix(ANSWER) {
                        orders.answers.insert(question.to_owned(), read::<Order<Answer>>(value)?.order);
                    }
                }
            }
        }
        Ok(orders)
    }

    pub(super) async fn publish(&self, status: &RolloutStatus) -> Result<()> {
        let document = serde_json::to_value(status).unwrap_or_default();
        self.store.put_document(&self.namespace, STATUS, Some(&document)).await
    }

    /// Forgets the rollout and all orders to it.
    pub(super) async fn close(&self) -> Result<()> {
        for (key, _) in self.store.documents(&self.namespace).await? {
            self.store.put_document(&self.namespace, &key, None).await?;
        }
        Ok(())
    }
}

fn read<T: DeserializeOwned>(document: Json) -> Result<T> {
    serde_json::from_value(document).map_err(|e| {
        Error::new(
            ErrorKind::Storage,
            "core",
            "rollout",
            "an order to a rollout can't be read; it is of another version of towpath",
        )
        .caused_by(e)
    })
}
