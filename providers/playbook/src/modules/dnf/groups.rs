//! Groups of packages.

use super::Tool;

/// The groups that there are: id, name, and whether it is installed.
#[derive(Debug, Default)]
pub(super) struct Groups(Vec<(String, String, bool)>);

impl Groups {
    /// What `group list` prints: with dnf 4 `   Name (id)` below titles, with dnf 5 a table of id, name and `yes` or `no`.
    pub(super) fn read(text: &str, tool: Tool) -> Self {
        let mut all = Vec::new();
        let mut installed = false;
        for line in text.lines() {
            if tool == Tool::Dnf5 {
                let words: Vec<&str> = line.split_whitespace().collect();
                if let [id, name @ .., there @ ("yes" | "no")] = words.as_slice() {
                    all.push(((*id).to_owned(), name.join(" "), *there == "yes"));
                }
            } else if let Some((name, id)) =
                line.strip_prefix("   ").and_then(|l| l.strip_suffix(')')?.rsplit_once(" ("))
            {
                all.push((id.to_owned(), name.to_owned(), installed));
            } else {
                installed = line.starts_with("Installed");
            }
        }
        Self(all)
    }

    pub(super) fn id(&self, name: &str) -> Option<&str> {
        // A module's stream is none of them; dnf itself knows.
        self.0.iter().find(|(id, n, _)| id == name || n.eq_ignore_ascii_case(name)).map(|(id, ..)| id.as_str())
    }

    pub(super) fn installed(&self, id: &str) -> bool {
        self.0.iter().any(|(i, _, there)| i == id && *there)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn lists_of_both_versions_are_read() {
        let four =
            Groups::read("Available Groups:\n   Case Tools (case-tools)\nInstalled Groups:\n   B (b)\n", Tool::Dnf4);
        assert_eq!(
            (four.id("Case Tools"), four.id("case-tools"), four.id("x")),
            (Some("case-tools"), Some("case-tools"), None)
        );
        assert!(!four.installed("case-tools") && four.installed("b"));
        let five = Groups::read(
            "ID          Name        Installed\ncase-tools  Case Tools         no\nb  B  yes\n",
            Tool::Dnf5,
        );
        assert!(five.id("case tools") == Some("case-tools") && five.installed("b"));
    }
}
