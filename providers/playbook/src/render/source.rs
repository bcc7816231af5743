//! Templates in files: their header, and the line's ends that are kept.

use std::path::Path;
use std::sync::Arc;

use super::engine::Shape;
use super::error::Error;
use super::eval::{Deeper, State};
use super::scope::Scope;
use super::syntax::Template;

/// The first line with settings, and the rest.
fn header(source: &str) -> (Option<&str>, &str) {
    match source.strip_prefix("#jinja2:") {
        Some(rest) => {
            let (head, body) = rest.split_once('\n').unwrap_or((rest, ""));
            (Some(head), body)
        }
        None => (None, source),
    }
}

/// Settings of a header: `trim_blocks: False, variable_start_string: '[%'`.
fn apply(head: &str, shape: &mut Shape) -> Result<(), Error> {
    for option in head.split(',').filter(|o| !o.trim().is_empty()) {
        let Some((key, value)) = option.split_once(':') else {
            return Err(Error::other(format!("the header `#jinja2:{head}` wants `key: value`, separated by commas")));
        };
        let value = value.trim();
        let quoted = value.len() > 1 && value.starts_with(['"', '\'']);
        let text = if quoted { value.get(1..value.len() - 1).unwrap_or("").to_owned() } else { value.to_owned() };
        // A text is true unless it is empty, also the text "false".
        let yes = if quoted { !text.is_empty() } else { matches!(value, "True" | "true" | "1") };
        let s = &mut shape.syntax;
        match key.trim() {
            "trim_blocks" => s.trim_blocks = yes,
            "lstrip_blocks" => s.lstrip_blocks = yes,
            "keep_trailing_newline" => s.keep_newline = yes,
            "newline_sequence" => {}
            "variable_start_string" => s.variable.0 = text,
            "variable_end_string" => s.variable.1 = text,
            "block_start_string" => s.block.0 = text,
            "block_end_string" => s.block.1 = text,
            "comment_start_string" => s.comment.0 = text,
            "comment_end_string" => s.comment.1 = text,
            other => return Err(Error::other(format!("the header's setting `{other}` is not supported"))),
        }
    }
    let s = &shape.syntax;
    for mark in [&s.variable.0, &s.variable.1, &s.block.0, &s.block.1, &s.comment.0, &s.comment.1] {
        if mark.is_empty() {
            return Err(Error::other("a mark of the header is empty"));
        }
    }
    Ok(())
}

/// Line's ends at a template's end that its rendering lacks come back.
pub(super) fn with_newlines(source: &str, mut out: String) -> String {
    let count = |s: &str| s.len() - s.trim_end_matches('\n').len();
    let (wanted, have) = (count(source), count(&out));
    for _ in have..wanted {
        out.push('\n');
    }
    out
}

impl Scope {
    /// Renders a template's text, which may have a header.
    pub(crate) fn render_source(
        self: &Arc<Self>,
        source: &str,
        path: Option<&Path>,
        shape: &Shape,
    ) -> Result<String, Error> {
        let _deeper = Deeper::enter(8)?;
        let (mut body, mut own) = (source, shape.clone());
        // The module `template` puts its options before the file's own header.
        while let (Some(head), rest) = header(body) {
            apply(head, &mut own)?;
            body = rest;
        }
        let file: Option<Arc<str>> = path.map(|p| p.display().to_string().into());
        let compiled = self.engine.compiled(body, &own).map_err(|e| self.at_file(e, body, file.as_deref()))?;
        let text = State::new(self.clone(), compiled.template.clone(), file).render()?;
        Ok(with_newlines(body, text))
    }

    fn at_file(&self, mut e: Error, source: &str, file: Option<&str>) -> Error {
        if let (Some(file), Some(at), None) = (file, e.at, &e.place) {
            e.place = Some(super::eval::place(file, source, at));
        }
        e
    }

    /// The template that another one names.
    pub(super) fn template(&self, name: &str) -> Result<Option<(Arc<Template>, String)>, Error> {
        let Ok(path) = self.search.find("templates", name) else { return Ok(None) };
        let shown = path.display().to_string();
        let source = crate::vault::read_text(&path).map_err(|e| Error::other(format!("{shown}: {e}")))?;
        let shape = Shape::default();
        let compiled = self.engine.compiled(&source, &shape).map_err(|e| self.at_file(e, &source, Some(&shown)))?;
        Ok(Some((compiled.template.clone(), shown)))
    }
}
