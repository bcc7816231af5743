//! Reads the contents of a system with one script of `/bin/sh`, which needs nothing but usual small tools and changes nothing.

use std::collections::BTreeMap;

use crate::equivalence::facts::Facts;
use crate::equivalence::{Contents, FileEntry, FileKind};
use crate::{Become, Connection, Context, Error, ErrorKind, Exec, Result};

/// `$1`: where the system's root is. Answers in sections; the last one is `@end`.
///
/// Packages are read from the databases themselves, so that a disk image needs no program of its own to be run. Hashes of passwords stay where they are.
const SCRIPT: &str = include_str!("gather.sh");

/// 200,000 files with long names.
const LIMIT_BYTES: usize = 256 << 20;

impl Contents {
    /// Reads them from a host, or from a tree below `root` on it; an empty `root` is the host itself. Needs a user who may read everything.
    /// Other file systems that are mounted below it, volumes for one, are not looked into.
    ///
    /// # Errors
    ///
    /// [`ToolFailed`](ErrorKind::ToolFailed): something can't be read, or a file's name holds a line break, which no list of files can tell apart.
    /// Those of [`Connection::exec`].
    pub async fn of(cx: &Context, connection: &dyn Connection, root: &str, r#as: Option<Become>) -> Result<Self> {
        let mut command = Exec::script(format!("root={}\n{SCRIPT}", crate::shell_quote(root.trim_end_matches('/'))));
        command.limit_bytes = LIMIT_BYTES;
        command.r#become = r#as;
        command.label = Some("read packages, files, users and units".to_owned());
        let out = connection.exec(cx, &command).await?;
        let out = out.success("core", "contents", connection.host(), &command)?;
        read(&String::from_utf8_lossy(&out.stdout)).map_err(|what| {
            Error::new(ErrorKind::ToolFailed, "core", "contents", what)
                .with("host", connection.host())
                .with_missing("root", if root.is_empty() { "/" } else { root })
        })
    }
}

/// Reads what the script said.
fn read(text: &str) -> Result<Contents, String> {
    let mut sections: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut current = "";
    for line in text.lines() {
        match line.strip_prefix('@') {
            Some(name) => {
                current = name;
                sections.entry(name).or_default();
            }
            None => sections.entry(current).or_default().push(line.strip_prefix(' ').unwrap_or(line)),
        }
    }
    let expected = ["os", "passwd", "group", "shadow", "packages", "odd", "files", "digests", "end"];
    if current != "end" || expected.iter().any(|name| !sections.contains_key(name)) {
        return Err("the host stopped in the middle of its answer".to_owned());
    }
    let section = |name: &str| sections.get(name).map(Vec::as_slice).unwrap_or_default();
    if let Some(what) = section("unread").first() {
        return Err(format!("something can't be read: {what}"));
    }
    if let Some(odd) = section("odd").first() {
        return Err(format!("a file's name holds a line break, so its files can't be listed: {odd}..."));
    }
    let mut facts = Facts {
        os_release: section("os").join("\n"),
        passwd: section("passwd").join("\n"),
        group: section("group").join("\n"),
        ..Facts::default()
    };
    facts.passwords = section("shadow").iter().filter_map(|l| l.split_once(':')).map(owned).collect();
    facts.packages = section("packages").iter().filter_map(|l| l.split_once('\t')).map(owned).collect();
    for line in section("files") {
        let mut fields = line.splitn(6, '\u{1}');
        let mut next = || fields.next().ok_or_else(|| format!("a line of the list of files makes no sense: {line:?}"));
        let (kind, mode, uid, gid, target, path) = (next()?, next()?, next()?, next()?, next()?, next()?);
        let kind = match kind {
            "f" => FileKind::File,
            "d" => FileKind::Folder,
            "l" => FileKind::Link,
            _ => FileKind::Special,
        };
        let entry = FileEntry {
            kind,
            mode: format!("{mode:0>4}"),
            owner: uid.to_owned(),
            group: gid.to_owned(),
            target: (kind == FileKind::Link).then(|| target.to_owned()),
            sha256: None,
        };
        facts.files.insert(if path.is_empty() { "/".to_owned() } else { path.to_owned() }, entry);
    }
    for line in section("digests") {
        // A backslash before the digest says that the name has escapes.
        let (escaped, line) = line.strip_prefix('\\').map_or((false, *line), |rest| (true, rest));
        let Some((digest, path)) = line.split_once("  ") else {
            return Err(format!("a line of the list of digests makes no sense: {line:?}"));
        };
        let path = if escaped { path.replace("\\\\", "\\") } else { path.to_owned() };
        if let Some(file) = facts.files.get_mut(&path) {
            file.sha256 = Some(digest.to_owned());
        }
    }
    let without = facts.files.iter().find(|(_, f)| f.kind == FileKind::File && f.sha256.is_none());
    if let Some((path, _)) = without {
        return Err(format!("`{path}` can't be read, or changed meanwhile: read as root, while nothing runs"));
    }
    Ok(facts.into_contents())
}

fn owned((a, b): (&str, &str)) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// Runs the script on a tree with this machine's own `sh`.
    pub(crate) fn gathered(root: &Path) -> Result<Contents, String> {
        let out =
            Command::new("/bin/sh").arg("-c").arg(format!("root='{}'\n{SCRIPT}", root.display())).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        read(&String::from_utf8_lossy(&out.stdout))
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("etc/os-release", "PRETTY_NAME=\"Debian\"\nID=debian\nVERSION_ID=\"12\"\n");
        write("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nanna:x:1000:1000:Anna,,,:/home/anna:/bin/sh\n");
        write("etc/group", "root:x:0:\nanna:x:1000:\nadm:x:4:zoe,anna\n");
        write("etc/shadow", "root:*:19000:0:99999:7:::\nanna:$6$salt$hash:19000:0:99999:7:::\n");
        write(
            "var/lib/dpkg/status",
            "Package: half\nStatus: install ok half-installed\nArchitecture: all\nVersion: 1\n\nPackage: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2.15-2\nDescription: shell\n Version: 9 in a text\n\n\
             Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n",
        );
        write("srv/back\\slash and blank", "x");
        write("proc/1/stat", "1");
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, dir.path().join(name)).unwrap();
        link("../target with blank", "srv/link");
        std::fs::create_dir_all(dir.path().join("etc/systemd/system/multi-user.target.wants")).unwrap();
        link("/lib/systemd/system/web.service", "etc/systemd/system/multi-user.target.wants/web.service");
        link("/dev/null", "etc/systemd/system/old.service");
        dir
    }

    #[test]
    fn a_tree_is_reduced_to_its_contents() {
        let dir = tree();
        let found = gathered(dir.path()).unwrap();
        assert_eq!((found.distribution.as_str(), found.version.as_str()), ("debian", "12"));
        assert_eq!(found.packages, BTreeMap::from([("bash:amd64".to_owned(), "5.2.15-2".to_owned())]));
        assert_eq!(found.users["anna"].password, "set");
        assert_eq!(found.users["root"].password, "locked");
        assert_eq!(found.groups["adm"].members, ["anna", "zoe"]);
        let odd = &found.files["/srv/back\\slash and blank"];
        assert_eq!(odd.sha256.as_deref(), Some("2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"));
        assert_eq!((odd.kind, odd.mode.len()), (FileKind::File, 4));
        assert_eq!(found.files["/srv/link"].target.as_deref(), Some("../target with blank"));
        assert!(found.files.contains_key("/") && found.files.contains_key("/proc"), "the folder itself stays");
        assert!(!found.files.keys().any(|path| path.starts_with("/proc/")), "what lives in memory is left out");
        assert_eq!(
            found.units,
            BTreeMap::from([
                ("web.service".to_owned(), "enabled".to_owned()),
                ("old.service".to_owned(), "masked".to_owned())
            ])
        );
        assert!(!format!("{found:?}").contains("$6$"), "no hash of a password leaves the host");
    }

    /// Two readers that know nothing of each other: this machine's `sh` on the tree, and an archive that its `tar` made of it.
    #[test]
    fn an_archive_of_a_tree_has_the_same_contents() {
        let dir = tree();
        std::fs::hard_link(dir.path().join("etc/passwd"), dir.path().join("etc/second-name")).unwrap();
        std::fs::write(dir.path().join("srv").join("long".repeat(50)), "long names have entries of their own").unwrap();
        let status = Command::new("mkfifo").arg(dir.path().join("srv/pipe")).status().unwrap();
        assert!(status.success());
        for format in ["gnu", "pax"] {
            let tar = Command::new("tar").args(["--format", format, "-C"]).arg(dir.path()).args(["-c", "."]).output();
            let archive = tar.unwrap().stdout;
            let found = Contents::from_tar(std::io::Cursor::new(&archive)).unwrap();
            assert_eq!(found, gathered(dir.path()).unwrap(), "{format}");
            let broken = Contents::from_tar(std::io::Cursor::new(archive.get(..archive.len() / 3).unwrap()));
            assert!(broken.is_err(), "an archive that breaks off is none: {broken:?}");
        }
    }

    #[test]
    fn an_answer_that_breaks_off_is_no_answer() {
        assert!(read("@os\n ID=debian\n@files\n").unwrap_err().contains("stopped in the middle"));
        let all = "@os\n@passwd\n@group\n@shadow\n@packages\n@odd\n@files\n f\u{1}644\u{1}0\u{1}0\u{1}\u{1}/etc/x\n@digests\n@end\n";
        assert!(read(&all.replace("@group\n", "")).unwrap_err().contains("stopped in the middle"));
        let unread = all;
        assert!(read(unread).unwrap_err().contains("/etc/x"));
    }

    #[test]
    fn what_looks_like_a_section_or_does_not_end_is_a_line() {
        let dir = tree();
        std::fs::write(dir.path().join("etc/passwd"), "@group:x:7:7::/:/bin/sh\nroot:x:0:0:root:/root:/bin/sh")
            .unwrap();
        let found = gathered(dir.path()).unwrap();
        assert_eq!(found.users["@group"].uid, "7");
        assert_eq!((found.users["root"].shell.as_str(), found.groups.len()), ("/bin/sh", 3));
    }

    #[test]
    fn packages_that_can_t_be_read_are_no_packages_at_all() {
        let dir = tree();
        std::fs::remove_file(dir.path().join("var/lib/dpkg/status")).unwrap();
        std::fs::create_dir_all(dir.path().join("var/lib/rpm")).unwrap();
        let out = Command::new("/bin/sh")
            .args(["-c", &format!("rpm() {{ return 127; }}\nroot='{}'\n{SCRIPT}", dir.path().display())])
            .output()
            .unwrap();
        assert!(read(&String::from_utf8_lossy(&out.stdout)).unwrap_err().contains("rpm"));
    }

    #[test]
    fn a_line_break_in_a_name_is_told() {
        let dir = tree();
        std::fs::write(dir.path().join("srv/two\nlines"), "x").unwrap();
        assert!(gathered(dir.path()).unwrap_err().contains("line break"));
    }
}
