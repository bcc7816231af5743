//! Machines through the real vagrant, as containers of the real Docker Engine.

use std::sync::Arc;
use std::time::Duration;

use towpath_core::testkit::OpenSsh;
use towpath_core::testkit::provisioner::ProvisionerFixture;
use towpath_core::{Action, Connector as _, Context, Environment, ErrorKind, Exec, Provisioner as _, Resource};
use towpath_vagrant::{Vagrant, VagrantConfig};

use crate::support::{output, place, plain, run, with_ssh};

fn id(resources: &[Resource]) -> String {
    let [only] = resources else { panic!("{resources:?}") };
    only.id.clone()
}

fn is_there(container: &str) -> bool {
    output("docker", &["inspect", container]).status.success()
}

async fn provisioner_fixture() -> Option<ProvisionerFixture> {
    let place = place()?;
    let provider = Vagrant::new(place.config(plain())).unwrap();
    let disturb = |e: Environment| {
        run("docker", &["stop", "-t", "0", &id(&e.resources)]);
        Box::pin(async {}) as _
    };
    let cx = Context::builder().environment("test").build();
    Some(ProvisionerFixture { provider: Arc::new(provider), cx, disturb: Box::new(disturb), keep: Box::new(place) })
}

mod provisioner {
    towpath_core::provisioner_behaviour!(super::provisioner_fixture);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_a_host_whose_key_is_known() {
    let Some(place) = place() else { return };
    let vagrant = Vagrant::new(place.config(with_ssh())).unwrap();
    let cx = Context::new();
    vagrant.preflight(&cx).await.unwrap();
    let applied = vagrant.apply(&cx).await.unwrap();
    assert_eq!(applied.changed, 1);
    let [host] = applied.environment.inventory.hosts.as_slice() else { panic!("{:?}", applied.environment) };
    assert_eq!((host.name.as_str(), host.connection.user.as_deref()), ("web", Some("deploy")));
    let connection = OpenSsh.connect(&cx, host).await.unwrap();
    let out = connection.exec(&cx, &Exec::script("id -un; hostname")).await.unwrap();
    assert!(out.stdout_text().starts_with("deploy\n"), "{out:?}");
    connection.close().await;

    assert_eq!(vagrant.halt(&cx).await.unwrap(), 1);
    assert_eq!(vagrant.halt(&cx).await.unwrap(), 0);
    let plan = vagrant.plan(&cx).await.unwrap();
    assert_eq!(plan.changes.iter().map(|c| c.action).collect::<Vec<_>>(), [Action::Update], "{plan}");
    let again = vagrant.apply(&cx).await.unwrap();
    assert_eq!(id(&again.environment.resources), id(&applied.environment.resources), "started, not made anew");
    assert_eq!(vagrant.destroy(&cx).await.unwrap().changed, 1);
    assert!(!is_there(&id(&applied.environment.resources)));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_spec_replaces_a_machine_and_one_that_is_left_out_goes() {
    let Some(place) = place() else { return };
    let cx = Context::new();
    let two = place.config(plain()).machine("db", plain());
    let first = Vagrant::new(two).unwrap().apply(&cx).await.unwrap();
    assert_eq!(first.changed, 2);
    let mut other = plain();
    other.docker.as_mut().unwrap().env.insert("COLOUR".into(), "it's \"blue\" #{1}".into());
    let vagrant = Vagrant::new(place.config(other)).unwrap();
    let actions: Vec<_> = vagrant.plan(&cx).await.unwrap().changes.into_iter().map(|c| (c.target, c.action)).collect();
    assert_eq!(actions, [("db".to_owned(), Action::Delete), ("web".to_owned(), Action::Replace)]);
    let second = vagrant.apply(&cx).await.unwrap();
    assert_eq!(second.changed, 2);
    for old in &first.environment.resources {
        assert!(!is_there(&old.id), "{old:?}");
    }
    let env = run("docker", &["inspect", "-f", "{{json .Config.Env}}", &id(&second.environment.resources)]);
    assert!(env.contains(r##"COLOUR=it's \"blue\" #{1}"##), "{env}");
    assert_eq!(vagrant.destroy(&cx).await.unwrap().changed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vagrantfile_runs_unmodified() {
    let Some(place) = place() else { return };
    let dir = place.dir.path().join("mine");
    std::fs::create_dir(&dir).unwrap();
    let text = "Vagrant.configure('2') do |config|\n  config.vm.synced_folder '.', '/vagrant', disabled: true\n  %w[one two].each do |name|\n    \
                config.vm.define name do |m|\n      m.vm.provider 'docker' do |d|\n        d.image = 'towpath/debian:bookworm-5'\n        \
                d.cmd = %w[sleep infinity]\n        d.has_ssh = false\n      end\n    end\n  end\nend\n";
    std::fs::write(dir.join("Vagrantfile"), text).unwrap();
    let mut config = VagrantConfig::dir(&dir).provider("docker");
    config.home = Some(place.home.clone());
    config.only = vec!["two".into()];
    let vagrant = Vagrant::new(config.clone()).unwrap();
    let cx = Context::new();
    let found = vagrant.preflight(&cx).await.unwrap();
    assert!(found.ok.iter().any(|l| l.starts_with("vagrant 2.")), "{found:?}");
    let applied = vagrant.apply(&cx).await.unwrap();
    assert_eq!(applied.environment.resources.iter().map(|r| r.address.as_str()).collect::<Vec<_>>(), ["machine two"]);
    assert_eq!(std::fs::read_to_string(dir.join("Vagrantfile")).unwrap(), text);
    assert_eq!(vagrant.destroy(&cx).await.unwrap().changed, 1);

    config.only = vec!["tow".into()];
    let error = Vagrant::new(config.clone()).unwrap().plan(&cx).await.unwrap_err();
    assert_eq!((error.kind(), error.get("nearest")), (ErrorKind::InvalidInput, Some("two")), "{error:?}");

    std::fs::write(dir.join("Vagrantfile"), "Vagrant.configure('2') do |config|\n  config.vm.box =\nend\n").unwrap();
    config.only.clear();
    let error = Vagrant::new(config.clone()).unwrap().plan(&cx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    assert_eq!(error.get("file").unwrap(), format!("{}:3", dir.join("Vagrantfile").display()));

    std::fs::write(dir.join("Vagrantfile"), text).unwrap();
    let error = Vagrant::new(config.provider("libvrt")).unwrap().apply(&cx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ToolMissing, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_interrupts_vagrant_and_waits_for_it() {
    let Some(place) = place() else { return };
    let vagrant = Arc::new(Vagrant::new(place.config(with_ssh())).unwrap());
    let (cx, token) = Context::new().child();
    let (running, in_task) = (Arc::clone(&vagrant), cx.clone());
    let task = tokio::spawn(async move { running.apply(&in_task).await });
    // Until vagrant itself runs `up`: the folder then has the record of specs.
    let specs = place.dir.path().join("state/default/.vagrant/towpath/specs.json");
    while !specs.exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    token.cancel();
    let error = task.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.get("still_running")), (ErrorKind::Cancelled, Some("nothing")), "{error:?}");
    let cx = Context::new();
    vagrant.apply(&cx).await.unwrap();
    vagrant.destroy(&cx).await.unwrap();
}

#[test]
fn bad_configs_are_refused_with_what_to_do() {
    let refused = |config: VagrantConfig, says: &str| {
        let error = Vagrant::new(config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(says), "{error}");
    };
    let mut both = VagrantConfig::dir("x");
    both.machines.insert("web".into(), plain());
    refused(both, "either `dir`");
    refused(VagrantConfig::machines("web", towpath_vagrant::MachineSpec::default()), "needs a `box`");
    refused(VagrantConfig::machines("we b", plain()), "letters");
    let typo = serde_json::from_str::<VagrantConfig>(r#"{"machines": {"web": {"boxx": "a"}}}"#).unwrap_err();
    assert!(typo.to_string().contains("boxx"), "{typo}");
}

#[tokio::test]
async fn a_missing_vagrant_says_what_to_install() {
    let mut config = VagrantConfig::machines("web", plain());
    config.program = "/nowhere/vagrant".into();
    let error = Vagrant::new(config).unwrap().preflight(&Context::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ToolMissing);
    assert!(error.to_string().contains("apt-get install vagrant"), "{error}");
}
