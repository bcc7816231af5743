use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Lines of a file that somebody writes.
#[derive(Debug)]
pub struct Growing {
    file: File,
    read: u64,
    /// The beginning of a line that has no end yet.
    rest: Vec<u8>,
    failed: Option<io::Error>,
}

impl Growing {
    /// Starts at the file's beginning.
    ///
    /// # Errors
    ///
    /// It can't be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, read: 0, rest: Vec::new(), failed: None })
    }

    /// Hands over every line that is whole by now, without its end. Bytes that are no UTF-8 are replaced.
    ///
    /// What can't be read is told by [`finish`](Self::finish): whoever waits for the writer must not leave it for that.
    pub fn lines(&mut self, each: impl FnMut(&str)) {
        // Only what is there now: a writer may be faster than any reader.
        let more = self.file.metadata().and_then(|m| {
            let more = m.len().saturating_sub(self.read);
            (&self.file).take(more).read_to_end(&mut self.rest)
        });
        match more {
            Ok(more) => self.read += more as u64,
            Err(e) => self.failed = Some(e),
        }
        let Some(end) = self.rest.iter().rposition(|b| *b == b'\n') else { return };
        let rest = self.rest.split_off(end + 1);
        let whole = std::mem::replace(&mut self.rest, rest);
        String::from_utf8_lossy(&whole).lines().for_each(each);
    }

    /// Hands over what is left when the writer has ended, also a last line without an end.
    ///
    /// # Errors
    ///
    /// Something could not be read, so that lines may be missing.
    pub fn finish(&mut self, mut each: impl FnMut(&str)) -> io::Result<()> {
        self.lines(&mut each);
        let rest = std::mem::take(&mut self.rest);
        String::from_utf8_lossy(&rest).lines().for_each(each);
        self.failed.take().map_or(Ok(()), Err)
    }
}
