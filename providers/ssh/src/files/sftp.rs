//! Files through the host's SFTP server, version 3 with OpenSSH's extensions.
//! Source: draft-ietf-secsh-filexfer-02, and OpenSSH's PROTOCOL.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt as _};
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::protocol::{FileAttributes, OpenFlags, Packet, StatusCode};
use tokio::io::AsyncReadExt as _;
use towpath_core::posix::open_local;
use towpath_core::{Context, Error, ErrorKind, PutOptions, Result, Source};

use super::put_guard::Temporary;
use super::sftp_session::{Sftp, is_over};
use crate::exec::Place;
use crate::{PROVIDER, random_name};

/// Requests that are under way at the same time: enough for 100 MB/s over 80 ms.
const AT_ONCE: usize = 64;
/// The largest `/etc/passwd` or `/etc/group` that a name is looked up in.
const NAMES_LIMIT: u64 = 16 << 20;

/// One transfer, for its errors.
struct Transfer<'a> {
    place: &'a Place,
    operation: &'static str,
    path: &'a str,
}

impl Transfer<'_> {
    fn error(&self, kind: ErrorKind, message: &str) -> Error {
        Error::new(kind, PROVIDER, self.operation, message).with("host", &self.place.host).with("path", self.path)
    }

    /// The error of a request; `failed` says what did not work where the server gives no better reason.
    fn failed(&self, error: SftpError, failed: &str) -> Error {
        if is_over(&error) {
            return self
                .error(ErrorKind::Unreachable, "the connection to the SFTP server broke")
                .retry_later()
                .caused_by(error);
        }
        match code(&error) {
            Some(StatusCode::PermissionDenied) => self.error(ErrorKind::Denied, "no permission").caused_by(error),
            _ => self.error(ErrorKind::ToolFailed, failed).caused_by(error),
        }
    }

    /// The shared session, and what is at `path` now. A session that ended unnoticed is replaced.
    async fn begin(&self, cx: &Context) -> Result<(Arc<Sftp>, Option<FileAttributes>)> {
        for last in [false, true] {
            let sftp = self.place.slot.sftp(cx, self.place, self.operation).await?;
            let asked = async { Ok(sftp.raw.stat(self.path).await) };
            match cx.guard(PROVIDER, self.operation, asked).await? {
                Ok(found) => return Ok((sftp, Some(found.attrs))),
                Err(e) if code(&e) == Some(StatusCode::NoSuchFile) => return Ok((sftp, None)),
                Err(e) if is_over(&e) => {
                    self.place.slot.forget_sftp(&sftp).await;
                    if last {
                        return Err(self.failed(e, ""));
                    }
                }
                Err(e) => return Err(self.failed(e, "the host can't say what is there")),
            }
        }
        Err(self.error(ErrorKind::Internal, "the SFTP session was not opened"))
    }
}

fn code(error: &SftpError) -> Option<StatusCode> {
    match error {
        SftpError::Status(status) => Some(status.status_code),
        _ => None,
    }
}

fn is_dir(found: &FileAttributes) -> bool {
    found.permissions.is_some_and(|m| m & 0o170_000 == 0o040_000)
}

pub(super) async fn put(cx: &Context, place: &Place, source: Source, path: &str, options: &PutOptions) -> Result<()> {
    let transfer = Transfer { place, operation: "put", path };
    if let Some(to) = &options.r#become {
        let message = "SFTP writes as the user who logs in; set `files: auto` or `shell` to write as another one";
        return Err(transfer.error(ErrorKind::Unsupported, message).with("user", &to.user));
    }
    // Before the host is asked for anything.
    let input = match source {
        Source::Bytes(bytes) => Input::Bytes(bytes),
        Source::File(file) => Input::File(open_local(PROVIDER, &place.host, &file).await?.0),
    };
    let (sftp, found) = transfer.begin(cx).await?;
    if found.as_ref().is_some_and(is_dir) {
        return Err(transfer.error(ErrorKind::InvalidInput, "it is a directory"));
    }
    if found.is_some() && !sftp.replaces {
        place.slot.has_no_sftp();
        let message = "the host's SFTP server can't replace a file in one step (posix-rename@openssh.com); set \
                       `files: shell` where commands run, or remove the file first";
        return Err(transfer.error(ErrorKind::Unsupported, message));
    }
    let dir = match path.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((dir, _)) => dir,
        None => ".",
    };
    let mut temporary = Temporary::new(&sftp, format!("{}/.towpath-{}", dir.trim_end_matches('/'), random_name()));
    let mode = options.mode.or(found.and_then(|f| f.permissions)).unwrap_or(0o600) & 0o7777;
    let work = write(&transfer, cx, &sftp, &mut temporary, input, (mode, options), dir);
    let done = cx.guard(PROVIDER, "put", work).await;
    match &done {
        Ok(()) => temporary.renamed(),
        // Awaited, so that nothing is left once this returns.
        Err(_) => temporary.remove().await,
    }
    if done.as_ref().is_err_and(|e| e.kind() == ErrorKind::Unreachable) {
        place.slot.forget_sftp(&sftp).await;
    }
    done.map_err(|e| e.with_missing("host", &place.host).with_missing("path", path))
}

enum Input {
    Bytes(Bytes),
    File(tokio::fs::File),
}

impl Input {
    /// The next part of it; empty at its end.
    async fn next(&mut self, most: usize) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.split_to(bytes.len().min(most)).to_vec()),
            Self::File(file) => {
                let mut part = Vec::with_capacity(most);
                file.take(most as u64).read_to_end(&mut part).await?;
                Ok(part)
            }
        }
    }
}

async fn write(
    transfer: &Transfer<'_>,
    cx: &Context,
    sftp: &Sftp,
    temporary: &mut Temporary,
    mut input: Input,
    (mode, options): (u32, &PutOptions),
    dir: &str,
) -> Result<()> {
    let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE;
    let private = FileAttributes { permissions: Some(0o600), ..FileAttributes::empty() };
    let handle = match sftp.raw.open(&temporary.path, flags, private).await {
        Ok(opened) => opened.handle,
        Err(e) if code(&e) == Some(StatusCode::NoSuchFile) => {
            return Err(transfer.error(ErrorKind::NotFound, "its directory does not exist").caused_by(e));
        }
        Err(e) => return Err(explain(transfer, sftp, dir, e, "a file can't be made in its directory").await),
    };
    temporary.handle = Some(handle.clone());
    let most = sftp.write_bytes as usize;
    let (mut under_way, mut offset) = (FuturesUnordered::new(), 0);
    let mut refused = None;
    'input: loop {
        while under_way.len() < AT_ONCE {
            let part = input.next(most).await.map_err(|e| {
                transfer.error(ErrorKind::ToolFailed, "the local file can't be read to its end").caused_by(e)
            })?;
            if part.is_empty() {
                break 'input;
            }
            let (at, length) = (offset, part.len() as u64);
            offset += length;
            under_way.push(sftp.raw.write(handle.as_str(), at, part));
        }
        if let Some(Err(e)) = under_way.next().await {
            refused = Some(e);
            break;
        }
    }
    if let Some(e) = refused {
        drop(under_way);
        return Err(explain(transfer, sftp, dir, e, "not all of it could be written").await);
    }
    let unset = |e: SftpError| match is_over(&e) {
        true => transfer.failed(e, ""),
        false => transfer.error(ErrorKind::ToolFailed, "owner or mode can't be set").caused_by(e),
    };
    if options.owner.is_some() || options.group.is_some() {
        let (uid, gid) = owners(transfer, cx, sftp, &handle, options).await?;
        let attributes = FileAttributes { uid: Some(uid), gid: Some(gid), ..FileAttributes::empty() };
        sftp.raw.fsetstat(handle.as_str(), attributes).await.map_err(unset)?;
    }
    // After the owner: a change of owner takes set-user-id bits away. Sent behind the last writes without waiting for their
    // answers, since a server keeps the order of what concerns one file.
    let attributes = FileAttributes { permissions: Some(mode), ..FileAttributes::empty() };
    temporary.handle = None;
    let written = async {
        while let Some(done) = under_way.next().await {
            done?;
        }
        Ok::<(), SftpError>(())
    };
    let (written, set, closed) =
        tokio::join!(written, sftp.raw.fsetstat(handle.as_str(), attributes), sftp.raw.close(handle.as_str()));
    if let Err(e) = written.and(closed.map(drop)) {
        return Err(explain(transfer, sftp, dir, e, "not all of it could be written").await);
    }
    set.map_err(unset)?;
    rename(sftp, &temporary.path, transfer.path)
        .await
        .map_err(|e| transfer.failed(e, "the new file can't take its name"))
}

/// A status says only "failure" for a full disk: looks.
async fn explain(transfer: &Transfer<'_>, sftp: &Sftp, dir: &str, error: SftpError, failed: &str) -> Error {
    if code(&error) == Some(StatusCode::Failure) && sftp.tells_space {
        if let Ok(space) = sftp.raw.statvfs(dir).await {
            let free = space.blocks_avail.saturating_mul(space.fragment_size.max(1));
            // Less than one request: what did not fit is already written up to there.
            if space.inodes > 0 && space.inodes_avail == 0 || free < u64::from(sftp.write_bytes) {
                return transfer
                    .error(ErrorKind::ToolFailed, "not all of it could be written: the disk is full")
                    .with("free_bytes", free)
                    .caused_by(error);
            }
        }
    }
    transfer.failed(error, failed)
}

/// Replaces what is at `to`, where the server can.
async fn rename(sftp: &Sftp, from: &str, to: &str) -> std::result::Result<(), SftpError> {
    if !sftp.replaces {
        // Fails where something has come to be at `to` since it was looked at.
        return sftp.raw.rename(from, to).await.map(drop);
    }
    let mut names = Vec::new();
    for name in [from, to] {
        let length = u32::try_from(name.len()).map_err(|_| SftpError::Limited("a path is too long".into()))?;
        names.extend_from_slice(&length.to_be_bytes());
        names.extend_from_slice(name.as_bytes());
    }
    match sftp.raw.extended("posix-rename@openssh.com", names).await? {
        Packet::Status(status) if status.status_code == StatusCode::Ok => Ok(()),
        Packet::Status(status) => Err(SftpError::Status(status)),
        _ => Err(SftpError::UnexpectedPacket),
    }
}

/// User and group as numbers; SFTP has no names.
async fn owners(
    transfer: &Transfer<'_>,
    cx: &Context,
    sftp: &Sftp,
    handle: &str,
    options: &PutOptions,
) -> Result<(u32, u32)> {
    let now = sftp.raw.fstat(handle).await.map_err(|e| transfer.failed(e, "the owner can't be told"))?.attrs;
    let uid = match &options.owner {
        Some(name) => number(transfer, cx, sftp, "/etc/passwd", name).await?,
        None => now.uid.unwrap_or_default(),
    };
    let gid = match &options.group {
        Some(name) => number(transfer, cx, sftp, "/etc/group", name).await?,
        None => now.gid.unwrap_or_default(),
    };
    Ok((uid, gid))
}

async fn number(transfer: &Transfer<'_>, cx: &Context, sftp: &Sftp, file: &str, name: &str) -> Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let unknown = || {
        let message = "owner or mode can't be set: SFTP knows numbers only, and the host's file does not have the name; give \
                       the number";
        transfer.error(ErrorKind::ToolFailed, message).with("name", name).with("file", file)
    };
    let lookup = Transfer { place: transfer.place, operation: transfer.operation, path: file };
    let text = read(&lookup, cx, sftp, None, NAMES_LIMIT).await.map_err(|e| unknown().caused_by(e.report()))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines()
        .filter_map(|l| {
            let mut fields = l.split(':');
            (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
        })
        .next()
        .ok_or_else(unknown)
}

pub(super) async fn get(cx: &Context, place: &Place, path: &str, limit_bytes: u64) -> Result<Bytes> {
    let transfer = Transfer { place, operation: "get", path };
    let (sftp, found) = transfer.begin(cx).await?;
    let Some(found) = found else {
        return Err(transfer.error(ErrorKind::NotFound, "there is no such file"));
    };
    if is_dir(&found) {
        return Err(transfer.error(ErrorKind::InvalidInput, "it is a directory"));
    }
    let done = read(&transfer, cx, &sftp, found.size, limit_bytes).await;
    if done.as_ref().is_err_and(|e| e.kind() == ErrorKind::Unreachable) {
        place.slot.forget_sftp(&sftp).await;
    }
    done.map_err(|e| e.with_missing("host", &place.host).with_missing("path", path)).map(Bytes::from)
}

async fn read(transfer: &Transfer<'_>, cx: &Context, sftp: &Sftp, size: Option<u64>, limit: u64) -> Result<Vec<u8>> {
    if size.is_some_and(|s| s > limit) {
        return Err(transfer.error(ErrorKind::InvalidInput, "the file is larger than the limit"));
    }
    let work = async {
        let opened = sftp.raw.open(transfer.path, OpenFlags::READ, FileAttributes::empty()).await;
        let handle = opened.map_err(|e| transfer.failed(e, "the file can't be opened"))?.handle;
        let all = contents(transfer, sftp, &handle, size.unwrap_or_default(), limit).await;
        let _ = sftp.raw.close(handle).await;
        all
    };
    // A handle that a cancel leaves open is closed with the session.
    cx.guard(PROVIDER, transfer.operation, work).await
}

async fn contents(transfer: &Transfer<'_>, sftp: &Sftp, handle: &str, size: u64, limit: u64) -> Result<Vec<u8>> {
    let step = u64::from(sftp.read_bytes);
    let parts = (0..size.div_ceil(step)).map(|i| (i * step, (size - i * step).min(step)));
    let mut parts = futures::stream::iter(parts.map(|(at, length)| part(sftp, handle, at, length))).buffered(AT_ONCE);
    let mut all = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    let unread = |e| transfer.failed(e, "the file can't be read to its end");
    while let Some(next) = parts.next().await {
        let (bytes, whole) = next.map_err(unread)?;
        all.extend_from_slice(&bytes);
        if !whole {
            // It has become shorter.
            return Ok(all);
        }
    }
    // Files of /proc say that they are empty, and others may have grown.
    loop {
        let (bytes, whole) = part(sftp, handle, all.len() as u64, step).await.map_err(unread)?;
        all.extend_from_slice(&bytes);
        if all.len() as u64 > limit {
            return Err(transfer.error(ErrorKind::InvalidInput, "the file is larger than the limit"));
        }
        if !whole {
            return Ok(all);
        }
    }
}

/// Reads `length` bytes, in as many requests as the server needs; `false` where the file ends before.
async fn part(sftp: &Sftp, handle: &str, at: u64, length: u64) -> std::result::Result<(Vec<u8>, bool), SftpError> {
    let mut all = Vec::new();
    while (all.len() as u64) < length {
        let have = all.len() as u64;
        let rest = u32::try_from(length - have).unwrap_or(u32::MAX);
        match sftp.raw.read(handle, at + have, rest).await {
            Ok(data) if data.data.is_empty() => return Ok((all, false)),
            Ok(data) => all.extend_from_slice(&data.data),
            Err(e) if code(&e) == Some(StatusCode::Eof) => return Ok((all, false)),
            Err(e) => return Err(e),
        }
    }
    Ok((all, true))
}
