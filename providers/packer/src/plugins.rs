//! The plugins that Packer would take, by their files: other plugins make other images.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;
use towpath_core::Json;
use walkdir::WalkDir;

use crate::PackerConfig;
use crate::artifact::of_file;

/// Start of the names of plugins that lie about, as they did before 1.7.
const LOOSE: &[&str] =
    &["packer-builder-", "packer-datasource-", "packer-plugin-", "packer-post-processor-", "packer-provisioner-"];

/// Which of the plugins that were installed by address count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Those with these addresses: `github.com/hashicorp/docker`.
    Named(BTreeSet<String>),
    /// Any: the template does not say.
    Any,
}

/// The folders that Packer looks into. Source: Packer documentation, "Configuring Packer", and "Extending Packer" of 1.6.
fn roots(env: &impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    if let Some(path) = env("PACKER_PLUGIN_PATH") {
        return std::env::split_paths(&path).collect();
    }
    let config = env("PACKER_CONFIG_DIR").map(PathBuf::from);
    let home = env("HOME").map(PathBuf::from);
    let of_config = config.iter().flat_map(|d| [d.join("plugins"), d.join(".packer.d/plugins")]);
    let of_home = home.iter().flat_map(|d| [d.join(".config/packer/plugins"), d.join(".packer.d/plugins")]);
    of_config.chain(of_home).collect()
}

/// The files of plugins, with what tells their contents apart.
pub(crate) fn files(config: &PackerConfig, program: &Path, wanted: &Wanted) -> io::Result<Vec<Json>> {
    let env = |name: &str| config.env.get(name).map(Into::into).or_else(|| std::env::var_os(name));
    let roots = roots(&env);
    let mut found = Vec::new();
    let loose = roots.iter().map(PathBuf::as_path).chain(program.parent()).chain([config.working_dir.as_path()]);
    for folder in loose {
        let mut names: Vec<OsString> =
            std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.file_name()).collect();
        names.sort();
        for name in names {
            let text = name.to_string_lossy();
            let path = folder.join(&name);
            if LOOSE.iter().any(|start| text.starts_with(start)) && path.is_file() {
                found.push(json!([text, of_file(&path)?]));
            }
        }
    }
    for root in &roots {
        let folders = match wanted {
            Wanted::Named(addresses) => addresses.iter().map(|address| root.join(address)).collect(),
            Wanted::Any => vec![root.clone()],
        };
        for folder in folders.into_iter().filter(|f| f.is_dir()) {
            // `github.com/hashicorp/docker/packer-plugin-docker_v1.0.8_x5.0_linux_amd64`, its checksum beside it.
            for entry in WalkDir::new(&folder).follow_links(true).max_depth(4).sort_by_file_name() {
                let Ok(entry) = entry else { continue };
                let name = entry.path().strip_prefix(root).unwrap_or(entry.path()).display().to_string();
                let nested = entry.path().parent() != Some(root);
                if nested && entry.file_type().is_file() && !name.ends_with("_SHA256SUM") {
                    let sum = entry.path().with_file_name(format!("{}_SHA256SUM", entry.file_name().to_string_lossy()));
                    let sum = if sum.is_file() { sum } else { entry.path().to_owned() };
                    found.push(json!([name, of_file(&sum)?]));
                }
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_told_apart_by_version_and_content() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
        };
        let mut config = PackerConfig::template("t").working_dir(dir.path().join("here"));
        config.env.insert("PACKER_PLUGIN_PATH".into(), dir.path().join("plugins").display().to_string());
        let program = dir.path().join("bin/packer");
        let docker = Wanted::Named(BTreeSet::from(["github.com/hashicorp/docker".to_owned()]));
        let of = |wanted: &Wanted| files(&config, &program, wanted).unwrap();
        assert_eq!(of(&docker), Vec::<Json>::new());

        let mut seen = vec![of(&docker)];
        let plugin = "plugins/github.com/hashicorp/docker/packer-plugin-docker_v1.0.8_x5.0_linux_amd64";
        for (name, text) in [
            (plugin, "binary"),
            (plugin, "another binary"),
            (&*format!("{plugin}_SHA256SUM"), "sum"),
            ("plugins/github.com/hashicorp/docker/packer-plugin-docker_v1.0.9_x5.0_linux_amd64", "newer"),
            ("plugins/packer-builder-x", "loose"),
            ("bin/packer-builder-x", "beside packer"),
            ("here/packer-provisioner-x", "where it runs"),
        ] {
            write(name, text);
            let now = of(&docker);
            assert!(!seen.contains(&now), "{name}");
            seen.push(now);
        }
        let any = of(&Wanted::Any);
        write("plugins/github.com/a/x/packer-plugin-x_v1.0.0_x5.0_linux_amd64", "x");
        assert_eq!(Some(&of(&docker)), seen.last(), "it is not wanted");
        assert_ne!(of(&Wanted::Any), any);
    }
}
