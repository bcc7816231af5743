//! A host's own root: what it sees of this machine, and where its changes go.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, geteuid, pivot_root, sethostname};

use crate::files::{private_dir, remove_tree};
use crate::image_builder::CHANGES;
use crate::spawn_hooks;
use crate::state::{HostDir, HostSettings};

/// Folders of which a host sees this machine's content, under a layer of its own.
const LAYERED: [&str; 4] = ["etc", "opt", "srv", "usr"];

/// Files of `/etc` that no host needs and that may be secret; a host gets fresh ones where it needs any.
const NOT_COPIED: [&str; 6] = ["shadow", "shadow-", "gshadow", "gshadow-", "ssl/private", "sudoers.d"];

/// A pass-through for `sudo` and `su`: in a namespace with one user everybody is root already.
const SUDO: &str = include_str!("sudo.sh");
const SU: &str = include_str!("su.sh");

fn at<T>(what: &str, path: &Path, result: Result<T, impl std::fmt::Display>) -> io::Result<T> {
    result.map_err(|e| io::Error::other(format!("{what} {}: {e}", path.display())))
}

/// Says why namespaces don't work on this machine; `Ok`: they do.
///
/// It makes what a host needs (user and mount namespace, an overlay in `scratch`) in a child that ends at once.
pub(crate) fn namespaces_work(scratch: &Path) -> Result<(), String> {
    if !cfg!(target_os = "linux") {
        return Err("namespaces exist on Linux only".into());
    }
    let dir = scratch.join(format!(".probe-{:08x}", rand::random::<u32>()));
    let make = || {
        for d in [&dir, &dir.join("upper"), &dir.join("work"), &dir.join("merged")] {
            private_dir(d)?;
        }
        let mut command = Command::new("/bin/true");
        spawn_hooks::in_own_namespace_with_overlay(
            &mut command,
            &overlay_options(&[Path::new("/usr")], &dir),
            &dir.join("merged"),
        );
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("/bin/true: {status}"))) }
    };
    let result: io::Result<()> = make();
    let _ = remove_tree(&dir);
    result.map_err(|e| {
        format!("this kernel or container does not allow user namespaces with overlays to this user ({e})")
    })
}

/// The folder of which hosts have a layer, if a path is in one: the changes of a host can't be kept in what they change.
pub(crate) fn layered(path: &Path) -> Option<PathBuf> {
    let path = fs::canonicalize(path).ok()?;
    let shown = |name: &str| LAYERED.contains(&name) || holds_programs(name);
    let top = fs::read_dir("/").ok()?.flatten().filter(|e| e.file_name().to_str().is_some_and(shown));
    top.filter_map(|e| fs::canonicalize(e.path()).ok()).find(|root| path.starts_with(root))
}

/// Whether a top-level folder is one that programs live in, of which a host has a layer, too.
fn holds_programs(name: &str) -> bool {
    name == "bin" || name == "sbin" || name.starts_with("lib")
}

/// Escapes a path for the options of an overlay.
fn escape(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
}

fn overlay_options(lower: &[&Path], dir: &Path) -> String {
    overlay(lower, &dir.join("upper"), &dir.join("work"))
}

fn overlay(lower: &[&Path], upper: &Path, work: &Path) -> String {
    let lower: Vec<String> = lower.iter().map(|p| escape(p)).collect();
    format!("userxattr,lowerdir={},upperdir={},workdir={}", lower.join(":"), escape(upper), escape(work))
}

/// Makes what all hosts of an environment see below their own changes, once.
///
/// * `etc`: a copy, since in a user namespace a file of this machine's root can't be changed even in a layer of one's own.
/// * `usr`, `opt`, `srv`: their upper folders, owned by this user for the same reason, and the `sudo` and `su` of a host.
///
/// Gives the names of files that could not be read and are not there.
pub(crate) fn make_base(base: &Path) -> io::Result<Vec<String>> {
    if base.exists() {
        return Ok(Vec::new());
    }
    let fresh = base.with_file_name(format!(".base-{:08x}", rand::random::<u32>()));
    private_dir(&fresh)?;
    let mut missing = Vec::new();
    copy_etc(&fresh.join("etc"), &mut missing)?;
    for (name, depth) in [("usr", 3), ("opt", 2), ("srv", 2)] {
        let root = Path::new("/").join(name);
        let to = fresh.join(name);
        fs::create_dir(&to)?;
        fs::set_permissions(&to, Permissions::from_mode(0o755))?;
        // Root sees its own files as its own, so it needs no folders of its own.
        if geteuid().is_root() {
            continue;
        }
        for entry in walkdir::WalkDir::new(&root).min_depth(1).max_depth(depth).into_iter().flatten() {
            let (true, Ok(rest)) = (entry.file_type().is_dir(), entry.path().strip_prefix(&root)) else { continue };
            let made = fs::create_dir(to.join(rest));
            if let (Ok(()), Ok(meta)) = (made, entry.metadata()) {
                fs::set_permissions(to.join(rest), Permissions::from_mode(meta.mode() & 0o7777 | 0o700))?;
            }
        }
    }
    let bin = fresh.join("usr/bin");
    fs::create_dir_all(&bin)?;
    fs::set_permissions(&bin, Permissions::from_mode(0o755))?;
    for (name, text) in [("sudo", SUDO), ("su", SU)] {
        fs::write(bin.join(name), text)?;
        fs::set_permissions(bin.join(name), Permissions::from_mode(0o755))?;
    }
    match fs::rename(&fresh, base) {
        // Somebody else was faster, with the same content.
        Err(_) if base.exists() => remove_tree(&fresh)?,
        other => other?,
    }
    Ok(missing)
}

fn copy_etc(to: &Path, missing: &mut Vec<String>) -> io::Result<()> {
    let root = Path::new("/etc");
    fs::create_dir(to)?;
    fs::set_permissions(to, Permissions::from_mode(0o755))?;
    let mut walk = walkdir::WalkDir::new(root).min_depth(1).into_iter();
    while let Some(entry) = walk.next() {
        let Ok(entry) = entry else { continue };
        let Ok(rest) = entry.path().strip_prefix(root) else { continue };
        let private_key = rest.to_string_lossy().starts_with("ssh/ssh_host_");
        if private_key || NOT_COPIED.iter().any(|n| rest == Path::new(n)) {
            if entry.file_type().is_dir() {
                walk.skip_current_dir();
            }
            continue;
        }
        let target = to.join(rest);
        let kind = entry.file_type();
        let copied = if kind.is_dir() {
            fs::create_dir(&target).and_then(|()| set_mode(&target, entry.path(), 0o700))
        } else if kind.is_symlink() {
            copy_link(entry.path(), &target)
        } else if kind.is_file() {
            fs::read(entry.path())
                .and_then(|b| fs::write(&target, b))
                .and_then(|()| set_mode(&target, entry.path(), 0o600))
        } else {
            Ok(())
        };
        if copied.is_err() {
            missing.push(entry.path().display().to_string());
        }
    }
    let locked = |from: &str, line: fn(&str) -> String| -> io::Result<String> {
        let text = fs::read_to_string(to.join(from))?;
        Ok(text.lines().filter_map(|l| l.split(':').next()).filter(|n| !n.is_empty()).map(line).collect())
    };
    if let Ok(text) = locked("passwd", |n| format!("{n}:*:19000:0:99999:7:::\n")) {
        fs::write(to.join("shadow"), text)?;
        fs::set_permissions(to.join("shadow"), Permissions::from_mode(0o640))?;
    }
    if let Ok(text) = locked("group", |n| format!("{n}:*::\n")) {
        fs::write(to.join("gshadow"), text)?;
        fs::set_permissions(to.join("gshadow"), Permissions::from_mode(0o640))?;
    }
    Ok(())
}

fn set_mode(to: &Path, from: &Path, at_least: u32) -> io::Result<()> {
    let mode = fs::metadata(from)?.mode() & 0o7777 | at_least;
    fs::set_permissions(to, Permissions::from_mode(mode))
}

/// A link that leads out of what a host sees (`resolv.conf` into `/run`) becomes a copy of what it leads to.
fn copy_link(from: &Path, to: &Path) -> io::Result<()> {
    let target = fs::read_link(from)?;
    let lost = from
        .canonicalize()
        .ok()
        .filter(|real| ["/run", "/var", "/mnt"].iter().any(|p| real.starts_with(p)) && real.is_file());
    match lost {
        Some(real) => fs::read(real).and_then(|bytes| fs::write(to, bytes)),
        None => symlink(target, to),
    }
}

/// Gives this process, which is alone in its mount namespace, the host's root.
pub(crate) fn enter(dir: &HostDir, settings: &HostSettings) -> io::Result<()> {
    let none: Option<&OsStr> = None;
    let root = Path::new("/");
    at("make private", root, mount(none, root, none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none))?;
    let tree = dir.tree();
    make_dir(&tree, 0o755)?;
    bind(&tree, &tree)?;

    for name in LAYERED {
        let on = tree.join(name);
        let (upper, work) = (dir.upper().join(name), dir.work().join(name));
        make_dir(&on, 0o755)?;
        make_dir(&upper, 0o755)?;
        private_dir(&work)?;
        let own = settings.base.join(name);
        let machine = root.join(name);
        // `/etc` is a full copy, so that what a host sees does not change under it.
        let lower: Vec<&Path> = if name == "etc" || !machine.is_dir() { vec![&own] } else { vec![&own, &machine] };
        let options = overlay(&lower, &upper, &work);
        at("overlay", &on, mount(Some("overlay"), &on, Some("overlay"), MsFlags::empty(), Some(options.as_str())))?;
    }
    for entry in fs::read_dir("/")?.flatten() {
        mirror(&entry, &tree, dir)?;
    }
    own_folders(&tree)?;
    show_changes(&tree, dir)?;
    system_folders(&tree)?;

    sethostname(&settings.name)?;
    chdir(&tree)?;
    // Stacks the old root below the new one, from where it is taken away.
    at("pivot_root", &tree, pivot_root(".", "."))?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")?;
    Ok(())
}

/// Brings top-level entries that programs live in: `/bin`, `/lib64`, `/nix`.
fn mirror(entry: &fs::DirEntry, tree: &Path, dir: &HostDir) -> io::Result<()> {
    let name = entry.file_name();
    let on = tree.join(&name);
    let Some(text) = name.to_str() else { return Ok(()) };
    let programs = holds_programs(text);
    if entry.file_type()?.is_symlink() {
        if programs && fs::symlink_metadata(&on).is_err() {
            symlink(fs::read_link(entry.path())?, &on)?;
        }
        return Ok(());
    }
    if !entry.file_type()?.is_dir() {
        return Ok(());
    }
    if programs {
        let (upper, work) = (dir.upper().join(text), dir.work().join(text));
        make_dir(&on, 0o755)?;
        make_dir(&upper, 0o755)?;
        private_dir(&work)?;
        let options = overlay(&[&entry.path()], &upper, &work);
        at("overlay", &on, mount(Some("overlay"), &on, Some("overlay"), MsFlags::empty(), Some(options.as_str())))?;
    } else if ["nix", "gnu", "snap"].contains(&text) {
        make_dir(&on, 0o755)?;
        bind(&entry.path(), &on)?;
        read_only(&on);
    }
    Ok(())
}

/// Folders that are the host's alone. `/tmp` and `/run` are emptied by a restart, as on any machine.
fn own_folders(tree: &Path) -> io::Result<()> {
    for (name, mode) in [
        ("var", 0o755),
        ("var/cache", 0o755),
        ("var/lib", 0o755),
        ("var/log", 0o755),
        ("var/mail", 0o755),
        ("var/spool", 0o755),
        ("var/tmp", 0o1777),
        ("home", 0o755),
        ("root", 0o700),
        ("mnt", 0o755),
        ("media", 0o755),
        ("run", 0o755),
        ("tmp", 0o1777),
    ] {
        make_dir(&tree.join(name), mode)?;
    }
    tmpfs(&tree.join("run"), "mode=0755")?;
    tmpfs(&tree.join("tmp"), "mode=1777")?;
    make_dir(&tree.join("run/lock"), 0o1777)?;
    for (link, target) in [("var/run", "/run"), ("var/lock", "/run/lock")] {
        if fs::symlink_metadata(tree.join(link)).is_err() {
            symlink(target, tree.join(link))?;
        }
    }
    Ok(())
}

/// Shows the host its own layers, read-only, so that whoever bakes it can tell them from this machine's files.
fn show_changes(tree: &Path, dir: &HostDir) -> io::Result<()> {
    let changes = tree.join(CHANGES.trim_start_matches('/'));
    fs::create_dir_all(&changes)?;
    for entry in fs::read_dir(dir.upper())?.flatten() {
        let on = changes.join(entry.file_name());
        make_dir(&on, 0o755)?;
        bind(&entry.path(), &on)?;
        read_only(&on);
    }
    Ok(())
}

fn system_folders(tree: &Path) -> io::Result<()> {
    let none: Option<&OsStr> = None;
    let dev = tree.join("dev");
    make_dir(&dev, 0o755)?;
    tmpfs(&dev, "mode=0755")?;
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        fs::write(dev.join(name), "")?;
        bind(&Path::new("/dev").join(name), &dev.join(name))?;
    }
    for (name, target) in
        [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"), ("ptmx", "pts/ptmx")]
    {
        symlink(target, dev.join(name))?;
    }
    make_dir(&dev.join("shm"), 0o1777)?;
    tmpfs(&dev.join("shm"), "mode=1777")?;
    make_dir(&dev.join("pts"), 0o755)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let options = Some("newinstance,ptmxmode=0666,mode=0620");
    at("devpts", &dev, mount(Some("devpts"), &dev.join("pts"), Some("devpts"), flags, options))?;

    let proc = tree.join("proc");
    make_dir(&proc, 0o555)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    at("proc", &proc, mount(Some("proc"), &proc, Some("proc"), flags, none))?;
    // This machine's settings: they are not the host's to change, and its root may be this machine's root.
    let settings = proc.join("sys");
    bind(&settings, &settings)?;
    read_only(&settings);

    let sys = tree.join("sys");
    make_dir(&sys, 0o555)?;
    at("bind", &sys, mount(Some("/sys"), &sys, none, MsFlags::MS_BIND | MsFlags::MS_REC, none))?;
    read_only(&sys);
    Ok(())
}

fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    match fs::create_dir(path) {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode)),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => at("make", path, Err(e)),
    }
}

fn bind(from: &Path, to: &Path) -> io::Result<()> {
    let none: Option<&OsStr> = None;
    at("bind", from, mount(Some(from), to, none, MsFlags::MS_BIND | MsFlags::MS_REC, none))
}

fn tmpfs(on: &Path, options: &str) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    at("tmpfs", on, mount(Some("tmpfs"), on, Some("tmpfs"), flags, Some(options)))
}

/// Makes a mount and those below it read-only. A mount whose flags are locked keeps them; then it stays as it is.
fn read_only(top: &Path) {
    let none: Option<&OsStr> = None;
    for path in mounts_below(top) {
        let plain = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        let strict = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        // Flags that the outer mount has must be named again, and which they are differs between machines.
        for flags in [strict | MsFlags::MS_RELATIME, strict, MsFlags::MS_NOSUID | MsFlags::MS_NODEV, MsFlags::empty()] {
            if mount(none, &path, none, plain | flags, none).is_ok() {
                break;
            }
        }
    }
}

fn mounts_below(top: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<PathBuf> =
        text.lines().filter_map(|l| l.split(' ').nth(4)).map(PathBuf::from).filter(|p| p.starts_with(top)).collect();
    found.dedup();
    found
}
