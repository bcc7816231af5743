//! A real tree made a disk.

use std::sync::Arc;

use towpath_core::equivalence::Contents;
use towpath_core::testkit::{OpenSsh, Sshd};
use towpath_core::{Base, Become, Connector, Context, ErrorKind, ImageBuilder as _};
use towpath_vagrant::{VagrantBox, VagrantBoxConfig};

use crate::support::{as_root, bootable, has, has_disk_tools, host_image, raw_disk, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_becomes_a_sound_disk_with_owners_modes_devices_and_attributes() {
    let Some(sshd) = bootable() else { return };
    sshd.sh(
        "mkdir -p '/srv/odd \"names\"' /srv/many /srv/deep && cd /srv
         printf one > 'odd \"names\"/a b' && chown 4294967293:70000 'odd \"names\"/a b' && chmod 4751 'odd \"names\"/a b'
         ln 'odd \"names\"/a b' zz-second-name
         ln -s \"$(printf 'x%.0s' $(seq 100))\" long-link && ln -s short short-link
         mkfifo -m 600 pipe && mknod null c 1 3 && mknod big b 300 70000 && chmod 666 null
         cp /bin/cat capable && setfattr -n user.note -v hello capable 2>/dev/null || true
         for n in $(seq 3000); do : > many/a-rather-long-name-to-fill-blocks-$n; done
         head -c 20000000 /dev/urandom > deep/large && : > deep/empty
         echo secret > /tmp/gone && echo log > /var/log/some.log
         python3 - <<'E'
import os
os.setxattr('/srv/capable', 'security.capability', bytes.fromhex('0100000202000000000000000000000000000000'))
os.setxattr('/srv/capable', 'user.note', b'hello world')
os.setxattr('/srv/capable', 'user.other', b'x' * 300)
E",
    );
    let dir = tempfile::tempdir().unwrap();
    let builder = VagrantBox::new(VagrantBoxConfig::new(dir.path().join("boxes"))).unwrap();
    let cx = Context::new();
    let image = host_image("web", &sshd);
    let from = std::time::Instant::now();
    let built = builder.build(&cx, &image).await.unwrap();
    eprintln!("built in {:?}", from.elapsed());
    assert_eq!(built.changed, 1);
    let raw = raw_disk(&built.artifacts[0].id, dir.path());
    let disk = format!("{raw}?offset=1048576");
    let check = run("e2fsck", &["-fn", &disk]);
    assert!(check.contains("root: "), "{check}");
    let ask = |command: &str| run("debugfs", &["-R", command, &disk]);
    let stat = ask("stat \"/srv/odd \"\"names\"\"/a b\"");
    assert!(stat.contains("Mode:  04751") && stat.contains("User:    -3") && stat.contains("Group: 70000"), "{stat}");
    assert!(stat.contains("Links: 2") && stat.contains("Size: 3"), "{stat}");
    let stat = ask("stat /srv/null");
    assert!(stat.contains("character special") && stat.contains("Mode:  0666") && stat.contains("01:03"), "{stat}");
    let stat = ask("stat /srv/big");
    assert!(stat.contains("block special") && stat.contains("300:70000"), "{stat}");
    assert!(ask("stat /srv/pipe").contains("FIFO"));
    assert!(ask("stat /srv/long-link").contains("Size: 100"));
    assert_eq!(ask("ea_get -V /srv/capable user.note"), "hello world\n");
    assert!(ask("ea_list /srv/capable").contains("security.capability (20)"));
    assert!(ask("ls -p /tmp").lines().filter(|l| !l.is_empty()).count() == 2, "only . and ..");
    assert!(!ask("ls -p /var/log").contains("some.log"));
    let large = dir.path().join("large").display().to_string();
    ask(&format!("dump /srv/deep/large {large}"));
    let sum = |text: String| text.split(' ').next().unwrap().to_owned();
    assert_eq!(sum(run("sha256sum", &[&large])), sum(sshd.sh("sha256sum /srv/deep/large")));
    assert_eq!(ask("cat /etc/machine-id"), "");
    assert!(ask("cat /etc/passwd").contains("vagrant:x:1002:1002:"));
    assert!(!ask("ls -p /etc/ssh").contains("ssh_host_"));
    assert!(ask("cat /home/vagrant/.ssh/authorized_keys").contains("vagrant insecure public key"));
    assert!(ask("stat /home/vagrant/.ssh/authorized_keys").contains("User:  1002"));

    if has("vagrant", "vagrant") {
        let catalogue = builder.catalogue("web").unwrap().display().to_string();
        let home = dir.path().join("vagrant-home").display().to_string();
        let env =
            ["-u", "VAGRANT_CWD", &format!("VAGRANT_HOME={home}"), "VAGRANT_CHECKPOINT_DISABLE=1", "vagrant", "box"]
                .map(str::to_owned);
        let vagrant =
            |more: &[&str]| run("env", &env.iter().map(String::as_str).chain(more.iter().copied()).collect::<Vec<_>>());
        vagrant(&["add", "--machine-readable", "--provider", "libvirt", "--box-version", "1.0.0", &catalogue]);
        let listed = vagrant(&["list", "--machine-readable"]);
        assert!(listed.contains(",box-name,web") && listed.contains(",box-provider,libvirt"), "{listed}");
    }
    // What is in the box is what is on the host, but for what makes it a machine of its own.
    let connector: Arc<dyn Connector> = Arc::new(OpenSsh);
    let boxed = builder.contents(&cx, &built.artifacts[0], &connector).await.unwrap();
    let connection = connector.connect(&cx, &as_root(&sshd)).await.unwrap();
    let host = Contents::of(&cx, connection.as_ref(), "/", Some(Become::root())).await.unwrap();
    connection.close().await;
    assert_eq!(boxed.packages, host.packages);
    let own = |path: &str| {
        [
            "/var/log/",
            "/var/tmp/",
            "/var/cache/",
            "/etc/ssh/ssh_host_",
            "/boot/grub",
            "/home/vagrant",
            "/etc/systemd/system/",
        ]
        .iter()
        .any(|p| path.starts_with(p))
            || [
                "/.dockerenv",
                "/etc/fstab",
                "/etc/group",
                "/etc/gshadow",
                "/etc/hostname",
                "/etc/hosts",
                "/etc/machine-id",
                "/etc/network/interfaces",
                "/etc/passwd",
                "/etc/resolv.conf",
                "/etc/shadow",
                "/etc/sudoers.d/vagrant",
                "/usr/sbin/docker-init",
                "/var/lib/dbus/machine-id",
            ]
            .contains(&path)
    };
    let all = host.files.keys().chain(boxed.files.keys());
    let differs: Vec<_> = all.filter(|p| !own(p) && host.files.get(*p) != boxed.files.get(*p)).collect();
    assert!(
        differs.is_empty(),
        "{:?}",
        differs.iter().map(|p| (p, host.files.get(*p), boxed.files.get(*p))).collect::<Vec<_>>()
    );
    assert!(boxed.files.len() > 5000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_that_would_not_boot_is_refused_with_the_packages_that_it_needs() {
    if !has_disk_tools() {
        return;
    }
    // A host of a container: an SSH server and sudo, no kernel and no init.
    let Some(sshd) = Sshd::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let builder = VagrantBox::new(VagrantBoxConfig::new(dir.path().join("boxes"))).unwrap();
    let error = builder.build(&Context::new(), &host_image("web", &sshd)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    for package in ["linux-image-amd64", "systemd-sysv", "udev", "ifupdown isc-dhcp-client"] {
        assert!(error.to_string().contains(package), "{error}");
    }
    assert!(!error.to_string().contains("openssh-server") && !error.to_string().contains(" sudo"), "{error}");
    assert!(!builder.catalogue("web").unwrap().exists(), "nothing is offered");

    // Without become it can't read everything, and says so.
    let mut image = host_image("web", &sshd);
    image.base = Base::Host(Box::new(sshd.host("box")));
    let error = builder.build(&Context::new(), &image).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ToolFailed, "{error:?}");
    assert!(error.to_string().contains("become"), "{error}");
}
