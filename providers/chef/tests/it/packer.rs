//! The independent check: Packer's chef-solo and chef-client provisioners with the same input on the same host image.

use std::process::Command;

use serde_json::{Value, json};
use towpath_core::{Context, Secret};

use crate::support::World;

/// Says what is missing where Packer is not there, and fails where it could have been installed.
fn packer_is_there() -> bool {
    let version = Command::new("packer").arg("version").env("CHECKPOINT_DISABLE", "1").output();
    if version.is_ok_and(|out| out.status.success()) {
        return true;
    }
    let what = "NOT RUN: Packer's chef-solo and chef-client provisioners: install packer (Debian's has them bundled)";
    eprintln!("{what}");
    assert!(std::env::var_os("TOWPATH_TEST_REQUIRE").is_none(), "{what}");
    false
}

/// A host with everything that the cases send.
async fn world() -> Option<World> {
    if !packer_is_there() {
        return None;
    }
    let mut world = World::new(1).await?;
    world.cx = Context::builder()
        .secret("bag", Secret::new("bag secret\n"))
        .secret("key", Secret::new("the validation key\n"))
        .build();
    // Its SSH library is an old one.
    world.sh("printf 'HostKeyAlgorithms +ssh-rsa\\nPubkeyAcceptedAlgorithms +ssh-rsa\\n' >/etc/ssh/towpath.d/packer.conf; pkill -HUP -o sshd");
    world.write("vendor/base/recipes/default.rb", "file \"/srv/base\" do\n  content \"base\"\nend\n");
    world.write("vendor/base/files/deep/er/odd name", "x");
    world.write("roles/web.json", r#"{ "run_list": ["recipe[web]", "recipe[base]"] }"#);
    world.write("bags/users/deploy.json", r#"{ "id": "deploy" }"#);
    world.write("environments/production.json", r#"{ "name": "production" }"#);
    world.write("bag-secret", "bag secret\n");
    world.write("validation.pem", "the validation key\n");
    Some(world)
}

/// Lets Packer's provisioner work on the host.
fn build(world: &World, provisioner: &Value) {
    let template = json!({
        "builders": [{
            "type": "null", "communicator": "ssh", "ssh_host": "127.0.0.1", "ssh_port": world.servers[0].port,
            "ssh_username": "deploy", "ssh_private_key_file": world.servers[0].key()
        }],
        "provisioners": [provisioner]
    });
    let file = world.write("template.json", &template.to_string());
    world.sh("rm -rf /srv/* /tmp/packer-*");
    let out = Command::new("packer")
        .args(["build", "-machine-readable"])
        .arg(&file)
        .current_dir(world.dir.path())
        .env("CHECKPOINT_DISABLE", "1")
        .env("PACKER_CACHE_DIR", world.dir.path().join("cache"))
        .output()
        .unwrap();
    let (said, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{said}\n{errors}");
    assert_eq!(world.said()["folder_mode"], "777", "as differences.md says");
}

/// What a run was given, with the staging folder under one name, and without what `differences.md` lists.
fn normal(world: &World) -> Value {
    let mut said = world.said();
    let settings = said["settings"].as_object_mut().unwrap();
    if settings.get("chef_license") == Some(&json!("")) {
        settings.remove("chef_license");
    }
    settings.remove("log_location");
    let files = world.sh("cd /var/tmp/recorded; cd $(ls | sort -n | tail -n 1)/staging
        find . -type f ! -name solo.rb ! -name client.rb ! -name node.json ! -name first-boot.json ! -name towpath_report.rb ! -name .running -exec sha256sum {} + | sort -k2
        find . -mindepth 1 -type d | sort");
    let settings_file = said["argv"][2].as_str().unwrap();
    let folder = settings_file.rsplit_once('/').unwrap().0.to_owned();
    let given = json!({
        "argv": said["argv"], "program": said["program"], "user": said["user"], "settings": said["settings"], "node": said["node"],
        "files": files.lines().collect::<Vec<_>>(),
    });
    serde_json::from_str(
        &given.to_string().replace(&folder, "STAGING").replace("STAGING/first-boot.json", "STAGING/node.json"),
    )
    .unwrap()
}

fn with(mut all: Value, more: Value) -> Value {
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn packer_and_towpath_give_chef_solo_the_same() {
    let Some(world) = world().await else { return };
    let path = |name: &str| world.dir.path().join(name).display().to_string();
    let attributes = json!({ "greeting": "it's \"here\"", "deep": { "list": [1, "two", true, null] }, "run_list": ["recipe[none]"] });
    let theirs = json!({
        "type": "chef-solo", "skip_install": true, "cookbook_paths": [path("cookbooks"), path("vendor")], "json": attributes,
        "execute_command": "sudo /opt/chef/bin/chef-solo --no-color -c {{.ConfigPath}} -j {{.JsonPath}}"
    });
    let ours = json!({ "cookbook_paths": ["cookbooks", "vendor"], "attributes": attributes, "run_list": [] });
    let cases = [
        (
            json!({
                "run_list": ["role[web]", "base"], "roles_path": path("roles"), "data_bags_path": path("bags"),
                "environments_path": path("environments"), "chef_environment": "production",
                "encrypted_data_bag_secret_path": path("bag-secret"), "remote_cookbook_paths": ["/srv/cookbooks"]
            }),
            json!({
                "run_list": ["role[web]", "base"], "roles_path": "roles", "data_bags_path": "bags",
                "environments_path": "environments", "environment": "production",
                "encrypted_data_bag_secret": { "given": "bag" }, "remote_cookbook_paths": ["/srv/cookbooks"]
            }),
        ),
        (
            json!({ "run_list": ["recipe[web::default]"], "chef_license": "accept" }),
            json!({ "run_list": ["recipe[web::default]"], "chef_license": "accept" }),
        ),
        // The run list of the attributes is left, if there is no other.
        (
            json!({ "json": { "greeting": "x", "run_list": ["recipe[web]"] } }),
            json!({ "attributes": { "greeting": "x", "run_list": ["recipe[web]"] } }),
        ),
    ];
    for (more_of_theirs, more_of_ours) in cases {
        build(&world, &with(theirs.clone(), more_of_theirs));
        let packer = normal(&world);
        world.sh("rm -rf /srv/*");
        world.apply(with(ours.clone(), more_of_ours.clone())).await.unwrap();
        assert_eq!(packer, normal(&world), "{more_of_ours}");
        assert!(packer["files"].as_array().unwrap().len() > 5, "{packer}");
    }
    assert_eq!(world.sh("ls -A /tmp"), "packer-chef-solo", "Packer's stays, towpath's does not");
}

#[tokio::test(flavor = "multi_thread")]
async fn packer_and_towpath_give_chef_client_the_same() {
    let Some(world) = world().await else { return };
    let path = |name: &str| world.dir.path().join(name).display().to_string();
    let common = json!({
        "server_url": "https://chef.example/organizations/x", "node_name": "web-1", "client_key": "/etc/chef/client.pem",
        "run_list": ["recipe[web]", "role[front]"]
    });
    let theirs = with(
        common.clone(),
        json!({
            "type": "chef-client", "skip_install": true, "skip_clean_client": true, "skip_clean_node": true,
            "validation_key_path": path("validation.pem"), "json": { "port": 80 },
            "execute_command": "sudo /opt/chef/bin/chef-client --no-color -c {{.ConfigPath}} -j {{.JsonPath}}"
        }),
    );
    let ours = with(
        common,
        json!({
            "mode": "client", "cookbook_paths": [], "validation_key": { "given": "key" }, "attributes": { "port": 80 },
            "log_level": "info"
        }),
    );
    let cases = [
        (json!({}), json!({})),
        (
            json!({
                "chef_environment": "production", "validation_client_name": "x-validator", "chef_license": "accept-silent",
                "encrypted_data_bag_secret_path": path("bag-secret")
            }),
            json!({
                "environment": "production", "validation_client_name": "x-validator", "chef_license": "accept-silent",
                "encrypted_data_bag_secret": { "given": "bag" }
            }),
        ),
    ];
    for (more_of_theirs, more_of_ours) in cases {
        build(&world, &with(theirs.clone(), more_of_theirs));
        let packer = normal(&world);
        world.apply(with(ours.clone(), more_of_ours.clone())).await.unwrap();
        assert_eq!(packer, normal(&world), "{more_of_ours}");
        assert_eq!(packer["program"], "chef-client");
    }
}
