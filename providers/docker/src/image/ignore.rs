//! `.dockerignore`: which files of a folder are not sent.
//!
//! Source: Docker documentation, "Build context", ".dockerignore files".

use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};
use towpath_core::{Error, ErrorKind, Result};

use crate::PROVIDER;

/// The rules of a file, in their order.
#[derive(Debug, Default)]
pub(super) struct Ignore {
    rules: Vec<(GlobMatcher, bool)>,
}

impl Ignore {
    /// Reads the rules; `file` is for errors.
    pub(super) fn parse(text: &str, file: &Path) -> Result<Self> {
        let mut rules = Vec::new();
        for (n, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (pattern, back) = match line.strip_prefix('!') {
                Some(rest) => (rest.trim(), true),
                None => (line, false),
            };
            let pattern = pattern.trim_start_matches("./").trim_matches('/');
            if pattern.is_empty() || pattern == "." {
                continue;
            }
            let glob = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build();
            let glob = glob.map_err(|e| {
                Error::new(ErrorKind::InvalidInput, PROVIDER, "build", "this is no pattern of files")
                    .with("file", format!("{}:{}", file.display(), n + 1))
                    .caused_by(e)
            })?;
            rules.push((glob.compile_matcher(), back));
        }
        Ok(Self { rules })
    }

    /// Whether a path, relative to the folder, is left out. The last rule that fits it or a folder above it counts.
    pub(super) fn leaves_out(&self, path: &Path) -> bool {
        let fits =
            |glob: &GlobMatcher| path.ancestors().filter(|p| !p.as_os_str().is_empty()).any(|p| glob.is_match(p));
        self.rules.iter().rev().find(|(glob, _)| fits(glob)).is_some_and(|(_, back)| !back)
    }

    /// Whether something below a folder that is left out may be sent all the same.
    pub(super) fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|(_, back)| *back)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rule_that_fits_counts() {
        let text = "# notes\n*.md\n!README.md\n/target/\n**/*.tmp\nsecret?\ndocs\n!docs/keep\n";
        let ignore = Ignore::parse(text, Path::new(".dockerignore")).unwrap();
        let out = |p: &str| ignore.leaves_out(Path::new(p));
        for left_out in ["a.md", "target", "target/debug/x", "x.tmp", "a/b/x.tmp", "secret1", "docs/other", "docs"] {
            assert!(out(left_out), "{left_out}");
        }
        for sent in ["README.md", "src/a.md", "a/target", "secret", "secret12", "docs/keep", "docs/keep/x"] {
            assert!(!out(sent), "{sent}");
        }
    }

    #[test]
    fn a_pattern_that_is_none_is_told_with_its_line() {
        let error = Ignore::parse("ok\n[a\n", Path::new("x/.dockerignore")).unwrap_err();
        assert_eq!(error.get("file"), Some("x/.dockerignore:2"), "{error:?}");
    }
}
