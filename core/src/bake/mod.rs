//! One description of a system, many artifacts: builds them, keeps where each came from beside it, and says whether they are the same.
//!
//! [`Bake`] hands a definition to several builders at once. Of each artifact it keeps, in a folder named after its content key:
//!
//! | File | What |
//! |---|---|
//! | `provenance.json` | what it was made from: base, configurators, commits, builder. An in-toto statement with a SLSA provenance predicate |
//! | `contents.json` | what is in it, as [`Contents`] |
//! | `sbom.cdx.json` | its packages: CycloneDX |
//! | `build.jsonl` | the events of its build |
//!
//! Contents are read from the artifact, not from the machine that it was made on, and compared as [`EquivalenceReport`] says.

mod record;
mod source;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use self::record::Record;
use crate::equivalence::{AllowRule, Contents, EquivalenceReport, usual_differences};
use crate::{Artifact, Context, Error, ErrorKind, Event, ImageBuilder, ImageDefinition, Result};

/// Bakes one system by several builders.
#[derive(Debug, Clone)]
pub struct Bake {
    dir: PathBuf,
    images: Vec<Wanted>,
    allowed: Vec<AllowRule>,
    sources: Vec<PathBuf>,
}

#[derive(Debug, Clone)]
struct Wanted {
    label: String,
    builder: Arc<dyn ImageBuilder>,
    image: ImageDefinition,
}

/// What [`Bake::run`] made, or found made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BakeReport {
    /// The artifacts, in the order in which they were wanted.
    pub artifacts: Vec<BakedArtifact>,
    /// Each of them compared with the first one.
    pub equivalence: EquivalenceReport,
    /// Those whose contents can't be read, and why: they are in no comparison.
    pub not_compared: Vec<(String, String)>,
}

/// An artifact with its record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BakedArtifact {
    /// What it was called in the bake: `docker`.
    pub label: String,
    /// The artifact.
    pub artifact: Artifact,
    /// Whether it was built; else it was there.
    pub built: bool,
    /// Folder of its record.
    pub record: PathBuf,
}

/// What became of one builder's work.
struct Done {
    artifacts: Vec<BakedArtifact>,
    contents: Vec<(String, Result<Contents, String>)>,
}

impl Bake {
    /// Keeps records below `dir`. The [usual differences](usual_differences) are allowed.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), images: Vec::new(), allowed: usual_differences(), sources: Vec::new() }
    }

    /// Wants this image of this builder. `label` names it in the report and in the folder of records: letters, digits and `._-`.
    #[must_use]
    pub fn image(mut self, label: impl Into<String>, builder: Arc<dyn ImageBuilder>, image: ImageDefinition) -> Self {
        self.images.push(Wanted { label: label.into(), builder, image });
        self
    }

    /// Allows a difference more.
    #[must_use]
    pub fn allow(mut self, rule: AllowRule) -> Self {
        self.allowed.push(rule);
        self
    }

    /// Records the commit of a Git checkout that playbooks or roles come from.
    #[must_use]
    pub fn source(mut self, checkout: impl Into<PathBuf>) -> Self {
        self.sources.push(checkout.into());
        self
    }

    /// Builds what is missing, all builders at once, writes the records, and compares.
    ///
    /// Where one builder fails the others end their work, and their artifacts and records stay.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): two images of one label, or a label that is no name of a folder. [`Storage`](ErrorKind::Storage):
    /// a record can't be written. Those of the builders: the first one, in their order; all others are warnings.
    /// A difference is *not* an error: see [`EquivalenceReport::is_equal`].
    pub async fn run(&self, cx: &Context) -> Result<BakeReport> {
        self.check()?;
        let sources = source::commits(cx, &self.sources).await;
        let all = self.images.iter().map(|wanted| self.one(cx, wanted, &sources));
        let mut report =
            BakeReport { artifacts: Vec::new(), equivalence: EquivalenceReport::default(), not_compared: Vec::new() };
        let (mut systems, mut first) = (Vec::new(), None);
        for (wanted, done) in self.images.iter().zip(futures::future::join_all(all).await) {
            match done {
                Ok(done) => {
                    report.artifacts.extend(done.artifacts);
                    for (name, contents) in done.contents {
                        match contents {
                            Ok(contents) => systems.push((name, contents)),
                            Err(why) => report.not_compared.push((name, why)),
                        }
                    }
                }
                Err(error) if first.is_none() => first = Some(error.with("image", &wanted.label)),
                Err(error) => cx.warn(format!("{} failed, too: {}", wanted.label, error.report())),
            }
        }
        if let Some(error) = first {
            return Err(error);
        }
        report.equivalence = EquivalenceReport::of(&systems, &self.allowed);
        Ok(report)
    }

    fn check(&self) -> Result<()> {
        let invalid = |message: &str, label: &str| {
            Err(Error::new(ErrorKind::InvalidInput, "core", "bake", message).with("image", format!("{label:?}")))
        };
        for (n, wanted) in self.images.iter().enumerate() {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            for name in [&wanted.label, &wanted.image.name] {
                if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
                    return invalid("it names a folder of records: letters, digits and `._-`, not `.` first", name);
                }
            }
            if self.images.iter().take(n).any(|other| other.label == wanted.label) {
                return invalid("two images have this label: their records would replace each other", &wanted.label);
            }
        }
        Ok(())
    }

    async fn one(&self, cx: &Context, wanted: &Wanted, sources: &[source::Commit]) -> Result<Done> {
        let cx = cx.scoped(&wanted.label);
        let log: Arc<Mutex<Vec<Event>>> = Arc::default();
        let to = Arc::clone(&log);
        let heard = cx.also_heard_by(Arc::new(move |event: &Event| {
            to.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(event.clone());
        }));
        let built = wanted.builder.build(&heard, &wanted.image).await?;
        let mut configurators = Vec::new();
        for configurator in &wanted.image.configure {
            configurators.push(configurator.digest(&cx).await?);
        }
        let mut done = Done { artifacts: Vec::new(), contents: Vec::new() };
        for (n, artifact) in built.artifacts.into_iter().enumerate() {
            let name = match n {
                0 => wanted.label.clone(),
                _ => format!("{}-{}", wanted.label, n + 1),
            };
            let record = Record::new(&self.dir, &name, &artifact);
            let contents = match record.contents(&artifact)? {
                Some(kept) => Ok(kept),
                None => {
                    let contents = match wanted.builder.contents(&cx, &artifact, &wanted.image.connector).await {
                        Ok(contents) => Ok(contents),
                        Err(e) if e.kind() == ErrorKind::Unsupported => Err(e.message().to_owned()),
                        Err(e) => return Err(e),
                    };
                    let events = log.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
                    let made =
                        record::Made { image: &wanted.image, builder: &name, configurators: &configurators, sources };
                    record.write(&artifact, contents.as_ref().ok(), &events, &made)?;
                    contents
                }
            };
            done.contents.push((name.clone(), contents));
            done.artifacts.push(BakedArtifact {
                label: name,
                artifact,
                built: n < built.changed,
                record: record.folder().to_owned(),
            });
        }
        Ok(done)
    }
}

impl BakeReport {
    /// Whether all could be compared and are the same system.
    pub fn is_equal(&self) -> bool {
        self.not_compared.is_empty() && self.equivalence.is_equal()
    }

    /// The artifact of this label.
    pub fn artifact(&self, label: &str) -> Option<&Artifact> {
        self.artifacts.iter().find(|a| a.label == label).map(|a| &a.artifact)
    }

    /// The folder of this label's record.
    pub fn record(&self, label: &str) -> Option<&Path> {
        self.artifacts.iter().find(|a| a.label == label).map(|a| a.record.as_path())
    }
}

/// For people: a line for each artifact, then the comparisons.
impl fmt::Display for BakeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.artifacts.iter().map(|a| a.label.len()).max().unwrap_or_default();
        for a in &self.artifacts {
            let what = if a.built { "built" } else { "there" };
            writeln!(f, "{:width$}  {what}  {}  {}", a.label, a.artifact.id, a.record.display())?;
        }
        self.equivalence.fmt(f)?;
        self.not_compared.iter().try_for_each(|(name, why)| writeln!(f, "{name}: not compared: {why}"))
    }
}
