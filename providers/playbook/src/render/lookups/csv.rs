//! `csvfile`.

use super::Query;
use super::files::{read, text_of};
use crate::render::error::Error;
use crate::render::value::Value;

pub(super) fn csvfile(q: &mut Query) -> Result<Vec<Value>, Error> {
    let file = q.text("file")?.unwrap_or_else(|| "ansible.csv".into());
    let delimiter = q.text("delimiter")?.unwrap_or_else(|| "TAB".into());
    let col = q.text("col")?.unwrap_or_else(|| "1".into());
    let keycol = q.text("keycol")?.unwrap_or_else(|| "0".into());
    let default = q.options.named("default").filter(|d| !d.is_none());
    q.options.named("encoding");
    let mut out = Vec::new();
    for term in q.texts()? {
        let (key, options) = Query::split_term(&term);
        let get = |name: &str, own: &str| {
            options.iter().find(|(k, _)| k == name).map_or_else(|| own.to_owned(), |(_, v)| v.clone())
        };
        let (file, delimiter) = (get("file", &file), get("delimiter", &delimiter));
        let number = |s: String| s.parse::<usize>().map_err(|_| Error::other(format!("invalid column {s}")));
        let (col, keycol) = (number(get("col", &col))?, number(get("keycol", &keycol))?);
        let default =
            options.iter().find(|(k, _)| k == "default").map(|(_, v)| Value::from(v.as_str())).or(default.clone());
        let delimiter = match delimiter.as_str() {
            "TAB" | "\\t" | "t" => '\t',
            other => other.chars().next().unwrap_or('\t'),
        };
        let Some(bytes) = read(q, &file)? else {
            return Err(Error::other(format!(
                "csvfile: Unable to find \"{file}\" in expected paths (use -vvvvv to see paths)"
            )));
        };
        let text = text_of(bytes);
        let found = rows(&text, delimiter).into_iter().find(|r| r.get(keycol).is_some_and(|k| *k == key));
        match found {
            Some(row) => match row.get(col) {
                Some(v) => out.push(Value::outside(v.as_str())),
                None => return Err(Error::other("csvfile: list index out of range")),
            },
            None => out.extend(default),
        }
    }
    Ok(out)
}

/// The fields of every row.
fn rows(text: &str, delimiter: char) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut any) = (false, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => {
                quoted = true;
                any = true;
            }
            c if quoted => field.push(c),
            c if c == delimiter => {
                row.push(std::mem::take(&mut field));
                any = true;
            }
            '\r' => {}
            '\n' => {
                if any || !field.is_empty() {
                    row.push(std::mem::take(&mut field));
                    rows.push(std::mem::take(&mut row));
                }
                any = false;
            }
            c => field.push(c),
        }
    }
    if any || !field.is_empty() {
        row.push(field);
        rows.push(row);
    }
    rows
}
