//! Stores that can't be used: refused, with what to do, before anything runs.

use crate::place::{NOTES, Place};

#[test]
fn a_foreign_file_is_refused_and_left_as_it_is() {
    let place = Place::new().with("p.yml", NOTES).with("letter.db", "Dear Anna, this is no database.\n");
    let said = place.towpath(&["run", "p.yml", "--store", "letter.db"]).ends(1);
    said.complains(&["letter.db", "--store"]);
    assert_eq!(std::fs::read_to_string(place.path().join("letter.db")).unwrap(), "Dear Anna, this is no database.\n");
    place.holds_only(&["letter.db", "p.yml"]);
}

#[test]
fn a_torn_store_is_refused() {
    let place = Place::new().with("p.yml", NOTES);
    place.towpath(&["run", "p.yml", "--store", "s.db"]).ends(0);
    let path = place.path().join("s.db");
    let mut bytes = std::fs::read(&path).unwrap();
    // What a copy taken while the store was in use, or a failing disk, looks like.
    bytes[100..].fill(0x5a);
    std::fs::write(&path, &bytes).unwrap();
    for rest in ["s.db-wal", "s.db-shm"] {
        let _ = std::fs::remove_file(place.path().join(rest));
    }
    for args in [&["run", "p.yml"][..], &["status"], &["leases"]] {
        let said = place.towpath(&[args, &["--store", "s.db"]].concat()).ends(1);
        said.complains(&["s.db"]);
        assert!(said.err.contains("put a copy of it back"), "what to do: {said:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_store_that_cannot_be_written_stops_the_run_before_it_starts() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new().with("p.yml", NOTES);
    // Root may write everywhere, so a file stands where the folder should be.
    place.write("file", "");
    place.towpath(&["run", "p.yml", "--store", "file/store.db"]).ends(1).complains(&["file/store.db", "permissions"]);
    place.holds_only(&["file", "p.yml"]);

    std::fs::create_dir(place.path().join("ro")).unwrap();
    place.towpath(&["run", "p.yml", "--store", "ro/store.db"]).ends(0);
    let runs = |place: &Place| std::fs::read_dir(place.path().join("ro/runs")).unwrap().count();
    assert_eq!(runs(&place), 2, "page and journal lie beside the store");
    for file in std::fs::read_dir(place.path().join("ro")).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o400)).unwrap();
        }
    }
    let args = ["run", "p.yml", "--store", "ro/store.db"];
    let mut command = place.command(&args);
    if !as_somebody_else(&place, &args, &mut command) {
        std::fs::set_permissions(place.path().join("ro"), PermissionsExt::from_mode(0o500)).unwrap();
    }
    let said = crate::place::said(command.spawn().unwrap()).ends(1);
    said.complains(&["ro/store.db"]);
    assert_eq!(runs(&place), 2, "no new run: {said:?}");
}

/// Root is stopped by no permission, so root runs it as `nobody`, who may not reach the folder it was built in.
#[cfg(unix)]
fn as_somebody_else(place: &Place, args: &[&str], command: &mut std::process::Command) -> bool {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
    use std::os::unix::process::CommandExt as _;
    let root = std::fs::metadata(place.path()).unwrap().uid() == 0;
    if root {
        for dir in ["", "ro", "ro/runs"] {
            std::fs::set_permissions(place.path().join(dir), PermissionsExt::from_mode(0o755)).unwrap();
        }
        for file in ["p.yml", "ro/store.db"] {
            std::fs::set_permissions(place.path().join(file), PermissionsExt::from_mode(0o444)).unwrap();
        }
        std::fs::copy(env!("CARGO_BIN_EXE_towpath"), place.path().join("towpath")).unwrap();
        *command = place.command_of("./towpath", args);
        command.uid(65_534).gid(65_534);
    }
    root
}
