//! The typed definition, and the JSON template that it becomes.

mod post_processor;
mod provisioner;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use towpath_core::pipeline::nearest;
use towpath_core::{ArtifactKind, Error, ErrorKind, Json, Result};

pub use self::post_processor::*;
pub use self::provisioner::*;
pub use self::source::*;
use crate::PackerConfig;
use crate::provider::PACKER;

/// The variable of a definition's template that holds the image's name.
pub(crate) const IMAGE_VAR: &str = "towpath_image";
/// The variable of a definition's template that holds the image's base.
pub(crate) const BASE_VAR: &str = "towpath_base";

/// What Packer builds, and how: sources, what is done to each, and what becomes of the results.
///
/// Options have Packer's own names. Their strings are Packer's templates: ``{{user `name`}}`` is a variable of `vars` or
/// `secret_vars`, ``{{user `towpath_image`}}`` the image's name, ``{{user `towpath_base`}}`` its base. Options that are not
/// listed here go into `extra`, as they stand in Packer's documentation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PackerDefinition")]
pub struct Definition {
    /// What is started, and saved in the end. One build each; all of them go through the same provisioners.
    pub sources: Vec<Source>,

    /// What is done to each, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provisioners: Vec<Provisioner>,

    /// What becomes of each result: sequences, in each of which one's result is the next one's input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_processors: Vec<Vec<PostProcessor>>,
}

/// Options of Packer beside the typed ones, by their names in its documentation.
pub type Extra = BTreeMap<String, Json>;

/// How Packer reaches the machine of a build over SSH. Each becomes an option `ssh_<name>`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PackerSsh")]
pub struct Ssh {
    /// The user who logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password: name a variable of `secret_vars`, as ``{{user `name`}}``.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The address. Of most sources Packer finds it out by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The port. 22 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key_file: Option<String>,
    /// The cloud's name of the key pair that belongs to `private_key_file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keypair_name: Option<String>,
    /// How long Packer waits until it answers: `5m`, as Go writes durations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
}

impl Definition {
    /// A definition of these sources.
    pub fn new(sources: impl IntoIterator<Item = Source>) -> Self {
        Self { sources: sources.into_iter().collect(), ..Self::default() }
    }

    /// Adds what is done to each.
    #[must_use]
    pub fn provisioner(mut self, provisioner: Provisioner) -> Self {
        self.provisioners.push(provisioner);
        self
    }

    /// Adds a sequence of post-processors.
    #[must_use]
    pub fn post_process(mut self, sequence: impl IntoIterator<Item = PostProcessor>) -> Self {
        self.post_processors.push(sequence.into_iter().collect());
        self
    }

    /// The kinds of artifacts that can come out of it.
    pub(crate) fn kinds(&self) -> BTreeSet<ArtifactKind> {
        let of_sources = self.sources.iter().filter_map(Source::kind);
        let of_processors = self.post_processors.iter().flatten().filter_map(PostProcessor::kind);
        of_sources.chain(of_processors).collect()
    }

    /// Says whether the sources that start from a Docker image of the base take the one that is here.
    pub(crate) fn pulls_no_base(&self) -> bool {
        let mut of_base = self.sources.iter().filter(|s| s.needs_base());
        of_base.all(|s| matches!(s, Source::Docker(docker) if docker.pull == Some(false)))
    }

    pub(crate) fn check(&self, config: &PackerConfig) -> Result<()> {
        if self.sources.is_empty() {
            return Err(invalid("a definition needs at least one of `sources`"));
        }
        if let Some(sequence) = self.post_processors.iter().position(Vec::is_empty) {
            return Err(invalid(format!("`post_processors[{sequence}]` is an empty sequence")));
        }
        let mut names = BTreeSet::new();
        for source in &self.sources {
            if !names.insert(source.build_name()) {
                let name = source.build_name();
                return Err(invalid(format!("two sources are called `{name}`: give each a `name` of its own")));
            }
        }
        let lists = self
            .provisioners
            .iter()
            .map(Provisioner::builds)
            .chain(self.post_processors.iter().flatten().map(PostProcessor::builds));
        for name in lists.flatten().chain(&config.only).chain(&config.except) {
            if !names.contains(name.as_str()) {
                let near = nearest(name, names.iter().copied());
                let hint = near.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
                return Err(invalid(format!("`only` or `except` names the build `{name}`, which no source has{hint}")));
            }
        }
        for (wrong, what) in [
            (
                !config.var_files.is_empty(),
                "`var_files` are for templates: give the variables of a definition in `vars`",
            ),
            (config.name_var.is_some(), "`name_var` is for templates: a definition has `towpath_image`"),
            (config.base_var.is_some(), "`base_var` is for templates: a definition has `towpath_base`"),
        ] {
            if wrong {
                return Err(invalid(what));
            }
        }
        if let Some(name) =
            config.vars.keys().chain(config.secret_vars.keys()).find(|n| [IMAGE_VAR, BASE_VAR].contains(&n.as_str()))
        {
            return Err(invalid(format!("the variable `{name}` is set by towpath")));
        }
        self.to_template(config).map(drop)
    }

    /// The JSON template. It holds no value of any variable.
    pub(crate) fn to_template(&self, config: &PackerConfig) -> Result<Json> {
        let names = config.vars.keys().chain(config.secret_vars.keys()).map(String::as_str);
        // `null`: a value must be given, in the file of variables.
        let variables: Map<String, Json> =
            names.chain([IMAGE_VAR, BASE_VAR]).map(|n| (n.to_owned(), Json::Null)).collect();
        let mut template = json!({ "variables": variables });
        let mut put = |key: &str, value: Json| {
            if let Some(map) = template.as_object_mut() {
                map.insert(key.to_owned(), value);
            }
        };
        if !config.secret_vars.is_empty() {
            put("sensitive-variables", json!(config.secret_vars.keys().collect::<Vec<_>>()));
        }
        put("builders", Json::Array(self.sources.iter().map(|s| s.to_packer()).collect::<Result<_>>()?));
        if !self.provisioners.is_empty() {
            let list = self.provisioners.iter().map(|p| options("provisioner", p)).collect::<Result<_>>()?;
            put("provisioners", Json::Array(list));
        }
        if !self.post_processors.is_empty() {
            let sequence = |s: &Vec<PostProcessor>| {
                s.iter().map(|p| options("post-processor", p)).collect::<Result<_>>().map(Json::Array)
            };
            let list = self.post_processors.iter().map(sequence).collect::<Result<_>>()?;
            put("post-processors", Json::Array(list));
        }
        Ok(template)
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, PACKER, "config", message)
}

/// Writes a part as Packer's options: `extra` beside the others, `ssh` as `ssh_...`.
fn options(what: &str, part: &impl Serialize) -> Result<Json> {
    let value = serde_json::to_value(part).map_err(|e| invalid(format!("a {what} can't be written")).caused_by(e))?;
    let Json::Object(all) = value else { return Err(invalid(format!("a {what} is no object"))) };
    let kind = all.get("type").and_then(Json::as_str).unwrap_or_default().to_owned();
    let mut out = Map::new();
    let mut extra = Map::new();
    for (name, value) in all {
        match (name.as_str(), value) {
            ("extra", Json::Object(more)) => extra = more,
            ("ssh", Json::Object(ssh)) => out.extend(ssh.into_iter().map(|(n, v)| (format!("ssh_{n}"), v))),
            (_, value) => {
                out.insert(name, value);
            }
        }
    }
    for (name, value) in extra {
        if out.contains_key(&name) || name == "type" {
            return Err(invalid(format!("`extra` of the {what} `{kind}` sets `{name}` a second time")));
        }
        out.insert(name, value);
    }
    Ok(Json::Object(out))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn definition(json: Json) -> serde_json::Result<Definition> {
        serde_json::from_value(json)
    }

    #[test]
    fn a_definition_becomes_packers_json() {
        let json = json!({
            "sources": [
                {"type": "docker", "image": "debian:12", "commit": true, "pull": false,
                 "changes": ["CMD [\"web\"]"], "extra": {"fix_upload_owner": false}},
                {"type": "null", "name": "host", "ssh": {"host": "127.0.0.1", "port": 2222, "username": "deploy"}},
                {"type": "amazon-ebs", "ami_name": "web", "region": "eu-west-1"},
            ],
            "provisioners": [{"type": "shell", "inline": ["true"], "only": ["docker"]}],
            "post_processors": [[{"type": "docker-tag", "repository": "web", "tags": ["1"], "only": ["docker"]}, {"type": "manifest"}]],
        });
        let config = PackerConfig::definition(definition(json).unwrap())
            .var("version", 3)
            .secret_var("token", towpath_core::SecretRef::Env("TOKEN".into()));
        config.check().unwrap();
        let template = config.definition.as_ref().unwrap().to_template(&config).unwrap();
        assert_eq!(
            template,
            json!({
                "variables": {"version": null, "token": null, "towpath_image": null, "towpath_base": null},
                "sensitive-variables": ["token"],
                "builders": [
                    {"type": "docker", "image": "debian:12", "commit": true, "pull": false,
                     "changes": ["CMD [\"web\"]"], "fix_upload_owner": false},
                    {"type": "null", "name": "host", "communicator": "ssh",
                     "ssh_host": "127.0.0.1", "ssh_port": 2222, "ssh_username": "deploy"},
                    {"type": "amazon-ebs", "ami_name": "web", "region": "eu-west-1", "source_ami": "{{user `towpath_base`}}"},
                ],
                "provisioners": [{"type": "shell", "inline": ["true"], "only": ["docker"]}],
                "post-processors": [[
                    {"type": "docker-tag", "repository": "web", "tags": ["1"], "only": ["docker"]},
                    {"type": "manifest"},
                ]],
            })
        );
        let kinds: Vec<_> = config.definition.unwrap().kinds().into_iter().collect();
        assert_eq!(kinds, [ArtifactKind::Ami, ArtifactKind::DockerImage]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let typo = definition(json!({"sources": [{"type": "docker", "imagee": "debian"}]})).unwrap_err();
        assert!(typo.to_string().contains("imagee"), "{typo}");
        let kind = definition(json!({"sources": [{"type": "dockr"}]})).unwrap_err();
        assert!(kind.to_string().contains("dockr") && kind.to_string().contains("amazon-ebs"), "{kind}");
        let cases = [
            (json!({"sources": []}), "at least one"),
            (json!({"sources": [{"type": "null"}, {"type": "null"}]}), "called `null`"),
            (json!({"sources": [{"type": "file", "target": "x", "extra": {"target": "y"}}]}), "sets `target` a second"),
            (json!({"sources": [{"type": "null"}], "post_processors": [[]]}), "empty sequence"),
            (
                json!({"sources": [{"type": "docker"}], "provisioners": [{"type": "shell", "inline": [], "only": ["doker"]}]}),
                "did you mean `docker`?",
            ),
        ];
        for (json, message) in cases {
            let error = PackerConfig::definition(definition(json).unwrap()).check().unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
        }
        let taken = PackerConfig::definition(definition(json!({"sources": [{"type": "null"}]})).unwrap());
        let error = taken.var(IMAGE_VAR, "x").check().unwrap_err();
        assert!(error.to_string().contains("is set by towpath"), "{error}");
    }
}
