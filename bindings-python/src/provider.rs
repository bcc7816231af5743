use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use towpath::pipeline::{self, BaseInput, ImageInput, Role};
use towpath::{
    Artifact, Balancer, Base, Configurator, Connector, Context, Deployer, Error, ErrorKind, GroupJob, Host,
    ImageBuilder, ImageDefinition, Inventory, Json, LogSink, Monitor, Provisioner, Registry, Result, Setup,
    SilenceHandle, Target, TargetGroup, Targets, Vars,
};

use crate::engine::Maker;
use crate::errors::{from_python, invalid, parse, to_json, to_python};
use crate::runtime::{Cancel, block};

/// A provider that is used alone.
#[pyclass(frozen, module = "towpath._towpath")]
pub(crate) struct Provider {
    pub(crate) object: Arc<Object>,
    pub(crate) maker: Maker,
}

#[pymethods]
impl Provider {
    /// Calls a verb of the trait with its arguments by name.
    #[pyo3(signature = (verb, arguments, cancel=None))]
    fn call<'py>(
        &self,
        py: Python<'py>,
        verb: String,
        arguments: &Bound<'py, PyAny>,
        cancel: Option<&Cancel>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let arguments = Arguments(from_python(py, arguments, "the call")?);
        let token = Cancel::token(cancel);
        let engine = self.maker.engine(&token);
        let object = Arc::clone(&self.object);
        let result = block(py, &token, async move {
            let call = Call {
                cx: engine.context(),
                setup: engine.setup(&pipeline::Pipeline::default()),
                engine,
                a: arguments,
            };
            object.call(&verb, &call).await
        });
        self.maker.settle(py);
        to_python(py, &result?)
    }
}

/// The provider behind it.
pub(crate) enum Object {
    Provisioner(Arc<dyn Provisioner>),
    Configurator(Arc<dyn Configurator>),
    ImageBuilder(Arc<dyn ImageBuilder>),
    Deployer(Arc<dyn Deployer>),
    Monitor(Arc<dyn Monitor>),
    LogSink(Arc<dyn LogSink>),
    Balancer(Arc<dyn Balancer>),
}

/// Arguments by name.
struct Arguments(Json);

impl Arguments {
    fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        parse(self.0.get(name).cloned().unwrap_or_default(), &format!("the argument `{name}`"))
    }
}

struct Call {
    cx: Context,
    setup: Setup,
    engine: pipeline::Engine,
    a: Arguments,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetsInput {
    inventory: Inventory,
    #[serde(default)]
    extra_vars: Vars,
    #[serde(default)]
    limit: Option<String>,
}

impl Call {
    fn connector(&self) -> Arc<dyn Connector> {
        Arc::clone(&self.setup.connector)
    }

    fn targets(&self) -> Result<Targets> {
        let input: TargetsInput = self.a.get("targets")?;
        let mut targets = Targets::new(input.inventory, self.connector());
        targets.extra_vars = input.extra_vars;
        targets.limit = input.limit;
        Ok(targets)
    }

    fn target(&self) -> Result<Target> {
        Ok(Target { host: self.a.get::<Host>("host")?, connector: self.connector() })
    }

    fn group(&self) -> Result<TargetGroup> {
        Ok(TargetGroup { name: self.a.get("group")?, inventory: self.a.get("inventory")?, connector: self.connector() })
    }

    fn image(&self) -> Result<ImageDefinition> {
        definition(&self.engine, &self.setup, self.a.get("image")?)
    }
}

/// Makes an image's configurators and finds its host.
pub(crate) fn definition(engine: &pipeline::Engine, setup: &Setup, image: ImageInput) -> Result<ImageDefinition> {
    let base = match image.base {
        BaseInput::HostOf { inventory, host } => {
            let found = host.as_ref().map_or_else(|| inventory.hosts.first(), |name| inventory.host(name));
            let found = found.ok_or_else(|| {
                Error::new(ErrorKind::NotFound, "python", "image", "the inventory has no such host to bake")
            })?;
            Base::Host(Box::new(found.clone()))
        }
        BaseInput::Host(host) => Base::Host(host),
        BaseInput::Image(name) => Base::Image(name),
        BaseInput::Artifact(artifact) => Base::Artifact(artifact),
    };
    let registry = engine.registry();
    let made = |c: &pipeline::ProviderRef| registry.make::<dyn Configurator>(&c.provider, &c.config, setup);
    Ok(ImageDefinition {
        name: image.name,
        base,
        configure: image.configure.iter().map(made).collect::<Result<_>>()?,
        artifacts: image.artifacts,
        connector: Arc::clone(&setup.connector),
        labels: image.labels,
    })
}

macro_rules! json {
    ($work:expr) => {
        to_json(&$work.await?)
    };
}

impl Object {
    pub(crate) fn make(registry: &Registry, role: Role, name: &str, config: &Json, setup: &Setup) -> Result<Self> {
        Ok(match role {
            Role::Provisioner => Self::Provisioner(registry.make(name, config, setup)?),
            Role::Configurator => Self::Configurator(registry.make(name, config, setup)?),
            Role::ImageBuilder => Self::ImageBuilder(registry.make(name, config, setup)?),
            Role::Deployer => Self::Deployer(registry.make(name, config, setup)?),
            Role::Monitor => Self::Monitor(registry.make(name, config, setup)?),
            Role::LogSink => Self::LogSink(registry.make(name, config, setup)?),
            Role::Balancer => Self::Balancer(registry.make(name, config, setup)?),
            Role::Connector => {
                return Err(invalid("a connector is not used alone; name it in a pipeline's `connector`"));
            }
        })
    }

    async fn call(&self, verb: &str, call: &Call) -> Result<Json> {
        let (cx, a) = (&call.cx, &call.a);
        match (self, verb) {
            (Self::Provisioner(p), "capabilities") => to_json(&p.capabilities()),
            (Self::Provisioner(p), "preflight") => json!(p.preflight(cx)),
            (Self::Provisioner(p), "plan") => json!(p.plan(cx)),
            (Self::Provisioner(p), "apply") => json!(p.apply(cx)),
            (Self::Provisioner(p), "probe") => json!(p.probe(cx)),
            (Self::Provisioner(p), "destroy") => json!(p.destroy(cx)),

            (Self::Configurator(c), "capabilities") => to_json(&c.capabilities()),
            (Self::Configurator(c), "preflight") => json!(c.preflight(cx)),
            (Self::Configurator(c), "plan") => json!(c.plan(cx, &call.targets()?)),
            (Self::Configurator(c), "apply") => json!(c.apply(cx, &call.targets()?)),
            (Self::Configurator(c), "digest") => json!(c.digest(cx)),

            (Self::ImageBuilder(b), "capabilities") => to_json(&b.capabilities()),
            (Self::ImageBuilder(b), "preflight") => json!(b.preflight(cx)),
            (Self::ImageBuilder(b), "plan") => json!(b.plan(cx, &call.image()?)),
            (Self::ImageBuilder(b), "build") => json!(b.build(cx, &call.image()?)),
            (Self::ImageBuilder(b), "probe") => json!(b.probe(cx, &a.get::<Artifact>("artifact")?)),
            (Self::ImageBuilder(b), "contents") => {
                json!(b.contents(cx, &a.get::<Artifact>("artifact")?, &call.connector()))
            }
            (Self::ImageBuilder(b), "remove") => json!(b.remove(cx, &a.get::<Artifact>("artifact")?)),

            (Self::Deployer(d), "capabilities") => to_json(&d.capabilities()),
            (Self::Deployer(d), "preflight") => json!(d.preflight(cx)),
            (Self::Deployer(d), "stage") => json!(d.stage(cx, &call.target()?, &a.get("release")?)),
            (Self::Deployer(d), "activate") => json!(d.activate(cx, &call.target()?, &a.get("release")?)),
            (Self::Deployer(d), "deactivate") => json!(d.deactivate(cx, &call.target()?)),
            (Self::Deployer(d), "probe") => json!(d.probe(cx, &call.target()?)),
            (Self::Deployer(d), "start") => json!(d.start(cx, &call.group()?, &a.get("release")?)),
            (Self::Deployer(d), "follow") => json!(d.follow(cx, &a.get::<GroupJob>("job")?)),
            (Self::Deployer(d), "cancel") => json!(d.cancel(cx, &a.get::<GroupJob>("job")?)),
            (Self::Deployer(d), "probe_group") => json!(d.probe_group(cx, &call.group()?)),
            (Self::Deployer(d), "suspend") => json!(d.suspend(cx, &a.get::<String>("group")?)),
            (Self::Deployer(d), "resume") => json!(d.resume(cx, &a.get::<String>("group")?)),
            (Self::Deployer(d), "record") => {
                json!(d.record(cx, &call.target()?, &a.get::<towpath::Deployment>("entry")?))
            }
            (Self::Deployer(d), "recorded") => {
                json!(d.recorded(cx, &call.target()?, &a.get::<String>("service")?))
            }

            (Self::Monitor(m), "capabilities") => to_json(&m.capabilities()),
            (Self::Monitor(m), "preflight") => json!(m.preflight(cx)),
            (Self::Monitor(m), "record") => {
                let observations: Vec<towpath::Observation> = a.get("observations")?;
                json!(m.record(cx, &observations))
            }
            (Self::Monitor(m), "assess") => json!(m.assess(cx, &a.get("gate")?, &call.targets()?)),
            (Self::Monitor(m), "silence") => json!(m.silence(cx, &a.get("silence")?)),
            (Self::Monitor(m), "unsilence") => json!(m.unsilence(cx, &a.get::<SilenceHandle>("handle")?)),

            (Self::LogSink(l), "capabilities") => to_json(&l.capabilities()),
            (Self::LogSink(l), "preflight") => json!(l.preflight(cx)),
            (Self::LogSink(l), "append") => {
                let records: Vec<towpath::LogRecord> = a.get("records")?;
                json!(l.append(cx, &records))
            }
            (Self::LogSink(l), "flush") => json!(l.flush(cx)),
            (Self::LogSink(l), "close") => json!(l.close(cx)),

            (Self::Balancer(b), "capabilities") => to_json(&b.capabilities()),
            (Self::Balancer(b), "preflight") => json!(b.preflight(cx)),
            (Self::Balancer(b), "add") => json!(b.add(cx, &a.get("backend")?)),
            (Self::Balancer(b), "drain") => json!(b.drain(cx, &a.get::<String>("name")?)),
            (Self::Balancer(b), "remove") => json!(b.remove(cx, &a.get::<String>("name")?)),
            (Self::Balancer(b), "wait_idle") => {
                let limit =
                    Duration::try_from_secs_f64(a.get("limit_s")?).map_err(|e| invalid(format!("`limit_s`: {e}")))?;
                json!(b.wait_idle(cx, &a.get::<String>("name")?, limit))
            }
            (Self::Balancer(b), "backends") => json!(b.backends(cx)),
            (_, verb) => Err(invalid(format!("this kind of provider has no verb `{verb}`"))),
        }
    }
}
