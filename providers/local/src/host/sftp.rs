//! SFTP version 3 on a host, with OpenSSH's extensions `posix-rename`, `fsync` and `hardlink`.

use std::collections::HashMap;
use std::fs::{self, File, Metadata, OpenOptions, Permissions, ReadDir};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use russh::Channel;
use russh::server::{self, Msg};
use russh_sftp::de;
use russh_sftp::extensions::{FsyncExtension, HardlinkExtension};
use russh_sftp::protocol::{
    Attrs, Data, File as Entry, FileAttributes, Handle, Name, OpenFlags, Packet, Status, StatusCode, Version,
};
use russh_sftp::server::{Handler, StatusReply};
use tokio::io::AsyncWriteExt as _;

use super::View;

type Result<T> = std::result::Result<T, StatusReply>;

/// Most entries of one `readdir` answer.
const ENTRIES: usize = 200;
/// Most bytes of one `read` answer.
const READ_LIMIT: usize = 256 << 10;
/// Most files and folders that one client holds open.
const HANDLES: usize = 1_000;

/// Serves one client, until it says that it is done.
pub(super) async fn serve(channel: Channel<Msg>, handle: server::Handle, view: View) {
    let id = channel.id();
    let (ours, theirs) = tokio::io::duplex(2 * READ_LIMIT);
    russh_sftp::server::run(theirs, Sftp::new(view)).await;
    let (mut answers, mut requests) = tokio::io::split(ours);
    let (mut reader, writer) = channel.split();
    let (mut input, mut output) = (reader.make_reader(), writer.make_writer());
    let inward = async {
        let _ = tokio::io::copy(&mut input, &mut requests).await;
        let _ = requests.shutdown().await;
    };
    let outward = async {
        let _ = tokio::io::copy(&mut answers, &mut output).await;
    };
    tokio::join!(inward, outward);
    // `scp` takes an end without a status for a failure.
    let _ = handle.exit_status_request(id, 0).await;
    let _ = writer.eof().await;
    let _ = writer.close().await;
}

/// One client's open files.
#[derive(Debug)]
pub(super) struct Sftp {
    view: View,
    open: HashMap<String, Open>,
    next: u64,
}

#[derive(Debug)]
enum Open {
    File { file: File, append: bool },
    Dir { entries: ReadDir, path: PathBuf },
}

impl Sftp {
    pub(super) fn new(view: View) -> Self {
        Self { view, open: HashMap::new(), next: 0 }
    }

    fn path(&self, path: &str) -> Result<PathBuf> {
        self.view.resolve(path).map_err(|why| StatusCode::PermissionDenied.with_message(why))
    }

    fn keep(&mut self, id: u32, open: Open) -> Result<Handle> {
        if self.open.len() >= HANDLES {
            return Err(StatusCode::Failure.with_message("too many open files"));
        }
        self.next += 1;
        let handle = self.next.to_string();
        self.open.insert(handle.clone(), open);
        Ok(Handle { id, handle })
    }

    fn file(&self, handle: &str) -> Result<(&File, bool)> {
        match self.open.get(handle) {
            Some(Open::File { file, append }) => Ok((file, *append)),
            _ => Err(StatusCode::Failure.with_message("not an open file")),
        }
    }
}

fn ok(id: u32) -> Status {
    Status { id, status_code: StatusCode::Ok, error_message: "Ok".into(), language_tag: "en-US".into() }
}

fn failed(e: io::Error) -> StatusReply {
    let code = match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => StatusCode::NoSuchFile,
        io::ErrorKind::PermissionDenied => StatusCode::PermissionDenied,
        _ => StatusCode::Failure,
    };
    code.with_message(e.to_string())
}

fn attributes(meta: &Metadata) -> FileAttributes {
    FileAttributes {
        size: Some(meta.size()),
        uid: Some(meta.uid()),
        gid: Some(meta.gid()),
        permissions: Some(meta.mode()),
        atime: u32::try_from(meta.atime()).ok(),
        mtime: u32::try_from(meta.mtime()).ok(),
        ..FileAttributes::empty()
    }
}

/// What of `attrs` can be set on an open file or, without one, on a path.
fn apply(path: Option<&Path>, file: Option<&File>, attrs: &FileAttributes) -> io::Result<()> {
    let opened;
    let writable = |path: &Path| OpenOptions::new().write(true).open(path);
    if let Some(size) = attrs.size {
        match (file, path) {
            (Some(f), _) => f.set_len(size)?,
            (None, Some(p)) => writable(p)?.set_len(size)?,
            (None, None) => {}
        }
    }
    // Owner before mode: chown takes the set-user-id bit away.
    if attrs.uid.is_some() || attrs.gid.is_some() {
        match (file, path) {
            (Some(f), _) => std::os::unix::fs::fchown(f, attrs.uid, attrs.gid)?,
            (None, Some(p)) => std::os::unix::fs::chown(p, attrs.uid, attrs.gid)?,
            (None, None) => {}
        }
    }
    if let Some(mode) = attrs.permissions {
        let permissions = Permissions::from_mode(mode & 0o7777);
        match (file, path) {
            (Some(f), _) => f.set_permissions(permissions)?,
            (None, Some(p)) => fs::set_permissions(p, permissions)?,
            (None, None) => {}
        }
    }
    if let (Some(atime), Some(mtime)) = (attrs.atime, attrs.mtime) {
        let at = |s: u32| UNIX_EPOCH + Duration::from_secs(u64::from(s));
        let times = fs::FileTimes::new().set_accessed(at(atime)).set_modified(at(mtime));
        match (file, path) {
            (Some(f), _) => f.set_times(times)?,
            (None, Some(p)) => {
                opened = File::open(p)?;
                opened.set_times(times)?;
            }
            (None, None) => {}
        }
    }
    Ok(())
}

fn named(id: u32, path: &Path, attrs: FileAttributes) -> Result<Name> {
    let name = path.to_str().ok_or_else(|| StatusCode::Failure.with_message("a name that is no UTF-8"))?;
    Ok(Name { id, files: vec![Entry::new(name, attrs)] })
}

impl Handler for Sftp {
    type Error = StatusReply;

    fn unimplemented(&self) -> Self::Error {
        StatusCode::OpUnsupported.into()
    }

    async fn init(&mut self, _: u32, _: HashMap<String, String>) -> Result<Version> {
        let mut version = Version::new();
        for name in ["posix-rename@openssh.com", "fsync@openssh.com", "hardlink@openssh.com"] {
            version.extensions.insert(name.to_owned(), "1".to_owned());
        }
        Ok(version)
    }

    async fn open(&mut self, id: u32, name: String, flags: OpenFlags, attrs: FileAttributes) -> Result<Handle> {
        let path = self.path(&name)?;
        let mut options: OpenOptions = flags.into();
        if let Some(mode) = attrs.permissions {
            options.mode(mode & 0o7777);
        }
        let file = options.open(&path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(StatusCode::Failure.with_message("is a directory"));
        }
        self.keep(id, Open::File { file, append: flags.contains(OpenFlags::APPEND) })
    }

    async fn close(&mut self, id: u32, handle: String) -> Result<Status> {
        match self.open.remove(&handle) {
            Some(_) => Ok(ok(id)),
            None => Err(StatusCode::Failure.with_message("not open")),
        }
    }

    async fn read(&mut self, id: u32, handle: String, offset: u64, len: u32) -> Result<Data> {
        let (file, _) = self.file(&handle)?;
        let mut data = vec![0; usize::try_from(len).unwrap_or(READ_LIMIT).min(READ_LIMIT)];
        let n = file.read_at(&mut data, offset).map_err(failed)?;
        if n == 0 && len > 0 {
            return Err(StatusCode::Eof.into());
        }
        data.truncate(n);
        Ok(Data { id, data })
    }

    async fn write(&mut self, id: u32, handle: String, offset: u64, data: Vec<u8>) -> Result<Status> {
        let (file, append) = self.file(&handle)?;
        if append {
            let mut file = file;
            io::Write::write_all(&mut file, &data).map_err(failed)?;
        } else {
            file.write_all_at(&data, offset).map_err(failed)?;
        }
        Ok(ok(id))
    }

    async fn lstat(&mut self, id: u32, path: String) -> Result<Attrs> {
        let meta = fs::symlink_metadata(self.path(&path)?).map_err(failed)?;
        Ok(Attrs { id, attrs: attributes(&meta) })
    }

    async fn stat(&mut self, id: u32, path: String) -> Result<Attrs> {
        let meta = fs::metadata(self.path(&path)?).map_err(failed)?;
        Ok(Attrs { id, attrs: attributes(&meta) })
    }

    async fn fstat(&mut self, id: u32, handle: String) -> Result<Attrs> {
        let meta = self.file(&handle)?.0.metadata().map_err(failed)?;
        Ok(Attrs { id, attrs: attributes(&meta) })
    }

    async fn setstat(&mut self, id: u32, path: String, attrs: FileAttributes) -> Result<Status> {
        let path = self.path(&path)?;
        apply(Some(&path), None, &attrs).map_err(failed)?;
        Ok(ok(id))
    }

    async fn fsetstat(&mut self, id: u32, handle: String, attrs: FileAttributes) -> Result<Status> {
        apply(None, Some(self.file(&handle)?.0), &attrs).map_err(failed)?;
        Ok(ok(id))
    }

    async fn opendir(&mut self, id: u32, path: String) -> Result<Handle> {
        let path = self.path(&path)?;
        let entries = fs::read_dir(&path).map_err(failed)?;
        self.keep(id, Open::Dir { entries, path })
    }

    async fn readdir(&mut self, id: u32, handle: String) -> Result<Name> {
        let Some(Open::Dir { entries, path }) = self.open.get_mut(&handle) else {
            return Err(StatusCode::Failure.with_message("not an open directory"));
        };
        let mut files = Vec::new();
        for entry in entries.by_ref() {
            let entry = entry.map_err(failed)?;
            // SFTP clients of version 3 expect names, not bytes: one that is no UTF-8 is left out.
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            let attrs =
                fs::symlink_metadata(path.join(&name)).map_or_else(|_| FileAttributes::empty(), |m| attributes(&m));
            files.push(Entry::new(name, attrs));
            if files.len() >= ENTRIES {
                break;
            }
        }
        if files.is_empty() { Err(StatusCode::Eof.into()) } else { Ok(Name { id, files }) }
    }

    async fn remove(&mut self, id: u32, path: String) -> Result<Status> {
        fs::remove_file(self.path(&path)?).map_err(failed)?;
        Ok(ok(id))
    }

    async fn mkdir(&mut self, id: u32, path: String, attrs: FileAttributes) -> Result<Status> {
        use std::os::unix::fs::DirBuilderExt as _;
        let mode = attrs.permissions.map_or(0o777, |m| m & 0o7777);
        fs::DirBuilder::new().mode(mode).create(self.path(&path)?).map_err(failed)?;
        Ok(ok(id))
    }

    async fn rmdir(&mut self, id: u32, path: String) -> Result<Status> {
        fs::remove_dir(self.path(&path)?).map_err(failed)?;
        Ok(ok(id))
    }

    async fn realpath(&mut self, id: u32, path: String) -> Result<Name> {
        let path = self.path(&path)?;
        // A last part that does not exist yet is fine, as with OpenSSH's server.
        let real = path.canonicalize().or_else(|e| match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) if e.kind() == io::ErrorKind::NotFound => Ok(parent.canonicalize()?.join(name)),
            _ => Err(e),
        });
        named(id, &real.map_err(failed)?, FileAttributes::empty())
    }

    async fn rename(&mut self, id: u32, old: String, new: String) -> Result<Status> {
        let (old, new) = (self.path(&old)?, self.path(&new)?);
        // Version 3: the target must not exist. `posix-rename` replaces it.
        if fs::symlink_metadata(&new).is_ok() {
            return Err(StatusCode::Failure.with_message("the target exists"));
        }
        fs::rename(old, new).map_err(failed)?;
        Ok(ok(id))
    }

    async fn readlink(&mut self, id: u32, path: String) -> Result<Name> {
        let target = fs::read_link(self.path(&path)?).map_err(failed)?;
        named(id, &target, FileAttributes::empty())
    }

    async fn symlink(&mut self, id: u32, first: String, second: String) -> Result<Status> {
        // The draft says link first, OpenSSH's client and server have always had the target first; all clients follow it.
        std::os::unix::fs::symlink(first, self.path(&second)?).map_err(failed)?;
        Ok(ok(id))
    }

    async fn extended(&mut self, id: u32, request: String, data: Vec<u8>) -> Result<Packet> {
        let mut bytes = bytes::Bytes::from(data);
        let bad = |_| StatusReply::from(StatusCode::BadMessage);
        match request.as_str() {
            "posix-rename@openssh.com" | "hardlink@openssh.com" => {
                let two: HardlinkExtension = de::from_bytes(&mut bytes).map_err(bad)?;
                let (old, new) = (self.path(&two.oldpath)?, self.path(&two.newpath)?);
                if request.starts_with("posix") { fs::rename(old, new) } else { fs::hard_link(old, new) }
                    .map_err(failed)?;
            }
            "fsync@openssh.com" => {
                let one: FsyncExtension = de::from_bytes(&mut bytes).map_err(bad)?;
                let file = self.file(&one.handle)?.0.try_clone().map_err(failed)?;
                tokio::task::spawn_blocking(move || file.sync_all())
                    .await
                    .map_err(|e| StatusCode::Failure.with_message(e.to_string()))?
                    .map_err(failed)?;
            }
            _ => return Err(StatusCode::OpUnsupported.into()),
        }
        Ok(Packet::Status(ok(id)))
    }
}
