//! Colours of a terminal, as Ansible uses them.

/// A colour of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Color {
    Ok,
    Changed,
    Skipped,
    Failed,
    Unreachable,
    Warning,
    Detail,
}

impl Color {
    fn code(self) -> &'static str {
        match self {
            Self::Ok => "0;32",
            Self::Changed => "0;33",
            Self::Skipped => "0;36",
            Self::Failed => "0;31",
            Self::Unreachable => "1;31",
            Self::Warning => "1;35",
            Self::Detail => "1;30",
        }
    }

    /// The text in this colour. Each line is coloured for itself, so that a pager may begin anywhere.
    pub(crate) fn paint(self, text: &str, on: bool) -> String {
        if !on {
            return text.to_owned();
        }
        let lines: Vec<String> = text.split('\n').map(|l| format!("\x1b[{}m{l}\x1b[0m", self.code())).collect();
        lines.join("\n")
    }
}

/// How many columns a text takes: two for the wide letters of East Asia and for pictures.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(width).sum()
}

fn width(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0x303e
        | 0x3041..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// A line of stars behind a title, 80 columns in all, at least three.
pub(crate) fn banner(title: &str) -> String {
    let title = title.trim();
    let stars = 79_usize.saturating_sub(columns(title)).max(3);
    format!("\n{title} {}", "*".repeat(stars))
}

/// Breaks a text into lines of at most `width` columns, at blanks and behind hyphens; white space of other kinds becomes one blank each.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let text = text.replace(['\n', '\t', '\r'], " ");
    let mut pieces: Vec<String> = Vec::new();
    for word in text.split_inclusive(' ') {
        let (word, blank) = match word.strip_suffix(' ') {
            Some(word) => (word, true),
            None => (word, false),
        };
        let mut rest = word;
        // A hyphen between letters is a place to break.
        while let Some(at) = hyphen(rest) {
            let (piece, tail) = rest.split_at(at + 1);
            pieces.push(piece.to_owned());
            rest = tail;
        }
        if !rest.is_empty() {
            pieces.push(rest.to_owned());
        }
        if blank {
            match pieces.last_mut() {
                Some(last) if last.chars().all(|c| c == ' ') => last.push(' '),
                _ => pieces.push(" ".to_owned()),
            }
        }
    }
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for piece in pieces {
        let blank = piece.trim().is_empty();
        if line.chars().count() + piece.chars().count() > width && !line.is_empty() {
            lines.push(line.trim_end().to_owned());
            line = String::new();
        }
        if blank && line.is_empty() && !lines.is_empty() {
            continue;
        }
        line.push_str(&piece);
        // A word that is longer than a line is cut.
        while line.chars().count() > width && !blank {
            lines.push(line.chars().take(width).collect());
            line = line.chars().skip(width).collect();
        }
    }
    if !line.trim_end().is_empty() || lines.is_empty() {
        lines.push(line.trim_end().to_owned());
    }
    lines
}

fn hyphen(word: &str) -> Option<usize> {
    let chars: Vec<(usize, char)> = word.char_indices().collect();
    chars.windows(4).find_map(|w| match w {
        [(_, a), (_, b), (at, '-'), (_, c)] if a.is_alphabetic() && b.is_alphabetic() && c.is_alphabetic() => Some(*at),
        _ => None,
    })
}
