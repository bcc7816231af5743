//! Every typed option is one that the real packer knows: definitions with all of them pass `packer validate`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use towpath_core::{Context, ImageBuilder};
use towpath_packer::{Definition, Packer, PackerConfig};

use crate::support::{image, packer, stub, write};

/// Options that exclude each other stand in different ones of a type.
fn sources() -> Value {
    let ssh = json!({"username": "u", "password": "{{user `pw`}}", "host": "127.0.0.1", "port": 22, "timeout": "5m"});
    let key = json!({"username": "u", "private_key_file": "key", "keypair_name": "bake"});
    json!([
        {"type": "amazon-ebs", "name": "ami", "ami_name": "web", "region": "eu-west-1", "source_ami": "ami-1",
         "instance_type": "t3.micro", "ami_description": "d", "ami_regions": ["us-east-1"], "ami_users": ["1"],
         "tags": {"a": "b"}, "run_tags": {"a": "b"}, "subnet_id": "subnet-1", "security_group_ids": ["sg-1"],
         "iam_instance_profile": "p", "communicator": "ssh", "ssh": key,
         "extra": {"skip_region_validation": true, "access_key": "a", "secret_key": "{{user `pw`}}"}},
        {"type": "amazon-ebs", "name": "filter", "ami_name": "web", "region": "eu-west-1", "instance_type": "t3.micro",
         "source_ami_filter": {"filters": {"name": "debian-12*"}, "owners": ["self"], "most_recent": true}, "ssh": ssh,
         "extra": {"skip_region_validation": true}},
        {"type": "docker", "name": "committed", "image": "debian", "commit": true, "pull": false, "changes": ["CMD x"],
         "run_command": ["-d", "{{.Image}}"], "volumes": {"/a": "/b"}, "privileged": true},
        {"type": "docker", "name": "exported", "export_path": "root.tar"},
        {"type": "docker", "name": "discarded", "discard": true},
        {"type": "qemu", "name": "disk", "iso_url": "https://example.org/x.iso", "iso_checksum": "none", "disk_image": true,
         "disk_size": "10G", "format": "qcow2", "accelerator": "tcg", "headless": true, "memory": 512, "cpus": 1,
         "boot_command": ["<enter>"], "boot_wait": "10s", "http_directory": "roles", "output_directory": "out-disk",
         "vm_name": "disk.qcow2", "shutdown_command": "poweroff", "communicator": "ssh", "ssh": ssh},
        {"type": "vagrant", "name": "boxed", "source_path": "debian/bookworm64", "provider": "libvirt", "box_version": "1.0",
         "output_dir": "out-box", "ssh": {"timeout": "5m"}},
        {"type": "vagrant", "name": "added", "source_path": "debian/bookworm64", "provider": "libvirt", "skip_add": true,
         "output_dir": "out-box2"},
        {"type": "vagrant", "name": "running", "global_id": "1a2b3c", "provider": "libvirt", "output_dir": "out-box3"},
        {"type": "null", "name": "host", "communicator": "ssh", "ssh": ssh},
        {"type": "file", "name": "written", "target": "a", "content": "x"},
        {"type": "file", "name": "copied", "target": "b", "source": "key"},
    ])
}

fn provisioners(ansible: &str) -> Value {
    let all = json!([
        {"type": "ansible", "playbook_file": "site.yml", "command": ansible, "extra_arguments": ["-v"],
         "ansible_env_vars": ["A=b"], "groups": ["g"], "host_alias": "web", "user": "u", "inventory_directory": "roles",
         "galaxy_file": "requirements.yml"},
        {"type": "ansible-local", "playbook_file": "site.yml", "playbook_dir": "roles", "role_paths": ["roles"],
         "group_vars": "roles", "host_vars": "roles", "inventory_file": "hosts", "galaxy_file": "requirements.yml",
         "command": "ansible-playbook", "extra_arguments": ["-v"]},
        {"type": "ansible-local", "playbook_files": ["site.yml"], "inventory_groups": ["g"]},
        {"type": "chef-solo", "cookbook_paths": ["roles"], "roles_path": "roles", "data_bags_path": "roles",
         "environments_path": "roles", "chef_environment": "e", "config_template": "solo.rb", "run_list": ["r"],
         "json": {"a": {"b": 1}}, "skip_install": true, "prevent_sudo": true, "execute_command": "x", "version": "17"},
        {"type": "chef-client", "server_url": "https://example.org", "node_name": "n", "chef_environment": "e",
         "validation_client_name": "v", "validation_key_path": "key", "client_key": "key", "config_template": "solo.rb",
         "run_list": ["r"], "json": {"a": 1}, "skip_install": true, "skip_clean_client": true, "skip_clean_node": true,
         "prevent_sudo": true, "execute_command": "x"},
        {"type": "shell", "inline": ["true"], "environment_vars": ["A=b"], "execute_command": "x", "inline_shebang": "/bin/sh",
         "expect_disconnect": true, "pause_before": "1s", "timeout": "5m"},
        {"type": "shell", "script": "run.sh"},
        {"type": "shell", "scripts": ["run.sh"]},
        {"type": "file", "source": "key", "destination": "/tmp/key", "direction": "upload"},
        {"type": "file", "source": "made-later", "destination": "/tmp/key", "generated": true},
    ]);
    with_builds(all, &["host"])
}

fn post_processors() -> Value {
    let all = json!([
        {"type": "vagrant", "output": "x.box", "compression_level": 1, "include": ["key"], "vagrantfile_template": "Vagrantfile",
         "provider_override": "libvirt", "keep_input_artifact": true},
        {"type": "manifest", "output": "m.json", "strip_path": true, "custom_data": {"a": "b"}},
        {"type": "docker-tag", "repository": "web", "tags": ["1", "2"], "force": true},
        {"type": "checksum", "checksum_types": ["sha256"], "output": "x.sum"},
    ]);
    Value::Array(with_builds(all, &["host"]).as_array().unwrap().iter().map(|p| json!([p])).collect())
}

fn with_builds(mut all: Value, builds: &[&str]) -> Value {
    for (n, part) in all.as_array_mut().unwrap().iter_mut().enumerate() {
        part[if n % 2 == 0 { "only" } else { "except" }] = json!(builds);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn packer_knows_every_typed_option() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["key", "site.yml", "requirements.yml", "hosts", "solo.rb", "run.sh", "Vagrantfile", "roles/x"] {
        write(dir.path(), name, "x");
    }
    let key = dir.path().join("key");
    std::fs::remove_file(&key).unwrap();
    crate::support::output("ssh-keygen", &["-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f", key.to_str().unwrap()]);
    // Packer asks it for its version even to check a template.
    let ansible = stub(dir.path(), "echo 'ansible-playbook 2.14.3'").display().to_string();
    let definition = json!({
        "sources": sources(), "provisioners": provisioners(&ansible), "post_processors": post_processors(),
    });
    every_property_is_there(&definition);
    if !packer() {
        return;
    }
    let config = PackerConfig::definition(serde_json::from_value(definition).unwrap())
        .secret_var("pw", towpath_core::SecretRef::File("/proc/sys/kernel/ostype".into()))
        .working_dir(dir.path())
        .state_dir(dir.path().join("state"));
    let plan = Packer::new(config).unwrap().plan(&Context::new(), &image("all", &[])).await.unwrap();
    assert!(!plan.is_empty());
}

/// Nobody adds a typed option without asking Packer about it.
fn every_property_is_there(definition: &Value) {
    let schema = schemars::schema_for!(Definition).to_value();
    let mut given: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let parts = [
        ("source", &definition["sources"]),
        ("provisioner", &definition["provisioners"]),
        ("post-processor", &definition["post_processors"]),
    ];
    for (what, list) in parts {
        for part in list.as_array().unwrap() {
            let part = part.as_array().map_or(part, |sequence| &sequence[0]);
            let names = given.entry(format!("{what} {}", part["type"].as_str().unwrap())).or_default();
            names.extend(part.as_object().unwrap().keys().cloned());
            let ssh = part["ssh"].as_object().map(|s| s.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
            given.entry("ssh".into()).or_default().extend(ssh);
        }
    }
    let lacks = |kind: &str, properties: &Value| {
        let given = given.get(kind).unwrap_or_else(|| panic!("no {kind} is tried"));
        let lists = ["extra", "only", "except"];
        let typed = properties.as_object().unwrap().keys();
        let missing: Vec<_> = typed.filter(|p| !given.contains(*p) && !lists.contains(&p.as_str())).collect();
        assert!(missing.is_empty(), "{kind}: {missing:?}");
    };
    lacks("ssh", &schema["$defs"]["PackerSsh"]["properties"]);
    for (what, name) in [("source", "Source"), ("provisioner", "Provisioner"), ("post-processor", "PostProcessor")] {
        for variant in schema["$defs"][format!("Packer{name}")]["oneOf"].as_array().unwrap() {
            let kind = variant["properties"]["type"]["const"].as_str().unwrap();
            assert!(variant["properties"].as_object().unwrap().len() > 3, "{variant}");
            assert_eq!(variant["additionalProperties"], json!(false), "{kind}: an editor sees a typo, too");
            lacks(&format!("{what} {kind}"), &variant["properties"]);
        }
    }
}
