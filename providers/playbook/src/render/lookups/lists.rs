//! Lookups that make lists of lists.

use super::Query;
use crate::render::error::Error;
use crate::render::eval::spend;
use crate::render::random::Random;
use crate::render::value::{Value, repr};

fn one_list(terms: &[Value]) -> Result<Vec<Value>, Error> {
    let mut out = Vec::new();
    for term in terms {
        if term.is_sequence() { out.extend(term.iter()?) } else { out.push(term.clone()) }
    }
    spend(out.len())?;
    Ok(out)
}

pub(super) fn items(q: &mut Query) -> Result<Vec<Value>, Error> {
    one_list(&q.terms)
}

pub(super) fn list(q: &mut Query) -> Result<Vec<Value>, Error> {
    Ok(q.terms.clone())
}

pub(super) fn dict(q: &mut Query) -> Result<Vec<Value>, Error> {
    let mut out = Vec::new();
    for term in &q.terms {
        let Some(pairs) = term.entries() else {
            return Err(Error::other("with_dict expects a dict"));
        };
        out.extend(pairs.into_iter().map(|(k, v)| Value::pairs([("key", k), ("value", v)])));
    }
    Ok(out)
}

pub(super) fn nested(q: &mut Query) -> Result<Vec<Value>, Error> {
    if q.terms.is_empty() {
        return Err(Error::other("with_nested requires at least one element in the nested list"));
    }
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for term in &q.terms {
        let column = one_list(std::slice::from_ref(term))?;
        spend(rows.len().saturating_mul(column.len()))?;
        let mut next = Vec::new();
        for row in &rows {
            for one in &column {
                let mut new = row.clone();
                new.push(one.clone());
                next.push(new);
            }
        }
        rows = next;
    }
    Ok(rows.into_iter().map(Value::list).collect())
}

pub(super) fn together(q: &mut Query) -> Result<Vec<Value>, Error> {
    if q.terms.is_empty() {
        return Err(Error::other("with_together requires at least one element in each list"));
    }
    let columns: Vec<Vec<Value>> =
        q.terms.iter().map(|t| one_list(std::slice::from_ref(t))).collect::<Result<_, _>>()?;
    let length = columns.iter().map(Vec::len).max().unwrap_or(0);
    let row = |i: usize| Value::list(columns.iter().map(|c| c.get(i).cloned().unwrap_or(Value::None)).collect());
    Ok((0..length).map(row).collect())
}

pub(super) fn flattened(q: &mut Query) -> Result<Vec<Value>, Error> {
    fn go(v: &Value, out: &mut Vec<Value>, depth: usize) -> Result<(), Error> {
        spend(1)?;
        if v.is_sequence() && depth < 60 {
            return v.iter()?.iter().try_for_each(|v| go(v, out, depth + 1));
        }
        if !v.is_none() && v.as_str() != Some("None") && v.as_str() != Some("null") {
            out.push(v.clone());
        }
        Ok(())
    }
    let mut out = Vec::new();
    q.terms.iter().try_for_each(|t| go(t, &mut out, 0))?;
    Ok(out)
}

pub(super) fn indexed(q: &mut Query) -> Result<Vec<Value>, Error> {
    let all = one_list(&q.terms)?;
    Ok(all.into_iter().enumerate().map(|(i, v)| Value::tuple(vec![Value::from(i), v])).collect())
}

pub(super) fn random_choice(q: &mut Query) -> Result<Vec<Value>, Error> {
    q.scope.note_effect()?;
    match Random::from_system().choose(&q.terms) {
        Some(one) => Ok(vec![one.clone()]),
        None => Err(Error::other(format!("Unable to choose random term: {}", repr(&Value::list(q.terms.clone()))))),
    }
}
