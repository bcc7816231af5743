use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::Json;

/// What a step would change, listed without changing anything. The same type for every stage.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The changes, in the order in which they would happen. Things that stay as they are may be listed too.
    pub changes: Vec<Change>,
    /// Steps that can't be planned yet, and the outputs that they wait for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deferred: Vec<Deferred>,
    /// Things the reader should know: tasks whose module is missing, values that are not checked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Plan {
    /// Says whether nothing would change: no `will`, no `cannot know`, nothing deferred.
    pub fn is_empty(&self) -> bool {
        self.deferred.is_empty() && self.changes.iter().all(|c| c.certainty == Certainty::WillNot)
    }

    /// Gives a digest over all changes and what was there before them, for a saved plan.
    pub fn digest(&self) -> String {
        digest_json(&serde_json::to_value(self).unwrap_or_default())
    }

    /// Appends the changes of another plan.
    pub fn extend(&mut self, other: Plan) {
        self.changes.extend(other.changes);
        self.deferred.extend(other.deferred);
        self.warnings.extend(other.warnings);
    }
}

/// For people: a line for each change, by step; what stays as it is only as a count.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut stages: Vec<&str> = Vec::new();
        for change in &self.changes {
            if !stages.contains(&change.stage.as_str()) {
                stages.push(&change.stage);
            }
        }
        let mut counts = [0_usize; 3];
        for stage in stages {
            if !stage.is_empty() {
                writeln!(f, "{stage}:")?;
            }
            let mut same = 0;
            for change in self.changes.iter().filter(|c| c.stage == stage) {
                match change.certainty {
                    Certainty::WillNot => same += 1,
                    _ => writeln!(f, "  {change}")?,
                }
                if let Some(count) = counts.get_mut(change.certainty as usize) {
                    *count += 1;
                }
            }
            match same {
                0 => {}
                1 => writeln!(f, "  1 thing stays as it is")?,
                n => writeln!(f, "  {n} things stay as they are")?,
            }
        }
        for deferred in &self.deferred {
            let waits = deferred.waits_for.join(", ");
            writeln!(f, "{}:\n  planned just before it starts, when there is {waits}", deferred.step)?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        if self.is_empty() {
            return write!(f, "nothing to do");
        }
        let [will, same, unknown] = counts;
        write!(f, "{will} to change, {same} unchanged, {unknown} known only when it runs")?;
        match self.deferred.len() {
            0 => Ok(()),
            1 => write!(f, ", 1 step planned later"),
            n => write!(f, ", {n} steps planned later"),
        }
    }
}

/// One line: `+ web-1: host web-1`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match (self.certainty, self.action) {
            (Certainty::WillNot, _) | (_, Action::None) => "=",
            (Certainty::CannotKnow, _) => "?",
            (_, Action::Create) => "+",
            (_, Action::Update) => "~",
            (_, Action::Replace) => "-+",
            (_, Action::Delete) => "-",
            (_, Action::Run) => ">",
        };
        write!(f, "{sign:<2} {}: {}", self.target, self.subject)?;
        match &self.reason {
            Some(reason) => write!(f, "  ({reason})"),
            None => Ok(()),
        }
    }
}

/// Hex SHA-256 over a JSON value's compact text.
pub fn digest_json(value: &Json) -> String {
    hex::encode(Sha256::digest(value.to_string().as_bytes()))
}

/// One change to one thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The pipeline step, empty outside a pipeline.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stage: String,
    /// The host, stack or image that is changed.
    pub target: String,
    /// What it is: `file /etc/motd`, `host web-1`, `task nginx : template nginx.conf`.
    pub subject: String,
    /// What would happen to it.
    pub action: Action,
    /// What is there now; `None`: nothing, or not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Json>,
    /// What would be there; `None`: nothing, or not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Json>,
    /// How sure this is.
    pub certainty: Certainty,
    /// Why, where that helps: the earlier tasks assumed away, the reason for `cannot know`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Change {
    /// Makes a certain change.
    pub fn will(target: impl Into<String>, subject: impl Into<String>, action: Action) -> Self {
        Self {
            stage: String::new(),
            target: target.into(),
            subject: subject.into(),
            action,
            before: None,
            after: None,
            certainty: Certainty::Will,
            reason: None,
        }
    }

    /// Says that the subject stays as it is.
    pub fn will_not(target: impl Into<String>, subject: impl Into<String>) -> Self {
        Self { certainty: Certainty::WillNot, ..Self::will(target, subject, Action::None) }
    }

    /// Says that only running it can tell, and why.
    pub fn cannot_know(
        target: impl Into<String>,
        subject: impl Into<String>,
        action: Action,
        why: impl Into<String>,
    ) -> Self {
        Self { certainty: Certainty::CannotKnow, reason: Some(why.into()), ..Self::will(target, subject, action) }
    }

    /// Adds what is there now and what would be.
    #[must_use]
    pub fn from_to(mut self, before: Option<Json>, after: Option<Json>) -> Self {
        self.before = before;
        self.after = after;
        self
    }
}

/// What happens to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is made.
    Create,
    /// It is changed in place.
    Update,
    /// It is removed and made anew.
    Replace,
    /// It is removed.
    Delete,
    /// A command runs; what it changes is its own business.
    Run,
    /// Nothing.
    None,
}

/// How sure a planned change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// It will happen.
    Will,
    /// It will not happen. Never contradicted by the run that follows.
    WillNot,
    /// Only running it can tell.
    CannotKnow,
}

/// A step that is planned just in time, because its input does not exist yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deferred {
    /// The step.
    pub step: String,
    /// The outputs that it waits for, as `step.output`.
    pub waits_for: Vec<String>,
}
