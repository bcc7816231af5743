use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;
use serde::Deserialize;
use towpath::Bake;
use towpath::equivalence::AllowRule;
use towpath::pipeline::{self, ImageInput};

use crate::errors::{from_python, invalid, raise, to_json, to_python};
use crate::provider::{Object, Provider, definition};
use crate::runtime::{Cancel, block};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    dir: PathBuf,
    images: Vec<(String, ImageInput)>,
    allow: Vec<AllowRule>,
    sources: Vec<PathBuf>,
}

/// Bakes images, each with the builder at the same place, and gives the report and its text.
#[pyfunction]
#[pyo3(signature = (builders, wanted, cancel=None))]
pub(crate) fn bake<'py>(
    py: Python<'py>,
    builders: Vec<PyRef<'py, Provider>>,
    wanted: &Bound<'py, PyAny>,
    cancel: Option<&Cancel>,
) -> PyResult<(Bound<'py, PyAny>, String)> {
    let wanted: Wanted = from_python(py, wanted, "the bake")?;
    let token = Cancel::token(cancel);
    let Some(first) = builders.first() else {
        return Err(raise(py, &invalid("a bake needs an image: `.image(label, builder, image)`")));
    };
    let cx = first.maker.engine(&token).context();
    let mut bake = wanted.allow.into_iter().fold(Bake::new(wanted.dir), Bake::allow);
    bake = wanted.sources.into_iter().fold(bake, Bake::source);
    for (builder, (label, image)) in builders.iter().zip(wanted.images) {
        let Object::ImageBuilder(object) = builder.object.as_ref() else {
            return Err(raise(py, &invalid(format!("the builder of `{label}` is another kind of provider"))));
        };
        let engine = builder.maker.engine(&token);
        let setup = engine.setup(&pipeline::Pipeline::default());
        let image = definition(&engine, &setup, image).map_err(|e| raise(py, &e))?;
        bake = bake.image(label, Arc::clone(object), image);
    }
    let result = block(py, &token, async move {
        let report = bake.run(&cx).await?;
        Ok((to_json(&report)?, report.to_string()))
    });
    for builder in &builders {
        builder.maker.settle(py);
    }
    let (report, text) = result?;
    Ok((to_python(py, &report)?, text))
}
