//! `first_found`.

use super::Query;
use crate::render::error::Error;
use crate::render::eval::shown;
use crate::render::value::Value;

/// Names from a text with commas or a list.
fn names(v: &Value, split: &[char]) -> Result<Vec<String>, Error> {
    Ok(match v {
        Value::None => Vec::new(),
        Value::Str(s, _) => s.split(split).map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect(),
        other if other.is_sequence() => {
            let mut out = Vec::new();
            for one in other.iter()? {
                out.extend(names(&one, split)?);
            }
            out
        }
        other => vec![shown(other)?],
    })
}

#[derive(Default)]
struct Wanted {
    files: Vec<String>,
    skip: bool,
}

fn gather(v: &Value, wanted: &mut Wanted) -> Result<(), Error> {
    if v.is_undefined() {
        return Ok(());
    }
    if v.is_mapping() {
        let get = |name: &str| v.get(name).unwrap_or(Value::None);
        let files = names(&get("files"), &[',', ';'])?;
        let paths = names(&get("paths"), &[',', ':', ';'])?;
        for path in &paths {
            wanted.files.extend(files.iter().map(|f| format!("{}/{f}", path.trim_end_matches('/'))));
        }
        if paths.is_empty() {
            wanted.files.extend(files);
        }
        wanted.skip |= v.get("skip").map_or(Ok(false), |s| s.truth())?;
    } else if v.is_sequence() {
        for one in v.iter()? {
            gather(&one, wanted)?;
        }
    } else {
        wanted.files.extend(names(v, &[',', ';'])?);
    }
    Ok(())
}

pub(super) fn first_found(q: &mut Query) -> Result<Vec<Value>, Error> {
    q.scope.note_impure();
    let mut wanted = Wanted::default();
    for term in &q.terms {
        gather(term, &mut wanted)?;
    }
    let options: Vec<(Value, Value)> = ["files", "paths"]
        .into_iter()
        .filter_map(|name| q.options.named(name).map(|v| (Value::from(name), v)))
        .collect();
    if !options.is_empty() {
        let paths = options.iter().find(|(k, _)| k.as_str() == Some("paths")).map(|(_, v)| v.clone());
        match paths {
            Some(paths) if !wanted.files.is_empty() => {
                let paths = names(&paths, &[',', ':', ';'])?;
                wanted.files =
                    paths.iter().flat_map(|p| wanted.files.iter().map(move |f| format!("{p}/{f}"))).collect();
            }
            _ => gather(&Value::pairs(options), &mut wanted)?,
        }
    }
    wanted.skip |= q.flag("skip", false)?;
    for file in &wanted.files {
        for kind in ["templates", "files", "vars"] {
            if let Ok(path) = q.scope.search.find(kind, file) {
                let path = std::path::absolute(&path).unwrap_or(path);
                return Ok(vec![Value::outside(path.display().to_string())]);
            }
        }
    }
    if wanted.skip {
        return Ok(Vec::new());
    }
    Err(Error::other("No file was found when using first_found."))
}
