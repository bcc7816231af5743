//! Reads what Chef says about its run.

use serde::{Deserialize, Serialize};

/// The handler that writes it; see there.
pub(crate) const HANDLER: &str = include_str!("report.rb");

/// What a run of Chef did.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub(crate) struct Report {
    pub(crate) success: bool,
    /// Resources in all.
    pub(crate) total: usize,
    pub(crate) updated: Vec<Resource>,
    #[serde(default)]
    pub(crate) failed: Vec<Resource>,
    #[serde(default)]
    pub(crate) exception: Option<Exception>,
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Resource {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) action: Vec<String>,
    #[serde(default)]
    pub(crate) cookbook: Option<String>,
    #[serde(default)]
    pub(crate) recipe: Option<String>,
    /// Where it stands on the host: `/tmp/x/cookbooks-0/app/recipes/default.rb:3:in 'from_file'`.
    #[serde(default)]
    pub(crate) line: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub(crate) struct Exception {
    pub(crate) class: String,
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) trace: Vec<String>,
}

impl Resource {
    /// As Chef writes it: `file[/etc/motd]`.
    pub(crate) fn title(&self) -> String {
        format!("{}[{}]", self.kind, self.name)
    }
}

/// A place on the host as one of this machine: the staging folder's parts are replaced by what they were made of.
pub(crate) fn place(line: &str, staging: &str, parts: &[(String, String)]) -> Option<String> {
    let below = line.strip_prefix(staging)?.strip_prefix('/')?;
    let (part, rest) = below.split_once('/')?;
    let (_, source) = parts.iter().find(|(name, _)| name == part)?;
    // `recipes/default.rb:3:in 'from_file'`
    let mut words = rest.splitn(3, ':');
    let (file, number) = (words.next()?, words.next()?);
    let number: usize = number.parse().ok()?;
    Some(format!("{}/{file}:{number}", source.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_on_the_host_are_places_here() {
        let parts = [("cookbooks-0".to_owned(), "chef/cookbooks/".to_owned())];
        let here = |line| place(line, "/tmp/s", &parts);
        let line = "/tmp/s/cookbooks-0/app/recipes/default.rb:3:in 'from_file'";
        assert_eq!(here(line).as_deref(), Some("chef/cookbooks/app/recipes/default.rb:3"));
        assert_eq!(here("/opt/chef/embedded/lib/x.rb:3:in 'run'"), None);
        assert_eq!(here("/tmp/s/roles/web.rb:3"), None);
    }
}
