//! The program as a download, served by a server of this machine.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sha2::{Digest as _, Sha256};
use towpath_core::private_files::hold;
use towpath_core::{ErrorKind, Provisioner};
use towpath_terraform::{Download, Terraform};

use crate::module::{Module, program, terraform};

struct Server(Child, String);

impl Server {
    fn of(folder: &Path) -> Self {
        let mut server = Command::new("python3")
            .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"])
            .arg(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.split(" port ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        Self(server, format!("http://127.0.0.1:{port}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An archive as the makers publish it, and its digest.
fn archive(folder: &Path, name: &str, content: &Path) -> String {
    let path = folder.join(name);
    let script = "import sys, zipfile\nwith zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as z:\n z.write(sys.argv[2], sys.argv[3])\n z.writestr('LICENSE.txt', 'x')";
    let inside = content.file_name().unwrap();
    let made = Command::new("python3").args(["-c", script]).arg(&path).arg(content).arg(inside).status().unwrap();
    assert!(made.success());
    hex::encode(Sha256::digest(std::fs::read(path).unwrap()))
}

#[tokio::test]
async fn a_pinned_program_is_fetched_once_and_anything_else_is_refused() {
    if !terraform() {
        return;
    }
    let module = Module::new("resource \"terraform_data\" \"one\" {}\n");
    let (served, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let found = Command::new("sh").args(["-c", &format!("command -v '{}'", program())]).output().unwrap();
    let real = std::fs::canonicalize(String::from_utf8(found.stdout).unwrap().trim()).unwrap();
    let digest = archive(served.path(), "release.zip", &real);
    let other = archive(served.path(), "other.zip", Path::new("/etc/hostname"));
    let server = Server::of(served.path());
    let with = |url: String, sha256: &str| {
        let mut config = module.config();
        config.program = None;
        config.download = Some(Download { dir: Some(kept.path().join("kept")), ..Download::new(url, sha256) });
        Terraform::new(config).unwrap()
    };

    // What a download has left that was killed, and one that is at work.
    let (dead, alive) = (kept.path().join("kept/.new-dead"), kept.path().join("kept/.new-alive"));
    for folder in [&dead, &alive] {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("archive.zip"), "half of it").unwrap();
    }
    let at_work = hold(&alive).unwrap().unwrap();
    let wrong = with(format!("{}/release.zip", server.1), &other).apply(&module.cx).await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Conflict);
    assert!(wrong.report().contains(&digest) && wrong.report().contains("not what was pinned"), "{}", wrong.report());
    let there = std::fs::read_dir(kept.path().join("kept")).unwrap().map(|e| e.unwrap().path()).collect::<Vec<_>>();
    assert_eq!(there, [alive], "nothing of it is kept, and nothing of the dead one");
    drop(at_work);
    let without = with(format!("{}/other.zip", server.1), &other).preflight(&module.cx).await.unwrap_err();
    assert!(without.report().contains("neither `terraform` nor `tofu`"), "{}", without.report());
    let absent = with(format!("{}/no.zip", server.1), &digest).preflight(&module.cx).await.unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::NotFound);
    assert!(absent.report().contains("404"), "{}", absent.report());

    let pinned = format!("{}/release.zip", server.1);
    assert_eq!(with(pinned.clone(), &digest).apply(&module.cx).await.unwrap().changed, 1);
    drop(server);
    assert!(
        with(pinned.clone(), &digest.to_uppercase()).plan(&module.cx).await.unwrap().is_empty(),
        "kept, and not fetched again"
    );

    // A folder that belongs to somebody else might hold anything.
    if nix::unistd::geteuid().is_root() {
        let give = |uid| std::os::unix::fs::chown(kept.path().join("kept"), Some(uid), None).unwrap();
        give(12345);
        let foreign = with(pinned.clone(), &digest).preflight(&module.cx).await.unwrap_err();
        give(0);
        assert_eq!(foreign.kind(), ErrorKind::Denied);
    }

    let mut both = module.config();
    both.download = Some(Download::new(pinned, &digest));
    assert_eq!(Terraform::new(both).unwrap_err().kind(), ErrorKind::InvalidInput);
}
