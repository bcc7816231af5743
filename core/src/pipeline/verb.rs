use schemars::{Schema, SchemaGenerator};

use crate::pipeline::{ImageInput, LogFile, OutputKind, Role, Step, Verb};
use crate::{ArtifactKind, Gate, Inventory, Json, LogRecord, Observation, Release};

/// An input that a verb knows.
#[derive(Debug, Clone, Copy)]
pub struct InputDecl {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: OutputKind,
    /// Whether the step needs it.
    pub required: bool,
    /// One sentence for the schema.
    pub description: &'static str,
    pub(crate) schema: fn(&mut SchemaGenerator) -> Schema,
}

fn schema_of<T: schemars::JsonSchema>(g: &mut SchemaGenerator) -> Schema {
    g.subschema_for::<T>()
}

const INVENTORY: InputDecl = InputDecl {
    name: "inventory",
    kind: OutputKind::Inventory,
    required: true,
    description: "The hosts.",
    schema: schema_of::<Inventory>,
};

const CONFIGURE: &[InputDecl] = &[
    INVENTORY,
    InputDecl {
        name: "vars",
        kind: OutputKind::Json,
        required: false,
        description: "Variables with the highest precedence (`--extra-vars`).",
        schema: schema_of::<std::collections::BTreeMap<String, Json>>,
    },
    InputDecl {
        name: "limit",
        kind: OutputKind::String,
        required: false,
        description: "Only these hosts, as an Ansible pattern.",
        schema: schema_of::<String>,
    },
];
const BUILD_IMAGE: &[InputDecl] = &[InputDecl {
    name: "image",
    kind: OutputKind::Json,
    required: true,
    description: "What is baked, from what, into which artifacts.",
    schema: schema_of::<ImageInput>,
}];
const DEPLOY: &[InputDecl] = &[
    InputDecl {
        name: "release",
        kind: OutputKind::Json,
        required: true,
        description: "The version, and what to run.",
        schema: schema_of::<Release>,
    },
    INVENTORY,
    InputDecl {
        name: "rollout",
        kind: OutputKind::Json,
        required: false,
        description: "Batches, balancer, health checks and what happens when they fail.",
        schema: schema_of::<crate::rollout::Rolling>,
    },
];
const GATE: &[InputDecl] = &[
    InputDecl {
        name: "rule",
        kind: OutputKind::Json,
        required: true,
        description: "The checks, how often and how long.",
        schema: schema_of::<Gate>,
    },
    InputDecl { required: false, ..INVENTORY },
];
const RECORD: &[InputDecl] = &[InputDecl {
    name: "observations",
    kind: OutputKind::Json,
    required: true,
    description: "Metrics, notices and check results.",
    schema: schema_of::<Vec<Observation>>,
}];
const SHIP_LOGS: &[InputDecl] = &[
    InputDecl { required: false, ..INVENTORY },
    InputDecl {
        name: "files",
        kind: OutputKind::Json,
        required: false,
        description: "Files on every host of the inventory.",
        schema: schema_of::<Vec<LogFile>>,
    },
    InputDecl {
        name: "records",
        kind: OutputKind::Json,
        required: false,
        description: "Records to hand over as they are.",
        schema: schema_of::<Vec<LogRecord>>,
    },
];

impl Verb {
    /// All verbs.
    pub const ALL: &[Self] = &[
        Self::Provision,
        Self::Configure,
        Self::BuildImage,
        Self::Deploy,
        Self::Gate,
        Self::Record,
        Self::ShipLogs,
        Self::Call,
    ];

    /// Its name as pipelines spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provision => "provision",
            Self::Configure => "configure",
            Self::BuildImage => "build_image",
            Self::Deploy => "deploy",
            Self::Gate => "gate",
            Self::Record => "record",
            Self::ShipLogs => "ship_logs",
            Self::Call => "call",
        }
    }

    /// The kind of provider that it uses; `None`: a registered function.
    pub fn role(self) -> Option<Role> {
        match self {
            Self::Provision => Some(Role::Provisioner),
            Self::Configure => Some(Role::Configurator),
            Self::BuildImage => Some(Role::ImageBuilder),
            Self::Deploy => Some(Role::Deployer),
            Self::Gate | Self::Record => Some(Role::Monitor),
            Self::ShipLogs => Some(Role::LogSink),
            Self::Call => None,
        }
    }

    /// The inputs that it knows. A `call` takes any.
    pub fn inputs(self) -> &'static [InputDecl] {
        match self {
            Self::Provision | Self::Call => &[],
            Self::Configure => CONFIGURE,
            Self::BuildImage => BUILD_IMAGE,
            Self::Deploy => DEPLOY,
            Self::Gate => GATE,
            Self::Record => RECORD,
            Self::ShipLogs => SHIP_LOGS,
        }
    }

    /// The outputs that every step with this verb has.
    pub fn outputs(self) -> &'static [(&'static str, OutputKind)] {
        match self {
            Self::Provision => &[("inventory", OutputKind::Inventory), ("environment", OutputKind::Environment)],
            Self::Configure => &[("configured", OutputKind::Configured)],
            Self::BuildImage => &[("artifacts", OutputKind::Json)],
            Self::Deploy => &[("report", OutputKind::Json)],
            Self::Gate => &[("verdict", OutputKind::Verdict)],
            Self::ShipLogs => &[("shipped", OutputKind::Number)],
            Self::Record | Self::Call => &[],
        }
    }

    /// The kind wanted by a reference deep inside an input; [`OutputKind::Json`] where anything may stand.
    pub(crate) fn wanted(self, input: &str, pointer: &str) -> OutputKind {
        if pointer.is_empty() {
            return self.inputs().iter().find(|i| i.name == input).map_or(OutputKind::Json, |i| i.kind);
        }
        match (self, input, pointer) {
            (Self::Deploy, "release", "/artifact") | (Self::BuildImage, "image", "/base/artifact") => {
                OutputKind::Artifact
            }
            (Self::Deploy, "release", "/version" | "/service") => OutputKind::String,
            (Self::BuildImage, "image", "/base/host_of/inventory") => OutputKind::Inventory,
            _ => OutputKind::Json,
        }
    }
}

/// The name of a kind of artifact as outputs and configs spell it: `archive`, `docker_image`.
pub fn artifact_output(kind: ArtifactKind) -> String {
    match serde_json::to_value(kind) {
        Ok(Json::String(name)) => name,
        _ => String::new(),
    }
}

impl Step {
    /// The outputs that follow from verb, inputs and its own declarations; those of the provider come on top.
    pub fn declared_outputs(&self) -> Vec<(String, OutputKind)> {
        let mut outputs: Vec<(String, OutputKind)> =
            self.uses.verb.outputs().iter().map(|(n, k)| ((*n).to_owned(), *k)).collect();
        if self.uses.verb == Verb::BuildImage {
            let wanted = self.inputs.get("image").and_then(|i| i.0.get("artifacts")).and_then(Json::as_array);
            for name in wanted.into_iter().flatten().filter_map(Json::as_str) {
                outputs.push((name.to_owned(), OutputKind::Artifact));
            }
        }
        outputs.extend(self.outputs.iter().map(|(n, k)| (n.clone(), *k)));
        outputs
    }
}
