use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::pipeline::{OutputKind, ProviderKind, Role, Values, nearest};
use crate::{
    Balancer, Configurator, Connector, Context, Deployer, Error, ErrorKind, ImageBuilder, Json, LogSink, Monitor,
    Provisioner, Result,
};

/// Every provider and function that pipelines may name: how it is made from its config, the config's schema, its outputs.
#[derive(Default)]
pub struct Registry {
    providers: BTreeMap<(Role, String), ProviderEntry>,
    functions: BTreeMap<String, FunctionEntry>,
    resolver: Option<Arc<Resolver>>,
    pub(crate) undos: BTreeMap<(String, String), Arc<dyn UndoFunction>>,
}

type Resolver = dyn Fn(&str) -> Option<FunctionEntry> + Send + Sync;
type Make<K> = Arc<dyn Fn(&Json, &Setup) -> Result<Arc<K>> + Send + Sync>;

/// What a provider is made with, beside its config.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Where relative paths of configs start: the pipeline file's directory.
    pub base_dir: PathBuf,
    /// The environment's name.
    pub environment: String,
    /// Reaches hosts of any registered kind of connection.
    pub connector: Arc<dyn Connector>,
}

/// A registered provider.
pub struct ProviderEntry {
    schema: Json,
    make: Box<dyn Any + Send + Sync>,
    parse: fn(&Json) -> Result<()>,
    outputs: Vec<(String, OutputKind)>,
}

impl ProviderEntry {
    /// Declares an output that its steps have, beside those of the verb.
    pub fn output(&mut self, name: impl Into<String>, kind: OutputKind) -> &mut Self {
        self.outputs.push((name.into(), kind));
        self
    }

    /// Replaces the JSON Schema of its config, for a provider whose config type is not known when this is compiled.
    pub fn set_schema(&mut self, schema: Json) -> &mut Self {
        self.schema = schema;
        self
    }

    /// The JSON Schema of its config.
    pub fn schema(&self) -> &Json {
        &self.schema
    }

    /// Its declared outputs.
    pub fn outputs(&self) -> &[(String, OutputKind)] {
        &self.outputs
    }

    pub(crate) fn parse(&self, config: &Json) -> Result<()> {
        (self.parse)(config)
    }
}

impl fmt::Debug for ProviderEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderEntry").field("outputs", &self.outputs).finish_non_exhaustive()
    }
}

/// A registered function.
#[derive(Clone)]
pub struct FunctionEntry {
    function: Arc<dyn StepFunction>,
    outputs: Vec<(String, OutputKind)>,
}

impl FunctionEntry {
    /// Wraps a function.
    pub fn new(function: impl StepFunction + 'static) -> Self {
        Self { function: Arc::new(function), outputs: Vec::new() }
    }

    /// Declares an output.
    pub fn output(&mut self, name: impl Into<String>, kind: OutputKind) -> &mut Self {
        self.outputs.push((name.into(), kind));
        self
    }

    /// Its declared outputs.
    pub fn outputs(&self) -> &[(String, OutputKind)] {
        &self.outputs
    }

    /// The function itself.
    pub fn function(&self) -> &Arc<dyn StepFunction> {
        &self.function
    }
}

impl fmt::Debug for FunctionEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionEntry").field("outputs", &self.outputs).finish_non_exhaustive()
    }
}

/// A step of one's own. What it does to the world goes through [`Context::effect`], so that a crash does not do it twice.
#[async_trait]
pub trait StepFunction: Send + Sync {
    /// Does it.
    async fn call(&self, cx: &Context, inputs: Values) -> Result<CallOutput>;
}

/// What a function gives back.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CallOutput {
    /// Its outputs by name. Never a secret.
    pub outputs: Values,
    /// It found everything as it should be.
    pub unchanged: bool,
}

impl From<Values> for CallOutput {
    fn from(outputs: Values) -> Self {
        Self { outputs, unchanged: false }
    }
}

impl From<()> for CallOutput {
    fn from((): ()) -> Self {
        Self::default()
    }
}

struct Closure<F>(F);

#[async_trait]
impl<F, Fut, Out> StepFunction for Closure<F>
where
    F: Fn(Context, Values) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Out>> + Send,
    Out: Into<CallOutput> + Send,
{
    async fn call(&self, cx: &Context, inputs: Values) -> Result<CallOutput> {
        (self.0)(cx.clone(), inputs).await.map(Into::into)
    }
}

/// Carries out a lease's undo.
#[async_trait]
pub trait UndoFunction: Send + Sync {
    /// Makes it safe again. Safe already is a success.
    async fn undo(&self, cx: &Context, config: &Json, arguments: &Json) -> Result<()>;
}

struct UndoClosure<F>(F);

#[async_trait]
impl<F, Fut> UndoFunction for UndoClosure<F>
where
    F: Fn(Context, Json, Json) -> Fut + Send + Sync,
    Fut: Future<Output = Result<()>> + Send,
{
    async fn undo(&self, cx: &Context, config: &Json, arguments: &Json) -> Result<()> {
        (self.0)(cx.clone(), config.clone(), arguments.clone()).await
    }
}

macro_rules! role_methods {
    ($($(#[$doc:meta])* $method:ident: $object:ident;)*) => { $(
        $(#[$doc])*
        pub fn $method<C, F>(&mut self, name: &str, make: F) -> &mut ProviderEntry
        where
            C: DeserializeOwned + JsonSchema + 'static,
            F: Fn(C, &Setup) -> Result<Arc<dyn $object>> + Send + Sync + 'static,
        {
            self.provider::<dyn $object, C, F>(name, make)
        }
    )* };
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers how a provider of kind `K` is made from its config `C`. One of the same name is replaced.
    pub fn provider<K, C, F>(&mut self, name: &str, make: F) -> &mut ProviderEntry
    where
        K: ProviderKind + ?Sized,
        C: DeserializeOwned + JsonSchema + 'static,
        F: Fn(C, &Setup) -> Result<Arc<K>> + Send + Sync + 'static,
    {
        let make: Make<K> = Arc::new(move |config, setup| make(parse::<C>(config)?, setup));
        let entry = ProviderEntry {
            schema: schemars::schema_for!(C).to_value(),
            make: Box::new(make),
            parse: |config| parse::<C>(config).map(drop),
            outputs: Vec::new(),
        };
        let slot = self.providers.entry((K::ROLE, name.to_owned()));
        match slot {
            std::collections::btree_map::Entry::Occupied(mut old) => {
                old.insert(entry);
                old.into_mut()
            }
            std::collections::btree_map::Entry::Vacant(free) => free.insert(entry),
        }
    }

    role_methods! {
        /// Registers a [`Provisioner`].
        provisioner: Provisioner;
        /// Registers a [`Configurator`].
        configurator: Configurator;
        /// Registers an [`ImageBuilder`].
        image_builder: ImageBuilder;
        /// Registers a [`Deployer`].
        deployer: Deployer;
        /// Registers a [`Monitor`].
        monitor: Monitor;
        /// Registers a [`LogSink`].
        log_sink: LogSink;
        /// Registers a [`Balancer`].
        balancer: Balancer;
        /// Registers a [`Connector`]; its name is the `kind` of the connections that it makes.
        connector: Connector;
    }

    /// Registers a function under a stable name and version: `migrate/v1`. Another process that continues the run finds
    /// it by this name.
    pub fn function<F, Fut, Out>(&mut self, name: &str, function: F) -> &mut FunctionEntry
    where
        F: Fn(Context, Values) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Out>> + Send + 'static,
        Out: Into<CallOutput> + Send + 'static,
    {
        self.step_function(name, FunctionEntry::new(Closure(function)))
    }

    /// Registers a function that is a type of its own.
    pub fn step_function(&mut self, name: &str, entry: FunctionEntry) -> &mut FunctionEntry {
        self.functions.insert(name.to_owned(), entry);
        self.functions.entry(name.to_owned()).or_insert_with(|| unreachable!("inserted above"))
    }

    /// Finds functions that are not registered, by their name: Python's `module:qualname`.
    pub fn function_resolver(&mut self, find: impl Fn(&str) -> Option<FunctionEntry> + Send + Sync + 'static) {
        self.resolver = Some(Arc::new(find));
    }

    /// Registers how a provider carries out an undo that is not `add` (a balancer's), `unsilence` (a monitor's) or `resume`
    /// (a deployer's).
    pub fn undo_function<F, Fut>(&mut self, provider: &str, verb: &str, undo: F)
    where
        F: Fn(Context, Json, Json) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.undos.insert((provider.to_owned(), verb.to_owned()), Arc::new(UndoClosure(undo)));
    }

    /// Finds a provider.
    pub fn entry(&self, role: Role, name: &str) -> Option<&ProviderEntry> {
        self.providers.get(&(role, name.to_owned()))
    }

    /// Finds a function.
    pub fn find_function(&self, name: &str) -> Option<FunctionEntry> {
        self.functions.get(name).cloned().or_else(|| self.resolver.as_ref().and_then(|find| find(name)))
    }

    /// Lists the names of the providers of a kind, sorted.
    pub fn names(&self, role: Role) -> Vec<&str> {
        self.providers.keys().filter(|(r, _)| *r == role).map(|(_, n)| n.as_str()).collect()
    }

    /// Lists the names of the registered functions, sorted.
    pub fn function_names(&self) -> Vec<&str> {
        self.functions.keys().map(String::as_str).collect()
    }

    /// Makes a provider.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): no provider of this name and kind, or its config is wrong.
    pub fn make<K: ProviderKind + ?Sized>(&self, name: &str, config: &Json, setup: &Setup) -> Result<Arc<K>> {
        let entry = self.entry(K::ROLE, name).ok_or_else(|| self.unknown(K::ROLE, name))?;
        let make = entry.make.downcast_ref::<Make<K>>().ok_or_else(|| {
            Error::new(ErrorKind::Internal, "core", "registry", "a provider is registered under a foreign role")
                .with("provider", name)
        })?;
        make(config, setup).map_err(|e| e.with_missing("provider", name))
    }

    pub(crate) fn unknown(&self, role: Role, name: &str) -> Error {
        let names = self.names(role);
        let mut message = format!("there is no {} called `{name}`", role.as_str());
        match nearest(name, names.iter().copied()) {
            Some(near) => message.push_str(&format!("; did you mean `{near}`?")),
            None if names.is_empty() => message.push_str("; none is compiled in: switch a provider's feature on"),
            None => message.push_str(&format!("; there are: {}", names.join(", "))),
        }
        Error::new(ErrorKind::InvalidInput, "core", "registry", message)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("providers", &self.providers.keys().collect::<Vec<_>>())
            .field("functions", &self.functions.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

fn parse<C: DeserializeOwned>(config: &Json) -> Result<C> {
    // No config at all is the same as an empty one.
    let config = if config.is_null() { Json::Object(serde_json::Map::new()) } else { config.clone() };
    serde_json::from_value(config)
        .map_err(|e| Error::new(ErrorKind::InvalidInput, "core", "config", format!("the config is wrong: {e}")))
}
