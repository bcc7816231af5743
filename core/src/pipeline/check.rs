use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use crate::pipeline::schema::{input_schema, misfits};
use crate::pipeline::{
    Input, OnFailure, OutputKind, Pipeline, ProviderRef, Reference, Role, Step, Values, Verb, nearest, pointer_token,
    with_parameters,
};
use crate::rollout::Rolling;
use crate::{Error, ErrorKind, Json, Registry, Result};

/// Something wrong in a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, as a JSON pointer into the pipeline: `/steps/2/uses/config/coutn`.
    pub pointer: String,
    /// The step, if it is in one.
    pub step: Option<String>,
    /// What is wrong, and what was probably meant.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            Some(step) => write!(f, "step `{step}`: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl Pipeline {
    /// Checks names, references, kinds, circles, providers and configs, before anything runs.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): the first problem; the others are its causes.
    pub fn check(&self, registry: &Registry) -> Result<()> {
        self.check_at(registry, |_| None)
    }

    /// Checks as [`check`](Self::check), and names each place: `position` maps a JSON pointer to `path:line`. Where it knows
    /// none, the pointer's parents are asked.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub fn check_at(&self, registry: &Registry, position: impl Fn(&str) -> Option<String>) -> Result<()> {
        let problems = self.problems(registry);
        let Some(first) = problems.first() else { return Ok(()) };
        let place = |problem: &Problem| {
            let mut pointer = problem.pointer.as_str();
            loop {
                if let Some(found) = position(pointer) {
                    return Some(found);
                }
                pointer = pointer.rfind('/').and_then(|end| pointer.get(..end))?;
            }
        };
        let mut error = Error::new(ErrorKind::InvalidInput, "core", "check", first.to_string());
        if let Some(step) = &first.step {
            error = error.with("step", step);
        }
        if let Some(file) = place(first) {
            error = error.with("file", file);
        } else if !first.pointer.is_empty() {
            error = error.with("at", &first.pointer);
        }
        let others: Vec<String> = problems
            .iter()
            .skip(1)
            .map(|p| place(p).map_or_else(|| p.to_string(), |file| format!("{p} ({file})")))
            .collect();
        if others.is_empty() { Err(error) } else { Err(error.caused_by(format!("also: {}", others.join("\nalso: ")))) }
    }

    /// Lists everything that [`check`](Self::check) finds.
    pub fn problems(&self, registry: &Registry) -> Vec<Problem> {
        let mut checker = Checker { pipeline: self, registry, steps: HashMap::new(), problems: Vec::new() };
        checker.names();
        checker.connectors();
        for (index, step) in self.steps.iter().enumerate() {
            checker.step(index, step);
        }
        checker.circles();
        checker.problems
    }

    /// The steps that each step needs, by index: those whose outputs it uses and those of `after`. Unknown names are
    /// left out.
    pub(crate) fn needs(&self) -> Vec<Vec<usize>> {
        let index: HashMap<&str, usize> = self.steps.iter().enumerate().map(|(i, s)| (s.name.as_str(), i)).collect();
        self.steps
            .iter()
            .map(|step| {
                let mut needs = BTreeSet::new();
                for input in step.inputs.values() {
                    for (_, reference) in input.references() {
                        if let Reference::Output { step, .. } = reference {
                            needs.extend(index.get(step.as_str()));
                        }
                    }
                }
                needs.extend(step.options.after.iter().filter_map(|name| index.get(name.as_str())));
                needs.into_iter().collect()
            })
            .collect()
    }
}

impl Registry {
    /// Checks a provider's config alone, as the check of a pipeline does. What refers to a parameter is not looked at.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): no such provider, or its config is wrong; names the field and the nearest
    /// known one.
    pub fn check_config(&self, role: Role, name: &str, config: &Json) -> Result<()> {
        let entry = self.entry(role, name).ok_or_else(|| self.unknown(role, name))?;
        let empty = Json::Object(serde_json::Map::new());
        let config = if config.is_null() { &empty } else { config };
        if let Some(misfit) = misfits(entry.schema(), config).into_iter().next() {
            let message = format!("config of `{name}`: {}", misfit.message);
            let error = Error::new(ErrorKind::InvalidInput, "core", "check", message);
            return Err(if misfit.pointer.is_empty() { error } else { error.with("at", misfit.pointer) });
        }
        if Input(config.clone()).references().is_empty() { entry.parse(config) } else { Ok(()) }
    }
}

struct Checker<'a> {
    pipeline: &'a Pipeline,
    registry: &'a Registry,
    steps: HashMap<&'a str, &'a Step>,
    problems: Vec<Problem>,
}

impl<'a> Checker<'a> {
    fn problem(&mut self, pointer: String, step: Option<&Step>, message: String) {
        self.problems.push(Problem { pointer, step: step.map(|s| s.name.clone()), message });
    }

    fn names(&mut self) {
        if self.pipeline.name.is_empty() {
            self.problem("/name".into(), None, "the pipeline needs a name".into());
        }
        for (index, step) in self.pipeline.steps.iter().enumerate() {
            let at = format!("/steps/{index}/name");
            if step.name.is_empty() || step.name.contains(['/', '.']) || step.name.chars().any(char::is_control) {
                let message =
                    format!("the name `{}` of a step must not be empty, and has no `/` and no `.`", step.name);
                self.problem(at, None, message);
            } else if self.steps.insert(&step.name, step).is_some() {
                self.problem(at, None, format!("two steps are called `{}`", step.name));
            }
        }
    }

    fn connectors(&mut self) {
        for (name, config) in &self.pipeline.connectors {
            let at = format!("/connectors/{}", pointer_token(name));
            self.provider(Role::Connector, name, config, &at, &at, None);
        }
    }

    fn step(&mut self, index: usize, step: &'a Step) {
        let at = format!("/steps/{index}");
        match step.uses.verb.role() {
            Some(role) => {
                let uses = format!("{at}/uses");
                self.provider(
                    role,
                    &step.uses.provider,
                    &step.uses.config,
                    &format!("{uses}/provider"),
                    &format!("{uses}/config"),
                    Some(step),
                );
            }
            None => {
                if self.registry.find_function(&step.uses.provider).is_none() {
                    let names = self.registry.function_names();
                    let near = nearest(&step.uses.provider, names.iter().copied());
                    let hint = near.map_or_else(
                        || "; register it before the pipeline is loaded".to_owned(),
                        |n| format!("; did you mean `{n}`?"),
                    );
                    let message = format!("there is no function called `{}`{hint}", step.uses.provider);
                    self.problem(format!("{at}/uses/provider"), Some(step), message);
                }
            }
        }
        self.inputs(&at, step);
        self.options(&at, step);
    }

    fn provider(&mut self, role: Role, name: &str, config: &Json, at: &str, config_at: &str, step: Option<&Step>) {
        let Some(entry) = self.registry.entry(role, name) else {
            let error = self.registry.unknown(role, name);
            self.problem(at.to_owned(), step, error.message().to_owned());
            return;
        };
        if let Some((pointer, _)) =
            Input(config.clone()).references().into_iter().find(|(_, r)| matches!(r, Reference::Output { .. }))
        {
            let message = "a config can't use outputs of other steps; inputs can".to_owned();
            self.problem(format!("{config_at}{pointer}"), step, message);
            return;
        }
        let config = match with_parameters(config, &self.pipeline.parameters) {
            Ok(Json::Null) => Json::Object(serde_json::Map::new()),
            Ok(config) => config,
            Err(e) => {
                self.problem(config_at.to_owned(), step, self.parameter_message(e.get("parameter").unwrap_or("")));
                return;
            }
        };
        let misfits = misfits(entry.schema(), &config);
        if misfits.is_empty() {
            // The schema says less than the type does: ranges, formats, rules between fields.
            if let Err(e) = entry.parse(&config) {
                self.problem(config_at.to_owned(), step, e.message().to_owned());
            }
        }
        for misfit in misfits {
            let message = format!("config of `{name}`: {}", misfit.message);
            self.problem(format!("{config_at}{}", misfit.pointer), step, message);
        }
    }

    fn parameter_message(&self, name: &str) -> String {
        let hint = nearest(name, self.pipeline.parameters.keys().map(String::as_str))
            .map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
        format!("the pipeline has no parameter `{name}`{hint}")
    }

    fn inputs(&mut self, at: &str, step: &'a Step) {
        let verb = step.uses.verb;
        let declared: Vec<&str> = verb.inputs().iter().map(|i| i.name).collect();
        for (name, input) in &step.inputs {
            let here = format!("{at}/inputs/{}", pointer_token(name));
            if verb != Verb::Call && !declared.contains(&name.as_str()) {
                let hint = nearest(name, declared.iter().copied()).map_or_else(
                    || format!("; it takes: {}", declared.join(", ")),
                    |n| format!("; did you mean `{n}`?"),
                );
                let message = format!("`{}` takes no input `{name}`{hint}", verb.as_str());
                self.problem(here, Some(step), message);
                continue;
            }
            for (pointer, reference) in input.references() {
                self.reference(format!("{here}{pointer}"), step, name, &pointer, &reference);
            }
            if let Some(schema) = input_schema(verb, name) {
                for misfit in misfits(&schema, &input.0) {
                    let message = format!("input `{name}`: {}", misfit.message);
                    self.problem(format!("{here}{}", misfit.pointer), Some(step), message);
                }
            }
            self.nested_providers(&here, step, name, &input.0);
        }
        for missing in verb.inputs().iter().filter(|i| i.required && !step.inputs.contains_key(i.name)) {
            let message = format!("`{}` needs the input `{}`", verb.as_str(), missing.name);
            self.problem(format!("{at}/inputs"), Some(step), message);
        }
    }

    /// Providers that are named inside inputs: the balancer and monitor of a rollout, the configurators of an image.
    fn nested_providers(&mut self, at: &str, step: &Step, input: &str, value: &Json) {
        let mut nested: Vec<(String, Role)> = Vec::new();
        match (step.uses.verb, input) {
            (Verb::Deploy, "rollout") => {
                nested.push(("/balancer".into(), Role::Balancer));
                nested.push(("/monitor".into(), Role::Monitor));
            }
            (Verb::BuildImage, "image") => {
                let count = value.get("configure").and_then(Json::as_array).map_or(0, Vec::len);
                nested.extend((0..count).map(|i| (format!("/configure/{i}"), Role::Configurator)));
            }
            _ => {}
        }
        if (step.uses.verb, input) == (Verb::Deploy, "rollout") {
            self.nested_functions(at, step, value);
            // What a schema can't say. Values that are known later only are checked when the rollout starts.
            if let Ok(Err(error)) = serde_json::from_value::<Rolling>(value.clone()).map(|r| r.validate()) {
                let field = error.get("field").map_or_else(String::new, |f| format!(", field `{f}`"));
                self.problem(at.to_owned(), Some(step), format!("input `rollout`{field}: {}", error.message()));
            }
        }
        for (pointer, role) in nested {
            let Some(Ok(found)) = value.pointer(&pointer).map(|v| serde_json::from_value::<ProviderRef>(v.clone()))
            else {
                continue;
            };
            let here = format!("{at}{pointer}");
            self.provider(
                role,
                &found.provider,
                &found.config,
                &format!("{here}/provider"),
                &format!("{here}/config"),
                Some(step),
            );
        }
    }

    /// Functions that hooks and approvals of a rollout name.
    fn nested_functions(&mut self, at: &str, step: &Step, rollout: &Json) {
        let count = |list: &str| rollout.get(list).and_then(Json::as_array).map_or(0, Vec::len);
        let hooks = (0..count("hooks")).flat_map(|i| [format!("/hooks/{i}/run"), format!("/hooks/{i}/undo")]);
        let steps = (0..count("canary")).map(|i| format!("/canary/{i}/approval"));
        let asked = ["/approval".to_owned(), "/blue_green/approval".to_owned()];
        for pointer in hooks.chain(steps).chain(asked).map(|p| format!("{p}/function")) {
            let Some(name) = rollout.pointer(&pointer).and_then(Json::as_str) else { continue };
            if self.registry.find_function(name).is_none() {
                let names = self.registry.function_names();
                let hint =
                    nearest(name, names.iter().copied()).map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
                let message = format!("there is no function called `{name}`{hint}");
                self.problem(format!("{at}{pointer}"), Some(step), message);
            }
        }
    }

    fn reference(&mut self, at: String, step: &Step, input: &str, pointer: &str, reference: &Reference) {
        match reference {
            Reference::Param(name) => {
                if !self.pipeline.parameters.contains_key(name) {
                    let message = format!("input `{input}`: {}", self.parameter_message(name));
                    self.problem(at, Some(step), message);
                }
            }
            Reference::Output { step: from, output } => {
                let Some(source) = self.steps.get(from.as_str()).copied() else {
                    let hint = nearest(from, self.pipeline.steps.iter().map(|s| s.name.as_str()))
                        .map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
                    let message = format!("input `{input}` refers to a step `{from}`, which does not exist{hint}");
                    self.problem(at, Some(step), message);
                    return;
                };
                let outputs = self.outputs_of(source);
                let Some(kind) = outputs.get(output.as_str()).copied() else {
                    let known: Vec<&str> = outputs.keys().map(String::as_str).collect();
                    let hint = nearest(output, known.iter().copied()).map_or_else(
                        || format!("; it has: {}", if known.is_empty() { "none".into() } else { known.join(", ") }),
                        |n| format!("; did you mean `{n}`?"),
                    );
                    let message = format!(
                        "input `{input}` refers to an output `{output}` that step `{from}` does not have{hint}"
                    );
                    self.problem(at, Some(step), message);
                    return;
                };
                let wanted = step.uses.verb.wanted(input, pointer);
                if !kind.fits(wanted) {
                    let message = format!(
                        "input `{input}` needs {}, but `{from}.{output}` of step `{from}` is {}",
                        wanted.as_str(),
                        kind.as_str()
                    );
                    self.problem(at, Some(step), message);
                }
            }
        }
    }

    fn outputs_of(&self, step: &Step) -> BTreeMap<String, OutputKind> {
        let mut outputs: BTreeMap<String, OutputKind> = step.declared_outputs().into_iter().collect();
        match step.uses.verb.role() {
            Some(role) => {
                if let Some(entry) = self.registry.entry(role, &step.uses.provider) {
                    outputs.extend(entry.outputs().iter().cloned());
                }
            }
            None => {
                if let Some(function) = self.registry.find_function(&step.uses.provider) {
                    outputs.extend(function.outputs().iter().cloned());
                }
            }
        }
        outputs
    }

    fn options(&mut self, at: &str, step: &Step) {
        let options = &step.options;
        for (i, name) in options.after.iter().enumerate() {
            if !self.steps.contains_key(name.as_str()) {
                let hint = nearest(name, self.pipeline.steps.iter().map(|s| s.name.as_str()))
                    .map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
                let message = format!("`after` names a step `{name}`, which does not exist{hint}");
                self.problem(format!("{at}/options/after/{i}"), Some(step), message);
            }
        }
        if let OnFailure::Rollback(target) = &options.on_failure {
            let here = format!("{at}/options/on_failure");
            match self.steps.get(target.as_str()).map(|s| s.uses.verb) {
                None => {
                    let message = format!("`on_failure` rolls back a step `{target}`, which does not exist");
                    self.problem(here, Some(step), message);
                }
                Some(Verb::Deploy) => {}
                Some(verb) => {
                    let message = format!(
                        "`on_failure` rolls back step `{target}`, which is a `{}` and no `deploy`",
                        verb.as_str()
                    );
                    self.problem(here, Some(step), message);
                }
            }
        }
        if options.timeout_s.is_some_and(|t| !(t > 0.0 && t.is_finite())) {
            self.problem(format!("{at}/options/timeout_s"), Some(step), "`timeout_s` must be above 0".into());
        }
        if options.retry.as_ref().is_some_and(|r| r.attempts == 0) {
            let message = "`retry.attempts` counts the first attempt too, so it is at least 1".into();
            self.problem(format!("{at}/options/retry/attempts"), Some(step), message);
        }
    }

    fn circles(&mut self) {
        let needs = self.pipeline.needs();
        // Kahn's algorithm: what is left over stands in a circle, or behind one.
        let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
        let mut followers: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
        for (step, needed) in needs.iter().enumerate() {
            for n in needed {
                if let Some(f) = followers.get_mut(*n) {
                    f.push(step);
                }
            }
        }
        let mut ready: Vec<usize> = (0..needs.len()).filter(|i| missing.get(*i) == Some(&0)).collect();
        let mut done = 0;
        while let Some(step) = ready.pop() {
            done += 1;
            for follower in followers.get(step).into_iter().flatten() {
                if let Some(count) = missing.get_mut(*follower) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push(*follower);
                    }
                }
            }
        }
        if done == needs.len() {
            return;
        }
        // Walking back along needs from any step that is left leads into the circle.
        let left = |i: &usize| missing.get(*i).is_some_and(|m| *m > 0);
        let Some(mut at) = (0..needs.len()).find(left) else { return };
        let mut path: Vec<usize> = Vec::new();
        let circle = loop {
            if let Some(start) = path.iter().position(|p| *p == at) {
                break path.split_off(start);
            }
            path.push(at);
            match needs.get(at).and_then(|n| n.iter().copied().find(left)) {
                Some(next) => at = next,
                None => return,
            }
        };
        let mut names: Vec<&str> =
            circle.iter().rev().filter_map(|i| self.pipeline.steps.get(*i)).map(|s| s.name.as_str()).collect();
        names.extend(names.first().copied());
        let first = circle.first().copied().unwrap_or_default();
        let message = format!("these steps wait for each other: {}", names.join(" -> "));
        self.problem(format!("/steps/{first}"), None, message);
    }
}

impl Pipeline {
    /// The pipeline with some parameters set.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): a parameter that the pipeline does not have.
    pub fn with_values(&self, values: &Values) -> Result<Self> {
        let mut pipeline = self.clone();
        for (name, value) in values {
            match pipeline.parameters.get_mut(name) {
                Some(slot) => *slot = value.clone(),
                None => {
                    let hint = nearest(name, self.parameters.keys().map(String::as_str))
                        .map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
                    let message = format!("the pipeline has no parameter `{name}`{hint}");
                    return Err(Error::new(ErrorKind::InvalidInput, "core", "parameters", message));
                }
            }
        }
        Ok(pipeline)
    }
}
