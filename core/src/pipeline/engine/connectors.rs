use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::pipeline::{Pipeline, Values, with_parameters};
use crate::{
    Capabilities, Connection, Connector, Context, Error, ErrorKind, Host, Json, Preflight, Registry, Result, Setup,
};

/// Reaches hosts of any registered kind: makes each kind's connector once, with the pipeline's settings for it.
#[derive(Debug)]
pub(crate) struct Connectors {
    registry: Arc<Registry>,
    configs: Values,
    parameters: Values,
    base_dir: PathBuf,
    environment: String,
    made: Mutex<HashMap<String, Arc<dyn Connector>>>,
}

impl Connectors {
    pub(crate) fn new(registry: Arc<Registry>, pipeline: &Pipeline, base_dir: PathBuf, environment: String) -> Self {
        Self {
            registry,
            configs: pipeline.connectors.clone(),
            parameters: pipeline.parameters.clone(),
            base_dir,
            environment,
            made: Mutex::default(),
        }
    }

    fn of(&self, kind: &str) -> Result<Arc<dyn Connector>> {
        let kind = if kind.is_empty() { "ssh" } else { kind };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connector) = made.get(kind) {
            return Ok(Arc::clone(connector));
        }
        let config = with_parameters(self.configs.get(kind).unwrap_or(&Json::Null), &self.parameters)?;
        let setup = Setup {
            base_dir: self.base_dir.clone(),
            environment: self.environment.clone(),
            connector: Arc::new(NoConnector),
        };
        let connector = self.registry.make::<dyn Connector>(kind, &config, &setup)?;
        made.insert(kind.to_owned(), Arc::clone(&connector));
        Ok(connector)
    }
}

#[async_trait]
impl Connector for Connectors {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["become", "dial", "exec", "get", "put", "signal", "spawn"])
    }

    async fn preflight(&self, _cx: &Context) -> Result<Preflight> {
        Ok(Preflight::default())
    }

    async fn connect(&self, cx: &Context, host: &Host) -> Result<Arc<dyn Connection>> {
        let connector = self.of(&host.connection.kind).map_err(|e| e.with_missing("host", &host.name))?;
        connector.connect(cx, host).await
    }
}

/// What a connector gets as its own connector.
#[derive(Debug)]
struct NoConnector;

#[async_trait]
impl Connector for NoConnector {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn preflight(&self, _cx: &Context) -> Result<Preflight> {
        Ok(Preflight::default())
    }

    async fn connect(&self, _cx: &Context, host: &Host) -> Result<Arc<dyn Connection>> {
        Err(Error::new(ErrorKind::Unsupported, "core", "connect", "a connector has no connector below it")
            .with("host", &host.name))
    }
}
