//! Files, folders and texts on a host.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use towpath_core::TaskStatus::{Changed, Ok};
use towpath_core::{Action, Certainty, ErrorKind};

use crate::support::{World, short};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_made_changed_and_mended_once() {
    let Some(world) = World::new(1).await else { return };
    world.write("conf", "one\n");
    let steps = |mode: &str, owner: &str| {
        json!([{ "upload": {
            "source": "conf", "path": "/etc/app.conf", "mode": mode, "owner": owner, "group": "deploy", "backup": true, "become": true
        } }])
    };
    let stat = "stat -c '%a %U %G' /etc/app.conf; cat /etc/app.conf";
    assert_eq!(world.statuses(steps("0640", "root")).await, [Changed]);
    assert_eq!(world.sh(stat), "640 root deploy\none");
    assert_eq!(world.statuses(steps("0640", "root")).await, [Ok]);
    // Only the mode, only the owner: the file itself stays, which its inode tells.
    let inode = world.sh("stat -c %i /etc/app.conf");
    assert_eq!(world.statuses(steps("0600", "root")).await, [Changed]);
    assert_eq!(world.statuses(steps("0600", "deploy")).await, [Changed]);
    assert_eq!(world.statuses(steps("0600", "1000")).await, [Ok], "deploy by its number");
    assert_eq!(world.sh(stat), "600 deploy deploy\none");
    assert_eq!(world.sh("stat -c %i /etc/app.conf"), inode);
    world.write("conf", "two\n");
    assert_eq!(world.statuses(steps("0600", "deploy")).await, [Changed]);
    assert_eq!(
        world.sh("cat /etc/app.conf; ls /etc/app.conf.*~; cat /etc/app.conf.*~; stat -c '%a %U' /etc/app.conf.*~"),
        "two\n/etc/app.conf.~1~\none\n600 deploy"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_written_through_nothing_that_stands_in_its_way() {
    let Some(world) = World::new(1).await else { return };
    let steps = |content: &str| json!([{ "upload": { "content": content, "path": "/srv/a/conf", "backup": true, "become": true } }]);
    // Where a user may write, links to what only root may.
    world.sh(
        "mkdir /srv/a /srv/folder; echo mine >/srv/victim; cd /srv/a; printf old >conf; chmod 640 conf; ln -s /srv/victim conf.~1~
         ln -s /srv/nothing conf.~2~; mkdir conf.~3~; ln -s /srv/folder conf.~4~; echo other >conf.~5~; chown -R deploy /srv/a",
    );
    assert_eq!(world.statuses(steps("new")).await, [Changed]);
    let stands = "cd /srv/a; cat /srv/victim conf.~5~; ls -A /srv/folder conf.~3~/; test -e /srv/nothing || echo none";
    assert_eq!(world.sh(stands), "mine\nother\n/srv/folder:\n\nconf.~3~/:\nnone");
    assert_eq!(world.sh("cd /srv/a; cat conf conf.~6~; stat -c ' %a %U' conf.~6~"), "newold 640 deploy");

    // An attempt that ended before the file was replaced has made its backup already.
    world.sh("cd /srv/a; ln conf conf.~7~");
    assert_eq!(world.statuses(steps("newer")).await, [Changed]);
    assert_eq!(world.sh("cd /srv/a; cat conf.~7~; test -e conf.~8~ || echo ' and no more'"), "new and no more");

    // Where no file can get a second name.
    world.sh("printf '#!/bin/sh\nexit 1\n' >/usr/local/bin/ln; chmod 755 /usr/local/bin/ln");
    assert_eq!(world.statuses(steps("newest")).await, [Changed]);
    assert_eq!(world.sh("cd /srv/a; cat conf.~8~; stat -c ' %a %U' conf.~8~; ls -A | wc -l"), "newer 600 root\n9");
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_and_owners_that_nobody_names_are_kept() {
    let Some(world) = World::new(1).await else { return };
    world.write("plain", "x");
    let tool = world.write("tool", "#!/bin/sh\n");
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o700)).unwrap();
    world.sh("echo old >/srv/kept; chmod 4755 /srv/kept; chown 1234:4321 /srv/kept; chmod 4755 /srv/kept");
    let up = |from: &str, to: &str| json!({ "upload": { "source": from, "path": to, "become": true } });
    let steps = json!([
        up("plain", "/srv/kept"),
        up("plain", "/srv/plain"),
        up("tool", "/srv/tool"),
        { "upload": { "content": "x", "path": "/srv/text", "become": true } }
    ]);
    assert_eq!(world.statuses(steps.clone()).await, [Changed; 4]);
    let stats = world.sh("cd /srv; stat -c '%n %a %u:%g' kept plain tool text");
    assert_eq!(stats, "kept 4755 1234:4321\nplain 644 0:0\ntool 755 0:0\ntext 600 0:0");
    assert_eq!(world.statuses(steps).await, [Ok; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_merged() {
    let Some(world) = World::new(1).await else { return };
    world.write("app/bin/run it", "#!/bin/sh\n");
    world.write("app/etc/deep/er/conf", "a\n");
    world.write("app/etc/-n", "odd\n");
    std::fs::create_dir_all(world.dir.path().join("app/empty")).unwrap();
    std::os::unix::fs::symlink("etc/-n", world.dir.path().join("app/link")).unwrap();
    for n in 0..30 {
        world.write(&format!("app/many/{n}"), &n.to_string());
    }
    let steps = json!([{ "upload": {
        "source": "app", "path": "/opt/some/app/", "owner": "deploy", "group": "deploy", "mode": "0640", "directory_mode": "0750",
        "parents": true, "become": true
    } }]);
    let plan = world.plan(steps.clone()).await;
    assert!(plan.changes.iter().all(|c| c.certainty == Certainty::Will && c.action == Action::Create), "{plan:?}");
    // /opt/some, the folder itself, 6 folders in it, 34 files
    assert_eq!(plan.changes.len(), 42, "{:?}", short(&plan));
    assert_eq!(world.statuses(steps.clone()).await, [Changed]);
    assert_eq!(world.results()[0].2["count"], 42);
    let tree = world.sh("cd /opt/some; stat -c '%n %a %U' . app app/etc/deep/er 'app/bin/run it' app/empty app/link; cat app/link app/etc/-n app/many/29");
    assert_eq!(
        tree,
        ". 755 root\napp 750 deploy\napp/etc/deep/er 750 deploy\napp/bin/run it 640 deploy\napp/empty 750 deploy\napp/link 640 deploy\nodd\nodd\n29"
    );
    assert_eq!(world.statuses(steps.clone()).await, [Ok]);

    world.sh("cd /opt/some/app; touch theirs; rm many/7; chmod 700 empty; chown root 'bin/run it'");
    let plan = world.plan(steps.clone()).await;
    let mut names: Vec<String> = plan.changes.iter().map(|c| c.subject.clone()).collect();
    names.sort();
    let named = |below: &str| format!("upload /opt/some/app/: /opt/some/app/{below}");
    assert_eq!(names, [named("bin/run it"), named("empty"), named("many/7")]);
    assert_eq!(world.statuses(steps.clone()).await, [Changed]);
    assert_eq!(world.results()[0].2["count"], 3);
    assert_eq!(
        world.sh("cd /opt/some/app; ls theirs; stat -c '%a %U' empty 'bin/run it'"),
        "theirs\n750 deploy\n640 deploy"
    );
    assert_eq!(world.statuses(steps).await, [Ok]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_way_is_refused_or_replaced() {
    let Some(world) = World::new(1).await else { return };
    world.write("folder/x", "x");
    world.sh("mkdir /srv/folder; ln -s folder /srv/to-folder; echo secret >/srv/target; ln -s /srv/target /srv/link; mkdir -m 700 /srv/closed; echo x >/srv/file");
    let one = |from: &str, to: &str| json!([{ "upload": { from: if from == "source" { "folder" } else { "text" }, "path": to, "become": true } }]);
    for (from, to, part) in [
        ("content", "/srv/folder", "there is a folder"),
        ("content", "/srv/to-folder", "there is a link to a folder"),
        ("source", "/srv/file", "to be a folder"),
    ] {
        let plan = world.plan(one(from, to)).await;
        assert!(plan.changes.iter().any(|c| c.reason.as_deref().is_some_and(|r| r.contains(part))), "{plan:?}");
        let error = world.apply(one(from, to)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
        assert!(error.message().contains(part) && error.get("path") == Some(to), "{error:?}");
        assert_eq!((error.get("host"), error.get("task")), (Some("web-1"), Some(format!("upload {to}").as_str())));
    }
    assert_eq!(world.sh("ls -A /srv/folder; readlink /srv/to-folder"), "folder");
    // A link is replaced, what it leads to is not touched.
    assert_eq!(world.statuses(one("content", "/srv/link")).await, [Changed]);
    assert_eq!(world.sh("cat /srv/target; cat /srv/link; test -L /srv/link || echo file"), "secret\ntextfile");

    // A link to a folder is followed.
    world.sh("mkdir /srv/v1; ln -s v1 /srv/current");
    assert_eq!(world.statuses(one("source", "/srv/current")).await, [Changed]);
    assert_eq!(world.sh("cat /srv/v1/x; test -L /srv/current && echo link"), "xlink");
    assert_eq!(world.statuses(one("source", "/srv/current")).await, [Ok]);

    let closed = json!([{ "upload": { "content": "x", "path": "/srv/closed/x" } }]);
    let plan = world.plan(closed.clone()).await;
    assert_eq!(plan.changes[0].certainty, Certainty::CannotKnow, "{plan:?}");
    let error = world.apply(closed).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Denied && error.message().contains("`become`"), "{error:?}");
    let missing = json!([{ "upload": { "content": "x", "path": "/srv/no/such/x", "become": true } }]);
    let error = world.apply(missing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_fill_content_and_path() {
    let Some(mut world) = World::new(1).await else { return };
    world.targets.extra_vars.insert("site".into(), json!("blue"));
    world.write("conf", "first\nname={{ site }}\n");
    let steps = json!([{ "upload": { "source": "conf", "path": "/tmp/{{ site }}.conf", "fill": true } }]);
    assert_eq!(world.statuses(steps.clone()).await, [Changed]);
    assert_eq!(world.sh("cat /tmp/blue.conf"), "first\nname=blue");
    assert_eq!(world.statuses(steps.clone()).await, [Ok]);
    world.write("conf", "first\nname={{ sit }}\n");
    let error = world.apply(steps).await.unwrap_err();
    assert_eq!((error.kind(), error.get("file")), (ErrorKind::InvalidInput, Some("conf:2")), "{error:?}");
    assert!(error.message().contains("did you mean `site`"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_goes_whole() {
    let Some(world) = World::new(1).await else { return };
    let bytes: Vec<u8> = (0..5_000_000u32).map(|i| (i % 251) as u8).collect();
    std::fs::write(world.dir.path().join("large"), &bytes).unwrap();
    let steps = json!([{ "upload": { "source": "large", "path": "/tmp/large" } }]);
    assert_eq!(world.statuses(steps.clone()).await, [Changed]);
    assert_eq!(world.sh("stat -c %s /tmp/large"), "5000000");
    assert_eq!(world.statuses(steps).await, [Ok], "the digests are the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_may_look_like_an_escape() {
    let Some(world) = World::new(1).await else { return };
    // Many an `echo` would make line ends of these.
    for path in ["/tmp/a\\nb\\c", "/tmp/-n", "/tmp/\\c/x"] {
        let steps = json!([{ "upload": { "content": "x", "path": path, "parents": true } }]);
        assert_eq!(world.statuses(steps.clone()).await, [Changed], "{path}");
        assert_eq!(world.statuses(steps.clone()).await, [Ok], "{path}");
        assert_eq!(short(&world.plan(steps).await), [format!("will not: upload {path}")]);
        assert_eq!(world.sh(&format!("cat {}", towpath_core::shell_quote(path))), "x");
    }
    // A folder that is behind a link, with a line end in its name.
    world.sh("mkdir \"$(printf '/srv/a\\nfile')\"; ln -s \"$(printf 'a\\nfile')\" /srv/current; chown -R deploy /srv");
    let steps = json!([{ "upload": { "content": "x", "path": "/srv/current/x" } }]);
    assert_eq!(world.statuses(steps.clone()).await, [Changed]);
    assert_eq!(world.statuses(steps).await, [Ok]);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_names_and_many_files_are_told_apart() {
    let Some(world) = World::new(1).await else { return };
    for n in 0..3000 {
        world.write(&format!("many/{}/{n}", n % 7), &format!("{n}"));
    }
    let odd = ["a\\b", "a b", " lead", "tail ", "it's", "$(id)", "*", "-rf", "ü", "\"", "tab\there"];
    for name in odd {
        world.write(&format!("many/odd/{name}"), name);
    }
    let steps = json!([{ "upload": { "source": "many", "path": "/tmp/many" } }]);
    // All but a few are there, put there by somebody else.
    let tar = world.dir.path().join("many.tar");
    let packed =
        std::process::Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(world.dir.path()).arg("many").status();
    assert!(packed.unwrap().success());
    let target = format!("{}:/tmp/many.tar", world.servers[0].id);
    assert!(std::process::Command::new("docker").arg("cp").arg(&tar).arg(target).status().unwrap().success());
    world.sh("cd /tmp; tar -xof many.tar; chown -R deploy: many; cd many; rm 0/7 'odd/a\\b'; echo other >odd/-rf; rm 'odd/ lead'; ln -s x 'odd/ lead'");
    assert_eq!(world.statuses(steps.clone()).await, [Changed]);
    let result = world.results().remove(0).2;
    assert_eq!(result["count"], 4, "{result}");
    for name in odd {
        let quoted = towpath_core::shell_quote(&format!("/tmp/many/odd/{name}"));
        assert_eq!(
            world.sh(&format!("printf '%s|' \"$(cat {quoted})\"; test -L {quoted} || echo file")),
            format!("{name}|file").replace("tail |", "tail |"),
            "{name}"
        );
    }
    assert_eq!(world.statuses(steps).await, [Ok]);
}
