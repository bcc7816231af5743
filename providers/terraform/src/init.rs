//! `init`, only where something changed since the last one: it is the slowest part of a run with nothing to do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use towpath_core::private_files::write_private;
use towpath_core::{Context, Result};

use crate::run::Site;
use crate::run_folder::home;
use crate::{TerraformConfig, command};

impl Site {
    /// Prepares the module's folder. Gives `false` if it was prepared for just these files and settings before.
    pub(crate) async fn init(
        &self,
        cx: &Context,
        operation: &'static str,
        config: &TerraformConfig,
        again: bool,
    ) -> Result<bool> {
        let stamp = home(&self.data_dir).join("init");
        let current = || self.fingerprint(config);
        if !again && !config.upgrade && std::fs::read_to_string(&stamp).is_ok_and(|s| Some(s) == current()) {
            return Ok(false);
        }
        let folder = self.folder(operation)?;
        let argv = command::init(config);
        let ran = self.follow(cx, operation, &argv, &folder.path("init.jsonl"), true).await?;
        if !ran.status.success() {
            let _ = std::fs::remove_file(&stamp);
            return Err(self.failed(operation, ran, true));
        }
        // Only the next run's time depends on it.
        if let Some(fingerprint) = current() {
            let _ = write_private(&stamp, fingerprint.as_bytes());
        }
        Ok(true)
    }

    /// A digest of everything that an `init` depends on. `None`: something is missing, so it is needed.
    fn fingerprint(&self, config: &TerraformConfig) -> Option<String> {
        let mut digest = Sha256::new();
        let mut add = |name: &str, content: &[u8]| {
            digest.update((name.len() as u64).to_le_bytes());
            digest.update(name);
            digest.update((content.len() as u64).to_le_bytes());
            digest.update(content);
        };
        add(self.tool.product, self.tool.version.as_bytes());
        add("backend", serde_json::to_string(&(&config.backend, &config.backend_files)).ok()?.as_bytes());
        // What somebody prepared by hand since, for another backend.
        add("prepared", &std::fs::read(self.data_dir.join("terraform.tfstate")).unwrap_or_default());
        for (name, value) in &self.env {
            // Where state and plugins are depends on them. Not on secret ones: a digest of those is for guessing.
            add(&name.to_string_lossy(), value.as_encoded_bytes());
        }
        for file in &config.backend_files {
            add(&file.to_string_lossy(), &std::fs::read(file).ok()?);
        }
        let lock = self.module.join(".terraform.lock.hcl");
        if let Ok(content) = std::fs::read(&lock) {
            add("lock", &content);
            if !self.data_dir.join("providers").is_dir() {
                return None;
            }
        }
        for dir in self.module_dirs() {
            let mut files: Vec<PathBuf> = std::fs::read_dir(&dir).ok()?.flatten().map(|e| e.path()).collect();
            files.retain(|f| is_configuration(f));
            files.sort();
            for file in files {
                add(&file.to_string_lossy(), &std::fs::read(&file).ok()?);
            }
        }
        Some(hex::encode(digest.finalize()))
    }

    /// The root module's folder, and those of the modules that the last `init` found.
    fn module_dirs(&self) -> BTreeSet<PathBuf> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Manifest {
            modules: Vec<Module>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Module {
            dir: PathBuf,
        }
        let text = std::fs::read(self.data_dir.join("modules/modules.json")).unwrap_or_default();
        let found = serde_json::from_slice::<Manifest>(&text).map(|m| m.modules).unwrap_or_default();
        let dirs = found.into_iter().map(|m| self.module.join(m.dir));
        // The manifest calls the root module `.`.
        dirs.map(|d| d.components().collect()).chain([self.module.components().collect()]).collect()
    }
}

fn is_configuration(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    [".tf", ".tf.json", ".tofu", ".tofu.json"].iter().any(|ending| name.ends_with(ending))
}
