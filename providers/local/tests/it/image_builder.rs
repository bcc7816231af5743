//! Archives, baked through the connector `local` from folders of this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use towpath_core::testkit::image_builder::ImageBuilderFixture;
use towpath_core::{Artifact, ArtifactKind, Base, Context, ErrorKind, ImageBuilder, ImageDefinition};
use towpath_local::{LocalArchive, LocalArchiveConfig, LocalConnector};

use crate::behaviour::here;

/// A folder outside `/tmp`, of which nothing is ever baked.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn image(name: &str) -> ImageDefinition {
    ImageDefinition {
        name: name.into(),
        base: Base::Host(Box::new(here("localhost"))),
        configure: Vec::new(),
        artifacts: vec![ArtifactKind::Archive],
        connector: Arc::new(LocalConnector),
        labels: BTreeMap::from([("commit".to_owned(), "c0ffee".to_owned())]),
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

async fn fixture() -> Option<ImageBuilderFixture> {
    let dir = folder();
    write(&dir.path().join("tree/etc/app.conf"), "threads = 2\n");
    let config = LocalArchiveConfig::new(dir.path().join("images")).path(dir.path().join("tree").display().to_string());
    let corrupt = |artifact: Artifact| {
        let mut bytes = std::fs::read(&artifact.id).unwrap();
        bytes.truncate(bytes.len() / 2);
        std::fs::write(&artifact.id, bytes).unwrap();
        Box::pin(async {}) as _
    };
    // One host for both images: the other one is configured further first.
    let other =
        ImageDefinition { configure: vec![Arc::new(Writes(dir.path().join("tree/etc/other.conf")))], ..image("other") };
    Some(ImageBuilderFixture {
        provider: Arc::new(LocalArchive::new(config).unwrap()),
        image: image("web"),
        other,
        cx: Context::new(),
        corrupt: Some(Box::new(corrupt)),
        keep: Box::new(dir),
    })
}

mod behaviour {
    towpath_core::image_builder_behaviour!(super::fixture);
}

/// A configurator that writes one file, through the connection that it is given.
#[derive(Debug)]
struct Writes(PathBuf);

#[async_trait::async_trait]
impl towpath_core::Configurator for Writes {
    fn capabilities(&self) -> towpath_core::Capabilities {
        towpath_core::Capabilities::of(&["plan", "apply"])
    }
    async fn preflight(&self, _: &Context) -> towpath_core::Result<towpath_core::Preflight> {
        Ok(towpath_core::Preflight::default())
    }
    async fn plan(&self, _: &Context, _: &towpath_core::Targets) -> towpath_core::Result<towpath_core::Plan> {
        let mut plan = towpath_core::Plan::default();
        if !self.0.exists() {
            plan.changes.push(towpath_core::Change::will("localhost", "file", towpath_core::Action::Create));
        }
        Ok(plan)
    }
    async fn apply(
        &self,
        cx: &Context,
        targets: &towpath_core::Targets,
    ) -> towpath_core::Result<towpath_core::Configured> {
        let connection = targets.connector.connect(cx, &targets.inventory.hosts[0]).await?;
        let path = self.0.display().to_string();
        let text = towpath_core::Source::Bytes("configured\n".into());
        connection.put(cx, text, &path, &towpath_core::PutOptions::default()).await?;
        Ok(towpath_core::Configured::default())
    }
    async fn digest(&self, _: &Context) -> towpath_core::Result<String> {
        Ok(self.0.display().to_string())
    }
}

/// Path, kind, mode, content or target of each entry, below the folder that was baked.
pub(crate) fn listing(archive: &str, below: &Path) -> Vec<(String, char, u32, String)> {
    let file = std::fs::File::open(archive).unwrap();
    let mut archive = tar::Archive::new(zstd::Decoder::new(file).unwrap());
    let mut found = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = Path::new("/").join(entry.path().unwrap());
        let header = entry.header().clone();
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0, 0, 0));
        let kind = match header.entry_type() {
            tar::EntryType::Directory => 'd',
            tar::EntryType::Regular => 'f',
            tar::EntryType::Symlink => 'l',
            tar::EntryType::Link => 'h',
            _ => '?',
        };
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        if let Some(link) = entry.link_name().unwrap() {
            text = link.display().to_string();
        }
        if let Ok(rest) = path.strip_prefix(below) {
            found.push((rest.display().to_string(), kind, header.mode().unwrap(), text));
        }
    }
    found
}

#[tokio::test]
async fn the_same_tree_gives_the_same_archive() {
    let mut made = Vec::new();
    for reversed in [false, true] {
        let dir = folder();
        // The same path for both, so only the order in which files were made, their times and hard links differ.
        let tree = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("same-tree");
        let _ = std::fs::remove_dir_all(&tree);
        let mut names = ["b", "a", "d/x", "d/y", "c"];
        if reversed {
            names.reverse();
        }
        for name in names {
            write(&tree.join(name), name);
        }
        let long = "n".repeat(150);
        write(&tree.join(&long).join("file"), "long");
        write(&tree.join("empty"), "");
        let (first, second) = if reversed { ("link1", "link2") } else { ("link2", "link1") };
        write(&tree.join(first), "one file");
        std::fs::hard_link(tree.join(first), tree.join(second)).unwrap();
        symlink("/etc/passwd", tree.join("symlink")).unwrap();
        std::fs::set_permissions(tree.join("a"), std::fs::Permissions::from_mode(0o4755)).unwrap();
        std::fs::set_permissions(tree.join("d"), std::fs::Permissions::from_mode(0o750)).unwrap();
        write(&tree.join("service.pid"), &std::process::id().to_string());
        write(&tree.join("d/service.log"), "noise");
        std::fs::write(tree.join(".ash_history"), "secret").unwrap();
        let config = LocalArchiveConfig::new(dir.path().join("images")).path(tree.display().to_string()).exclude("c");
        let builder = LocalArchive::new(config).unwrap();
        let built = builder.build(&Context::new(), &image("web")).await.unwrap();
        let artifact = built.artifacts[0].clone();
        let list = listing(&artifact.id, &tree);
        let names: BTreeSet<&str> = list.iter().map(|e| e.0.as_str()).collect();
        let long_file = format!("{long}/file");
        let expected =
            ["", "a", "b", "d", "d/x", "d/y", "empty", "link1", "link2", &long, &long_file, "symlink"].into();
        assert_eq!(names, expected);
        let entry = |name: &str| list.iter().find(|e| e.0 == name).unwrap().clone();
        assert_eq!(entry("a"), ("a".into(), 'f', 0o4755, "a".into()));
        assert_eq!(entry("d").2, 0o750);
        assert_eq!(entry("link1"), ("link1".into(), 'f', entry("link1").2, "one file".into()));
        assert_eq!((entry("link2").1, entry("link2").3.ends_with("/link1")), ('h', true));
        assert_eq!(entry("symlink").3, "/etc/passwd");
        assert_eq!(entry(&long_file).3, "long");

        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(Path::new(&artifact.id)), 0o600);
        assert_eq!(mode(Path::new(&artifact.id).parent().unwrap()), 0o700);
        assert!(artifact.id.ends_with(&format!("{}.tar.zst", artifact.digest.trim_start_matches("sha256:"))));
        made.push((artifact.digest, artifact.provenance.content_key));
        std::fs::remove_dir_all(&tree).unwrap();
    }
    assert_eq!(made[0], made[1]);
}

#[tokio::test]
async fn a_torn_archive_is_built_again_and_the_last_one_takes_the_folder_along() {
    let dir = folder();
    write(&dir.path().join("tree/file"), "text");
    let images = dir.path().join("images");
    let config = LocalArchiveConfig::new(&images).path(dir.path().join("tree").display().to_string());
    let builder = LocalArchive::new(config).unwrap();
    let cx = Context::new();
    let first = builder.build(&cx, &image("web")).await.unwrap();
    std::fs::write(&first.artifacts[0].id, "torn").unwrap();
    std::fs::write(images.join("web/.new-left-by-a-crash"), "").unwrap();
    assert_eq!(builder.plan(&cx, &image("web")).await.unwrap().changes[0].action, towpath_core::Action::Create);
    let again = builder.build(&cx, &image("web")).await.unwrap();
    assert_eq!((again.changed, &again.artifacts), (1, &first.artifacts));
    assert_eq!(builder.probe(&cx, &again.artifacts[0]).await.unwrap(), Some(again.artifacts[0].clone()));
    assert!(!images.join("web/.new-left-by-a-crash").exists());
    assert!(builder.remove(&cx, &again.artifacts[0]).await.unwrap());
    assert!(!images.join("web").exists());
}

#[tokio::test]
async fn what_it_can_not_read_or_bake_is_said() {
    let dir = folder();
    write(&dir.path().join("tree/file"), &"x".repeat(4096));
    let paths = LocalArchiveConfig::new(dir.path().join("images")).path(dir.path().join("tree").display().to_string());
    let cx = Context::new();
    let small = LocalArchive::new(LocalArchiveConfig { max_bytes: 1024, ..paths.clone() }).unwrap();
    let error = small.build(&cx, &image("web")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.report().contains("max_bytes"), "{error:?}");

    let builder = LocalArchive::new(paths).unwrap();
    let from_image = ImageDefinition { base: Base::Image("debian".into()), ..image("web") };
    assert_eq!(builder.build(&cx, &from_image).await.unwrap_err().kind(), ErrorKind::Unsupported);
    let error = builder.build(&cx, &image("../web")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let mut artifact = builder.build(&cx, &image("web")).await.unwrap().artifacts.remove(0);
    artifact.id = dir.path().join("tree/file").display().to_string();
    assert_eq!(builder.remove(&cx, &artifact).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(dir.path().join("tree/file").exists());

    for wrong in [
        LocalArchiveConfig::new("images").path("etc"),
        LocalArchiveConfig::new("images").path("/etc/../root"),
        LocalArchiveConfig::new("images").exclude("a/b"),
        LocalArchiveConfig { max_bytes: 0, ..LocalArchiveConfig::new("images") },
    ] {
        assert_eq!(LocalArchive::new(wrong).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    let typo = serde_json::json!({"exlude": []});
    let error = serde_json::from_value::<LocalArchiveConfig>(typo).unwrap_err();
    assert!(error.to_string().contains("exlude"), "{error}");
}
