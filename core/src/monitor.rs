use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Capabilities, Context, Preflight, Result, Targets, Timestamp};

/// Watches a service: takes measurements, judges them, keeps quiet when asked.
#[async_trait]
pub trait Monitor: fmt::Debug + Send + Sync {
    /// What it can do: `record`, `assess`, `silence`.
    fn capabilities(&self) -> Capabilities;

    /// Checks that it answers and that the credentials work.
    async fn preflight(&self, cx: &Context) -> Result<Preflight>;

    /// Takes metrics, notices and check results. An empty list is a success.
    async fn record(&self, cx: &Context, observations: &[Observation]) -> Result<()>;

    /// Judges a gate: samples until it passes, fails, or its time is over.
    ///
    /// A failed check is *not* an error but [`VerdictKind::Fail`]; a check that can't be made is [`VerdictKind::Error`].
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput): a check it does not know. [`Cancelled`](crate::ErrorKind::Cancelled).
    async fn assess(&self, cx: &Context, gate: &Gate, targets: &Targets) -> Result<Verdict>;

    /// Mutes alarms for a time. The handle undoes it; it ends by itself when its time is over.
    async fn silence(&self, cx: &Context, silence: &Silence) -> Result<SilenceHandle>;

    /// Ends a silence early. Ended already is a success.
    async fn unsilence(&self, cx: &Context, handle: &SilenceHandle) -> Result<()>;
}

/// One thing that was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Observation {
    /// A number.
    Metric(Metric),
    /// Something that happened.
    Notice(Notice),
    /// A check's result.
    Check(CheckResult),
}

/// A number at a moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Its name: `requests.failed`.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// When; now if `0`.
    #[serde(default)]
    pub at: Timestamp,
    /// Tags: `host=web-1`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// Something that happened: a deploy started, a host was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// One line.
    pub title: String,
    /// More.
    #[serde(default)]
    pub text: String,
    /// Tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// A check's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckResult {
    /// The check.
    pub check: String,
    /// The host, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Whether it passed.
    pub passed: bool,
    /// What was seen: `HTTP 500`, `connection refused`.
    #[serde(default)]
    pub detail: String,
}

/// A question to a monitor: are the targets well?
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// What is checked, on every target.
    pub checks: Vec<Check>,
    /// Consecutive passes of all checks on a target that make it healthy. `1` by default.
    #[serde(default = "one")]
    pub rise: u32,
    /// Consecutive failures on a target, after `start_period_s`, that make the gate fail. `3` by default.
    #[serde(default = "three")]
    pub fall: u32,
    /// Pause between samples, in seconds. `0.2` by default.
    #[serde(default = "fifth")]
    #[schemars(range(min = 0.01))]
    pub interval_s: f64,
    /// Failures in this first time, in seconds, do not count. `0` by default.
    #[serde(default)]
    pub start_period_s: f64,
    /// Longest time, in seconds; then the verdict is `inconclusive`. `30` by default.
    #[serde(default = "thirty")]
    pub deadline_s: f64,
    /// Keep sampling for this long, in seconds, and pass only if no target fails in it: a bake time. `0` by default.
    #[serde(default)]
    pub hold_s: f64,
}

fn one() -> u32 {
    1
}
fn three() -> u32 {
    3
}
fn fifth() -> f64 {
    0.2
}
fn thirty() -> f64 {
    30.0
}

impl Gate {
    /// A gate of these checks, everything else by default.
    pub fn of(checks: Vec<Check>) -> Self {
        Self { checks, rise: 1, fall: 3, interval_s: 0.2, start_period_s: 0.0, deadline_s: 30.0, hold_s: 0.0 }
    }
}

/// One check of a target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Its name in verdicts.
    pub name: String,
    /// What is looked at.
    pub probe: CheckProbe,
    /// Longest time of one look, in seconds. `2` by default.
    #[serde(default = "two")]
    pub timeout_s: f64,
}

fn two() -> f64 {
    2.0
}

impl Check {
    fn new(name: String, probe: CheckProbe) -> Self {
        Self { name, probe, timeout_s: two() }
    }

    /// A GET request that must give status 200. Change `probe` for more.
    pub fn http(port: impl Into<PortSpec>, path: impl Into<String>) -> Self {
        let (port, path) = (port.into(), path.into());
        Self::new(format!("GET {path}"), CheckProbe::Http { port, path, status: ok_status(), contains: None })
    }

    /// A TCP connection that must be accepted.
    pub fn tcp(port: impl Into<PortSpec>) -> Self {
        Self::new("tcp".into(), CheckProbe::Tcp { port: port.into() })
    }

    /// A command on the host that must exit with 0.
    pub fn command<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        let argv: Vec<String> = argv.into_iter().map(Into::into).collect();
        Self::new(argv.first().cloned().unwrap_or_default(), CheckProbe::Command { argv })
    }

    /// A line that must be at the end of a log on the host.
    pub fn log(path: impl Into<String>, contains: impl Into<String>) -> Self {
        let (path, contains) = (path.into(), Some(contains.into()));
        Self::new(format!("log {path}"), CheckProbe::Log { path, contains, absent: None })
    }

    /// Names it, for verdicts.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}

/// What a check looks at. Ports are seen from the host, so that only its SSH port need be reachable.
///
/// Strings may hold `{{ name }}`, replaced by the host's variable of this name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CheckProbe {
    /// A GET request.
    Http {
        /// Port, or `{{ variable }}`.
        port: PortSpec,
        /// Path. `/` by default.
        #[serde(default = "slash")]
        path: String,
        /// The status wanted. `200` by default.
        #[serde(default = "ok_status")]
        status: u16,
        /// Text that the body must hold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        contains: Option<String>,
    },
    /// A TCP connection.
    Tcp {
        /// Port, or `{{ variable }}`.
        port: PortSpec,
    },
    /// A command on the host that must exit with 0.
    Command {
        /// Program and arguments.
        argv: Vec<String>,
    },
    /// The end of a log on the host, its last 64 KiB. Let it hold `{{ release_version }}` where lines of a former release would
    /// answer, too.
    Log {
        /// The file.
        path: String,
        /// Text that a line must hold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        contains: Option<String>,
        /// Text that no line may hold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        absent: Option<String>,
    },
    /// The last recorded value of a metric.
    Metric {
        /// Its name.
        name: String,
        /// It must not be above this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<f64>,
        /// It must not be below this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<f64>,
    },
}

fn slash() -> String {
    "/".into()
}
fn ok_status() -> u16 {
    200
}

/// A port, or the host variable that holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PortSpec {
    /// The port.
    Number(u16),
    /// `{{ name }}`: the host's variable.
    Variable(String),
}

impl From<u16> for PortSpec {
    fn from(port: u16) -> Self {
        Self::Number(port)
    }
}

/// A host variable: `"{{ http_port }}"`.
impl From<&str> for PortSpec {
    fn from(text: &str) -> Self {
        Self::Variable(text.to_owned())
    }
}

/// What a gate came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// The answer.
    pub kind: VerdictKind,
    /// One sentence: which check of which host said what.
    pub reason: String,
    /// The samples behind it, the latest 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<CheckResult>,
}

/// The answer of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// All is well.
    Pass,
    /// Something is not.
    Fail,
    /// The time was over before it was clear.
    Inconclusive,
    /// The check itself could not be made.
    Error,
}

/// Alarms to mute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Silence {
    /// What is muted: tags `host=web-1`; empty means everything.
    #[serde(default)]
    pub scope: BTreeMap<String, String>,
    /// Why.
    pub reason: String,
    /// When it ends by itself, in seconds from now.
    pub for_s: u64,
}

impl Silence {
    /// How long it lasts.
    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.for_s)
    }
}

/// A silence that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilenceHandle {
    /// The system's id.
    pub id: String,
}
