//! `--list-hosts`, `--list-tasks`, `--list-tags` and `--syntax-check`.

use std::collections::BTreeSet;
use std::path::Path;

use crate::playbook::{PlayOutline, select_hosts, tags_select};
use crate::{Inventory, Json, Result};

use super::options::PlaybookCli;
use super::stdout::{Printer, json};

/// What is listed of a playbook.
pub(crate) struct Lists<'a> {
    pub(crate) cli: &'a PlaybookCli,
    pub(crate) inventory: &'a Inventory,
    pub(crate) limit: Option<&'a str>,
    pub(crate) tags: &'a [String],
    pub(crate) skip_tags: &'a [String],
}

impl Lists<'_> {
    pub(crate) fn print(&self, path: &Path, plays: &[PlayOutline], printer: &Printer) -> Result<()> {
        printer.say(&format!("\nplaybook: {}", path.display()));
        let anything = self.cli.hosts.list_hosts || self.cli.list_tasks || self.cli.list_tags;
        for (at, play) in plays.iter().enumerate().filter(|_| anything) {
            let text = self.play(at + 1, play, printer)?;
            printer.say(text.trim_end_matches('\n'));
        }
        Ok(())
    }

    fn play(&self, number: usize, play: &PlayOutline, printer: &Printer) -> Result<String> {
        let mut out = format!(
            "\n  play #{number} ({}): {}\tTAGS: [{}]\n",
            play.patterns.join(","),
            play.name,
            play.tags.join(",")
        );
        if self.cli.hosts.list_hosts {
            let pattern = play.patterns.join(",");
            let mut hosts = select_hosts(self.inventory, &pattern)?;
            if hosts.is_empty() && !pattern.is_empty() {
                if ["localhost", "127.0.0.1", "::1"].contains(&pattern.as_str()) {
                    hosts.push(pattern.clone());
                } else {
                    printer.warn(&format!("Could not match supplied host pattern, ignoring: {pattern}"));
                }
            }
            if let Some(limit) = self.limit {
                let kept: BTreeSet<String> = select_hosts(self.inventory, limit)?.into_iter().collect();
                hosts.retain(|h| kept.contains(h));
            }
            let patterns = json::python(&Json::from(play.patterns.clone()));
            out.push_str(&format!("    pattern: {patterns}\n    hosts ({}):\n", hosts.len()));
            hosts.sort();
            hosts.iter().for_each(|h| out.push_str(&format!("      {h}\n")));
        }
        let tasks = play.tasks.iter().filter(|t| tags_select(&t.tags, self.tags, self.skip_tags));
        if self.cli.list_tasks {
            out.push_str("    tasks:\n");
            for task in tasks.clone() {
                out.push_str(&format!("      {}\tTAGS: [{}]\n", task.name, task.tags.join(", ")));
            }
        }
        if self.cli.list_tags {
            let all: BTreeSet<&str> = tasks.flat_map(|t| t.tags.iter().map(String::as_str)).collect();
            out.push_str(&format!("      TASK TAGS: [{}]\n", all.into_iter().collect::<Vec<_>>().join(", ")));
        }
        Ok(out)
    }
}
