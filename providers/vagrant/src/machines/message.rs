//! Vagrant's machine-readable lines: `timestamp,target,type,data...`.
//!
//! Source: Vagrant documentation, "Machine Readable Output", and Vagrant 2.3.4 itself.

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The machine that it is about; empty: all.
    pub(super) target: String,
    /// What it says.
    pub(super) kind: String,
    /// More, by the kind.
    data: Vec<String>,
}

impl Line {
    /// Reads one line. `None`: it is not one of these, but something that somebody printed.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut fields = line.trim_end_matches(['\r', '\n']).split(',');
        let timestamp = fields.next()?;
        if timestamp.is_empty() || !timestamp.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let (target, kind) = (unescape(fields.next()?), unescape(fields.next()?));
        Some(Self { target, kind, data: fields.map(unescape).collect() })
    }

    /// A field of the data, empty if it is not there.
    pub(super) fn field(&self, at: usize) -> &str {
        self.data.get(at).map(String::as_str).unwrap_or_default()
    }
}

/// Undoes Vagrant's escapes. It writes a backslash as it is, so `\n` in a text can't be told from a line's end: both are one.
fn unescape(field: &str) -> String {
    field.replace("%!(VAGRANT_COMMA)", ",").replace("\\n", "\n").replace("\\r", "\r")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Recorded from Vagrant 2.3.4.
    #[test]
    fn recorded_lines_are_read() {
        let line =
            Line::parse("1795703463,web,state-human-long,Run `vagrant up` to\\ncreate%!(VAGRANT_COMMA) only").unwrap();
        assert_eq!((line.target.as_str(), line.kind.as_str()), ("web", "state-human-long"));
        assert_eq!(line.field(0), "Run `vagrant up` to\ncreate, only");
        let line = Line::parse("1795703497,,error-exit,Vagrant::Errors::ProviderNotFound,text").unwrap();
        assert_eq!((line.target.as_str(), line.field(0), line.field(2)), ("", "Vagrant::Errors::ProviderNotFound", ""));
        for other in ["", "Host web", "  HostName 127.0.0.1", ",,ui", "12"] {
            assert_eq!(Line::parse(other), None, "{other:?}");
        }
    }
}
