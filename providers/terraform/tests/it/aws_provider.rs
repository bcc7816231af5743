//! The real AWS provider, against a simulator on this machine. It takes its time with each command: the full tier has it, in one test.

use serde_json::{Value, json};
use towpath_core::testkit::Moto;
use towpath_core::{Action, Change, Provisioner, SecretRef};
use towpath_terraform::{HostsFrom, Terraform};

use crate::module::{Module, terraform};

const MAIN: &str = r#"
terraform {
  required_providers {
    # With the host's name: OpenTofu would look under its own.
    aws = { source = "registry.terraform.io/hashicorp/aws" }
  }
}

variable "endpoint" { type = string }
variable "ami"      { type = string }
variable "secret_key" {
  type      = string
  sensitive = true
}

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "towpath"
  secret_key                  = var.secret_key
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  endpoints { ec2 = var.endpoint }
}

resource "aws_vpc" "site" { cidr_block = "10.7.0.0/16" }

resource "aws_subnet" "web" {
  vpc_id     = aws_vpc.site.id
  cidr_block = "10.7.1.0/24"
}

resource "aws_security_group" "web" {
  name   = "web"
  vpc_id = aws_vpc.site.id
  ingress {
    from_port   = 443
    to_port     = 443
    protocol    = "tcp"
    cidr_blocks = ["10.7.0.0/16"]
  }
}

resource "aws_instance" "web" {
  count                  = 2
  ami                    = var.ami
  instance_type          = "t3.micro"
  subnet_id              = aws_subnet.web.id
  vpc_security_group_ids = [aws_security_group.web.id]
  tags                   = { Name = "web-${count.index + 1}", Release = "one" }
}

output "vpc" { value = aws_vpc.site.id }
output "web" {
  value = { for i in aws_instance.web : i.tags.Name => { address = i.private_ip, instance = i.id } }
}
"#;

/// Subjects of the changes of this kind.
fn with_action(changes: &[Change], action: Action) -> Vec<&str> {
    changes.iter().filter(|c| c.action == action).map(|c| c.subject.as_str()).collect()
}

/// Ids of the instances in a VPC that are not terminated, with their tag `Release`, in the order of their names.
fn instances(moto: &Moto, vpc: &str) -> Vec<(String, String)> {
    let python = format!(
        "import json
found = []
for r in ec2().describe_instances(Filters=[{{'Name': 'vpc-id', 'Values': ['{vpc}']}}])['Reservations']:
    for i in r['Instances']:
        tags = {{t['Key']: t['Value'] for t in i.get('Tags', [])}}
        if i['State']['Name'] != 'terminated':
            found.append([tags['Name'], i['InstanceId'], tags['Release']])
print(json.dumps([f[1:] for f in sorted(found)]))"
    );
    serde_json::from_str(&moto.ask(&python)).unwrap()
}

#[tokio::test]
async fn instances_come_are_mended_and_go() {
    if std::env::var_os("TOWPATH_TEST_FULL").is_none() {
        eprintln!("NOT RUN: the AWS provider of Terraform belongs to `./test full` (TOWPATH_TEST_FULL=1)");
        return;
    }
    let Some(mirror) = std::env::var_os("TOWPATH_TEST_TERRAFORM_AWS_MIRROR") else {
        // No registry of packages has it, so a test command can't install it.
        eprintln!(
            "NOT RUN: the AWS provider of Terraform: get it with `terraform providers mirror FOLDER` in a module that requires `hashicorp/aws`, \
             and set TOWPATH_TEST_TERRAFORM_AWS_MIRROR=FOLDER"
        );
        return;
    };
    if !terraform() {
        return;
    }
    let Some(moto) = Moto::start() else { return };
    let secret = "not-for-anybodys-eyes";
    let module = Module::new(MAIN);
    std::fs::write(module.folder().join("key"), secret).unwrap();
    let ami = moto.ask("print(ec2().describe_images()['Images'][0]['ImageId'])");
    let config = module
        .config_with_mirror(&mirror)
        .var("endpoint", moto.endpoint())
        .var("ami", ami.as_str())
        .secret_var("secret_key", SecretRef::File(module.folder().join("key")))
        .hosts(HostsFrom::output("web"));
    let fleet = Terraform::new(config).unwrap();
    let cx = &module.cx;

    let plan = fleet.plan(cx).await.unwrap();
    let resources =
        ["aws_instance.web[0]", "aws_instance.web[1]", "aws_security_group.web", "aws_subnet.web", "aws_vpc.site"];
    let outputs = ["output vpc", "output web"];
    let mut created = with_action(&plan.changes, Action::Create);
    created.sort_unstable();
    assert_eq!(created, [&resources[..], &outputs[..]].concat(), "{plan:?}");

    let made = fleet.apply(cx).await.unwrap();
    assert_eq!(made.changed, resources.len());
    let vpc = made.environment.outputs["vpc"].as_str().unwrap().to_owned();
    let there = instances(&moto, &vpc);
    let hosts = &made.environment.inventory.hosts;
    assert_eq!(hosts.iter().map(|h| h.name.as_str()).collect::<Vec<_>>(), ["web-1", "web-2"]);
    for (host, (id, release)) in hosts.iter().zip(&there) {
        assert!(host.connection.address.as_ref().unwrap().starts_with("10.7.1."), "{host:?}");
        assert_eq!((host.vars["instance"].as_str(), release.as_str()), (Some(id.as_str()), "one"), "{host:?}");
    }
    let known: Vec<&str> = made.environment.resources.iter().map(|r| r.address.as_str()).collect();
    assert_eq!(known, resources, "{made:?}");
    assert!(fleet.plan(cx).await.unwrap().is_empty());

    // Behind its back: another tag, and an instance that is gone.
    let ids = [&there[0].0, &there[1].0];
    moto.ask(&format!(
        "ec2().create_tags(Resources=['{}'], Tags=[{{'Key': 'Release', 'Value': 'by hand'}}])\nec2().terminate_instances(InstanceIds=['{}'])",
        ids[0], ids[1]
    ));
    let drift = fleet.drift(cx).await.unwrap();
    assert_eq!(with_action(&drift.changes, Action::Delete), ["aws_instance.web[1]"], "{drift:?}");
    let changed = drift.changes.iter().find(|c| c.subject == "aws_instance.web[0]").unwrap();
    let release = |side: &Option<Value>| side.as_ref().and_then(|s| s.pointer("/tags/Release").cloned());
    assert_eq!(changed.action, Action::Update);
    assert_eq!((release(&changed.before), release(&changed.after)), (Some(json!("one")), Some(json!("by hand"))));

    assert_eq!(fleet.apply(cx).await.unwrap().changed, 2);
    let mended = instances(&moto, &vpc);
    assert_eq!((&mended[0].0, mended[0].1.as_str()), (ids[0], "one"), "the tag is as it was");
    assert!(mended.len() == 2 && mended[1].0 != *ids[1], "{mended:?}");

    assert_eq!(fleet.destroy(cx).await.unwrap().changed, resources.len());
    assert_eq!(instances(&moto, &vpc), []);
    let left = moto.ask(&format!("print([v for v in ec2().describe_vpcs()['Vpcs'] if v['VpcId'] == '{vpc}'])"));
    assert_eq!(left, "[]");
    let groups = moto.ask("print([g['GroupName'] for g in ec2().describe_security_groups()['SecurityGroups']])");
    assert!(!groups.contains("web"), "{groups}");
    assert_eq!(fleet.destroy(cx).await.unwrap().changed, 0);
    let said = module.told();
    assert!(said.contains("aws_instance.web[0]") && !said.contains(secret), "{said}");
}
