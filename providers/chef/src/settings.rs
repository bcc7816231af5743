//! The files that Chef reads, and its command line. Touches nothing.

use serde_json::{Map, Value};
use towpath_core::{Result, Secret};

use crate::check::wrong;
use crate::{ChefConfig, ChefMode};

/// Names of files in the staging folder.
pub(crate) const REPORT: &str = "report.json";
pub(crate) const HANDLER: &str = "towpath_report.rb";
pub(crate) const NODE: &str = "node.json";
pub(crate) const BAG_SECRET: &str = "encrypted_data_bag_secret";
pub(crate) const VALIDATION_KEY: &str = "validation.pem";

/// The name of the file with the settings.
pub(crate) fn settings_file(config: &ChefConfig) -> &'static str {
    match config.mode {
        ChefMode::Solo => "solo.rb",
        ChefMode::Client => "client.rb",
    }
}

/// A Ruby string in double quotes, in which nothing is replaced.
fn ruby(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '#') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// The settings, as Packer's provisioners write them, with a handler for the report.
///
/// `parts` are the folders that were sent. Source: Chef documentation, "solo.rb" and "client.rb", "Handlers".
pub(crate) fn settings(config: &ChefConfig, staging: &str, parts: &[String], node_name: Option<&str>) -> String {
    let here = |name: &str| ruby(&format!("{staging}/{name}"));
    let has = |name: &str| parts.iter().any(|p| p == name);
    let mut lines = Vec::new();
    if let Some(level) = config.log_level {
        lines.push(format!("log_level :{}", level.as_str()));
    }
    match config.mode {
        ChefMode::Solo => {
            let own = parts.iter().filter(|p| p.starts_with("cookbooks-")).map(|p| here(p));
            let paths: Vec<String> = config.remote_cookbook_paths.iter().map(|p| ruby(p)).chain(own).collect();
            lines.push(format!("cookbook_path [{}]", paths.join(", ")));
            for (part, setting) in
                [("roles", "role_path"), ("data_bags", "data_bag_path"), ("environments", "environment_path")]
            {
                if has(part) {
                    lines.push(format!("{setting} {}", here(part)));
                }
            }
        }
        ChefMode::Client => {
            lines.push(format!("chef_server_url {}", ruby(config.server_url.as_deref().unwrap_or_default())));
            let validator = config.validation_client_name.as_deref().unwrap_or("chef-validator");
            lines.push(format!("validation_client_name {}", ruby(validator)));
            if config.validation_key.is_some() {
                lines.push(format!("validation_key {}", here(VALIDATION_KEY)));
            }
            if let Some(key) = &config.client_key {
                lines.push(format!("client_key {}", ruby(key)));
            }
        }
    }
    if let Some(environment) = &config.environment {
        lines.push(format!("environment {}", ruby(environment)));
    }
    if config.encrypted_data_bag_secret.is_some() {
        lines.push(format!("encrypted_data_bag_secret {}", here(BAG_SECRET)));
    }
    if let Some(name) = node_name {
        lines.push(format!("node_name {}", ruby(name)));
    }
    if let Some(license) = config.chef_license {
        lines.push(format!("chef_license {}", ruby(license.as_str())));
    }
    lines.push(format!("require {}", here(HANDLER)));
    lines.push(format!("towpath_report = TowpathReport.new({})", here(REPORT)));
    lines.push("report_handlers << towpath_report".to_owned());
    lines.push("exception_handlers << towpath_report".to_owned());
    lines.push(String::new());
    lines.join("\n")
}

/// The node's attributes with its run list.
pub(crate) fn node_json(config: &ChefConfig, secrets: &[(String, Secret)]) -> Result<String> {
    let mut node = config.attributes.clone();
    for (path, secret) in secrets {
        let mut names: Vec<&str> = path.split('.').collect();
        let last = names.pop().unwrap_or_default();
        let mut at: &mut Map<String, Value> = &mut node;
        for name in names {
            let inner = at.entry(name).or_insert_with(|| Value::Object(Map::new()));
            at = inner.as_object_mut().ok_or_else(|| {
                wrong(format!("`secret_attributes` has `{path}`, but `{name}` in `attributes` is no mapping"))
            })?;
        }
        if at.insert(last.to_owned(), secret.expose().into()).is_some() {
            return Err(wrong(format!("`{path}` is in both `attributes` and `secret_attributes`")));
        }
    }
    if !config.run_list.is_empty() {
        node.insert("run_list".to_owned(), config.run_list.clone().into());
    }
    Ok(Value::Object(node).to_string())
}

/// The command line behind the program.
pub(crate) fn arguments(config: &ChefConfig, staging: &str, why_run: bool) -> Vec<String> {
    let mut words = vec![
        "--no-color".to_owned(),
        "-c".to_owned(),
        format!("{staging}/{}", settings_file(config)),
        "-j".to_owned(),
        format!("{staging}/{NODE}"),
    ];
    words.extend(why_run.then(|| "--why-run".to_owned()));
    words.extend(config.extra_arguments.iter().cloned());
    words
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ruby_replaces_nothing_in_a_string() {
        assert_eq!(ruby(r#"a"b\c#{`id`}"#), r#""a\"b\\c\#{`id`}""#);
    }

    #[test]
    fn a_client_has_its_own_settings() {
        let config: ChefConfig = serde_json::from_value(json!({
            "mode": "client", "server_url": "https://chef.example/organizations/x", "validation_key": { "env": "KEY" },
            "environment": "production", "chef_license": "accept-silent", "log_level": "info"
        }))
        .unwrap();
        let text = settings(&config, "/s", &[], Some("web-1"));
        let want = [
            "log_level :info",
            r#"chef_server_url "https://chef.example/organizations/x""#,
            r#"validation_client_name "chef-validator""#,
            r#"validation_key "/s/validation.pem""#,
            r#"environment "production""#,
            r#"node_name "web-1""#,
            r#"chef_license "accept-silent""#,
        ];
        assert_eq!(text.lines().take(7).collect::<Vec<_>>(), want, "{text}");
    }

    #[test]
    fn secrets_join_the_attributes() {
        let config: ChefConfig = serde_json::from_value(
            json!({ "attributes": { "db": { "user": "app" }, "run_list": ["old"] }, "run_list": ["new"] }),
        )
        .unwrap();
        let with = |path: &str| node_json(&config, &[(path.to_owned(), Secret::new("hidden"))]);
        let node: Value = serde_json::from_str(&with("db.password").unwrap()).unwrap();
        assert_eq!(node, json!({ "db": { "user": "app", "password": "hidden" }, "run_list": ["new"] }));
        assert!(with("db.user").unwrap_err().message().contains("in both"));
        assert!(with("db.user.name").unwrap_err().message().contains("no mapping"));
    }
}
