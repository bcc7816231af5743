use std::collections::BTreeMap;

use hyper::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use towpath_core::{Context, Error, ErrorKind, Json, Result, SecretRef};

use crate::address::encoded;
use crate::provider::{STRIDER, Strider};
use crate::reply;
use crate::start::{check_branch, covers};

const DO: &str = "set up";

/// A project as it should be: made if it is not there, changed only where it differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectSetup {
    /// Name on its pages. Given when the project is made; not changed later.
    pub display_name: String,
    /// Address that its pages link to.
    pub display_url: String,
    /// Whether everybody may see its jobs. `false` by default.
    #[serde(default)]
    pub public: bool,
    /// Strider's template for new projects: `custom` (the default), `node.js`, `python`, `ruby`, `go`, `web`.
    #[serde(default = "custom")]
    pub project_type: String,
    /// Where its source code is.
    pub provider: GitProvider,
    /// Its branches by name; a name may hold `*`. Others are left alone.
    #[serde(default)]
    pub branches: BTreeMap<String, BranchSetup>,
}

/// Where the source code of a project is: Strider's plugin `git`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GitProvider {
    /// Address of the repository, as Git takes it.
    pub url: String,
    /// Whether Strider keeps a clone between jobs. `false` by default.
    #[serde(default)]
    pub cache: bool,
    /// How Strider logs in there. `https` without a user by default.
    #[serde(default)]
    pub auth: GitAuth,
}

/// How Strider logs in to a Git server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GitAuth {
    /// The kind of login.
    #[serde(rename = "type", default)]
    pub kind: GitAuthKind,
    /// The user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
    /// The private key for `ssh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privkey: Option<SecretRef>,
}

/// A kind of login to a Git server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GitAuthKind {
    /// A key.
    Ssh,
    /// User and password, or nobody.
    #[default]
    Https,
    /// The same without encryption.
    Http,
}

/// A branch as it should be. What is not given stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BranchSetup {
    /// Whether pushes start jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// Whether it does all that `master` does; its own plugins don't count then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror_master: Option<bool>,
    /// Whether a push whose tests pass is deployed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deploy_on_green: Option<bool>,
    /// Whether pull requests are deployed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deploy_on_pull_request: Option<bool>,
    /// Its plugins, in order. They replace all that it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugins: Option<Vec<PluginSetup>>,
}

/// A plugin of a branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PluginSetup {
    /// Its name: `custom`, `node`, `env`, ...
    pub id: String,
    /// Whether it runs. `true` by default.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Its settings. Those of `custom`: `shell`, and a script for each phase (`environment`, `prepare`, `test`, `deploy`, `cleanup`).
    #[serde(default)]
    pub config: Map<String, Json>,
}

impl PluginSetup {
    /// The plugin `custom`: a script for each phase.
    pub fn custom<'a>(scripts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let config = scripts.into_iter().map(|(phase, script)| (phase.to_owned(), script.into())).collect();
        Self { id: "custom".into(), enabled: true, config }
    }
}

impl ProjectSetup {
    /// A private project of this repository, without branches of its own.
    pub fn git(name: impl Into<String>, url: impl Into<String>) -> Self {
        let url = url.into();
        Self {
            display_name: name.into(),
            display_url: url.clone(),
            public: false,
            project_type: custom(),
            provider: GitProvider { url, cache: false, auth: GitAuth::default() },
            branches: BTreeMap::new(),
        }
    }

    /// Adds a branch.
    #[must_use]
    pub fn branch(mut self, name: impl Into<String>, setup: BranchSetup) -> Self {
        self.branches.insert(name.into(), setup);
        self
    }
}

/// What of a branch is looked at: no keys.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Branch {
    name: String,
    active: Option<bool>,
    mirror_master: Option<bool>,
    deploy_on_green: Option<bool>,
    deploy_on_pull_request: Option<bool>,
    plugins: Option<Vec<Plugin>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Plugin {
    id: String,
    enabled: Option<bool>,
    config: Option<Json>,
}

impl Strider {
    /// Brings the config's project to what `setup` says, and tells what was changed, a line for each; nothing for a project that is so already.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): a name that can't be one; nothing was touched.
    /// [`Denied`](ErrorKind::Denied): this user may not do it.
    pub async fn set_up(&self, cx: &Context, setup: &ProjectSetup) -> Result<Vec<String>> {
        for (name, branch) in &setup.branches {
            // A star is fine in a configured name.
            check_branch(&name.replace('*', "x"), DO)?;
            if branch.plugins.iter().flatten().any(|p| p.id.is_empty()) {
                let message = format!("a plugin of the branch `{name}` has no `id`");
                return Err(Error::new(ErrorKind::InvalidInput, STRIDER, DO, message));
            }
        }
        let mut changed = Vec::new();
        if self.create_project(cx, setup).await? {
            changed.push(format!("project {} made", self.config().project));
        } else if self.set_provider(cx, &setup.provider).await? {
            changed.push(format!("provider of {} changed", self.config().project));
        }
        for (name, branch) in &setup.branches {
            if self.ensure_branch(cx, name).await? {
                changed.push(format!("branch {name} added"));
            }
            if self.configure_branch(cx, name, branch).await? {
                changed.push(format!("branch {name} configured"));
            }
        }
        Ok(changed)
    }

    /// Makes the config's project. `false`: it is there already, however it is set up.
    ///
    /// # Errors
    ///
    /// As [`set_up`](Self::set_up).
    pub async fn create_project(&self, cx: &Context, setup: &ProjectSetup) -> Result<bool> {
        let body = json!({
            "display_name": setup.display_name,
            "display_url": setup.display_url,
            // Strider reads these as text.
            "public": if setup.public { "true" } else { "false" },
            "prefetch_config": "false",
            "project_type": setup.project_type,
            "provider": { "id": "git", "config": self.git(cx, &setup.provider).await? },
        });
        let path = format!("/{}/", self.project());
        let answer = self.client().ask(cx, DO, Method::PUT, &path, Some(&body)).await?;
        if answer.status == 409 {
            return Ok(false);
        }
        reply::done(&answer, DO, "the new project").map_err(|e| self.client().placed(e))?;
        Ok(true)
    }

    /// Says where the project's source code is. `false`: it is so already.
    ///
    /// # Errors
    ///
    /// As [`set_up`](Self::set_up); [`NotFound`](ErrorKind::NotFound): no such project.
    pub async fn set_provider(&self, cx: &Context, provider: &GitProvider) -> Result<bool> {
        let want = self.git(cx, provider).await?;
        let path = format!("/{}/provider", self.project());
        let answer = self.client().ask(cx, DO, Method::GET, &path, None).await?;
        let there: Json =
            reply::whole(answer.status, &answer.body, DO, "the provider").map_err(|e| self.client().placed(e))?;
        if holds(&there, &want) {
            return Ok(false);
        }
        let answer = self.client().ask(cx, DO, Method::POST, &path, Some(&want)).await?;
        reply::done(&answer, DO, "the provider").map_err(|e| self.client().placed(e))?;
        Ok(true)
    }

    /// Adds a branch to the project. `false`: it is there already.
    ///
    /// # Errors
    ///
    /// As [`set_provider`](Self::set_provider).
    pub async fn ensure_branch(&self, cx: &Context, name: &str) -> Result<bool> {
        check_branch(&name.replace('*', "x"), DO)?;
        if self.branches(cx).await?.iter().any(|b| b.name == name) {
            return Ok(false);
        }
        let path = format!("/{}/branches/", self.project());
        let answer = self.client().ask(cx, DO, Method::POST, &path, Some(&json!({ "name": name }))).await?;
        reply::done(&answer, DO, "the new branch").map_err(|e| self.client().placed(e).with("branch", name))?;
        Ok(true)
    }

    /// Sets up a branch. `false`: it is so already.
    ///
    /// # Errors
    ///
    /// As [`set_provider`](Self::set_provider); [`NotFound`](ErrorKind::NotFound): no such branch.
    pub async fn configure_branch(&self, cx: &Context, name: &str, setup: &BranchSetup) -> Result<bool> {
        let branches = self.branches(cx).await?;
        // The server itself falls back to a name with a star: that would change another branch.
        let Some(there) = branches.iter().find(|b| b.name == name) else {
            let wild = branches.iter().find(|b| covers(&b.name, name));
            let hint = wild.map_or_else(|| "add it first".into(), |b| format!("only `{}` stands for it", b.name));
            let message = format!("the project has no branch `{name}` of its own: {hint}");
            return Err(self.client().placed(Error::new(ErrorKind::NotFound, STRIDER, DO, message)));
        };
        let mut body = Map::new();
        let flags = [
            ("active", setup.active, there.active),
            ("mirror_master", setup.mirror_master, there.mirror_master),
            ("deploy_on_green", setup.deploy_on_green, there.deploy_on_green),
            ("deploy_on_pull_request", setup.deploy_on_pull_request, there.deploy_on_pull_request),
        ];
        for (key, want, is) in flags {
            if let Some(want) = want.filter(|want| Some(*want) != is) {
                body.insert(key.into(), want.into());
            }
        }
        if let Some(plugins) =
            setup.plugins.as_ref().filter(|want| !same_plugins(want, there.plugins.as_deref().unwrap_or_default()))
        {
            body.insert("plugins".into(), serde_json::to_value(plugins).unwrap_or_default());
        }
        if body.is_empty() {
            return Ok(false);
        }
        let path = format!("/{}/config/branch/?branch={}", self.project(), encoded(name));
        let answer = self.client().ask(cx, DO, Method::PUT, &path, Some(&Json::Object(body))).await?;
        reply::done(&answer, DO, "the branch's settings").map_err(|e| self.client().placed(e).with("branch", name))?;
        Ok(true)
    }

    /// Removes a branch from the project. `false`: it is not there.
    ///
    /// # Errors
    ///
    /// As [`set_provider`](Self::set_provider); [`InvalidInput`](ErrorKind::InvalidInput): `master` can't be removed.
    pub async fn remove_branch(&self, cx: &Context, name: &str) -> Result<bool> {
        if name.eq_ignore_ascii_case("master") {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                STRIDER,
                DO,
                "Strider does not let go of the branch `master`",
            ));
        }
        if !self.branches(cx).await?.iter().any(|b| b.name == name) {
            return Ok(false);
        }
        let path = format!("/{}/branches/", self.project());
        let answer = self.client().ask(cx, DO, Method::DELETE, &path, Some(&json!({ "name": name }))).await?;
        reply::done(&answer, DO, "the removal of the branch")
            .map_err(|e| self.client().placed(e).with("branch", name))?;
        Ok(true)
    }

    async fn branches(&self, cx: &Context) -> Result<Vec<Branch>> {
        Ok(self.settings::<Branch>(cx, DO).await?.project.branches)
    }

    /// With its secrets, for the one request that needs them.
    async fn git(&self, cx: &Context, provider: &GitProvider) -> Result<Json> {
        let mut auth = Map::new();
        auth.insert("type".into(), serde_json::to_value(provider.auth.kind).unwrap_or_default());
        if let Some(user) = &provider.auth.username {
            auth.insert("username".into(), user.as_str().into());
        }
        for (key, secret) in [("password", &provider.auth.password), ("privkey", &provider.auth.privkey)] {
            if let Some(secret) = secret {
                auth.insert(key.into(), cx.resolve(secret).await?.expose().into());
            }
        }
        Ok(json!({ "url": provider.url, "cache": provider.cache, "auth": auth }))
    }
}

/// Whether all that is wanted is there. The server adds fields of its own.
fn holds(there: &Json, want: &Json) -> bool {
    match (there, want) {
        (Json::Object(there), Json::Object(want)) => {
            want.iter().all(|(key, want)| there.get(key).is_some_and(|there| holds(there, want)))
        }
        _ => there == want,
    }
}

fn same_plugins(want: &[PluginSetup], there: &[Plugin]) -> bool {
    let same = |(want, there): (&PluginSetup, &Plugin)| {
        let config = there.config.clone().unwrap_or_else(|| json!({}));
        want.id == there.id
            && Some(want.enabled) == there.enabled
            && holds(&config, &Json::Object(want.config.clone()))
            // A phase that is no longer wanted is a script that still runs.
            && config.as_object().is_none_or(|c| c.iter().all(|(k, v)| want.config.contains_key(k) || is_nothing(v)))
    };
    want.len() == there.len() && want.iter().zip(there).all(same)
}

fn is_nothing(value: &Json) -> bool {
    value.is_null() || value.as_str() == Some("")
}

fn custom() -> String {
    "custom".to_owned()
}

fn yes() -> bool {
    true
}
