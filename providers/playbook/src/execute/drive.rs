//! Carrying out an action for one item: arguments, the module's decision, its probe, its change.
//!
//! The steps are apart from each other, so that a probe can be sent long before its turn: [`Run::prepare`] says what the task is
//! for the host, [`Run::interpret`] sends probes and reads their answers, [`Run::change`] acts when the turn has come.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use towpath_core::{Context, ErrorKind, Json, Vars};

use super::ahead::Seen;
use super::item::{Stop, says_skipped, stop};
use super::pool::Link;
use super::result::{One, failure};
use super::sessions::Sessions;
use super::task::{On, keyword};
use super::{Mode, Run};
use crate::PLAYBOOK;
use crate::carry::{Output, Script};
use crate::load::Task;
use crate::modules::{self, Call, Decision, Fields, Module, Pending, Place};
use crate::render::{RenderError, Scope, drop_omitted, truthy};

/// What a task is for a host: everything is rendered, nothing was sent.
pub(super) struct Ready<'r> {
    pub(super) decision: Result<Decision, String>,
    pub(super) args: Fields,
    pub(super) link: Option<Link<'r>>,
    pub(super) check: bool,
    pub(super) background: Option<(u64, u64)>,
}

/// What the probes said.
pub(super) enum Verdict {
    Result(Fields),
    Change(Box<Pending>),
}

impl Run<'_> {
    /// An action, to its result.
    pub(super) async fn carry_out(&self, on: &On<'_>, scope: &Arc<Scope>, to: Option<&str>) -> Result<One, Stop> {
        let limit = on.task.inherit.timeout.as_ref().and_then(|v| scope.render(v).ok());
        let limit = limit.and_then(|v| v.as_u64().or_else(|| v.as_str()?.parse().ok())).filter(|s| *s > 0);
        let cx = self.cx.for_host(on.host);
        let Some(seconds) = limit else { return self.act(on, scope, to, &cx).await };
        let short = cx.with_timeout(Duration::from_secs(seconds));
        match self.act(on, scope, to, &short).await {
            Err(Stop::Fatal(e)) if e.kind() == ErrorKind::Timeout && cx.check(PLAYBOOK, "apply").is_ok() => {
                let mut fields = failure(format!(
                    "The {} action failed to execute in the expected time frame ({seconds}) and was terminated",
                    on.task.written
                ));
                fields.insert("timedout".into(), json!({ "period": seconds }));
                Ok(One::of(fields))
            }
            other => other,
        }
    }

    async fn act(&self, on: &On<'_>, scope: &Arc<Scope>, to: Option<&str>, cx: &Context) -> Result<One, Stop> {
        let task = on.task;
        let title = &on.info.name;
        let known = modules::find(&task.action);
        let plan = self.mode == Mode::Plan;
        let rendered = self.arguments(task, scope);
        if let Some(why) = scope.touched() {
            return Ok(self.unknowable(task, on.host, title, why));
        }
        let args = match rendered {
            Ok(args) => args,
            Err(e) => return Ok(One::undefined(e)),
        };
        if let Some(one) = self.own_action(on, scope, to, cx, &args).await? {
            return Ok(one);
        }
        let Some(module) = known else {
            let why = format!("the module `{}` has no native version; there are: {}", task.written, modules::names());
            return Ok(if plan { self.unknowable(task, on.host, title, why) } else { One::failing(why) });
        };
        let mut ready = match self.prepare(on, scope, to, cx, module, args).await {
            Ok(ready) => ready,
            Err(e) => match scope.touched() {
                Some(why) => return Ok(self.unknowable(task, on.host, title, why)),
                None => return Ok(One::undefined(e)),
            },
        };
        if let Some(why) = scope.touched() {
            return Ok(self.unknowable(task, on.host, title, why));
        }
        let verdict = self.interpret(on, &mut ready).await.map_err(stop)?;
        if let Some(why) = scope.touched() {
            return Ok(self.unknowable(task, on.host, title, why));
        }
        match verdict {
            Verdict::Change(pending) if plan => Ok(self.foresee(task, on.host, scope, title, *pending)),
            Verdict::Result(fields) if plan => {
                Ok(self.settle_plan(on.host, title, module.place == Place::Here, &ready.args, fields))
            }
            Verdict::Change(pending) => self.change(on, ready, *pending).await.map_err(stop),
            Verdict::Result(fields) => {
                if let Some(link) = &ready.link {
                    self.look_ahead(on, link, Seen::Calm).await;
                }
                let fields = match ready.background {
                    Some((_, poll)) => self.jobs.done(fields, poll),
                    None => fields,
                };
                Ok(if says_skipped(&fields) { One::skip(fields) } else { One::of(fields) })
            }
        }
    }

    /// The arguments of a task, `module_defaults` and `args` included.
    pub(super) fn arguments(&self, task: &Task, scope: &Arc<Scope>) -> Result<Fields, RenderError> {
        let mut raw = Fields::new();
        for layer in &task.inherit.module_defaults {
            let layer = if layer.is_string() { scope.render(layer)? } else { layer.clone() };
            for (name, defaults) in layer.as_object().into_iter().flatten() {
                let short = name.strip_prefix("ansible.builtin.").or_else(|| name.strip_prefix("ansible.legacy."));
                if short.unwrap_or(name) != task.action && *name != task.written {
                    continue;
                }
                let defaults = if defaults.is_string() { scope.render(defaults)? } else { defaults.clone() };
                raw.extend(defaults.as_object().cloned().unwrap_or_default());
            }
        }
        if let Some(more) = &task.more_args {
            raw.extend(scope.render(more)?.as_object().cloned().unwrap_or_default());
        }
        raw.extend(task.args.clone());
        if task.action == "validate_argument_spec" && task.args.contains_key("validate_args_context") {
            // Defaults and descriptions of a role's specs are no templates.
            return Ok(raw);
        }
        let args = drop_omitted(scope.render(&Json::Object(raw))?);
        Ok(args.as_object().cloned().unwrap_or_default())
    }

    /// Whether a task may change nothing, a plan apart.
    fn checks(&self, task: &Task, scope: &Arc<Scope>) -> bool {
        match &task.inherit.check_mode {
            Some(v) => scope.render(v).ok().as_ref().and_then(truthy).unwrap_or(self.config.check),
            None => self.config.check,
        }
    }

    /// Says what a task is for a host. Sends nothing.
    pub(super) async fn prepare<'r>(
        &'r self,
        on: &On<'_>,
        scope: &Arc<Scope>,
        to: Option<&str>,
        cx: &Context,
        module: &'static Module,
        args: Fields,
    ) -> Result<Ready<'r>, RenderError> {
        let task = on.task;
        let env = self.environment(task, scope)?;
        let link = match module.place {
            Place::Here => None,
            Place::Host => Some(self.link(cx, task, scope, on.host, to).await?),
        };
        let plan = self.mode == Mode::Plan;
        let check = plan || self.checks(task, scope);
        let number = |v: &Option<Json>, default: u64| -> Result<u64, RenderError> {
            let Some(v) = v else { return Ok(default) };
            let v = scope.render(v)?;
            v.as_u64()
                .or_else(|| v.as_str()?.trim().parse().ok())
                .ok_or_else(|| super::vars::wrong(format!("`async` and `poll` are numbers, not {v}")))
        };
        let seconds = number(&task.async_, 0)?;
        let background = (seconds > 0 && !check).then_some((seconds, number(&task.poll, 10)?));
        let diff = match &task.inherit.diff {
            Some(_) => keyword(scope, &task.inherit.diff, false),
            None => self.config.diff,
        };
        let call = Call {
            action: task.action.clone(),
            args: Fields::new(),
            given: args.clone(),
            scope: scope.clone(),
            env,
            check,
            diff: plan || diff,
        };
        // What a bare name stands for.
        let name =
            if task.written.contains('.') { task.written.clone() } else { format!("ansible.legacy.{}", task.written) };
        let decision = module.begin(&name, call);
        Ok(Ready { decision, args, link, check, background })
    }

    /// Sends the module's probes and reads their answers, up to a result or a change.
    pub(super) async fn interpret(&self, on: &On<'_>, ready: &mut Ready<'_>) -> towpath_core::Result<Verdict> {
        let mut decision = std::mem::replace(&mut ready.decision, Ok(Decision::Done(Fields::new())));
        loop {
            match decision {
                Err(message) => return Ok(Verdict::Result(failure(message))),
                Ok(Decision::Done(result)) => return Ok(Verdict::Result(result)),
                Ok(Decision::Change(pending)) => {
                    if ready.check && self.mode == Mode::Apply {
                        return Ok(Verdict::Result(pending.expected));
                    }
                    return Ok(Verdict::Change(Box::new(pending)));
                }
                Ok(Decision::Probe(text, decide)) => match &ready.link {
                    Some(link) => decision = decide(self.ask(on, link, &text).await?),
                    None => return Ok(Verdict::Result(failure("this module has no host to ask"))),
                },
                Ok(Decision::Drive(drive)) => match &mut ready.link {
                    Some(link) => {
                        // It may wait for something: what was asked before is of another time.
                        self.connections.forget_all();
                        decision = drive(link).await?;
                        self.connections.forget_all();
                    }
                    None => return Ok(Verdict::Result(failure("this module has no host to work on"))),
                },
            }
        }
    }

    /// Makes a change. Its turn has come.
    async fn change(&self, on: &On<'_>, ready: Ready<'_>, pending: Pending) -> towpath_core::Result<One> {
        let Ready { args, link, background, .. } = ready;
        let Some(link) = &link else { return Ok(One::failing("this module has no host to change")) };
        if let Some((seconds, poll)) = background {
            return self.background(on, link, pending, seconds, poll).await;
        }
        let sessions = Sessions::after(&on.task.action, &args, &pending, link.user());
        let script = Script { text: pending.script, foreign: pending.foreign };
        let own = sessions.as_ref().is_some_and(|s| s.concerns(&link.key));
        let changing = link.begin(&script, sessions).await?;
        if !own && !link.everywhere {
            self.look_ahead(on, link, Seen::Change).await;
        }
        Ok(One::of((pending.finish)(link.end(changing).await?)))
    }

    /// Asks a probe whose turn has come, unless it was asked before, and looks ahead meanwhile.
    async fn ask(&self, on: &On<'_>, link: &Link<'_>, text: &str) -> towpath_core::Result<Output> {
        let asked = link.ask(text).await?;
        let seen = if asked.early { Seen::Early } else { Seen::Late };
        self.look_ahead(on, link, seen).await;
        link.answer(asked, text).await
    }

    /// Actions that concern the run itself and no module.
    async fn own_action(
        &self,
        on: &On<'_>,
        scope: &Arc<Scope>,
        to: Option<&str>,
        cx: &Context,
        args: &Fields,
    ) -> Result<Option<One>, Stop> {
        let list = |keys: &[&str]| -> Vec<String> {
            let split = |s: &str| s.split(',').map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()).collect();
            match keys.iter().find_map(|k| args.get(*k)) {
                Some(Json::Array(items)) => {
                    items.iter().map(|v| crate::render::text(&crate::render::Value::from(v))).collect()
                }
                Some(Json::String(s)) => split(s),
                Some(Json::Null) | None => Vec::new(),
                Some(other) => vec![other.to_string()],
            }
        };
        let word = |keys: &[&str]| keys.iter().find_map(|k| args.get(*k)).and_then(Json::as_str).map(str::to_owned);
        let one = match on.task.action.as_str() {
            "add_host" => {
                let Some(name) = word(&["name", "hostname", "host"]) else {
                    return Ok(Some(One::failing("name, host or hostname needs to be provided")));
                };
                let groups = list(&["groups", "group", "groupname"]);
                let not_vars = ["name", "hostname", "host", "groups", "group", "groupname"];
                let vars: Vars = args
                    .iter()
                    .filter(|(k, _)| !not_vars.contains(&k.as_str()))
                    .map(|(k, v)| (k.clone(), v.clone()))
                    .collect();
                let (name, port) = match name.rsplit_once(':') {
                    Some((n, p)) if !n.contains(':') && p.parse::<u16>().is_ok() => (n.to_owned(), Some(p.to_owned())),
                    _ => (name, None),
                };
                let mut all = vars.clone();
                all.extend(port.map(|p| ("ansible_ssh_port".to_owned(), json!(p))));
                let changed = self.world.add_host(&name, &groups, &all).map_err(Stop::Fatal)?;
                self.refresh_magic(on.playing);
                One::of(modules::fields([
                    ("changed", json!(changed)),
                    ("add_host", json!({ "host_name": name, "groups": groups, "host_vars": vars })),
                ]))
            }
            "group_by" => {
                let Some(key) = args.get("key").map(|v| crate::render::text(&crate::render::Value::from(v))) else {
                    return Ok(Some(One::failing("the 'key' param is required when using group_by")));
                };
                let clean = |s: &str| s.replace(' ', "-");
                let group = clean(&key);
                let parents: Vec<String> = match list(&["parents"]) {
                    p if p.is_empty() => vec!["all".into()],
                    p => p.iter().map(|s| clean(s)).collect(),
                };
                let changed = self.world.group_by(&group, &parents, on.host).map_err(Stop::Fatal)?;
                self.refresh_magic(on.playing);
                One::of(modules::fields([
                    ("changed", json!(changed)),
                    ("add_group", json!(group)),
                    ("parent_groups", json!(parents)),
                ]))
            }
            "set_stats" => self.set_stats(on.host, args),
            "pause" if !args.contains_key("seconds") && !args.contains_key("minutes") => {
                let Some(ask) = self.ask.filter(|_| self.mode == Mode::Apply) else { return Ok(None) };
                let echo = args.get("echo").and_then(truthy).unwrap_or(true);
                let prompt = word(&["prompt"]).unwrap_or_else(|| "Press enter to continue, Ctrl+C to interrupt".into());
                let begun = modules::Pause::now(true, echo);
                let prompt = format!("[{}]\n{prompt}", on.info.name);
                // Nobody has to answer what was cancelled.
                let asked = cx.guard(PLAYBOOK, "apply", async { Ok(ask.pause(&prompt, echo).await) });
                match asked.await.map_err(Stop::Fatal)? {
                    Some(text) => One::of(begun.over(&text)),
                    None => return Ok(None),
                }
            }
            "validate_argument_spec" => super::argspec::validate(args, scope),
            "async_status" => {
                let link = match self.link(cx, on.task, scope, on.host, to).await {
                    Ok(link) => link,
                    Err(e) => return Ok(Some(One::undefined(e))),
                };
                let args = match modules::arguments("async_status", args) {
                    Ok(args) => args,
                    Err(why) => return Ok(Some(One::failing(why))),
                };
                let text = |key: &str| args.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
                let (jid, clean) = (text("jid"), text("mode") == "cleanup");
                One::of(self.jobs.ask(&link, &jid, clean).await.map_err(stop)?)
            }
            _ => return Ok(None),
        };
        Ok(Some(one))
    }

    fn set_stats(&self, host: &str, args: &Fields) -> One {
        let yes = |key: &str, default: bool| args.get(key).and_then(truthy).unwrap_or(default);
        let Some(Json::Object(data)) = args.get("data") else {
            return One::failing("missing required arguments: data");
        };
        let (per_host, aggregate) = (yes("per_host", false), yes("aggregate", true));
        let key = if per_host { host } else { "_run" };
        let mut custom = super::lock(&self.custom);
        let have = custom.entry(key.to_owned()).or_default();
        for (k, v) in data {
            let new = match (have.get(k).filter(|_| aggregate), v) {
                (Some(Json::Number(a)), Json::Number(b)) => match (a.as_i64(), b.as_i64()) {
                    (Some(a), Some(b)) => json!(a + b),
                    _ => json!(a.as_f64().unwrap_or(0.0) + b.as_f64().unwrap_or(0.0)),
                },
                (Some(Json::Array(a)), Json::Array(b)) => Json::Array([a.as_slice(), b.as_slice()].concat()),
                (Some(Json::Object(a)), Json::Object(b)) => {
                    let mut both = a.clone();
                    both.extend(b.clone());
                    Json::Object(both)
                }
                (Some(Json::String(a)), Json::String(b)) => json!(format!("{a}{b}")),
                _ => v.clone(),
            };
            have.insert(k.clone(), new);
        }
        One::of(modules::fields([
            ("changed", json!(false)),
            ("ansible_stats", json!({ "data": data, "per_host": per_host, "aggregate": aggregate })),
        ]))
    }
}
