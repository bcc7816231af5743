//! Filters of lists.

use super::{Filter, input, items};
use crate::render::error::{Error, Out};
use crate::render::eval::{State, shown, spend};
use crate::render::random::Random;
use crate::render::value::{Args, Binary, Kind, MOST, Value, binary, equal, item, less, sort_by};

pub(super) fn get(name: &str) -> Option<Filter> {
    Some(match name {
        "length" | "count" => |_, v, _| Ok(Value::from(v.len()?)),
        "list" => |_, v, _| Ok(Value::list(items(&v)?)),
        "first" => |_, v, _| edge(&v, true),
        "last" => |_, v, _| edge(&v, false),
        "join" => join,
        "reverse" => |_, v, _| match v.defined()? {
            Value::Str(s, k) => Ok(Value::Str(s.chars().rev().collect::<String>().into(), *k)),
            Value::Int(_) | Value::Bool(_) | Value::Float(_) | Value::None => {
                Err(Error::other("argument must be iterable"))
            }
            other => {
                let mut all = items(other)?;
                all.reverse();
                Ok(Value::list(all))
            }
        },
        "sort" => sort,
        "unique" => unique,
        "min" => |s, v, a| extreme(s, &v, a, false),
        "max" => |s, v, a| extreme(s, &v, a, true),
        "sum" => sum,
        "batch" => batch,
        "slice" => slice,
        "flatten" => flatten,
        "zip" => |_, v, mut a| zip(v, a.rest(), None),
        "zip_longest" => |_, v, mut a| {
            let fill = a.named("fillvalue").unwrap_or(Value::None);
            zip(v, a.rest(), Some(fill))
        },
        "product" => product,
        "combinations" => |_, v, mut a| {
            let n = a.int("r", 0)?;
            choose(&items(&v)?, n, false)
        },
        "permutations" => |_, v, mut a| {
            let all = items(&v)?;
            let n = a.int("r", all.len() as i128)?;
            choose(&all, n, true)
        },
        "random" => random,
        "shuffle" => shuffle,
        "extract" => extract,
        "items" => |_, v, _| match &v {
            Value::Undefined(_) => Ok(Value::list(Vec::new())),
            v => match v.entries() {
                Some(e) => Ok(Value::list(e.into_iter().map(|(k, v)| Value::tuple(vec![k, v])).collect())),
                None => Err(Error::typed("Can only get item pairs from a mapping.")),
            },
        },
        _ => return None,
    })
}

fn edge(v: &Value, first: bool) -> Out {
    let all = items(v)?;
    let found = if first { all.first() } else { all.last() };
    let which = if first { "first" } else { "last" };
    Ok(found.cloned().unwrap_or_else(|| Value::undefined(format!("No {which} item, sequence was empty."), "")))
}

/// The value behind a dotted attribute, or a number.
pub(crate) fn by_attribute(v: &Value, attribute: &Value) -> Out {
    match attribute {
        Value::Str(path, _) => {
            let mut value = v.clone();
            for part in path.split('.') {
                value = match part.parse::<i64>() {
                    Ok(n) if part.bytes().all(|b| b.is_ascii_digit()) => item(&value, &Value::from(n))?,
                    _ => match item(&value, &Value::from(part))? {
                        Value::Undefined(_) => value.attribute(part)?,
                        found => found,
                    },
                };
            }
            Ok(value)
        }
        other => item(v, other),
    }
}

fn join(state: &mut State, v: Value, mut args: Args) -> Out {
    let by = args.text("d")?.unwrap_or_default();
    let attribute = args.take("attribute").filter(|a| !a.is_none());
    let mut out = String::new();
    let mut safe = false;
    for (i, one) in items(&v)?.iter().enumerate() {
        if i > 0 {
            out.push_str(&by);
        }
        let part = match &attribute {
            Some(a) => by_attribute(one, a)?,
            None => one.clone(),
        };
        safe |= matches!(part, Value::Str(_, Kind::Safe));
        out.push_str(&shown(&part)?);
        if out.len() > MOST {
            return Err(Error::other("the result is too long"));
        }
    }
    let _ = (safe, &state);
    Ok(Value::from(out))
}

/// What is compared: texts without regard to case, unless told.
pub(super) fn folded(v: Value, sensitive: bool) -> Value {
    match &v {
        Value::Str(s, _) if !sensitive => Value::from(s.to_lowercase()),
        _ => v,
    }
}

fn sort(_: &mut State, v: Value, mut args: Args) -> Out {
    let reverse = args.flag("reverse", false)?;
    let sensitive = args.flag("case_sensitive", false)?;
    let attribute = args.take("attribute").filter(|a| !a.is_none());
    let keys: Vec<Value> = match &attribute {
        Some(Value::Str(s, _)) => s.split(',').map(|p| Value::from(p.trim())).collect(),
        Some(other) => vec![other.clone()],
        None => Vec::new(),
    };
    let mut pairs = Vec::new();
    for one in items(&v)? {
        let key = match keys.as_slice() {
            [] => folded(one.clone(), sensitive),
            [key] => folded(by_attribute(&one, key)?, sensitive),
            many => {
                let parts: Result<Vec<_>, _> =
                    many.iter().map(|k| by_attribute(&one, k).map(|v| folded(v, sensitive))).collect();
                Value::list(parts?)
            }
        };
        key.defined()?;
        pairs.push((key, one));
    }
    Ok(Value::list(sort_by(pairs, reverse)?))
}

fn unique(_: &mut State, v: Value, mut args: Args) -> Out {
    let sensitive = args.take("case_sensitive").filter(|v| !v.is_none());
    let sensitive = sensitive.map_or(Ok(false), |v| v.truth())?;
    let attribute = args.take("attribute").filter(|a| !a.is_none());
    let mut seen: Vec<Value> = Vec::new();
    let mut out = Vec::new();
    for one in items(&v)? {
        spend(seen.len())?;
        let key = match &attribute {
            Some(a) => by_attribute(&one, a)?,
            None => one.clone(),
        };
        let key = folded(key.defined()?.clone(), sensitive);
        if !seen.iter().any(|s| equal(s, &key)) {
            seen.push(key);
            out.push(one);
        }
    }
    Ok(Value::list(out))
}

fn extreme(_: &mut State, v: &Value, mut args: Args, largest: bool) -> Out {
    let sensitive = args.flag("case_sensitive", false)?;
    let attribute = args.take("attribute").filter(|a| !a.is_none());
    let mut best: Option<(Value, Value)> = None;
    for one in items(v)? {
        let key = match &attribute {
            Some(a) => by_attribute(&one, a)?,
            None => one.clone(),
        };
        let key = folded(key.defined()?.clone(), sensitive);
        let better = match &best {
            None => true,
            Some((have, _)) if largest => {
                crate::render::value::compare(">", &key, have)?.is_some_and(std::cmp::Ordering::is_gt)
            }
            Some((have, _)) => less(&key, have)?,
        };
        if better {
            best = Some((key, one));
        }
    }
    Ok(best.map_or_else(|| Value::undefined("No aggregated item, sequence was empty.", ""), |(_, v)| v))
}

fn sum(_: &mut State, v: Value, mut args: Args) -> Out {
    let attribute = args.take("attribute").filter(|a| !a.is_none());
    let mut total = args.take("start").unwrap_or(Value::Int(0));
    for one in items(&v)? {
        let part = match &attribute {
            Some(a) => by_attribute(&one, a)?,
            None => one,
        };
        total = binary(Binary::Add, &total, &part)?;
    }
    Ok(total)
}

fn batch(_: &mut State, v: Value, mut args: Args) -> Out {
    let n = usize::try_from(args.int("linecount", 1)?.clamp(1, 1_000_000)).unwrap_or(1);
    let fill = args.take("fill_with").filter(|f| !f.is_none());
    let all = items(&v)?;
    let mut out = Vec::new();
    for chunk in all.chunks(n) {
        let mut row = chunk.to_vec();
        if let Some(fill) = &fill {
            row.resize(n, fill.clone());
        }
        out.push(Value::list(row));
    }
    Ok(Value::list(out))
}

fn slice(_: &mut State, v: Value, mut args: Args) -> Out {
    let n = usize::try_from(args.int("slices", 1)?.clamp(1, 1_000_000)).unwrap_or(1);
    let fill = args.take("fill_with").filter(|f| !f.is_none());
    let all = items(&v)?;
    let (each, more) = (all.len() / n, all.len() % n);
    let mut rest = all.into_iter();
    let mut out = Vec::new();
    for i in 0..n {
        let mut row: Vec<Value> = rest.by_ref().take(each + usize::from(i < more)).collect();
        if let (Some(fill), true) = (&fill, i >= more) {
            row.push(fill.clone());
        }
        out.push(Value::list(row));
    }
    Ok(Value::list(out))
}

fn flatten(_: &mut State, v: Value, mut args: Args) -> Out {
    fn go(all: Vec<Value>, levels: i128, skip: bool, out: &mut Vec<Value>) -> Result<(), Error> {
        spend(all.len())?;
        for one in all {
            let null = one.is_none() || one.as_str().is_some_and(|s| s == "None" || s == "null");
            if skip && null {
                continue;
            }
            if one.is_sequence() && levels > 0 { go(one.iter()?, levels - 1, skip, out)? } else { out.push(one) }
        }
        Ok(())
    }
    let levels = args.int("levels", 100)?.min(100);
    let skip = args.flag("skip_nulls", true)?;
    let mut out = Vec::new();
    go(items(&v)?, levels, skip, &mut out)?;
    Ok(Value::list(out))
}

fn zip(v: Value, others: Vec<Value>, fill: Option<Value>) -> Out {
    let mut columns = vec![items(&v)?];
    for other in &others {
        columns.push(items(other)?);
    }
    let lengths = columns.iter().map(Vec::len);
    let length = if fill.is_some() { lengths.max() } else { lengths.min() }.unwrap_or(0);
    let fill = fill.unwrap_or(Value::None);
    let row = |i: usize| columns.iter().map(|c| c.get(i).cloned().unwrap_or_else(|| fill.clone())).collect();
    Ok(Value::list((0..length).map(|i| Value::tuple(row(i))).collect()))
}

fn product(_: &mut State, v: Value, mut args: Args) -> Out {
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    let repeat = args.named("repeat").and_then(|v| v.as_int()).unwrap_or(1).clamp(0, 100);
    let mut columns = vec![v];
    columns.extend(args.rest());
    for _ in 0..repeat {
        for column in &columns {
            let column = items(column)?;
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
    }
    Ok(Value::list(rows.into_iter().map(Value::tuple).collect()))
}

/// Combinations or permutations, in the order of their places.
fn choose(all: &[Value], n: i128, ordered: bool) -> Out {
    fn go(all: &[Value], n: usize, ordered: bool, picked: &mut Vec<usize>, out: &mut Vec<Value>) -> Result<(), Error> {
        spend(n)?;
        if picked.len() == n {
            out.push(Value::tuple(picked.iter().filter_map(|i| all.get(*i).cloned()).collect()));
            return Ok(());
        }
        let start = if ordered { 0 } else { picked.last().map_or(0, |l| l + 1) };
        for i in start..all.len() {
            if ordered && picked.contains(&i) {
                continue;
            }
            picked.push(i);
            go(all, n, ordered, picked, out)?;
            picked.pop();
        }
        Ok(())
    }
    let n = usize::try_from(n).map_err(|_| Error::other("r must be non-negative"))?;
    let mut out = Vec::new();
    if n <= all.len() && n <= 60 {
        go(all, n, ordered, &mut Vec::new(), &mut out)?;
    }
    Ok(Value::list(out))
}

/// Numbers from a seed, so that a seed gives the same each time.
fn generator(state: &State, seed: Option<Value>) -> Result<Random, Error> {
    Ok(match seed {
        Some(Value::None) | None => {
            state.scope.note_effect()?;
            Random::from_system()
        }
        Some(s) => match s.as_int() {
            Some(n) => Random::from_number(n),
            None => Random::from_text(&input(&s)?),
        },
    })
}

fn random(state: &mut State, v: Value, mut args: Args) -> Out {
    let start = args.int("start", 0)?;
    let step = args.int("step", 1)?.max(1);
    let mut random = generator(state, args.take("seed"))?;
    if let Some(end) = v.defined()?.as_int() {
        if end <= start {
            return Err(Error::other("empty range for randrange()"));
        }
        let n = (end - start + step - 1) / step;
        return Ok(Value::Int(start + step * random.below(n.unsigned_abs()) as i128));
    }
    if v.is_mapping() {
        return Err(Error::other("random can only be used on sequences and integers"));
    }
    let all = v.iter().map_err(|_| Error::other("random can only be used on sequences and integers"))?;
    if all.is_empty() {
        return Err(Error::other("Cannot choose from an empty sequence"));
    }
    Ok(random.choose(&all).cloned().unwrap_or(Value::None))
}

fn shuffle(state: &mut State, v: Value, mut args: Args) -> Out {
    let mut random = generator(state, args.take("seed"))?;
    let Ok(mut all) = v.defined()?.iter() else { return Ok(v) };
    random.shuffle(&mut all);
    Ok(Value::list(all))
}

fn extract(_: &mut State, v: Value, mut args: Args) -> Out {
    let container = args.need("container")?;
    let keys = match args.take("morekeys") {
        None | Some(Value::None) => Vec::new(),
        Some(Value::List(l)) => crate::render::value::lock(&l).clone(),
        Some(one) => vec![one],
    };
    let mut value = item(&container, &v)?;
    for key in keys {
        value = item(&value, &key)?;
    }
    Ok(value)
}
