//! Pipelines as YAML files, with the place of everything in them.

mod steps;
mod tree;

use std::path::Path;

use crate::pipeline::Pipeline;
use crate::{Error, ErrorKind, Json, Registry, Result};

impl Pipeline {
    /// Reads a pipeline file and checks it.
    ///
    /// Steps are a mapping from name to step. A step has one key that names its verb, with the provider and its config
    /// (`configure: {playbook: {file: site.yml}}`, or just `configure: playbook`); all others are inputs or options.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound): no such file. [`InvalidInput`](ErrorKind::InvalidInput): with `path:line`, the field
    /// and the nearest known name; further problems are its causes.
    pub fn load(path: &Path, registry: &Registry) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| {
            Error::new(ErrorKind::NotFound, "core", "load", "the pipeline file can't be read")
                .with("file", path.display())
                .caused_by(e)
        })?;
        Self::from_yaml(&text, &path.display().to_string(), registry)
    }

    /// Reads a pipeline from YAML text and checks it; errors call it `name`.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn from_yaml(text: &str, name: &str, registry: &Registry) -> Result<Self> {
        let tree = tree::parse(text, name)?;
        let (pipeline, places) = steps::convert(&tree)?;
        pipeline.check_at(registry, |pointer| tree.place(&places.in_file(pointer)))?;
        Ok(pipeline)
    }

    /// Reads a pipeline file's text as a plain value, unchecked: what [`Registry::pipeline_schema`] describes.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): it is no YAML, or holds a key twice.
    pub fn yaml_value(text: &str, name: &str) -> Result<Json> {
        Ok(tree::parse(text, name)?.value)
    }
}
