//! What is different in newer versions of Packer. They can't be had here, so a stub stands for them that behaves as their
//! documentation says, and records how it is called.

use serde_json::json;
use towpath_core::{ArtifactKind, Certainty, Context, ErrorKind, ImageBuilder};
use towpath_packer::{Packer, PackerConfig};

use crate::support::{image, stub, write};

fn newer(dir: &std::path::Path, version: &str, init: &str) -> std::path::PathBuf {
    let log = dir.join("log");
    stub(
        dir,
        &format!(
            r#"echo "$1 $2" >>{log}
case $1 in
version) echo '1,,version,{version}'; echo '1,,ui,say,Packer v{version}' ;;
init) {init} ;;
validate) echo '1,,ui,say,The configuration is valid.' ;;
plugins) echo '1,,ui,message,/p/github.com/hashicorp/amazon/packer-plugin-amazon_v1.3.0_x5.0_linux_amd64' ;;
build)
  echo made >made.txt
  printf '%s\n' '1,file.a,artifact-count,1' '1,file.a,artifact,0,builder-id,packer.file' '1,file.a,artifact,0,id,File' \
    '1,file.a,artifact,0,string,Stored file: made.txt' '1,file.a,artifact,0,files-count,1' \
    '1,file.a,artifact,0,file,0,made.txt' '1,file.a,artifact,0,end' ;;
esac
"#,
            log = log.display()
        ),
    )
}

fn verbs(dir: &std::path::Path) -> Vec<String> {
    let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
    log.lines().map(|l| l.split(' ').next().unwrap().to_owned()).collect()
}

const WITH_PLUGINS: &str =
    "packer {\n  required_plugins {\n    x = { version = \">= 1\", source = \"github.com/a/x\" }\n  }\n}\nbuild {\n}\n";

#[tokio::test(flavor = "multi_thread")]
async fn required_plugins_are_installed_first() {
    let dir = tempfile::tempdir().unwrap();
    let template = write(dir.path(), "t.pkr.hcl", WITH_PLUGINS);
    let config = PackerConfig {
        program: newer(dir.path(), "1.11.2", ":"),
        ..PackerConfig::template(&template).working_dir(dir.path()).state_dir(dir.path().join("state"))
    };
    let builder = Packer::new(config.clone()).unwrap();
    let cx = Context::new();
    let plan = builder.plan(&cx, &image("web", &[ArtifactKind::File])).await.unwrap();
    assert_eq!(plan.changes[0].certainty, Certainty::Will);
    assert!(plan.warnings[0].contains("after `packer init`"), "{plan:?}");
    assert_eq!(verbs(dir.path()), ["version"], "a plan installs nothing");
    let built = builder.build(&cx, &image("web", &[ArtifactKind::File])).await.unwrap();
    assert_eq!(verbs(dir.path()), ["version", "version", "init", "validate", "build"]);
    assert!(built.artifacts[0].id.ends_with("/made.txt"));
    let again = builder.build(&cx, &image("web", &[ArtifactKind::File])).await.unwrap();
    assert_eq!((again.changed, verbs(dir.path()).len()), (0, 6), "packer is only asked for its version");

    // Not where it is switched off, nor where no plugin is required, nor where the version has no `init`.
    let plain = write(dir.path(), "plain.pkr.hcl", "build {\n}\n");
    let without = PackerConfig { init: false, ..config.clone() };
    let none_required = PackerConfig { template: Some(plain), ..config.clone() };
    let older = PackerConfig { program: newer(&dir.path().join("old"), "1.6.6", ":"), ..config };
    for config in [without, none_required, older] {
        let builder = Packer::new(PackerConfig { reuse: towpath_packer::Reuse::Never, ..config }).unwrap();
        builder.build(&cx, &image("web", &[])).await.unwrap();
    }
    let all = [verbs(dir.path()), verbs(&dir.path().join("old"))].concat();
    assert_eq!(all.iter().filter(|v| *v == "init").count(), 1, "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_of_a_plugin_is_another_content() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = |version: &str| format!("plugins/github.com/a/x/packer-plugin-x_v{version}_x5.0_linux_amd64");
    let install = format!("[ -e plugins ] || {{ mkdir -p plugins/github.com/a/x; echo 1 >{}; }}", plugin("1.0.0"));
    let template = write(dir.path(), "t.pkr.hcl", WITH_PLUGINS);
    let mut config = PackerConfig {
        program: newer(dir.path(), "1.11.2", &install),
        ..PackerConfig::template(&template).working_dir(dir.path()).state_dir(dir.path().join("state"))
    };
    config.env.insert("PACKER_PLUGIN_PATH".into(), dir.path().join("plugins").display().to_string());
    let (builder, cx, web) = (Packer::new(config).unwrap(), Context::new(), image("web", &[ArtifactKind::File]));
    let built = builder.build(&cx, &web).await.unwrap();
    assert_eq!(built.changed, 1);
    let again = builder.build(&cx, &web).await.unwrap();
    assert_eq!((again.changed, &again.artifacts), (0, &built.artifacts), "what `init` installed is part of the first");
    write(dir.path(), &plugin("1.0.1"), "1");
    assert!(!builder.plan(&cx, &web).await.unwrap().is_empty());
    assert_eq!(builder.build(&cx, &web).await.unwrap().changed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_says_before_what_becomes_of_its_plugins() {
    let dir = tempfile::tempdir().unwrap();
    let template = write(dir.path(), "t.pkr.hcl", WITH_PLUGINS);
    let config = |version: &str| PackerConfig {
        program: newer(&dir.path().join(version), version, ":"),
        ..PackerConfig::template(&template).working_dir(dir.path()).state_dir(dir.path().join("state"))
    };
    let cx = Context::new();
    let found = Packer::new(config("1.11.2")).unwrap().preflight(&cx).await.unwrap();
    assert!(found.ok.iter().any(|l| l.contains("`github.com/a/x`") && l.contains("`packer init`")), "{found:?}");

    let old = Packer::new(config("1.6.6")).unwrap().preflight(&cx).await.unwrap_err();
    assert_eq!(old.kind(), ErrorKind::ToolMissing);
    assert!(old.message().contains("`github.com/a/x`") && old.message().contains("1.7"), "{old:?}");

    let without = |version| PackerConfig { init: false, ..config(version) };
    let missing = Packer::new(without("1.11.2")).unwrap().preflight(&cx).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::ToolMissing);
    assert!(missing.message().contains("`github.com/a/x`") && missing.message().contains("init"), "{missing:?}");
    let unseen = Packer::new(without("1.7.0")).unwrap().preflight(&cx).await.unwrap();
    assert!(unseen.warnings.iter().any(|w| w.contains("`github.com/a/x`")), "{unseen:?}");
    write(dir.path(), "there.pkr.hcl", &WITH_PLUGINS.replace("github.com/a/x", "github.com/hashicorp/amazon"));
    let there = PackerConfig { template: Some(dir.path().join("there.pkr.hcl")), ..without("1.11.2") };
    Packer::new(there).unwrap().preflight(&cx).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_that_can_not_be_installed_stop_it() {
    let dir = tempfile::tempdir().unwrap();
    let template = write(dir.path(), "t.pkr.hcl", WITH_PLUGINS);
    let program = newer(dir.path(), "1.9.0", "echo '1,,ui,error,could not reach the registry'; exit 1");
    let config = PackerConfig {
        program,
        ..PackerConfig::template(&template).working_dir(dir.path()).state_dir(dir.path().join("state"))
    };
    let error = Packer::new(config).unwrap().build(&Context::new(), &image("web", &[])).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::ToolFailed, "init"), "{error:?}");
    assert!(error.report().contains("could not reach the registry"), "{error:?}");
    assert_eq!(verbs(dir.path()), ["version", "init"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_says_which_plugins_are_missing() {
    let dir = tempfile::tempdir().unwrap();
    let definition = json!({"sources": [
        {"type": "amazon-ebs", "ami_name": "web"},
        {"type": "null"},
    ], "provisioners": [{"type": "chef-solo", "run_list": ["web"]}]});
    let config = PackerConfig {
        program: newer(dir.path(), "1.10.0", ":"),
        ..PackerConfig::definition(serde_json::from_value(definition).unwrap())
    };
    let error = Packer::new(config.clone()).unwrap().preflight(&Context::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ToolMissing);
    assert!(error.message().contains("`packer plugins install github.com/hashicorp/chef`"), "{error:?}");
    assert!(!error.message().contains("amazon"), "it is there: {error:?}");
    let bundled = PackerConfig { program: newer(&dir.path().join("old"), "1.6.6", ":"), ..config };
    Packer::new(bundled).unwrap().preflight(&Context::new()).await.unwrap();
}
