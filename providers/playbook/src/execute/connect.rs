//! How a task reaches its host, and who it becomes there.

use std::sync::Arc;

use async_trait::async_trait;
use towpath_core::{Become, BecomeMethod, Connection, Context, Json, Result, Secret};

use super::Run;
use super::pool::Link;
use super::vars::wrong;
use crate::carry::{Output, Script};
use crate::load::{Inherit, Task};
use crate::modules::Remote;
use crate::render::{OMIT, RenderError, Scope, to_json, truthy};

#[async_trait]
impl Remote for Link<'_> {
    async fn run(&mut self, script: Script) -> Result<Output> {
        self.send(script).await
    }

    async fn connection(&mut self) -> Result<Arc<dyn Connection>> {
        self.pool.connection(&self.cx, self.connector).await
    }

    async fn reset(&mut self) {
        self.pool.close().await;
    }

    fn cx(&self) -> &Context {
        &self.cx
    }
}

fn text(v: Option<Json>) -> Option<String> {
    match v? {
        Json::Null => None,
        Json::String(s) if s.is_empty() || s == OMIT => None,
        Json::String(s) => Some(s),
        other => Some(other.to_string()),
    }
}

impl Run<'_> {
    /// How a task reaches the host, or the one that it is delegated to.
    pub(super) async fn link(
        &self,
        cx: &Context,
        task: &Task,
        scope: &Arc<Scope>,
        host: &str,
        delegated: Option<&str>,
    ) -> std::result::Result<Link<'_>, RenderError> {
        let name = delegated.unwrap_or(host);
        // Who a delegated task talks to, and as whom, is the other host's business.
        let own = match delegated {
            Some(other) => self.world.others_see(other),
            None => scope.clone(),
        };
        let var = |names: &[&str]| text(names.iter().find_map(|n| own.variable(n)).map(|v| to_json(&v)));
        let keyword = |v: &Option<Json>| -> std::result::Result<Option<String>, RenderError> {
            Ok(text(v.as_ref().map(|v| scope.render(v)).transpose()?))
        };
        let mut target = self.world.host(name);
        let spec = &mut target.connection;
        let inherit = &task.inherit;
        if let Some(kind) = var(&["ansible_connection"]).or(keyword(&inherit.connection)?) {
            spec.kind = match kind.trim_start_matches("ansible.builtin.") {
                "smart" | "paramiko" | "paramiko_ssh" => "ssh".to_owned(),
                other => other.to_owned(),
            };
        }
        spec.address = var(&["ansible_host", "ansible_ssh_host"]).filter(|a| a != name).or(spec.address.take());
        let user = var(&["ansible_user", "ansible_ssh_user"]);
        spec.user = user.or(keyword(&inherit.remote_user)?).or_else(|| self.config.remote_user.clone());
        if let Some(port) = var(&["ansible_port", "ansible_ssh_port"]).or(keyword(&inherit.port)?) {
            let number = port.parse().ok().filter(|p: &u16| *p > 0);
            spec.port = Some(number.ok_or_else(|| wrong(format!("`{port}` is no port")))?);
        }
        if let Some(key) = var(&["ansible_ssh_private_key_file", "ansible_private_key_file"]) {
            spec.options.entry("identity_file").or_insert_with(|| key.into());
        }
        let default = spec.r#become.clone();
        let become_ = self.become_of(inherit, scope, &own, default).await?;
        // Becoming someone is the shell's business here.
        spec.r#become = None;
        let once = inherit.run_once.as_ref().is_some_and(|v| truthy(v).unwrap_or(true));
        let everywhere = once || delegated.is_some() || target.connection.kind == "local";
        Ok(Link {
            pools: &self.connections,
            pool: self.connections.get(target),
            connector: &*self.targets.connector,
            key: Link::key(become_.as_ref()),
            become_,
            cx: cx.clone(),
            task: std::ptr::from_ref(task).addr(),
            everywhere,
        })
    }

    async fn become_of(
        &self,
        wants: &Inherit,
        scope: &Arc<Scope>,
        own: &Arc<Scope>,
        spec: Option<towpath_core::BecomeSpec>,
    ) -> std::result::Result<Option<Become>, RenderError> {
        let wants = &wants.become_;
        let config = self.config;
        let var = |name: &str| own.variable(name).map(|v| to_json(&v));
        let get = |keyword: &Option<Json>, name: &str| -> std::result::Result<Option<Json>, RenderError> {
            match (var(name), keyword) {
                (Some(v), _) => Ok(Some(v)),
                (None, Some(v)) => scope.render(v).map(Some),
                (None, None) => Ok(None),
            }
        };
        let on = get(&wants.on, "ansible_become")?;
        if !on.as_ref().map_or(config.r#become, |v| truthy(v).unwrap_or(false)) {
            return Ok(None);
        }
        let spec = spec.unwrap_or_default();
        let method = text(get(&wants.method, "ansible_become_method")?).or_else(|| config.become_method.clone());
        let method = match method.as_deref().map(|m| m.trim_start_matches("ansible.builtin.")) {
            None => spec.method,
            Some("sudo") => BecomeMethod::Sudo,
            Some("su") => BecomeMethod::Su,
            Some(other) => {
                return Err(wrong(format!("the become method `{other}` is not supported; there are sudo and su")));
            }
        };
        let given = text(var("ansible_become_password").or_else(|| var("ansible_become_pass")));
        let password = match (given, spec.password.as_ref().or(config.become_password.as_ref())) {
            (Some(p), _) => {
                let secret = Secret::new(p);
                self.cx.learn_secret(&secret);
                Some(secret)
            }
            (None, Some(r)) => Some(self.cx.resolve(r).await.map_err(|e| wrong(e.report()))?),
            (None, None) => None,
        };
        let flags =
            text(get(&wants.flags, "ansible_become_flags")?).map_or(spec.flags, |f| crate::load::split_words(&f));
        let user = text(get(&wants.user, "ansible_become_user")?).or_else(|| config.become_user.clone());
        Ok(Some(Become { user: user.unwrap_or(spec.user), method, password, flags }))
    }
}
