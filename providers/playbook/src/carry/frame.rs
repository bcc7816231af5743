//! How a script is sent and how its answer is read.
//!
//! An answer is the script's standard output, a line with the script's nonce, its exit status and whether standard error
//! follows, and if so that and the nonce again. The nonce is random for each script, and no process that the script starts
//! gets to see it; so no output can look like the end of an answer, and an exit status comes from the shell alone.

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::look;
use super::preamble::MOST_BYTES;

/// What a script said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Output {
    pub(crate) rc: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Output {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// A script for the shell.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) text: String,
    /// Whether it runs commands of the playbook, or starts something that stays. Such a script gets a session and files of its
    /// own; the engine's own scripts are spared that, and get `LC_ALL=C` and the functions of the preamble.
    pub(crate) foreign: bool,
}

impl Script {
    /// The script as the shell reads it.
    pub(super) fn framed(&self, nonce: &str) -> String {
        if self.foreign {
            // Its shell is another one, which knows no functions.
            const NAMES: [&str; 6] = ["tp_stat", "tp_sum", "tp_new", "tp_keep", "tp_backup", "tp_dirs"];
            let text = match NAMES.iter().any(|n| self.text.contains(n)) {
                true => format!("{}{}", crate::modules::FUNCTIONS, self.text),
                false => self.text.clone(),
            };
            return format!("tp_f {nonce} {}\n", quote(&text));
        }
        // What the preamble defines is not sent again, nor what was for this side.
        let text = look::of(&self.text).1.replace(crate::modules::FUNCTIONS, "");
        format!("tp_p {nonce} {}\n", quote(&text))
    }
}

/// Quotes a whole script: what is wrong in its syntax then ends it, and not the shell that reads it.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Why an answer did not come.
#[derive(Debug)]
pub(super) enum Lost {
    /// The stream ended, or broke.
    Ended(Option<std::io::Error>),
    /// There was more output than anybody wants.
    TooMuch,
    /// The host has no folder for files of its own.
    NoDirectory,
    /// Something that is no answer.
    Garbage,
}

/// Reads answers from a stream.
pub(super) struct Reader<R> {
    stream: R,
    held: BytesMut,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(stream: R) -> Self {
        Self { stream, held: BytesMut::new() }
    }

    /// Reads the answer to the script with this nonce.
    pub(super) async fn answer(&mut self, nonce: &str) -> Result<Output, Lost> {
        let stdout = self.until(format!("\n{nonce} ").as_bytes(), MOST_BYTES).await?;
        let line = self.until(b"\n", 64).await?;
        let line = std::str::from_utf8(&line).map_err(|_| Lost::Garbage)?;
        let (rc, more) = line.split_once(' ').ok_or(Lost::Garbage)?;
        let rc = match rc {
            "big" => return Err(Lost::TooMuch),
            "dir" => return Err(Lost::NoDirectory),
            number => number.parse().map_err(|_| Lost::Garbage)?,
        };
        let stderr = match more {
            "-" => Vec::new(),
            "e" => self.until(format!("\n{nonce}\n").as_bytes(), MOST_BYTES).await?,
            _ => return Err(Lost::Garbage),
        };
        if self.held.is_empty() {
            // A large answer does not stay in memory for the rest of the run.
            self.held = BytesMut::new();
        }
        Ok(Output { rc, stdout, stderr })
    }

    async fn until(&mut self, mark: &[u8], most: usize) -> Result<Vec<u8>, Lost> {
        let mut from = 0;
        loop {
            let new = self.held.get(from..).unwrap_or_default();
            if let Some(at) = find(new, mark) {
                let before = self.held.split_to(from + at).to_vec();
                self.held.advance(mark.len());
                return Ok(before);
            }
            from = self.held.len().saturating_sub(mark.len() - 1);
            if self.held.len() > most + mark.len() {
                return Err(Lost::TooMuch);
            }
            match self.stream.read_buf(&mut self.held).await {
                Ok(0) => return Err(Lost::Ended(None)),
                Ok(_) => {}
                Err(e) => return Err(Lost::Ended(Some(e))),
            }
        }
    }
}

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let (first, rest) = needle.split_first()?;
    let mut from = 0;
    while let Some(at) = hay.get(from..)?.iter().position(|b| b == first) {
        let after = hay.get(from + at + 1..)?;
        if after.starts_with(rest) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn read(text: &[u8], nonces: &[&str]) -> Vec<Result<Output, Lost>> {
        let mut reader = Reader::new(text);
        let mut all = Vec::new();
        for n in nonces {
            all.push(reader.answer(n).await);
        }
        all
    }

    #[tokio::test]
    async fn answers_are_told_apart() {
        let mut all = read(b"a\nn0 0 -\n\nn1 3 -\n\nn1 3 e\nwhy\n\nn1\nx\nn2 0 -\n", &["n1", "n2"]).await;
        let second = all.pop().unwrap().unwrap();
        let first = all.pop().unwrap().unwrap();
        // What another nonce says is output, and the first line with the right one counts.
        assert_eq!((first.rc, first.text().as_str()), (3, "a\nn0 0 -\n"));
        assert_eq!((second.rc, second.text().as_str()), (0, "\nn1 3 e\nwhy\n\nn1\nx"));
    }

    #[tokio::test]
    async fn only_a_whole_answer_counts() {
        for text in ["", "out", "out\nn1 0", "out\nn1 0 e\nhalf", "out\nn1 zero -\n", "out\nn1 0 ?\n", "\nn1 big -\n"] {
            let all = read(text.as_bytes(), &["n1"]).await;
            assert!(all.iter().all(Result::is_err), "{text:?}: {all:?}");
        }
        let much = vec![b'x'; MOST_BYTES + 100];
        assert!(matches!(read(&much, &["n1"]).await.as_slice(), [Err(Lost::TooMuch)]));
    }
}
