//! Differences of files, unified, as Ansible shows them.

use std::collections::HashMap;

use crate::Json;

use super::color::Color;
use super::json;

/// The text of a result's `diff`, which is one difference or several. Empty if there is nothing to show.
pub(crate) fn text(diff: &Json, color: bool) -> String {
    match diff {
        Json::Array(all) => all.iter().map(|d| one(d, color)).collect(),
        other => one(other, color),
    }
}

fn one(diff: &Json, color: bool) -> String {
    let mut out = String::new();
    let truthy = |key: &str| diff.get(key).is_some_and(|v| v.as_bool().unwrap_or(!v.is_null()));
    for (side, name) in [("dst", "destination"), ("src", "source")] {
        if truthy(&format!("{side}_binary")) {
            out.push_str(&format!("diff skipped: {name} file appears to be binary\n"));
        }
    }
    for (side, name) in [("dst", "destination"), ("src", "source")] {
        if let Some(limit) = diff.get(format!("{side}_larger")).filter(|v| !v.is_null()) {
            out.push_str(&format!("diff skipped: {name} file size is greater than {limit}\n"));
        }
    }
    if let (Some(before), Some(after)) = (diff.get("before"), diff.get("after")) {
        let header = |side: &str| match diff.get(format!("{side}_header")).and_then(Json::as_str) {
            Some(name) if !name.is_empty() => format!("{side}: {name}"),
            _ => side.to_owned(),
        };
        let lines = unified(&lines(&side(before)), &lines(&side(after)), &header("before"), &header("after"));
        for line in lines {
            let by = match line.chars().next() {
                Some('+') => Some(Color::Ok),
                Some('-') => Some(Color::Failed),
                Some('@') => Some(Color::Skipped),
                _ => None,
            };
            match by {
                Some(by) => out.push_str(&by.paint(&line, color)),
                None => out.push_str(&line),
            }
        }
    }
    if let Some(ready) = diff.get("prepared").and_then(Json::as_str) {
        out.push_str(ready);
    }
    out
}

fn side(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(s) => s.clone(),
        Json::Object(_) => json::pretty(value) + "\n",
        other => other.to_string(),
    }
}

/// Lines with their ends; the last one may say that it has none.
fn lines(text: &str) -> Vec<String> {
    let mut out: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    if let Some(last) = out.last_mut().filter(|l| !l.ends_with('\n')) {
        last.push_str("\n\\ No newline at end of file\n");
    }
    out
}

/// A run of lines that are equal in both, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    equal: bool,
    a: (usize, usize),
    b: (usize, usize),
}

/// Three lines around each difference.
const AROUND: usize = 3;

fn unified(a: &[String], b: &[String], from: &str, to: &str) -> Vec<String> {
    let mut out = Vec::new();
    for hunk in hunks(blocks(a, b)) {
        let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { continue };
        if out.is_empty() {
            out.push(format!("--- {from}\n"));
            out.push(format!("+++ {to}\n"));
        }
        out.push(format!("@@ -{} +{} @@\n", range(first.a.0, last.a.1), range(first.b.0, last.b.1)));
        for block in &hunk {
            let of = |lines: &[String], (start, end): (usize, usize), mark: char| -> Vec<String> {
                lines.get(start..end).unwrap_or_default().iter().map(|l| format!("{mark}{l}")).collect()
            };
            if block.equal {
                out.extend(of(a, block.a, ' '));
            } else {
                out.extend(of(a, block.a, '-'));
                out.extend(of(b, block.b, '+'));
            }
        }
    }
    out
}

fn range(start: usize, end: usize) -> String {
    match end - start {
        1 => (start + 1).to_string(),
        0 => format!("{start},0"),
        n => format!("{},{n}", start + 1),
    }
}

/// Groups of differences that are near each other.
fn hunks(mut blocks: Vec<Block>) -> Vec<Vec<Block>> {
    if let Some(first) = blocks.first_mut().filter(|b| b.equal) {
        let cut = (first.a.1 - first.a.0).saturating_sub(AROUND);
        first.a.0 += cut;
        first.b.0 += cut;
    }
    if let Some(last) = blocks.last_mut().filter(|b| b.equal) {
        let cut = (last.a.1 - last.a.0).saturating_sub(AROUND);
        last.a.1 -= cut;
        last.b.1 -= cut;
    }
    let mut out = Vec::new();
    let mut group: Vec<Block> = Vec::new();
    for block in blocks {
        if block.equal && block.a.1 - block.a.0 > 2 * AROUND {
            let mut end = block;
            end.a.1 = block.a.0 + AROUND;
            end.b.1 = block.b.0 + AROUND;
            group.push(end);
            out.push(std::mem::take(&mut group));
            let mut start = block;
            start.a.0 = block.a.1 - AROUND;
            start.b.0 = block.b.1 - AROUND;
            group.push(start);
        } else {
            group.push(block);
        }
    }
    out.push(group);
    out.retain(|g| g.iter().any(|b| !b.equal));
    out
}

/// What is equal and what is not: the longest common run first, then the same before and behind it (Ratcliff and Obershelp).
fn blocks(a: &[String], b: &[String]) -> Vec<Block> {
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (j, line) in b.iter().enumerate() {
        places.entry(line).or_default().push(j);
    }
    // In a long file a line that stands everywhere is no landmark.
    if b.len() >= 200 {
        let many = b.len() / 100 + 1;
        places.retain(|_, at| at.len() <= many);
    }
    let mut matches: Vec<(usize, usize, usize)> = Vec::new();
    let mut queue = vec![(0, a.len(), 0, b.len())];
    while let Some((a_low, a_high, b_low, b_high)) = queue.pop() {
        let (i, j, n) = longest(a, b, &places, (a_low, a_high), (b_low, b_high));
        if n > 0 {
            matches.push((i, j, n));
            if a_low < i && b_low < j {
                queue.push((a_low, i, b_low, j));
            }
            if i + n < a_high && j + n < b_high {
                queue.push((i + n, a_high, j + n, b_high));
            }
        }
    }
    matches.sort_unstable();
    matches.push((a.len(), b.len(), 0));
    let mut out: Vec<Block> = Vec::new();
    let (mut i, mut j) = (0, 0);
    for (at, bt, n) in matches {
        if i < at || j < bt {
            out.push(Block { equal: false, a: (i, at), b: (j, bt) });
        }
        (i, j) = (at + n, bt + n);
        if n > 0 {
            match out.last_mut().filter(|l| l.equal) {
                Some(last) => (last.a.1, last.b.1) = (i, j),
                None => out.push(Block { equal: true, a: (at, i), b: (bt, j) }),
            }
        }
    }
    out
}

fn longest(
    a: &[String],
    b: &[String],
    places: &HashMap<&str, Vec<usize>>,
    (a_low, a_high): (usize, usize),
    (b_low, b_high): (usize, usize),
) -> (usize, usize, usize) {
    let mut best = (a_low, b_low, 0);
    let mut ends: HashMap<usize, usize> = HashMap::new();
    for (i, line) in a.iter().enumerate().take(a_high).skip(a_low) {
        let mut next = HashMap::new();
        for &j in places.get(line.as_str()).map(Vec::as_slice).unwrap_or_default() {
            if j < b_low {
                continue;
            }
            if j >= b_high {
                break;
            }
            let n = j.checked_sub(1).and_then(|p| ends.get(&p)).copied().unwrap_or(0) + 1;
            next.insert(j, n);
            if n > best.2 {
                best = (i + 1 - n, j + 1 - n, n);
            }
        }
        ends = next;
    }
    // Lines that are no landmarks still belong to a run beside one.
    let same = |i: usize, j: usize| a.get(i).is_some_and(|x| b.get(j) == Some(x));
    let (mut i, mut j, mut n) = best;
    while i > a_low && j > b_low && same(i - 1, j - 1) {
        (i, j, n) = (i - 1, j - 1, n + 1);
    }
    while i + n < a_high && j + n < b_high && same(i + n, j + n) {
        n += 1;
    }
    (i, j, n)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_has_three_lines_around_it_and_says_where_an_end_is_missing() {
        let before: String = (1..=20).map(|n| format!("line {n}\n")).collect();
        let after = before.replace("line 3\n", "").replace("line 20\n", "line 20");
        let shown = text(&json!({ "before": before, "after": after, "before_header": "/a" }), false);
        assert_eq!(
            shown,
            "--- before: /a\n+++ after\n@@ -1,6 +1,5 @@\n line 1\n line 2\n-line 3\n line 4\n line 5\n line 6\n\
             @@ -17,4 +16,4 @@\n line 17\n line 18\n line 19\n-line 20\n+line 20\n\\ No newline at end of file\n"
        );
        assert_eq!(text(&json!({ "before": "x\n", "after": "x\n" }), false), "");
    }

    #[test]
    fn states_are_compared_as_json() {
        let shown = text(&json!([{ "before": { "mode": "0644" }, "after": { "mode": "0600" } }]), false);
        assert_eq!(
            shown,
            "--- before\n+++ after\n@@ -1,3 +1,3 @@\n {\n-    \"mode\": \"0644\"\n+    \"mode\": \"0600\"\n }\n"
        );
    }

    #[test]
    fn binary_files_are_named_not_shown() {
        let shown = text(&json!({ "dst_binary": 1, "src_binary": 1 }), false);
        assert_eq!(
            shown,
            "diff skipped: destination file appears to be binary\ndiff skipped: source file appears to be binary\n"
        );
    }
}
