use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};

use crate::Registry;

const BEGIN: &str = "\
Begin with a pipeline file, say web.yml:
  towpath preflight web.yml   are tools and credentials there?
  towpath plan web.yml        what would change? Touches nothing
  towpath run web.yml         do it. After a crash: the same again, and it goes on
  towpath status              how far is it, what failed?
Each run leaves a page about itself, .towpath/runs/RUN.html: open it in a browser.";

/// Runs deployment pipelines: provision, configure, bake, roll out, monitor, log.
///
/// Exit codes: 0 done, 1 failed, 2 bad input, 3 rolled back, 130 cancelled.
#[derive(Debug, Parser)]
#[command(name = "towpath", version, disable_help_subcommand = true, after_help = BEGIN)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Where runs, leases and ledgers are kept: a file, or `memory:` for this process only
    #[arg(long, global = true, value_name = "FILE", default_value = ".towpath/store.db")]
    pub(crate) store: String,
    /// The environment to work on: `staging`, `production`. Each has its own runs, hosts and releases
    #[arg(long, short, global = true, value_name = "NAME", default_value = "default")]
    pub(crate) environment: String,
    /// Print JSON instead of text
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
    /// The pipeline file, in YAML
    pub(crate) file: PathBuf,
    /// Set a parameter of the pipeline, as `version=v2`; can be repeated. A value that is JSON is taken as JSON, else as text
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
    /// Start no guardian. Where a pipeline deploys, a child process puts drained backends back at once if this one dies; without it
    /// the next towpath process over this store does, or `towpath sweep`
    #[arg(long)]
    pub(crate) no_guardian: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show what a run would change; touches nothing
    Plan {
        #[command(flatten)]
        file: File,
        /// Save the plan in this file, for `towpath run --plan`
        #[arg(long, value_name = "PLAN")]
        out: Option<PathBuf>,
    },
    /// Run a pipeline, or go on with its unfinished run
    #[command(override_usage = "towpath run [OPTIONS] <FILE>\n       towpath run [OPTIONS] --plan <PLAN>")]
    Run {
        /// The pipeline file, in YAML
        #[arg(required_unless_present = "plan")]
        file: Option<PathBuf>,
        /// Set a parameter of the pipeline, as `version=v2`; can be repeated. A value that is JSON is taken as JSON, else as text
        #[arg(long = "set", value_name = "NAME=VALUE")]
        set: Vec<String>,
        /// Run exactly what this saved plan says; a step whose plan would be another one by now is refused
        #[arg(long, value_name = "PLAN", conflicts_with_all = ["file", "set"])]
        plan: Option<PathBuf>,
        /// Give the unfinished run up and begin anew, instead of going on with it
        #[arg(long)]
        fresh: bool,
        #[command(flatten)]
        watch: Watch,
    },
    /// Show how far a run is, and what failed
    Status {
        /// The run's id, as `towpath run` prints it; the newest run of the environment if not given
        run: Option<String>,
    },
    /// Go on where a run failed, was cancelled or crashed; what is done is not done again
    Resume {
        /// The run's id, as `towpath run` prints it; the newest run of the environment if not given
        run: Option<String>,
        /// Change a parameter, as `version=v2`; can be repeated. Steps that start again then do everything again
        #[arg(long = "set", value_name = "NAME=VALUE")]
        set: Vec<String>,
        /// Run this step again although it is done, and those that need it; can be repeated
        #[arg(long, value_name = "STEP")]
        rerun: Vec<String>,
        /// Where relative paths of configs start: the folder of the pipeline file
        #[arg(long, value_name = "FOLDER", default_value = ".")]
        base_dir: PathBuf,
        #[command(flatten)]
        watch: Watch,
    },
    /// List who holds environments, drained backends and silences and why
    Leases,
    /// Undo what dead processes left: put drained backends back, end silences. For cron or a timer
    Sweep,
    /// Show, pause, stop, roll back or answer the rollout of a service that is under way
    Rollout {
        /// The service, as the release names it
        service: String,
        /// What is wanted of it
        #[arg(value_enum, default_value = "status")]
        order: super::rollout::Order,
        /// Why: those who look at it later read this
        #[arg(long, value_name = "TEXT", default_value = "")]
        why: String,
    },
    /// Answer a step that asks before it starts
    Approve {
        /// The run's id, as `towpath run` and `towpath status` print it
        run: String,
        /// The step's name
        step: String,
        /// Say no: the step fails
        #[arg(long)]
        refuse: bool,
    },
    /// Check tools, versions and credentials of every step; changes nothing
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
        /// A provider, with its kind if there are several of the name: `ssh`, `provisioner-local`
        provider: Option<String>,
    },
}
