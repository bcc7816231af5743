//! Packer's machine-readable lines: `timestamp,target,type,data...`.
//!
//! Source: Packer documentation, "Machine-Readable Output", and Packer 1.6.6 itself.

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// The build that it is about; empty: all.
    pub(crate) target: String,
    /// What it says.
    pub(crate) kind: String,
    /// More, by the kind.
    pub(crate) data: Vec<String>,
}

impl Line {
    /// Reads one line. `None`: it is not one of these, but something that somebody printed.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut fields = line.trim_end_matches(['\r', '\n']).split(',');
        let timestamp = fields.next()?;
        if timestamp.is_empty() || !timestamp.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let target = unescape(fields.next()?);
        let kind = unescape(fields.next()?);
        Some(Self { target, kind, data: fields.map(unescape).collect() })
    }

    /// A field of the data, empty if it is not there.
    pub(crate) fn field(&self, at: usize) -> &str {
        self.data.get(at).map(String::as_str).unwrap_or_default()
    }
}

/// Undoes Packer's escapes. It writes a backslash as it is, so `\n` in a text can't be told from a line's end: both are one.
pub(crate) fn unescape(field: &str) -> String {
    field.replace("%!(PACKER_COMMA)", ",").replace("\\n", "\n").replace("\\r", "\r")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn line(text: &str) -> (String, String, Vec<String>) {
        let line = Line::parse(text).unwrap();
        (line.target, line.kind, line.data)
    }

    /// Recorded from Packer 1.6.6.
    #[test]
    fn recorded_lines_are_read() {
        let owned = |a: &[&str]| a.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            line("1795690140,,ui,message,    bad: one%!(PACKER_COMMA) two"),
            (String::new(), "ui".into(), owned(&["message", "    bad: one, two"]))
        );
        assert_eq!(
            line("1795689925,b,artifact,1,string,Created artifact from files: out/b.txt%!(PACKER_COMMA) out/b.sum"),
            (
                "b".into(),
                "artifact".into(),
                owned(&["1", "string", "Created artifact from files: out/b.txt, out/b.sum"])
            )
        );
        assert_eq!(
            line(r#"1795689925,,ui,error,Failed to parse template: Error parsing JSON: unexpected end of JSON input\nAt line 3%!(PACKER_COMMA) column 1 (offset 43):\n    2: "target":"x" \n    3: \n      ^\n"#).2[1],
            "Failed to parse template: Error parsing JSON: unexpected end of JSON input\nAt line 3, column 1 (offset 43):\n    2: \"target\":\"x\" \n    3: \n      ^\n"
        );
        assert_eq!(line("1795689925,b,artifact,0,end"), ("b".into(), "artifact".into(), owned(&["0", "end"])));
        assert_eq!(line("1795689924,,version-prelease,"), (String::new(), "version-prelease".into(), owned(&[""])));
        assert_eq!(line(r"1,,ui,say,a\rb").2[1], "a\rb");
    }

    #[test]
    fn other_lines_are_none() {
        for text in ["", "Error: ", "a,b,c", ",,ui,say,x", "123", "123,x", "panic: 1,2,3"] {
            assert_eq!(Line::parse(text), None, "{text:?}");
        }
    }
}
