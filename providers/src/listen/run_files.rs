use std::path::PathBuf;
use std::sync::Arc;

use towpath_core::pipeline::Engine;
use towpath_core::{Error, Result};

use super::{JsonLines, RunPage};

/// What a run leaves to read: the page about it, and its events as JSON lines.
#[derive(Debug, Clone, Default)]
pub struct RunFiles {
    page: Option<Arc<RunPage>>,
    journal: Option<Arc<JsonLines>>,
}

/// Where the files of a run are, and which could not be written. That is no reason for the run to count as failed.
#[derive(Debug, Default)]
pub struct Left {
    /// The page. `None`: none was wanted, no run has started, or it could not be written.
    pub page: Option<PathBuf>,
    /// The events.
    pub journal: Option<PathBuf>,
    /// What could not be written, and why.
    pub failed: Vec<Error>,
}

impl RunFiles {
    /// These files, or none.
    pub fn new(page: Option<RunPage>, journal: Option<JsonLines>) -> Self {
        Self { page: page.map(Arc::new), journal: journal.map(Arc::new) }
    }

    /// `<run>.html` and `<run>.jsonl` in this folder.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        Self::new(Some(RunPage::in_folder(&folder)), Some(JsonLines::in_folder(folder)))
    }

    /// Lets them listen to an engine's run.
    pub fn listen(&self, mut engine: Engine) -> Engine {
        // The page first: it reads what an interrupted process of the run wrote down.
        if let Some(page) = &self.page {
            engine = engine.listener(page.clone());
        }
        match &self.journal {
            Some(journal) => engine.listener(journal.clone()),
            None => engine,
        }
    }

    /// Writes what is left to write. `error` is why the run stopped without coming to an end.
    pub fn close(&self, error: Option<&Error>) -> Left {
        let mut left = Left::default();
        let mut told = |path: Option<Result<Option<PathBuf>>>| match path {
            Some(Ok(path)) => path,
            Some(Err(e)) => {
                left.failed.push(e);
                None
            }
            None => None,
        };
        let page = told(self.page.as_ref().map(|p| p.close(error)));
        let journal = told(self.journal.as_ref().map(|j| j.close()));
        Left { page, journal, ..left }
    }
}
