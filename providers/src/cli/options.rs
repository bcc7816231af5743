use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};

use crate::Registry;

/// Runs deployment pipelines: provision, configure, bake, roll out, monitor, log.
///
/// Exit codes: 0 done, 1 failed, 2 bad input, 3 rolled back, 130 cancelled.
#[derive(Debug, Parser)]
#[command(name = "towpath", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Where runs, leases and ledgers are kept: `sqlite:PATH`, a path, or `memory:`
    #[arg(long, global = true, default_value = "sqlite:.towpath/store.db")]
    pub(crate) store: String,
    /// The environment to work on
    #[arg(long, short, global = true, default_value = "default")]
    pub(crate) environment: String,
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What the program around the command adds.
    #[arg(skip)]
    pub(crate) extend: Option<fn(&mut Registry)>,
}

impl Common {
    /// Every provider that is compiled in, and what the program around the command adds.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        let mut registry = crate::registry();
        if let Some(extend) = self.extend {
            extend(&mut registry);
        }
        Arc::new(registry)
    }

    pub(crate) fn store_url(&self) -> String {
        // A letter and a colon is a drive. Another kind of store is refused by name, not made as an odd file.
        let is_kind = |kind: &str| kind.len() > 1 && kind.bytes().all(|b| b.is_ascii_alphanumeric());
        match self.store.split_once(':') {
            Some((kind, _)) if is_kind(kind) => self.store.clone(),
            _ => format!("sqlite:{}", self.store),
        }
    }

    /// The folder of pages and events: beside the store, where that is a file.
    pub(crate) fn runs(&self) -> PathBuf {
        let url = self.store_url();
        let beside = url.strip_prefix("sqlite:").and_then(|path| Path::new(path).parent());
        beside.unwrap_or(Path::new(".towpath")).join("runs")
    }
}

#[derive(Debug, Args)]
pub(crate) struct File {
    /// The pipeline file
    pub(crate) file: PathBuf,
    /// Set a parameter: `version=v2`. JSON where it is JSON, else text
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Write the page about the run here, not to `runs/RUN.html` beside the store
    #[arg(long, value_name = "FILE")]
    pub(crate) page: Option<PathBuf>,
    /// Write no page
    #[arg(long, conflicts_with = "page")]
    pub(crate) no_page: bool,
    /// Append every event to this file, as JSON lines, not to `runs/RUN.jsonl` beside the store
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// Tell what happens line by line, also on a terminal
    #[arg(long)]
    pub(crate) plain: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show what a run would change; touches nothing
    Plan {
        #[command(flatten)]
        file: File,
        /// Save the plan, for `towpath run --plan`
        #[arg(long, value_name = "PLAN")]
        out: Option<PathBuf>,
    },
    /// Run a pipeline, or go on with its unfinished run
    #[command(override_usage = "towpath run [OPTIONS] <FILE>\n       towpath run [OPTIONS] --plan <PLAN>")]
    Run {
        /// The pipeline file
        #[arg(required_unless_present = "plan")]
        file: Option<PathBuf>,
        /// Set a parameter: `version=v2`. JSON where it is JSON, else text
        #[arg(long = "set", value_name = "NAME=VALUE")]
        set: Vec<String>,
        /// Run exactly what this saved plan says
        #[arg(long, value_name = "PLAN", conflicts_with_all = ["file", "set"])]
        plan: Option<PathBuf>,
        /// Give an unfinished run up instead of going on with it
        #[arg(long)]
        fresh: bool,
        #[command(flatten)]
        watch: Watch,
    },
    /// Show how far a run is; the newest one if none is named
    Status {
        /// The run
        run: Option<String>,
    },
    /// Go on where a run failed, was cancelled or crashed; the newest one if none is named
    Resume {
        /// The run
        run: Option<String>,
        /// Change a parameter. Steps that start again do everything again then
        #[arg(long = "set", value_name = "NAME=VALUE")]
        set: Vec<String>,
        /// Run this step again, and those that need it
        #[arg(long, value_name = "STEP")]
        rerun: Vec<String>,
        /// Where relative paths of configs start: the pipeline file's folder
        #[arg(long, default_value = ".")]
        base_dir: PathBuf,
        #[command(flatten)]
        watch: Watch,
    },
    /// List who holds what, and why
    Leases,
    /// Undo what dead owners left: put drained backends back, end silences
    Sweep,
    /// Answer a step that asks
    Approve {
        /// The run
        run: String,
        /// The step
        step: String,
        /// Say no
        #[arg(long)]
        refuse: bool,
    },
    /// Check tools, versions and credentials of every step
    Preflight {
        #[command(flatten)]
        file: File,
    },
    /// Remove what the pipeline's provision steps made, the last one first; gives its unfinished run up
    Destroy {
        #[command(flatten)]
        file: File,
    },
    /// Print the JSON Schema of pipeline files, or of one provider's config
    Schema {
        /// A provider, with its kind if it is of several: `ssh`, `provisioner-local`. All of pipeline files if none is named
        provider: Option<String>,
    },
}
