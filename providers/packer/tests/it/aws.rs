//! AMIs, in an EC2 that moto plays on this machine. Its instances are no machines, so the one that is provisioned is a container.

use std::path::Path;

use serde_json::{Value, json};
use towpath_core::testkit::Moto;
use towpath_core::{ArtifactKind, Base, Context, ErrorKind, ImageBuilder, ImageDefinition, SecretRef};
use towpath_packer::{Packer, PackerConfig};

use crate::hosts::sshd;
use crate::support::{image, output, packer};

/// Packer, and a server that plays AWS.
struct Aws(Moto);

impl Aws {
    fn start() -> Option<Self> {
        if !packer() { None } else { Moto::start().map(Self) }
    }

    fn endpoint(&self) -> String {
        self.0.endpoint()
    }

    fn ask(&self, python: &str) -> String {
        self.0.ask(python)
    }

    fn source(&self, more: Value) -> Value {
        let mut source = json!({
            "type": "amazon-ebs", "region": "us-east-1", "instance_type": "t3.micro",
            "ami_name": "{{user `towpath_image`}}-1", "tags": {"baked-by": "towpath"},
            "extra": {
                "access_key": "{{user `key`}}", "secret_key": "{{user `secret`}}",
                "custom_endpoint_ec2": self.endpoint(),
                "skip_metadata_api_check": true, "skip_credential_validation": true, "skip_region_validation": true,
            },
        });
        for (name, value) in more.as_object().unwrap() {
            match value.as_object() {
                Some(inner) if name == "extra" => source["extra"].as_object_mut().unwrap().extend(inner.clone()),
                _ => source[name] = value.clone(),
            }
        }
        source
    }

    fn config(&self, dir: &Path, definition: Value) -> PackerConfig {
        std::fs::write(dir.join("secret"), "secret-of-moto").unwrap();
        PackerConfig::definition(serde_json::from_value(definition).unwrap())
            .var("key", "AKIATEST")
            .secret_var("secret", SecretRef::File(dir.join("secret")))
            .working_dir(dir)
            .state_dir(dir.join("state"))
    }

    fn base(&self) -> String {
        self.ask("print(ec2().describe_images()['Images'][0]['ImageId'])")
    }
}

fn ami(name: &str, base: &str, kinds: &[ArtifactKind]) -> ImageDefinition {
    ImageDefinition { base: Base::Image(base.into()), ..image(name, kinds) }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ami_in_two_regions_and_a_box_of_it() {
    let Some(moto) = Aws::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let definition = json!({
        "sources": [moto.source(json!({"communicator": "none", "ami_regions": ["us-east-1", "eu-west-1"]}))],
        "post_processors": [[{"type": "vagrant", "output": "web.box"}]],
    });
    let builder = Packer::new(moto.config(dir.path(), definition)).unwrap();
    let cx = Context::new();
    let base = moto.base();
    let web = ami("web", &base, &[ArtifactKind::Ami, ArtifactKind::VagrantBox]);
    let built = builder.build(&cx, &web).await.unwrap();
    let kinds: Vec<ArtifactKind> = built.artifacts.iter().map(|a| a.kind).collect();
    assert_eq!(kinds, [ArtifactKind::Ami, ArtifactKind::Ami, ArtifactKind::VagrantBox], "{built:?}");
    let mut regions: Vec<&str> = Vec::new();
    for artifact in &built.artifacts[..2] {
        let (region, id) = artifact.id.split_once(':').unwrap();
        let found =
            moto.ask(&format!("i = ec2('{region}').describe_images(ImageIds=['{id}'])['Images'][0]\nprint(i['Name'])"));
        assert_eq!(found, "web-1");
        regions.push(region);
        assert_eq!(artifact.provenance.base, base);
    }
    regions.sort_unstable();
    assert_eq!(regions, ["eu-west-1", "us-east-1"]);
    assert_ne!(built.artifacts[0].digest, built.artifacts[1].digest);
    let metadata = output("tar", &["-xOf", &built.artifacts[2].id, "metadata.json"]);
    assert_eq!(serde_json::from_str::<Value>(&metadata).unwrap()["provider"], "aws");
    assert_eq!(builder.probe(&cx, &built.artifacts[2]).await.unwrap().as_ref(), Some(&built.artifacts[2]));
    assert_eq!(builder.probe(&cx, &built.artifacts[0]).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(builder.build(&cx, &web).await.unwrap().changed, 0);
    let instances = moto
        .ask("print([i['State']['Name'] for r in ec2().describe_instances()['Reservations'] for i in r['Instances']])");
    assert_eq!(instances, "['terminated']");

    // The box gone, the AMIs are built anew; the old ones stay known.
    assert!(builder.remove(&cx, &built.artifacts[2]).await.unwrap());
    let forced = Packer::new(PackerConfig { force: true, ..builder.config().clone() }).unwrap();
    assert_eq!(forced.build(&cx, &web).await.unwrap().changed, 3);
    let known = forced.recorded(&cx, "web").await.unwrap();
    assert!(built.artifacts[..2].iter().all(|a| known.contains(a)) && known.len() == 5, "{known:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_provisioned_over_ssh() {
    let Some(sshd) = sshd() else { return };
    let Some(moto) = Aws::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    // Packer 1.6 wants RSA in PEM for a key pair that exists.
    let key = dir.path().join("id_rsa");
    output("ssh-keygen", &["-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f", key.to_str().unwrap()]);
    let public = std::fs::read_to_string(dir.path().join("id_rsa.pub")).unwrap();
    sshd.sh(&format!("cat >>/home/deploy/.ssh/authorized_keys <<'K'\n{public}K"));
    moto.ask(&format!("ec2().import_key_pair(KeyName='bake', PublicKeyMaterial=b'''{}''')", public.trim()));
    let ssh = json!({"host": "127.0.0.1", "port": sshd.port, "username": "deploy", "private_key_file": key,
        "keypair_name": "bake", "timeout": "30s"});
    let definition = json!({
        "sources": [moto.source(json!({"ssh": ssh}))],
        "provisioners": [{"type": "shell", "inline": ["echo baked | sudo tee /etc/baked"]}],
    });
    let builder = Packer::new(moto.config(dir.path(), definition)).unwrap();
    let base = moto.base();
    let built = builder.build(&Context::new(), &ami("db", &base, &[ArtifactKind::Ami])).await.unwrap();
    assert!(built.artifacts[0].id.starts_with("us-east-1:ami-"), "{built:?}");
    assert_eq!(sshd.sh("cat /etc/baked"), "baked");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aws_that_does_not_answer_fails_the_build() {
    let Some(moto) = Aws::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let definition = json!({"sources": [moto.source(json!({"communicator": "none", "extra": {"max_retries": 1}}))]});
    let builder = Packer::new(moto.config(dir.path(), definition)).unwrap();
    let base = moto.base();
    drop(moto);
    let error = builder.build(&Context::new(), &ami("web", &base, &[ArtifactKind::Ami])).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::ToolFailed, "the build `amazon-ebs` failed"), "{error:?}");
    assert!(error.report().contains("RequestError"), "{error:?}");
}
