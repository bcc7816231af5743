//! The box file: a tar.gz of equal bytes for equal content.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

/// Most bytes of a block that is stored as it is.
const STORED: usize = 65_535;

/// Gzip with stored blocks: a disk in a box is compressed already, and doing it twice takes minutes for nothing.
///
/// Source: RFC 1951, 3.2.4; RFC 1952.
struct Stored<W: Write> {
    out: W,
    block: Vec<u8>,
    sum: Crc,
    len: u32,
}

impl<W: Write> Stored<W> {
    fn new(mut out: W) -> io::Result<Self> {
        // Deflate, no name, no time, no system.
        out.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255])?;
        Ok(Self { out, block: Vec::with_capacity(STORED), sum: Crc::new(), len: 0 })
    }

    fn put_block(&mut self, last: bool) -> io::Result<()> {
        let len = self.block.len() as u16;
        self.out.write_all(&[u8::from(last)])?;
        self.out.write_all(&len.to_le_bytes())?;
        self.out.write_all(&(!len).to_le_bytes())?;
        self.out.write_all(&self.block)?;
        self.block.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<W> {
        self.put_block(true)?;
        self.out.write_all(&self.sum.value().to_le_bytes())?;
        self.out.write_all(&self.len.to_le_bytes())?;
        Ok(self.out)
    }
}

impl<W: Write> Write for Stored<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.len() == STORED {
            self.put_block(false)?;
        }
        let (now, _) = bytes.split_at(bytes.len().min(STORED - self.block.len()));
        self.block.extend_from_slice(now);
        self.sum.update(now);
        self.len = self.len.wrapping_add(now.len() as u32);
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The check sum of gzip, eight bytes at a time.
struct Crc {
    tables: Vec<[u32; 256]>,
    state: u32,
}

impl Crc {
    fn new() -> Self {
        let mut first = [0_u32; 256];
        for (n, entry) in (0_u32..).zip(first.iter_mut()) {
            *entry = (0..8).fold(n, |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 });
        }
        let mut tables = vec![first];
        for _ in 1..8 {
            let mut next = [0_u32; 256];
            for (to, from) in next.iter_mut().zip(tables.last().unwrap_or(&first)) {
                *to = at(&first, *from) ^ (*from >> 8);
            }
            tables.push(next);
        }
        Self { tables, state: !0 }
    }

    fn update(&mut self, bytes: &[u8]) {
        let mut state = self.state;
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let mixed = state.to_le_bytes();
            state = 0;
            for (n, (byte, table)) in chunk.iter().zip(self.tables.iter().rev()).enumerate() {
                state ^= at(table, u32::from(*byte ^ mixed.get(n).copied().unwrap_or(0)));
            }
        }
        if let Some(first) = self.tables.first() {
            for byte in chunks.remainder() {
                state = at(first, state ^ u32::from(*byte)) ^ (state >> 8);
            }
        }
        self.state = state;
    }

    fn value(&self) -> u32 {
        !self.state
    }
}

fn at(table: &[u32; 256], index: u32) -> u32 {
    table.get((index & 0xff) as usize).copied().unwrap_or(0)
}

/// Passes bytes on and computes their digest.
struct Digesting<W> {
    to: W,
    digest: Sha256,
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.to.write(bytes)?;
        self.digest.update(bytes.get(..n).unwrap_or_default());
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Writes a box into `path`: `metadata.json`, `Vagrantfile`, and a disk if there is one. Gives its digest as hex.
pub(super) fn write(path: &Path, metadata: &str, vagrantfile: &str, disk: Option<&Path>) -> io::Result<String> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let digesting = Digesting { to: BufWriter::with_capacity(256 << 10, file), digest: Sha256::new() };
    let mut tar = tar::Builder::new(Stored::new(digesting)?);
    let mut add = |name: &str, len: u64, content: &mut dyn Read| {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(len);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        // A size beyond 8 GiB has no place in this form; the header turns to the binary one.
        tar.append_data(&mut header, name, content)
    };
    add("metadata.json", metadata.len() as u64, &mut metadata.as_bytes())?;
    add("Vagrantfile", vagrantfile.len() as u64, &mut vagrantfile.as_bytes())?;
    if let Some(disk) = disk {
        let mut disk = File::open(disk)?;
        let len = disk.metadata()?.len();
        add("box.img", len, &mut disk)?;
    }
    let Digesting { to, digest } = tar.into_inner()?.finish()?;
    let file = to.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(hex::encode(digest.finalize()))
}

/// Reads gzip of stored blocks.
struct Unstored<R> {
    from: R,
    left: usize,
    last: bool,
}

impl<R: Read> Unstored<R> {
    fn new(mut from: R) -> io::Result<Self> {
        let mut head = [0; 10];
        from.read_exact(&mut head)?;
        if !head.starts_with(&[0x1f, 0x8b, 8, 0]) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is no box that this builder made"));
        }
        Ok(Self { from, left: 0, last: false })
    }
}

impl<R: Read> Read for Unstored<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.left == 0 {
            if self.last {
                return Ok(0);
            }
            let mut head = [0; 5];
            self.from.read_exact(&mut head)?;
            let [kind, a, b, ..] = head;
            if kind > 1 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the box was packed by somebody else"));
            }
            self.last = kind == 1;
            self.left = u16::from_le_bytes([a, b]).into();
        }
        let most = out.len().min(self.left);
        let n = self.from.read(out.get_mut(..most).unwrap_or_default())?;
        self.left -= n;
        if n == 0 && most > 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(n) }
    }
}

/// Copies the disk of a box into `to`.
pub(super) fn unpack_disk(path: &Path, to: &Path) -> io::Result<()> {
    let file = io::BufReader::with_capacity(256 << 10, File::open(path)?);
    let mut archive = tar::Archive::new(Unstored::new(file)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if *entry.path_bytes() == *b"box.img" {
            let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
            io::copy(&mut entry, &mut out)?;
            return Ok(());
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the box has no disk"))
}

/// The digest of a file as hex. `None`: there is no such file.
pub(super) fn digest(path: &Path) -> io::Result<Option<String>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(Some(hex::encode(digest.finalize())));
        }
        digest.update(buffer.get(..n).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_sum_is_that_of_gzip() {
        let mut crc = Crc::new();
        crc.update(b"123456789");
        assert_eq!(crc.value(), 0xcbf4_3926);
        let long: Vec<u8> = (0..1000_u32).map(|n| (n * 7 % 251) as u8).collect();
        let (mut whole, mut parts) = (Crc::new(), Crc::new());
        whole.update(&long);
        for part in long.chunks(13) {
            parts.update(part);
        }
        assert_eq!(whole.value(), parts.value());
    }

    #[test]
    fn gzip_itself_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("disk");
        std::fs::write(&disk, vec![7_u8; 200_000]).unwrap();
        let (a, b) = (dir.path().join("a.box"), dir.path().join("b.box"));
        let first = write(&a, "{}", "x", Some(&disk)).unwrap();
        assert_eq!(first, write(&b, "{}", "x", Some(&disk)).unwrap());
        assert_eq!(digest(&a).unwrap().unwrap(), first);
        let out = std::process::Command::new("tar").arg("-tvzf").arg(&a).output().unwrap();
        let listed = String::from_utf8(out.stdout).unwrap();
        assert!(out.status.success() && listed.contains("200000") && listed.contains("box.img"), "{listed}");
        let again = dir.path().join("again");
        unpack_disk(&a, &again).unwrap();
        assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&disk).unwrap());
    }
}
