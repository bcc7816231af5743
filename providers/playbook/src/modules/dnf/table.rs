//! The table in which dnf lists what it is about to do.

use super::names::Package;

/// What a transaction does.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) installed: Vec<Package>,
    pub(super) removed: Vec<Package>,
}

impl Plan {
    pub(super) fn none(&self) -> bool {
        self.installed.is_empty() && self.removed.is_empty()
    }

    /// From dnf's own table; `now` are the packages that are there.
    pub(super) fn read(text: &str, now: &[Package]) -> Self {
        let mut plan = Self::default();
        for (section, row) in rows(text) {
            let mut words = row.split_whitespace();
            let (Some(name), Some(arch), Some(evr)) = (words.next(), words.next(), words.next()) else { continue };
            let Some(package) = Package::of(name, arch, evr) else { continue };
            let verb = section.split(' ').next().unwrap_or_default();
            match verb {
                "Removing" => plan.removed.push(package),
                "Installing" | "Upgrading" | "Downgrading" | "Reinstalling" => {
                    if verb != "Installing" {
                        let same = |p: &&Package| {
                            p.name == package.name
                                && (p.arch == package.arch || p.arch == "noarch" || package.arch == "noarch")
                        };
                        plan.removed.extend(now.iter().find(same).cloned());
                    }
                    plan.installed.push(package);
                }
                // "replacing" below a package: `name.arch version`.
                "replacing" => plan.removed.push(package),
                _ => {}
            }
        }
        plan
    }

    /// From what was there before and is there after.
    pub(super) fn between(before: &[Package], after: &[Package]) -> Self {
        let new = |a: &[Package], b: &[Package]| a.iter().filter(|p| !b.contains(p)).cloned().collect();
        Self { installed: new(after, before), removed: new(before, after) }
    }

    /// As results tell it.
    pub(super) fn results(&self) -> Vec<String> {
        let installed = self.installed.iter().map(|p| format!("Installed: {}", p.full()));
        installed.chain(self.removed.iter().map(|p| format!("Removed: {}", p.full()))).collect()
    }
}

/// The rows with the titles above them. A row that is too long goes on in the next line, further in.
fn rows(text: &str) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut section = String::new();
    for line in text.lines() {
        let inside = line.len() - line.trim_start().len();
        if line.trim().is_empty() {
            continue;
        } else if inside == 0 {
            section = line.strip_suffix(':').unwrap_or_default().to_owned();
        } else if let Some(old) = line.trim_start().strip_prefix("replacing ") {
            let (name, evr) = old.trim().split_once(' ').unwrap_or((old, ""));
            let (name, arch) = name.rsplit_once('.').unwrap_or((name, ""));
            all.push(("replacing".into(), format!("{name} {arch} {}", evr.trim())));
        } else if inside == 1 {
            all.push((section.clone(), line.trim().to_owned()));
        } else if let Some((_, row)) = all.last_mut() {
            row.push(' ');
            row.push_str(line.trim());
        }
    }
    all.retain(|(section, _)| !section.is_empty());
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read() {
        let now = [Package::of("up", "noarch", "1-1").unwrap(), Package::of("other", "noarch", "1-1").unwrap()];
        let text = "Dependencies resolved.\n=====\n Package  Architecture Version Repository Size\n=====\n\
            Installing:\n a  noarch  1.0-1  tp  6.1 k\n a-very-long-name-that-fills-the-line\n                 noarch  1:2.0-1  tp  6 k\n\
            Upgrading:\n up  noarch  2-1  tp  6 k\n     replacing  old.x86_64 3-1\n\
            Removing dependent packages:\n gone x86_64 2-2 @System 0  \n\nTransaction Summary\n=====\nInstall  2 Packages\n";
        let plan = Plan::read(text, &now);
        assert_eq!(
            plan.results(),
            [
                "Installed: a-1.0-1.noarch",
                "Installed: a-very-long-name-that-fills-the-line-1:2.0-1.noarch",
                "Installed: up-2-1.noarch",
                "Removed: up-1-1.noarch",
                "Removed: old-3-1.x86_64",
                "Removed: gone-2-2.x86_64",
            ]
        );
    }
}
