//! Just enough of HCL2 to find attributes: what files a template names, which of its variables are sensitive.
//!
//! Packer itself is the judge of a template; nothing here refuses one. What can't be understood is left out.

/// `name = expression` somewhere in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attribute {
    /// The blocks around it: type, then labels: `["variable", "token"]`, `["build", "provisioner", "shell"]`.
    pub(crate) path: Vec<String>,
    /// Tells the blocks of equal paths apart.
    pub(crate) block: usize,
    /// Its name.
    pub(crate) name: String,
    /// The strings in its expression, as they are written, `${...}` included.
    pub(crate) strings: Vec<String>,
    /// The rest of its expression: words, numbers, brackets.
    pub(crate) words: Vec<String>,
    /// The files that it reads by functions: `file("x")`. `None`: the argument is no plain string.
    pub(crate) reads: Vec<Option<String>>,
    /// Where it starts, from 1.
    pub(crate) line: usize,
}

/// The functions that read a file. Source: Packer documentation, "HCL functions".
const READERS: &[&str] = &["file", "filebase64", "fileset", "templatefile"];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
    Newline,
}

/// The attributes of a file, and whether a block of this type is in it.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) attributes: Vec<Attribute>,
    /// The path of every block.
    pub(crate) blocks: Vec<Vec<String>>,
}

/// Reads a file.
pub(crate) fn read(text: &str) -> File {
    let tokens = tokens(text);
    let mut file = File::default();
    // Path and number of each open block.
    let mut open: Vec<(Vec<String>, usize)> = vec![(Vec::new(), 0)];
    let mut at = 0;
    while let Some((token, line)) = tokens.get(at) {
        at += 1;
        let name = match token {
            Token::Word(name) => name.clone(),
            Token::Mark('}') if open.len() > 1 => {
                open.pop();
                continue;
            }
            _ => continue,
        };
        let (path, block) = open.last().cloned().unwrap_or_default();
        if matches!(tokens.get(at), Some((Token::Mark('='), _))) {
            let (strings, words, reads) = Default::default();
            let mut attribute = Attribute { path, block, name, strings, words, reads, line: *line };
            at = expression(&tokens, at + 1, &mut attribute);
            file.attributes.push(attribute);
            continue;
        }
        let mut path = path;
        path.push(name);
        while let Some((Token::Word(label) | Token::Text(label), _)) = tokens.get(at) {
            path.push(label.clone());
            at += 1;
        }
        if matches!(tokens.get(at), Some((Token::Mark('{'), _))) {
            at += 1;
            file.blocks.push(path.clone());
            open.push((path, file.blocks.len()));
        }
    }
    file
}

/// Takes tokens up to the end of the line that closes all brackets. Gives where it stopped.
fn expression(tokens: &[(Token, usize)], mut at: usize, into: &mut Attribute) -> usize {
    let mut depth = 0_usize;
    while let Some((token, _)) = tokens.get(at) {
        match token {
            Token::Newline if depth == 0 => break,
            Token::Newline => {}
            // The end of a block that is written in one line.
            Token::Mark('}') if depth == 0 => break,
            Token::Mark(c) => {
                match c {
                    '(' | '[' | '{' => depth += 1,
                    ')' | ']' | '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                into.words.push(c.to_string());
            }
            Token::Word(word) => {
                if READERS.contains(&word.as_str()) && matches!(tokens.get(at + 1), Some((Token::Mark('('), _))) {
                    into.reads.push(match tokens.get(at + 2) {
                        // Empty: what follows is interpolated.
                        Some((Token::Text(text), _)) if !text.is_empty() => Some(text.clone()),
                        _ => None,
                    });
                }
                into.words.push(word.clone());
            }
            Token::Text(text) => {
                // `"${file("x")}"`
                for inside in text.split("${").skip(1) {
                    let mut inner = Attribute { strings: Vec::new(), words: Vec::new(), ..into.clone() };
                    expression(&self::tokens(inside.split('}').next().unwrap_or_default()), 0, &mut inner);
                    into.reads = inner.reads;
                }
                into.strings.push(text.clone());
            }
        }
        at += 1;
    }
    at
}

fn tokens(text: &str) -> Vec<(Token, usize)> {
    let mut scan = Scan { rest: text, line: 1 };
    let mut out = Vec::new();
    while let Some(c) = scan.rest.chars().next() {
        let line = scan.line;
        match c {
            '\n' => {
                scan.skip(1);
                out.push((Token::Newline, line));
            }
            c if c.is_whitespace() => scan.skip(c.len_utf8()),
            '#' => scan.skip_to("\n"),
            '/' if scan.rest.starts_with("//") => scan.skip_to("\n"),
            '/' if scan.rest.starts_with("/*") => {
                scan.skip_to("*/");
                scan.skip(2);
            }
            '"' => out.push((Token::Text(scan.string()), line)),
            '<' if scan.rest.starts_with("<<") => match scan.heredoc() {
                Some(text) => {
                    out.push((Token::Text(text), line));
                    out.push((Token::Newline, scan.line));
                }
                None => scan.skip(2),
            },
            c if is_word(c) => {
                let end = scan.rest.find(|c: char| !is_word(c)).unwrap_or(scan.rest.len());
                out.push((Token::Word(scan.rest.get(..end).unwrap_or_default().to_owned()), line));
                scan.skip(end);
            }
            c => {
                out.push((Token::Mark(c), line));
                scan.skip(c.len_utf8());
            }
        }
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

struct Scan<'a> {
    rest: &'a str,
    line: usize,
}

impl Scan<'_> {
    fn skip(&mut self, bytes: usize) {
        let (gone, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.line += gone.matches('\n').count();
        self.rest = rest;
    }

    /// Skips to this text, which stays.
    fn skip_to(&mut self, text: &str) {
        self.skip(self.rest.find(text).unwrap_or(self.rest.len()));
    }

    /// Takes a quoted string. What is in `${...}` may hold quotes itself.
    fn string(&mut self) -> String {
        let mut out = String::new();
        let mut depth = 0_usize;
        let mut quoted_inside = false;
        self.skip(1);
        while let Some(c) = self.rest.chars().next() {
            if depth == 0 && c == '"' || c == '\n' {
                self.skip(usize::from(c == '"'));
                return out;
            }
            if c == '\\' {
                let escaped = self.rest.chars().nth(1).unwrap_or_default();
                self.skip(1 + escaped.len_utf8());
                out.push(match escaped {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    other => other,
                });
                continue;
            }
            match c {
                '$' | '%' if depth == 0 && self.rest.get(1..2) == Some("{") => {
                    depth = 1;
                    out.push(c);
                    out.push('{');
                    self.skip(2);
                    continue;
                }
                '"' => quoted_inside = !quoted_inside,
                '{' if depth > 0 && !quoted_inside => depth += 1,
                '}' if depth > 0 && !quoted_inside => depth -= 1,
                _ => {}
            }
            out.push(c);
            self.skip(c.len_utf8());
        }
        out
    }

    /// Takes `<<END` or `<<-END`, the lines up to `END`, and that line. `None`: it is none.
    fn heredoc(&mut self) -> Option<String> {
        let (first, _) = self.rest.split_once('\n')?;
        let marker = first.trim_start_matches('<').trim_start_matches('-').trim();
        if marker.is_empty() || !marker.chars().all(is_word) {
            return None;
        }
        let marker = marker.to_owned();
        self.skip(first.len() + 1);
        let mut out = String::new();
        while !self.rest.is_empty() {
            let line = self.rest.split('\n').next().unwrap_or_default();
            let (text, length) = (line.to_owned(), line.len() + 1);
            self.skip(length);
            if text.trim() == marker {
                break;
            }
            out.push_str(&text);
            out.push('\n');
        }
        Some(out)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found() {
        let text = r##"
packer { required_plugins {
    docker = { version = ">= 1", source = "github.com/hashicorp/docker" }
  } }
variable "token" {
  type      = string # a comment, "quoted"
  sensitive = true
  default   = "s3cret, \"really\""
}
/* source "x" {
*/
source "docker" "web" { image = "debian" }
build {
  sources = ["source.docker.web",
    "source.null.x"]
  provisioner "shell" {
    script = "${path.root}/run ${var.x["a}"]}.sh"
  }
  provisioner "file" {
    content = <<-EOT
      script = "no"
    EOT
    source = "a" // trailing
  }
}
"##;
        let file = read(text);
        let show = |a: &Attribute| (a.path.join(" "), a.name.clone(), a.strings.clone(), a.line);
        let found: Vec<_> = file.attributes.iter().map(show).collect();
        let of = |path: &str, name: &str, strings: &[&str], line| {
            (path.to_owned(), name.to_owned(), strings.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>(), line)
        };
        assert_eq!(
            found,
            [
                of("packer required_plugins", "docker", &[">= 1", "github.com/hashicorp/docker"], 3),
                of("variable token", "type", &[], 6),
                of("variable token", "sensitive", &[], 7),
                of("variable token", "default", &["s3cret, \"really\""], 8),
                of("source docker web", "image", &["debian"], 12),
                of("build", "sources", &["source.docker.web", "source.null.x"], 14),
                of("build provisioner shell", "script", &["${path.root}/run ${var.x[\"a}\"]}.sh"], 17),
                of("build provisioner file", "content", &["      script = \"no\"\n"], 20),
                of("build provisioner file", "source", &["a"], 23),
            ]
        );
        assert_eq!(file.attributes[2].words, ["true"]);
        assert_ne!(file.attributes[6].block, file.attributes[7].block);
        assert!(file.blocks.contains(&vec!["packer".into(), "required_plugins".into()]));
    }

    #[test]
    fn functions_that_read_files_are_seen() {
        let text = "a = templatefile(\"${path.root}/x.tpl\", { y = file(var.y) })\nb = \"#!${file(\"z.sh\")} ${var.b}\"\nc = file\nd = \"${file(\"${var.c}\")}\"\n";
        let reads: Vec<_> = read(text).attributes.into_iter().map(|a| a.reads).collect();
        let some = |s: &str| Some(s.to_owned());
        assert_eq!(reads, [vec![some("${path.root}/x.tpl"), None], vec![some("z.sh")], vec![], vec![None]]);
    }

    #[test]
    fn torn_text_never_hangs_or_panics() {
        let text = "a = \"${x\" b { c = <<E\nx\n /* \"\\";
        for end in 0..=text.len() {
            let _ = read(&text[..end]);
        }
        assert_eq!(read("a = <<\nb = 1\n").attributes.len(), 2);
    }
}
