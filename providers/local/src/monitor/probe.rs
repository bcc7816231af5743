//! One look at one host.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper_util::rt::TokioIo;
use towpath_core::{
    Check, CheckProbe, CheckResult, Connection, Context, Endpoint, Error, ErrorKind, Exec, Gate, Host, PortSpec,
    Result, Targets,
};

use super::{LocalMonitor, MONITOR, invalid};

/// Most of a body that is searched.
const BODY_BYTES: usize = 4 << 20;

/// A host under watch, with its connection while it works.
pub(super) struct Target<'a> {
    host: Host,
    targets: &'a Targets,
    connection: Option<Arc<dyn Connection>>,
}

/// What a look saw.
pub(super) struct Looked {
    pub(super) result: CheckResult,
    /// It says nothing about the service: the check itself could not be made.
    pub(super) broken: bool,
}

/// A check that did not pass.
enum Bad {
    Failed(String),
    Broken(String),
    /// Nothing to do with the target: cancelled, or a check that makes no sense.
    Stop(Error),
}

impl From<Error> for Bad {
    fn from(e: Error) -> Self {
        match e.kind() {
            ErrorKind::Cancelled | ErrorKind::InvalidInput => Self::Stop(e),
            ErrorKind::Timeout => Self::Failed("no answer in time".into()),
            _ => Self::Broken(e.report()),
        }
    }
}

impl<'a> Target<'a> {
    pub(super) fn new(host: &'a Host, targets: &'a Targets) -> Self {
        Self { host: targets.effective(host), targets, connection: None }
    }

    /// Makes all checks of the gate at the same time.
    pub(super) async fn look(
        &mut self,
        cx: &Context,
        gate: &Gate,
        left: Duration,
        monitor: &LocalMonitor,
    ) -> Result<Vec<Looked>> {
        let cx = cx.for_host(&self.host.name);
        let remote = gate.checks.iter().any(|c| !matches!(c.probe, CheckProbe::Metric { .. }));
        let longest = gate.checks.iter().map(|c| c.timeout_s).fold(0.0, f64::max);
        let mut unreachable = None;
        if remote && self.connection.is_none() {
            // Connecting is not part of what a check measures, yet must end some time.
            let limit = Duration::from_secs_f64(longest.max(5.0)).min(left);
            match self.targets.connector.connect(&cx.with_timeout(limit), &self.host).await {
                Ok(connection) => self.connection = Some(connection),
                Err(e) if e.kind() == ErrorKind::Cancelled => return Err(e),
                Err(e) => unreachable = Some(e.report()),
            }
        }
        let this = &*self;
        let (cx, unreachable) = (&cx, &unreachable);
        let looks = gate.checks.iter().map(|check| async move {
            let limit = Duration::from_secs_f64(check.timeout_s).min(left);
            (check, this.check(&cx.with_timeout(limit), check, limit, unreachable.as_deref(), monitor).await)
        });
        let mut all = Vec::new();
        let mut lost = false;
        for (check, seen) in join_all(looks).await {
            let (passed, broken, detail) = match seen {
                Ok(detail) => (true, false, detail),
                Err(Bad::Failed(detail)) => (false, false, detail),
                Err(Bad::Broken(detail)) => (false, true, detail),
                Err(Bad::Stop(e)) => return Err(e),
            };
            lost |= broken;
            let result = CheckResult { check: check.name.clone(), host: Some(self.host.name.clone()), passed, detail };
            all.push(Looked { result, broken });
        }
        if lost {
            self.connection = None;
        }
        Ok(all)
    }

    async fn check(
        &self,
        cx: &Context,
        check: &Check,
        limit: Duration,
        unreachable: Option<&str>,
        monitor: &LocalMonitor,
    ) -> Result<String, Bad> {
        if let CheckProbe::Metric { name, max, min } = &check.probe {
            let name = self.host.fill(name)?;
            let Some(value) = monitor.metric(&name) else {
                return Err(Bad::Broken(format!("metric {name} was never recorded")));
            };
            // Written so that a value that is no number is in no range.
            let fits = max.is_none_or(|max| value <= max) && min.is_none_or(|min| value >= min) && !value.is_nan();
            let text = format!("metric {name} is {value}");
            return if fits { Ok(text) } else { Err(Bad::Failed(text)) };
        }
        let Some(connection) = self.connection.as_deref() else {
            return Err(Bad::Broken(unreachable.unwrap_or("no connection").to_owned()));
        };
        match &check.probe {
            CheckProbe::Http { port, path, status, contains } => {
                let (port, path) = (self.port(port)?, self.host.fill(path)?);
                let contains = contains.as_deref().map(|c| self.host.fill(c)).transpose()?;
                let get = async {
                    http(connection, cx, port, &path, *status, contains.as_deref())
                        .await
                        .map_or_else(|bad| Ok(Err(bad)), |ok| Ok(Ok(ok)))
                };
                cx.guard(MONITOR, "assess", get).await?
            }
            CheckProbe::Tcp { port } => {
                let port = self.port(port)?;
                dial(connection, cx, port).await?;
                Ok(format!("port {port} accepts connections"))
            }
            CheckProbe::Command { argv } => {
                let argv: Vec<String> = argv.iter().map(|a| self.host.fill(a)).collect::<Result<_>>()?;
                if argv.is_empty() {
                    return Err(Bad::Stop(invalid("a command check needs a program").with("check", &check.name)));
                }
                let mut command = Exec::argv(argv).timeout(limit);
                command.label = Some(format!("check {}", check.name));
                let out = match connection.exec(cx, &command).await {
                    Err(e) if e.kind() == ErrorKind::Protocol => return Err(Bad::Failed("it says too much".into())),
                    other => other?,
                };
                if out.status.is_success() {
                    return Ok("exit 0".into());
                }
                let text = if out.stderr.is_empty() { out.stdout_text() } else { out.stderr_text() };
                let last: String = text.lines().last().unwrap_or_default().chars().take(200).collect();
                Err(Bad::Failed(format!("exit {}{}{last}", out.status, if last.is_empty() { "" } else { ": " })))
            }
            CheckProbe::Log { path, contains, absent } => {
                let fill = |text: &Option<String>| text.as_deref().map(|t| self.host.fill(t)).transpose();
                let (path, contains, absent) = (self.host.fill(path)?, fill(contains)?, fill(absent)?);
                log(connection, cx, &path, contains.as_deref(), absent.as_deref()).await
            }
            CheckProbe::Metric { .. } => Ok(String::new()),
        }
    }

    fn port(&self, port: &PortSpec) -> Result<u16> {
        match port {
            PortSpec::Number(port) => Ok(*port),
            PortSpec::Variable(text) => {
                let filled = self.host.fill(text)?;
                filled.trim().parse().map_err(|e| {
                    invalid(format!("{text:?} gives {filled:?}, which is no port"))
                        .with("host", &self.host.name)
                        .caused_by(e)
                })
            }
        }
    }
}

/// Most of a log that is searched, from its end.
const LOG_BYTES: &str = "65536";

async fn log(
    connection: &dyn Connection,
    cx: &Context,
    path: &str,
    contains: Option<&str>,
    absent: Option<&str>,
) -> Result<String, Bad> {
    let command = Exec::argv(["tail", "-c", LOG_BYTES, "--", path]);
    let out = connection.exec(cx, &command).await?;
    if !out.status.is_success() {
        // Not written yet, or not to be read: nothing is known of the service, and a start period gives it time.
        let why: String = out.stderr_text().chars().take(200).collect();
        return Err(Bad::Failed(format!("the log can't be read: {why}")));
    }
    let text = out.stdout_text();
    let cut = |line: &str| line.chars().take(200).collect::<String>();
    if let Some(line) = absent.and_then(|bad| text.lines().find(|l| l.contains(bad))) {
        return Err(Bad::Failed(format!("{path} says: {}", cut(line))));
    }
    match contains {
        Some(wanted) => match text.lines().find(|l| l.contains(wanted)) {
            Some(line) => Ok(format!("{path} says: {}", cut(line))),
            None => Err(Bad::Failed(format!("the end of {path} does not hold {wanted:?}"))),
        },
        None => Ok(format!("nothing bad at the end of {path}")),
    }
}

async fn dial(connection: &dyn Connection, cx: &Context, port: u16) -> Result<Box<dyn towpath_core::Stream>, Bad> {
    connection.dial(cx, &Endpoint::Tcp("127.0.0.1".into(), port)).await.map_err(|e| match e.kind() {
        ErrorKind::Unreachable => Bad::Failed(format!("nobody listens on port {port}")),
        _ => Bad::from(e),
    })
}

async fn http(
    connection: &dyn Connection,
    cx: &Context,
    port: u16,
    path: &str,
    status: u16,
    contains: Option<&str>,
) -> Result<String, Bad> {
    let stream = dial(connection, cx, port).await?;
    let failed = |e: hyper::Error| Bad::Failed(format!("no HTTP answer on port {port}: {e}"));
    let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let request = Request::get(path)
        .header("host", format!("127.0.0.1:{port}"))
        .header("user-agent", "towpath")
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|e| Bad::Stop(invalid(format!("{path:?} is no path for HTTP")).caused_by(e)))?;
    let ask = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        let got = response.status().as_u16();
        if got != status {
            return Err(Bad::Failed(format!("HTTP {got}")));
        }
        if let Some(wanted) = contains {
            let body = Limited::new(response.into_body(), BODY_BYTES).collect().await;
            let body =
                body.map_err(|e| Bad::Failed(format!("HTTP {got}, but its body can't be read: {e}")))?.to_bytes();
            if !wanted.is_empty() && !body.windows(wanted.len()).any(|w| w == wanted.as_bytes()) {
                return Err(Bad::Failed(format!("HTTP {got}, but its body does not hold {wanted:?}")));
            }
        }
        Ok(format!("HTTP {got}"))
    };
    tokio::pin!(ask);
    // The connection may end before its last bytes are looked at.
    tokio::select! {
        answer = &mut ask => return answer,
        _ = driver => {}
    }
    ask.await
}
