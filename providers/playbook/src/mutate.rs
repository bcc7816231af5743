//! Texts made wrong in many ways, for tests that a reader never panics, hangs or takes all memory.
//!
//! An ordinary run always makes the same ones; with `TOWPATH_TEST_FULL=1` there are many more, and others each time.

#![allow(clippy::indexing_slicing, clippy::string_slice, reason = "tests")]

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;

/// How many texts to try.
pub(crate) fn rounds(ordinary: u32) -> ProptestConfig {
    let full = std::env::var_os("TOWPATH_TEST_FULL").is_some();
    ProptestConfig {
        cases: if full { ordinary * 20 } else { ordinary },
        rng_seed: if full { RngSeed::Random } else { RngSeed::Fixed(18) },
        failure_persistence: None,
        max_shrink_time: 60_000,
        ..ProptestConfig::default()
    }
}

/// One thing that is done to a text.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Drop(Index),
    Double(Index),
    Swap(Index, Index),
    Indent(Index, usize),
    Outdent(Index, usize),
    Replace(Index, &'static str),
    Insert(Index, &'static str),
    Put(Index, char),
    Take(Index),
    Cut(Index),
}

/// Some changes; `pieces` is what the texts are made of.
pub(crate) fn changes(pieces: &'static [&'static str]) -> impl Strategy<Value = Vec<Change>> {
    let piece = || prop::sample::select(pieces);
    let at = any::<Index>;
    let one = prop_oneof![
        2 => at().prop_map(Change::Drop),
        2 => at().prop_map(Change::Double),
        2 => (at(), at()).prop_map(|(a, b)| Change::Swap(a, b)),
        2 => (at(), 1..5usize).prop_map(|(a, n)| Change::Indent(a, n)),
        2 => (at(), 1..5usize).prop_map(|(a, n)| Change::Outdent(a, n)),
        4 => (at(), piece()).prop_map(|(a, p)| Change::Replace(a, p)),
        4 => (at(), piece()).prop_map(|(a, p)| Change::Insert(a, p)),
        2 => (at(), any::<char>()).prop_map(|(a, c)| Change::Put(a, c)),
        2 => at().prop_map(Change::Take),
        1 => at().prop_map(Change::Cut),
    ];
    prop::collection::vec(one, 1..6)
}

/// The text after all changes.
pub(crate) fn mutated(text: &str, changes: &[Change]) -> String {
    changes.iter().fold(text.to_owned(), |text, change| changed(&text, change))
}

/// The place of a character, or the end.
fn place(text: &str, at: &Index) -> usize {
    let mut at = at.index(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn changed(text: &str, change: &Change) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let line = |at: &Index| at.index(lines.len());
    match change {
        Change::Drop(a) => {
            let a = line(a);
            lines.remove(a);
        }
        Change::Double(a) => {
            let a = line(a);
            lines.insert(a, lines[a].clone());
        }
        Change::Swap(a, b) => {
            let (a, b) = (line(a), line(b));
            lines.swap(a, b);
        }
        Change::Indent(a, n) => {
            let a = line(a);
            lines[a].insert_str(0, &" ".repeat(*n));
        }
        Change::Outdent(a, n) => {
            let a = line(a);
            let n = lines[a].bytes().take(*n).take_while(|b| *b == b' ').count();
            lines[a].drain(..n);
        }
        Change::Replace(a, piece) => {
            // One word of a line.
            let a = line(a);
            let words: Vec<&str> = lines[a].split(' ').collect();
            let last = words.len() - 1;
            lines[a] = words
                .iter()
                .enumerate()
                .map(|(i, w)| if i == last { *piece } else { *w })
                .collect::<Vec<_>>()
                .join(" ");
        }
        Change::Insert(a, piece) => {
            let a = place(text, a);
            return format!("{}{piece}{}", &text[..a], &text[a..]);
        }
        Change::Put(a, c) => {
            let a = place(text, a);
            return format!("{}{c}{}", &text[..a], &text[a..]);
        }
        Change::Take(a) => {
            let a = place(text, a);
            let mut rest = text[a..].chars();
            rest.next();
            return format!("{}{}", &text[..a], rest.as_str());
        }
        Change::Cut(a) => return text[..place(text, a)].to_owned(),
    }
    lines.join("\n")
}
