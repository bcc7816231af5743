//! Pipelines: their data, the typed builder, checks, the scheduler and the engine that runs them.
//!
//! A [`Pipeline`] is data. Write it with [`PipelineBuilder`], in Python or in YAML; all three give the same value.
//! [`Engine`] plans and runs it over a [`Registry`](crate::Registry) of providers and a [`Store`](crate::Store).

mod bare;
mod builder;
mod check;
mod engine;
mod file_schema;
mod handle;
mod model;
mod output;
mod schema;
mod spec;
mod verb;
mod yaml;

pub use builder::*;
pub use check::*;
pub use engine::*;
pub use handle::*;
pub use model::*;
pub use output::*;
pub use schema::*;
pub use spec::*;
pub use verb::*;
