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
    assert_eq!((again.changed, verbs(dir.path()).len()), (0, 5), "packer is not even started for what is there");

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
