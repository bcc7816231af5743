//! What a template names: files that its result depends on, variables whose values are sensitive, plugins.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use towpath_core::Json;

use crate::hcl;
use crate::inputs::{INPUTS, Places, named, playbook};

/// What was found in a template.
#[derive(Debug, Default)]
pub(crate) struct Template {
    /// HCL2, whose variables have types; else JSON, whose variables are text.
    pub(crate) hcl: bool,
    /// The template's own files.
    pub(crate) files: Vec<PathBuf>,
    /// Files and folders that it names, as it names them.
    pub(crate) inputs: BTreeSet<PathBuf>,
    /// Options whose file depends on a variable: `web.pkr.hcl:12: script`.
    pub(crate) unknown: Vec<String>,
    /// The sensitive variables, with the values that are found in the template or in files that Packer reads by itself.
    pub(crate) sensitive: BTreeMap<String, Vec<String>>,
    /// It has `required_plugins`.
    pub(crate) required_plugins: bool,
    /// Their addresses: `github.com/hashicorp/docker`.
    pub(crate) plugins: BTreeSet<String>,
    /// The variables that HCL2 has.
    pub(crate) variables: BTreeSet<String>,
}

/// Says whether Packer reads this as HCL2.
pub(crate) fn is_hcl(template: &Path) -> bool {
    let name = template.file_name().unwrap_or_default().to_string_lossy();
    template.is_dir() || name.ends_with(".pkr.hcl") || name.ends_with(".pkr.json")
}

/// Reads a template: a file or a folder.
pub(crate) fn read(template: &Path, working_dir: &Path, vars: &BTreeMap<String, Json>) -> io::Result<Template> {
    let mut found = Template { hcl: is_hcl(template), ..Template::default() };
    let folder = match template.is_dir() {
        true => template.to_owned(),
        false => template.parent().unwrap_or(Path::new("")).to_owned(),
    };
    if template.is_dir() {
        let suffixes = [".pkr.hcl", ".pkr.json", ".auto.pkrvars.hcl", ".auto.pkrvars.json"];
        for entry in std::fs::read_dir(template)? {
            let name = entry?.file_name();
            if suffixes.iter().any(|s| name.to_string_lossy().ends_with(s)) {
                found.files.push(template.join(name));
            }
        }
        found.files.sort();
    } else {
        found.files.push(template.to_owned());
    }
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in found.files.clone() {
        let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        let places = Places { file: &path, folder: &folder, working_dir, vars };
        let vars_only = path.to_string_lossy().contains(".auto.pkrvars.");
        if vars_only {
            collect_values(&path, &text, &mut values);
        } else if path.extension().is_some_and(|e| e == "hcl") {
            found.take_hcl(&hcl::read(&text), &places);
        } else if let Ok(json) = serde_json::from_str::<Json>(&text) {
            found.take_json(&json, &places);
        }
    }
    for (name, known) in &mut found.sensitive {
        known.extend(values.get(name).cloned().unwrap_or_default());
    }
    Ok(found)
}

/// The values of variables in a file of variables.
pub(crate) fn collect_values(path: &Path, text: &str, into: &mut BTreeMap<String, Vec<String>>) {
    if path.extension().is_some_and(|e| e == "hcl") {
        for attribute in hcl::read(text).attributes.into_iter().filter(|a| a.path.is_empty()) {
            into.entry(attribute.name).or_default().extend(attribute.strings);
        }
    } else if let Ok(Json::Object(all)) = serde_json::from_str(text) {
        for (name, value) in all {
            texts(&value, into.entry(name).or_default());
        }
    }
}

/// Every text in a value.
pub(crate) fn texts(value: &Json, into: &mut Vec<String>) {
    match value {
        Json::String(text) => into.push(text.clone()),
        Json::Number(number) => into.push(number.to_string()),
        Json::Array(items) => items.iter().for_each(|v| texts(v, into)),
        Json::Object(map) => map.values().for_each(|v| texts(v, into)),
        Json::Null | Json::Bool(_) => {}
    }
}

impl Template {
    fn input(&mut self, option: &str, text: &str, line: Option<usize>, places: &Places<'_>) {
        match places.resolve(text) {
            Some(path) if option.starts_with("playbook_file") => {
                playbook(&path, &mut self.inputs);
                // Ansible runs where Packer does.
                let config = places.working_dir.join("ansible.cfg");
                self.inputs.extend(config.exists().then_some(config));
            }
            Some(path) => {
                self.inputs.insert(path);
            }
            None => self.unknown.push(places.name(option, line)),
        }
    }

    fn take_hcl(&mut self, file: &hcl::File, places: &Places<'_>) {
        let required = ["packer".to_owned(), "required_plugins".to_owned()];
        self.required_plugins |= file.blocks.iter().any(|b| *b == required);
        for block in &file.blocks {
            if let [of, name] = block.as_slice()
                && of == "variable"
            {
                self.variables.insert(name.clone());
            }
        }
        let beside = |a: &hcl::Attribute, name: &str| {
            file.attributes.iter().find(|b| b.block == a.block && b.name == name).cloned()
        };
        for attribute in &file.attributes {
            let line = Some(attribute.line);
            for read in &attribute.reads {
                match read {
                    Some(text) => self.input("", text, line, places),
                    None => self.unknown.push(places.name(&attribute.name, line)),
                }
            }
            match attribute.path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["packer", "required_plugins", ..] => {
                    self.plugins.extend(attribute.strings.iter().filter(|s| s.contains('/')).cloned());
                }
                [] | ["packer", ..] | ["locals" | "local", ..] => {}
                ["variable", name] => {
                    if attribute.name == "sensitive" && attribute.words == ["true"] {
                        let default = beside(attribute, "default").map(|d| d.strings).unwrap_or_default();
                        self.sensitive.entry((*name).to_owned()).or_default().extend(default);
                    }
                }
                path => {
                    let downloads = beside(attribute, "direction").is_some_and(|d| d.strings == ["download"]);
                    let made = beside(attribute, "generated").is_some_and(|d| d.words == ["true"]);
                    // A build's own `sources` are names of source blocks.
                    let names_blocks = *path == ["build"] || *path == ["build", "source"];
                    if INPUTS.contains(&attribute.name.as_str()) && !downloads && !made && !names_blocks {
                        let sum = beside(attribute, "iso_checksum");
                        // What only Packer can evaluate may well be a checksum.
                        let sum = sum.map(|s| s.strings.first().cloned().unwrap_or_else(|| "unknown".to_owned()));
                        self.take_expression(attribute, sum.as_deref(), places);
                    }
                }
            }
        }
    }

    /// The files that an option's value names, as far as it can be evaluated here.
    fn take_expression(&mut self, attribute: &hcl::Attribute, sum: Option<&str>, places: &Places<'_>) {
        let (name, line) = (attribute.name.as_str(), Some(attribute.line));
        if attribute.words.iter().any(|w| w == "(") {
            // The strings are arguments of a function, and no paths: `join("/", ...)`. Those of functions that read are known.
            let reads_only = !attribute.reads.is_empty() && attribute.reads.iter().all(Option::is_some);
            if !reads_only && named(name, "unknown", sum).is_some() {
                self.unknown.push(places.name(name, line));
            }
            return;
        }
        let dotted = attribute.words.iter().filter(|w| w.contains('.') && w.starts_with(char::is_alphabetic));
        let variables = dotted.filter(|w| !w.starts_with("source.")).map(|w| format!("${{{w}}}"));
        for text in attribute.strings.iter().filter(|s| !s.starts_with("source.")).cloned().chain(variables) {
            if let Some(path) = named(name, &text, sum) {
                self.input(name, path, line, places);
            }
        }
    }

    fn take_json(&mut self, json: &Json, places: &Places<'_>) {
        let Json::Object(all) = json else { return };
        for name in all.get("sensitive-variables").and_then(Json::as_array).into_iter().flatten() {
            let Some(name) = name.as_str() else { continue };
            let mut values = Vec::new();
            texts(json.pointer(&format!("/variables/{name}")).unwrap_or(&Json::Null), &mut values);
            self.sensitive.entry(name.to_owned()).or_default().extend(values);
        }
        // HCL2 in its JSON form.
        for (name, variable) in all.get("variable").and_then(Json::as_object).into_iter().flatten() {
            self.variables.insert(name.clone());
            if variable.get("sensitive") == Some(&Json::Bool(true)) {
                let mut values = Vec::new();
                texts(variable.get("default").unwrap_or(&Json::Null), &mut values);
                self.sensitive.entry(name.clone()).or_default().extend(values);
            }
        }
        if let Some(required) = json.pointer("/packer/required_plugins") {
            self.required_plugins = true;
            let mut found = Vec::new();
            texts(required, &mut found);
            self.plugins.extend(found.into_iter().filter(|s| s.contains('/')));
        }
        for part in ["builders", "provisioners", "post-processors", "source", "build"] {
            self.walk(all.get(part).unwrap_or(&Json::Null), places);
        }
    }

    fn walk(&mut self, value: &Json, places: &Places<'_>) {
        match value {
            Json::Array(items) => items.iter().for_each(|v| self.walk(v, places)),
            Json::Object(map) => {
                let skip = map.get("direction").is_some_and(|d| d == "download")
                    || map.get("generated") == Some(&Json::Bool(true));
                let sum = map.get("iso_checksum").and_then(Json::as_str);
                for (name, value) in map {
                    if INPUTS.contains(&name.as_str()) && !skip {
                        let mut found = Vec::new();
                        texts(value, &mut found);
                        // A build's own `sources` are names of source blocks.
                        let found = found.iter().filter(|t| !t.starts_with("source."));
                        let found: Vec<&str> = found.filter_map(|t| named(name, t, sum)).collect();
                        found.into_iter().for_each(|t| self.input(name, t, None, places));
                    }
                    self.walk(value, places);
                }
            }
            _ => {}
        }
    }

    /// Takes what a definition's template names.
    pub(crate) fn of_definition(template: &Json, working_dir: &Path, vars: &BTreeMap<String, Json>) -> Self {
        let mut found = Self::default();
        let places = Places { file: Path::new("definition"), folder: working_dir, working_dir, vars };
        found.take_json(template, &places);
        found
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn names(paths: &BTreeSet<PathBuf>, dir: &Path) -> Vec<String> {
        paths.iter().map(|p| p.strip_prefix(dir).unwrap_or(p).display().to_string()).collect()
    }

    #[test]
    fn a_folder_of_hcl_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (root, cwd) = (dir.path().join("t"), dir.path());
        std::fs::create_dir_all(root.join("roles")).unwrap();
        let hcl = r#"
packer {
  required_plugins {
    docker = { version = ">= 1.0", source = "github.com/hashicorp/docker" }
  }
}
variable "token" {
  sensitive = true
  default = "from-template"
}
variable "open" {
  default = "x"
}
build {
  sources = ["source.null.a"]
  provisioner "shell" {
    scripts = ["one.sh", "${path.root}/two.sh"]
  }
  provisioner "shell" {
    script = var.script
  }
  provisioner "shell" {
    scripts = [var.known, "three.sh", var.script]
  }
  provisioner "shell" {
    script = join("/", [path.root, "four.sh"])
  }
  provisioner "file" {
    source = "down"
    direction = "download"
  }
  provisioner "ansible" {
    playbook_file = "${path.root}/site.yml"
  }
  provisioner "file" {
    source = "${var.open}.txt"
  }
}
locals {
  data = file("${path.root}/data.sh")
}
"#;
        std::fs::write(root.join("a.pkr.hcl"), hcl).unwrap();
        std::fs::write(root.join("x.auto.pkrvars.hcl"), "token = \"from-auto\"\n").unwrap();
        std::fs::write(root.join("notes.txt"), "").unwrap();
        let vars = BTreeMap::from([("known".to_owned(), Json::from("known.sh"))]);
        let found = read(&root, cwd, &vars).unwrap();
        assert!(found.hcl && found.required_plugins);
        assert_eq!(found.files, [root.join("a.pkr.hcl"), root.join("x.auto.pkrvars.hcl")]);
        assert_eq!(
            names(&found.inputs, cwd),
            ["known.sh", "one.sh", "t/data.sh", "t/roles", "t/site.yml", "t/two.sh", "three.sh"]
        );
        let file = root.join("a.pkr.hcl");
        let unknown = ["20: script", "23: scripts", "26: script", "36: source"];
        assert_eq!(found.unknown, unknown.map(|u| format!("{}:{u}", file.display())));
        assert_eq!(found.plugins.into_iter().collect::<Vec<_>>(), ["github.com/hashicorp/docker"]);
        assert_eq!(found.variables.into_iter().collect::<Vec<_>>(), ["open", "token"]);
        let secrets: Vec<_> = found.sensitive.into_iter().collect();
        assert_eq!(secrets, [("token".to_owned(), vec!["from-template".to_owned(), "from-auto".to_owned()])]);
    }

    #[test]
    fn a_json_template_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let template = dir.path().join("t.json");
        let json = serde_json::json!({
            "variables": {"pw": "default-pw"}, "sensitive-variables": ["pw"],
            "builders": [{"type": "file", "source": "in.txt", "target": "out.txt"}],
            "provisioners": [
                {"type": "shell", "script": "{{template_dir}}/run.sh"},
                {"type": "file", "source": "log", "direction": "download"},
                {"type": "shell", "script": "{{user `x`}}.sh", "override": {"a": {"scripts": ["b.sh"]}}},
            ],
        });
        std::fs::write(&template, json.to_string()).unwrap();
        let found = read(&template, dir.path(), &BTreeMap::new()).unwrap();
        assert!(!found.hcl && !found.required_plugins);
        assert_eq!(names(&found.inputs, dir.path()), ["b.sh", "in.txt", "run.sh"]);
        assert_eq!(found.unknown, [format!("{}: script", template.display())]);
        assert_eq!(found.sensitive["pw"], ["default-pw"]);
    }
}
