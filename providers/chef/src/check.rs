//! What is wrong with a config as such, before any file is looked at.

use towpath_core::{Error, ErrorKind, Result};

use crate::{CHEF, ChefConfig, ChefMode};

pub(crate) fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, CHEF, "config", message)
}

/// Refuses what can't be meant.
pub(crate) fn check(config: &ChefConfig) -> Result<()> {
    let given = |name: &'static str, yes: bool| yes.then_some(name);
    match config.mode {
        ChefMode::Solo => {
            let of_client = [
                given("server_url", config.server_url.is_some()),
                given("validation_client_name", config.validation_client_name.is_some()),
                given("validation_key", config.validation_key.is_some()),
                given("client_key", config.client_key.is_some()),
            ];
            if let Some(name) = of_client.into_iter().flatten().next() {
                return Err(wrong(format!("`{name}` is for `mode: client`")));
            }
            if config.cookbook_paths.is_empty() && config.remote_cookbook_paths.is_empty() {
                return Err(wrong("neither `cookbook_paths` nor `remote_cookbook_paths` is given"));
            }
            if config.environment.is_some() && config.environments_path.is_none() {
                return Err(wrong("`environment` needs `environments_path`"));
            }
        }
        ChefMode::Client => {
            if config.server_url.is_none() {
                return Err(wrong("`mode: client` needs `server_url`"));
            }
            let of_solo = [
                given("cookbook_paths", !config.cookbook_paths.is_empty()),
                given("remote_cookbook_paths", !config.remote_cookbook_paths.is_empty()),
                given("roles_path", config.roles_path.is_some()),
                given("data_bags_path", config.data_bags_path.is_some()),
                given("environments_path", config.environments_path.is_some()),
            ];
            if let Some(name) = of_solo.into_iter().flatten().next() {
                return Err(wrong(format!("`{name}` is for `mode: solo`: with a server it comes from there")));
            }
        }
    }
    for item in &config.run_list {
        Item::parse(item)?;
    }
    for path in config.secret_attributes.keys() {
        if path.split('.').any(str::is_empty) {
            return Err(wrong(format!("`secret_attributes` are paths as `db.password`, not {path:?}")));
        }
    }
    if config.chef_command.first().is_some_and(String::is_empty) {
        return Err(wrong("`chef_command` names no program"));
    }
    if config.forks == Some(0) || config.timeout_s == Some(0) {
        return Err(wrong("`forks` and `timeout_s` must be at least 1"));
    }
    let bad = |p: &str| {
        !p.starts_with('/')
            || p.trim_matches('/').is_empty()
            || p.chars().any(char::is_control)
            || p.split('/').any(|part| part == ".." || part == ".")
    };
    let paths = config.remote_cookbook_paths.iter().chain(&config.client_key).chain(&config.staging_directory);
    if let Some(path) = paths.into_iter().find(|p| bad(p)) {
        return Err(wrong(format!("a path on the host must be absolute, and without `..`, not {path:?}")));
    }
    let texts = [&config.environment, &config.node_name, &config.server_url, &config.validation_client_name];
    if texts.iter().any(|t| t.as_deref().is_some_and(|t| t.is_empty() || t.chars().any(char::is_control))) {
        return Err(wrong(
            "`environment`, `node_name`, `server_url` and `validation_client_name` are one line, not empty",
        ));
    }
    Ok(())
}

/// What a run list names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// The cookbook of a recipe.
    Cookbook(String),
    Role(String),
}

impl Item {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let refused =
            || wrong(format!("{text:?} is nothing that a run list can hold: `recipe[NAME]`, `role[NAME]` or `NAME`"));
        let (kind, name) = match text.split_once('[') {
            Some((kind, rest)) => (kind, rest.strip_suffix(']').ok_or_else(refused)?),
            None => ("recipe", text),
        };
        // A version may follow: `recipe[nginx@1.2.0]`.
        let name = name.split('@').next().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            return Err(refused());
        }
        match kind {
            "recipe" => Ok(Self::Cookbook(name.split("::").next().unwrap_or_default().to_owned())),
            "role" => Ok(Self::Role(name.to_owned())),
            _ => Err(refused()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_run_list_names_cookbooks_and_roles() {
        for (text, want) in [("nginx", "nginx"), ("recipe[nginx::tls]", "nginx"), ("recipe[a_b-c@1.2.0]", "a_b-c")] {
            assert_eq!(Item::parse(text).unwrap(), Item::Cookbook(want.into()), "{text}");
        }
        assert_eq!(Item::parse("role[web]").unwrap(), Item::Role("web".into()));
        for text in ["", "recipe[]", "recipe[nginx", "recipes[nginx]", "a b", "role[x y]", "nginx]"] {
            assert_eq!(Item::parse(text).unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
        }
    }
}
