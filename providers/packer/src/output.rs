//! What a run of Packer said: lines for people, artifacts, errors.

use std::collections::BTreeMap;

use crate::message::Line;

/// What Packer calls an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Raw {
    /// The build that made it.
    pub(crate) build: String,
    /// Which builder or post-processor made it.
    pub(crate) builder_id: String,
    /// Its id there.
    pub(crate) id: String,
    /// What it says of itself.
    pub(crate) text: String,
    /// Its files.
    pub(crate) files: Vec<String>,
}

/// A line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// How far it is (`say`).
    Step(String),
    /// What something printed (`message`), or an error's text.
    Line {
        /// The stream.
        stream: &'static str,
        /// The text, one line.
        line: String,
    },
}

/// Everything that a run said.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The artifacts, in the order in which they came.
    pub(crate) artifacts: Vec<Raw>,
    /// The builds that failed, each with its error once.
    pub(crate) errors: Vec<(String, String)>,
    /// Errors that were shown to people: those of a template that is wrong are nowhere else.
    pub(crate) shown: Vec<String>,
    /// `error-count`, once it came.
    pub(crate) error_count: Option<usize>,
    /// How many artifacts each build is going to list, and how many it has.
    counts: BTreeMap<String, (usize, usize)>,
    open: BTreeMap<(String, String), Raw>,
}

/// Kept of the errors shown; those behind are only on the event stream.
const SHOWN: usize = 200;

impl Report {
    /// Says whether all builds succeeded and every artifact is listed: Packer's exit code can't be known any more.
    pub(crate) fn is_complete(&self) -> bool {
        let listed = !self.counts.is_empty() && self.counts.values().all(|(said, listed)| said == listed);
        listed && self.errors.is_empty() && self.error_count.is_none()
    }

    /// Takes one line of the output. Gives what people should see.
    pub(crate) fn take(&mut self, text: &str) -> Vec<Said> {
        let Some(line) = Line::parse(text) else {
            return said("stdout", text);
        };
        match line.kind.as_str() {
            "ui" => return self.ui(&line),
            "artifact" => self.artifact(&line),
            "artifact-count" => {
                self.counts.entry(line.target.clone()).or_default().0 = line.field(0).parse().unwrap_or_default();
            }
            "error-count" => self.error_count = line.field(0).parse().ok(),
            "error" => {
                let error = (line.target.clone(), line.field(0).trim().to_owned());
                // Packer 1.6.6 writes some of them twice.
                if !self.errors.contains(&error) {
                    self.errors.push(error);
                }
            }
            _ => {}
        }
        Vec::new()
    }

    fn ui(&mut self, line: &Line) -> Vec<Said> {
        let text = line.field(1);
        match line.field(0) {
            "say" => {
                let lines = text.lines().map(str::trim_end).filter(|l| !l.trim().is_empty());
                lines.map(|l| Said::Step(l.to_owned())).collect()
            }
            "error" => {
                if self.shown.len() < SHOWN {
                    self.shown.push(text.trim().to_owned());
                }
                said("stderr", text)
            }
            _ => said("stdout", text),
        }
    }

    fn artifact(&mut self, line: &Line) {
        let key = (line.target.clone(), line.field(0).to_owned());
        let value = line.field(2);
        let raw = self.open.entry(key.clone()).or_insert_with(|| Raw { build: line.target.clone(), ..Raw::default() });
        match line.field(1) {
            "builder-id" => raw.builder_id = value.to_owned(),
            "id" => raw.id = value.to_owned(),
            "string" => raw.text = value.to_owned(),
            "file" => raw.files.push(line.field(3).to_owned()),
            "end" => {
                self.counts.entry(line.target.clone()).or_default().1 += 1;
                if let Some(raw) = self.open.remove(&key)
                    && !self.artifacts.iter().any(|known| same(known, &raw))
                {
                    self.artifacts.push(raw);
                }
            }
            _ => {}
        }
    }
}

/// The last artifact of a build that has post-processors repeats an earlier one. Its id alone is not enough: that of every
/// file is `File`.
fn same(one: &Raw, other: &Raw) -> bool {
    one.builder_id == other.builder_id && one.id == other.id && one.files == other.files
}

fn said(stream: &'static str, text: &str) -> Vec<Said> {
    let lines = text.lines().map(str::trim_end).filter(|l| !l.trim().is_empty());
    lines.map(|l| Said::Line { stream, line: l.to_owned() }).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// Recorded from Packer 1.6.6: two builds, one of which failed, and the error twice.
    const TWO: &str = r"1795690140,,ui,say,Build 'good' finished after 2 milliseconds 921 microseconds.
1795690140,,ui,message,    bad: one%!(PACKER_COMMA) two
1795690140,,ui,error,==> bad: err
1795690140,,ui,say,\n==> Wait completed after 8 milliseconds 656 microseconds
1795690140,,error-count,1
1795690140,bad,error,Script exited with non-zero exit status: 3.Allowed exit codes are: [0]
1795690140,bad,error,Script exited with non-zero exit status: 3.Allowed exit codes are: [0]
1795690140,,ui,say,\n==> Builds finished. The artifacts of successful builds are:
1795690140,good,artifact-count,3
1795690140,good,artifact,0,builder-id,packer.file
1795690140,good,artifact,0,id,File
1795690140,good,artifact,0,string,Stored file: out/good.txt
1795690140,good,artifact,0,files-count,1
1795690140,good,artifact,0,file,0,out/good.txt
1795690140,good,artifact,0,end
1795690140,good,artifact,1,builder-id,packer.post-processor.checksum
1795690140,good,artifact,1,id,
1795690140,good,artifact,1,string,Created artifact from files: out/good.txt%!(PACKER_COMMA) out/good.sum
1795690140,good,artifact,1,files-count,2
1795690140,good,artifact,1,file,0,out/good.txt
1795690140,good,artifact,1,file,1,out/good.sum
1795690140,good,artifact,1,end
1795690140,good,artifact,2,builder-id,packer.post-processor.checksum
1795690140,good,artifact,2,id,
1795690140,good,artifact,2,files-count,2
1795690140,good,artifact,2,file,0,out/good.txt
1795690140,good,artifact,2,file,1,out/good.sum
1795690140,good,artifact,2,end
1795690140,a%!(PACKER_COMMA)b,artifact,0,builder-id,mitchellh.amazonebs
1795690140,a%!(PACKER_COMMA)b,artifact,0,id,eu-west-1:ami-1%!(PACKER_COMMA)us-east-1:ami-2
";

    #[test]
    fn a_run_is_read() {
        let mut report = Report::default();
        let said: Vec<Said> = TWO.lines().flat_map(|l| report.take(l)).collect();
        let line = |stream, line: &str| Said::Line { stream, line: line.into() };
        assert_eq!(said[1], line("stdout", "    bad: one, two"));
        assert_eq!(said[2], line("stderr", "==> bad: err"));
        assert_eq!(said[3], Said::Step("==> Wait completed after 8 milliseconds 656 microseconds".into()));
        assert_eq!(report.error_count, Some(1));
        assert_eq!(report.errors.len(), 1, "the doubled line is one error: {:?}", report.errors);
        assert_eq!(report.errors[0].0, "bad");
        let ids: Vec<&str> = report.artifacts.iter().map(|a| a.builder_id.as_str()).collect();
        assert_eq!(ids, ["packer.file", "packer.post-processor.checksum"], "no doubles, and none without an end");
        assert_eq!(report.artifacts[1].files, ["out/good.txt", "out/good.sum"]);
        assert!(!report.is_complete(), "a build failed");
        let mut good = Report::default();
        for line in TWO.lines().filter(|l| l.contains(",good,artifact")) {
            assert!(!good.is_complete());
            good.take(line);
        }
        assert!(good.is_complete());
    }

    #[test]
    fn what_is_not_packers_is_passed_on() {
        let mut report = Report::default();
        assert_eq!(
            report.take("panic: runtime error"),
            [Said::Line { stream: "stdout", line: "panic: runtime error".into() }]
        );
    }
}
