//! `template`.

use super::Query;
use crate::render::error::Error;
use crate::render::literal;
use crate::render::scope::Shape;
use crate::render::value::{Kind, Value, to_json};

pub(super) fn template(q: &mut Query) -> Result<Vec<Value>, Error> {
    let convert = q.flag("convert_data", true)?;
    let mut shape = Shape::default();
    for (name, mark) in [
        ("variable_start_string", &mut shape.syntax.variable.0),
        ("variable_end_string", &mut shape.syntax.variable.1),
        ("block_start_string", &mut shape.syntax.block.0),
        ("block_end_string", &mut shape.syntax.block.1),
        ("comment_start_string", &mut shape.syntax.comment.0),
        ("comment_end_string", &mut shape.syntax.comment.1),
    ] {
        if let Some(text) = q.text(name)? {
            *mark = text;
        }
    }
    shape.syntax.trim_blocks = q.flag("trim_blocks", true)?;
    shape.syntax.lstrip_blocks = q.flag("lstrip_blocks", false)?;
    let more = q.options.named("template_vars");
    let mut out = Vec::new();
    for name in q.texts()? {
        let path = q
            .scope
            .search
            .find("templates", &name)
            .map_err(|_| Error::other(format!("the template file {name} could not be found for the lookup")))?;
        let source = crate::vault::read_text(&path).map_err(|e| Error::other(format!("{}: {e}", path.display())))?;
        let scope = match &more {
            Some(v) => match to_json(v) {
                towpath_core::Json::Object(map) => q.scope.with(map),
                _ => return Err(Error::other("template_vars must be a mapping")),
            },
            None => q.scope.clone(),
        };
        let text = scope.render_source(&source, Some(&path), &shape);
        q.scope.inherit(&scope);
        let text = text?;
        out.push(match (convert, literal::evaluate(&text)) {
            (true, Some(v)) => v,
            (true, None) => Value::outside(text),
            (false, _) => Value::Str(text.into(), Kind::Fixed),
        });
    }
    Ok(out)
}
