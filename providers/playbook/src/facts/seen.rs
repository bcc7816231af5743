//! What the script of facts has read.

use std::collections::BTreeMap;

/// Sections of the script's output, and files by their paths.
#[derive(Debug, Default)]
pub(super) struct Seen {
    sections: BTreeMap<String, String>,
    files: BTreeMap<String, Vec<String>>,
}

impl Seen {
    /// Takes an output apart. Its first line is the mark that begins each section; a last section `end` says that it is whole.
    pub(super) fn of(out: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(out);
        let (mark, rest) = text.split_once('\n').filter(|(m, _)| m.len() == 32).ok_or("the host gave no facts")?;
        let mut seen = Self::default();
        for section in rest.split(&format!("\n{mark} ")).skip(1) {
            let (name, body) = section.split_once('\n').unwrap_or((section, ""));
            if name == "files" {
                for (path, line) in body.lines().filter_map(|l| l.split_once(':')) {
                    seen.files.entry(path.to_owned()).or_default().push(line.to_owned());
                }
            } else {
                seen.sections.insert(name.to_owned(), body.to_owned());
            }
        }
        if !seen.sections.contains_key("end") {
            return Err("the facts that the host gave are not whole".into());
        }
        Ok(seen)
    }

    /// A command's output; empty if it is not there.
    pub(super) fn section(&self, name: &str) -> &str {
        self.sections.get(name).map(String::as_str).unwrap_or_default()
    }

    /// A command's output without the white space around it, if there is any.
    pub(super) fn trimmed(&self, name: &str) -> Option<&str> {
        Some(self.section(name).trim()).filter(|s| !s.is_empty())
    }

    /// Sections whose names begin so: the rest of the name, and the body.
    pub(super) fn sections<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.sections.iter().filter_map(move |(k, v)| Some((k.strip_prefix(prefix)?, v.as_str())))
    }

    /// Whether a builtin test of the script held.
    pub(super) fn is(&self, flag: &str) -> bool {
        self.section("flags").lines().any(|l| l == flag)
    }

    /// A file's lines; none if it is empty or not there.
    pub(super) fn lines(&self, path: &str) -> &[String] {
        self.files.get(path).map(Vec::as_slice).unwrap_or_default()
    }

    /// A file's first line, trimmed, if there is something in it.
    pub(super) fn line(&self, path: &str) -> Option<&str> {
        self.lines(path).first().map(|l| l.trim()).filter(|l| !l.is_empty())
    }

    /// A file's number.
    pub(super) fn number(&self, path: &str) -> Option<i64> {
        self.line(path)?.parse().ok()
    }

    /// Files below a folder, with their first lines.
    pub(super) fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files
            .range(folder.to_owned()..)
            .map_while(move |(k, v)| Some((k.strip_prefix(folder)?, v.first().map(String::as_str).unwrap_or_default())))
    }
}
