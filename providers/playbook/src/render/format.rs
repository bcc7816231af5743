//! Python's formatting: `'%05.1f' % x` and `'{:>8}'.format(x)`.

use super::error::Error;
use super::value::{Args, MOST, Value, item, repr, text};

/// Widest field.
const WIDEST: usize = 100_000;

/// How a value is laid out.
#[derive(Debug, Clone)]
struct Spec {
    fill: char,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    zero: bool,
    width: usize,
    group: Option<char>,
    precision: Option<usize>,
    kind: char,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            fill: ' ',
            align: None,
            sign: None,
            alternate: false,
            zero: false,
            width: 0,
            group: None,
            precision: None,
            kind: 's',
        }
    }
}

fn exponent(f: f64, precision: usize, upper: bool) -> String {
    let s = format!("{f:.precision$e}");
    let (digits, power) = s.split_once('e').unwrap_or((&s, "0"));
    let (sign, power) = match power.strip_prefix('-') {
        Some(p) => ('-', p),
        None => ('+', power),
    };
    format!("{digits}{}{sign}{power:0>2}", if upper { 'E' } else { 'e' })
}

fn general(f: f64, precision: usize, alternate: bool, upper: bool) -> String {
    let precision = precision.max(1);
    let e = format!("{f:.*e}", precision - 1);
    let power: i64 = e.split_once('e').and_then(|(_, p)| p.parse().ok()).unwrap_or(0);
    let trim = |s: String| {
        if alternate || !s.contains('.') { s } else { s.trim_end_matches('0').trim_end_matches('.').to_owned() }
    };
    if power < -4 || power >= precision as i64 {
        let s = exponent(f, precision - 1, upper);
        let at = s.find(['e', 'E']).unwrap_or(s.len());
        let (digits, power) = s.split_at(at);
        return format!("{}{power}", trim(digits.to_owned()));
    }
    let decimals = usize::try_from(precision as i64 - 1 - power).unwrap_or(0);
    trim(format!("{f:.decimals$}"))
}

fn grouped(digits: &str, mark: char) -> String {
    let (whole, rest) = digits.find('.').map_or((digits, ""), |i| digits.split_at(i));
    let mut out = String::new();
    let n = whole.chars().count();
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (n - i) % 3 == 0 {
            out.push(mark);
        }
        out.push(c);
    }
    out + rest
}

impl Spec {
    /// Sign, digits and prefix of a number, laid out.
    fn number(&self, negative: bool, prefix: &str, digits: &str) -> String {
        let digits = self.group.map_or_else(|| digits.to_owned(), |g| grouped(digits, g));
        let sign = match (negative, self.sign) {
            (true, _) => "-",
            (false, Some('+')) => "+",
            (false, Some(' ')) => " ",
            _ => "",
        };
        let length = sign.len() + prefix.len() + digits.chars().count();
        if (self.zero && self.align.is_none()) || self.align == Some('=') {
            let fill = if self.zero && self.align.is_none() { '0' } else { self.fill };
            let pad: String = std::iter::repeat_n(fill, self.width.saturating_sub(length)).collect();
            return format!("{sign}{prefix}{pad}{digits}");
        }
        self.aligned(&format!("{sign}{prefix}{digits}"), '>')
    }

    fn aligned(&self, s: &str, default: char) -> String {
        let missing = self.width.saturating_sub(s.chars().count());
        let fill = |n: usize| std::iter::repeat_n(self.fill, n).collect::<String>();
        match self.align.unwrap_or(default) {
            '<' => format!("{s}{}", fill(missing)),
            '^' => format!("{}{s}{}", fill(missing / 2), fill(missing - missing / 2)),
            _ => format!("{}{s}", fill(missing)),
        }
    }

    fn float(&self, f: f64) -> String {
        let (negative, size) = (f.is_sign_negative() && !f.is_nan(), f.abs());
        let precision = self.precision.unwrap_or(6);
        let upper = self.kind.is_ascii_uppercase();
        let digits = if !size.is_finite() {
            let s = super::value::float_text(size);
            if upper { s.to_uppercase() } else { s }
        } else {
            match self.kind {
                'e' | 'E' => exponent(size, precision, upper),
                'g' | 'G' => general(size, precision, self.alternate, upper),
                '%' => format!("{:.precision$}%", size * 100.0),
                _ => format!("{size:.precision$}"),
            }
        };
        self.number(negative, "", &digits)
    }

    fn int(&self, i: i128) -> String {
        let size = i.unsigned_abs();
        let (prefix, digits) = match self.kind {
            'x' => ("0x", format!("{size:x}")),
            'X' => ("0X", format!("{size:X}")),
            'o' => ("0o", format!("{size:o}")),
            'b' => ("0b", format!("{size:b}")),
            _ => ("", size.to_string()),
        };
        let digits = match self.precision {
            Some(p) => format!("{digits:0>p$}"),
            None => digits,
        };
        self.number(i < 0, if self.alternate { prefix } else { "" }, &digits)
    }
}

fn number_wanted(kind: char, v: &Value) -> Error {
    let what = if matches!(kind, 'd' | 'i' | 'u') { "a real number is required" } else { "an integer is required" };
    Error::typed(match kind {
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => format!("must be real number, not {}", v.type_name()),
        _ => format!("%{kind} format: {what}, not {}", v.type_name()),
    })
}

/// `format % args`.
pub(crate) fn percent(format: &str, args: &Value) -> Result<String, Error> {
    let list: Vec<Value> = match args {
        Value::Tuple(t) => t.to_vec(),
        other => vec![other.clone()],
    };
    let mut list = list.into_iter();
    let mut named = false;
    let mut out = String::new();
    let mut chars = format.chars().peekable();
    let short = || Error::typed("not enough arguments for format string");
    while let Some(c) = chars.next() {
        if out.len() > MOST {
            return Err(Error::other("the result is too long"));
        }
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec::default();
        let mut key = None;
        if chars.peek() == Some(&'(') {
            chars.next();
            key = Some(chars.by_ref().take_while(|c| *c != ')').collect::<String>());
            named = true;
        }
        while let Some(c) = chars.next_if(|c| matches!(c, '-' | '+' | ' ' | '0' | '#')) {
            match c {
                '-' => spec.align = Some('<'),
                '0' => spec.zero = true,
                '#' => spec.alternate = true,
                '+' => spec.sign = Some('+'),
                _ => spec.sign = spec.sign.or(Some(' ')),
            }
        }
        let count = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>, list: &mut std::vec::IntoIter<Value>| {
            if chars.next_if_eq(&'*').is_some() {
                let n = list.next().ok_or_else(short)?.as_int().ok_or_else(|| Error::typed("* wants int"))?;
                return Ok::<i128, Error>(n);
            }
            let mut n: i128 = 0;
            while let Some(d) = chars.peek().and_then(|c| c.to_digit(10)) {
                n = (n * 10 + i128::from(d)).min(WIDEST as i128 + 1);
                chars.next();
            }
            Ok(n)
        };
        let width = count(&mut chars, &mut list)?;
        if width < 0 {
            spec.align = Some('<');
        }
        spec.width = usize::try_from(width.abs()).unwrap_or(usize::MAX);
        if chars.next_if_eq(&'.').is_some() {
            spec.precision = usize::try_from(count(&mut chars, &mut list)?).ok();
        }
        if spec.width > WIDEST || spec.precision.is_some_and(|p| p > WIDEST) {
            return Err(Error::other("the field is too wide"));
        }
        while chars.next_if(|c| matches!(c, 'l' | 'h' | 'L')).is_some() {}
        let Some(kind) = chars.next() else { return Err(Error::other("incomplete format")) };
        if kind == '%' {
            out.push('%');
            continue;
        }
        let value = match &key {
            Some(key) => match args {
                Value::Dict(_) | Value::Object(_) => args.get(key).ok_or_else(|| Error::other(format!("'{key}'")))?,
                _ => return Err(Error::typed("format requires a mapping")),
            },
            None => list.next().ok_or_else(short)?,
        };
        let value = value.defined()?.clone();
        spec.kind = kind;
        out.push_str(&match kind {
            's' | 'r' | 'a' => {
                let s = if kind == 's' { text(&value) } else { repr(&value) };
                let s = spec.precision.map_or(s.clone(), |p| s.chars().take(p).collect());
                spec.aligned(&s, '>')
            }
            'c' => {
                let s = match value.as_int().and_then(|i| u32::try_from(i).ok()).and_then(char::from_u32) {
                    Some(c) => c.to_string(),
                    None => text(&value),
                };
                spec.aligned(&s, '>')
            }
            'd' | 'i' | 'u' => match (&value, value.as_int()) {
                (_, Some(i)) => spec.int(i),
                (Value::Float(f), _) => spec.int(f.trunc() as i128),
                _ => return Err(number_wanted(kind, &value)),
            },
            'x' | 'X' | 'o' => spec.int(value.as_int().ok_or_else(|| number_wanted(kind, &value))?),
            'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
                spec.float(value.as_float().ok_or_else(|| number_wanted(kind, &value))?)
            }
            other => {
                return Err(Error::other(format!("unsupported format character '{other}' (0x{:x})", other as u32)));
            }
        });
    }
    if list.next().is_some() && !named && !args.is_mapping() && !matches!(args, Value::List(_)) {
        return Err(Error::typed("not all arguments converted during string formatting"));
    }
    Ok(out)
}

/// `'...'.format(...)`.
pub(crate) fn braces(format: &str, args: &Args) -> Result<String, Error> {
    let mut next = 0;
    fill(format, args, &mut next, 0)
}

fn fill(format: &str, args: &Args, next: &mut usize, depth: usize) -> Result<String, Error> {
    if depth > 2 {
        return Err(Error::other("Max string recursion exceeded"));
    }
    let mut out = String::new();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if out.len() > MOST {
            return Err(Error::other("the result is too long"));
        }
        match c {
            '{' if chars.next_if_eq(&'{').is_some() => out.push('{'),
            '}' if chars.next_if_eq(&'}').is_some() => out.push('}'),
            '}' => return Err(Error::other("Single '}' encountered in format string")),
            '{' => {
                let (mut field, mut open) = (String::new(), 1);
                for c in chars.by_ref() {
                    match c {
                        '{' => open += 1,
                        '}' => open -= 1,
                        _ => {}
                    }
                    if open == 0 {
                        break;
                    }
                    field.push(c);
                }
                if open > 0 {
                    return Err(Error::other("expected '}' before end of string"));
                }
                let (name, spec) = field.split_once(':').unwrap_or((&field, ""));
                let (name, shape) = match name.rsplit_once('!') {
                    Some((n, s)) => (n, Some(s)),
                    None => (name, None),
                };
                let value = field_value(name, args, next)?;
                let spec = fill(spec, args, next, depth + 1)?;
                let value = match shape {
                    Some("r" | "a") => Value::from(repr(&value)),
                    Some("s") => Value::from(text(&value)),
                    Some(_) => return Err(Error::other("Unknown conversion specifier")),
                    None => value,
                };
                out.push_str(&shape_value(&value, &spec)?);
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

fn field_value(name: &str, args: &Args, next: &mut usize) -> Result<Value, Error> {
    let end = name.find(['.', '[']).unwrap_or(name.len());
    let (first, mut rest) = name.split_at(end);
    let at = if first.is_empty() {
        *next += 1;
        Some(*next - 1)
    } else {
        first.parse::<usize>().ok()
    };
    let mut value = match at {
        Some(i) => args
            .pos
            .get(i)
            .cloned()
            .ok_or_else(|| Error::other(format!("Replacement index {i} out of range for positional args tuple")))?,
        None => match args.named.iter().find(|(n, _)| n.as_ref() == first) {
            Some((_, v)) => v.clone(),
            None => return Err(Error::other(format!("'{first}'"))),
        },
    };
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix('.') {
            let end = tail.find(['.', '[']).unwrap_or(tail.len());
            let (name, after) = tail.split_at(end);
            value = value.attribute(name)?;
            rest = after;
        } else {
            let tail = rest.get(1..).unwrap_or("");
            let (key, after) = tail.split_once(']').ok_or_else(|| Error::other("Missing ']' in format string"))?;
            let key = key.parse::<i64>().map_or_else(|_| Value::from(key), Value::from);
            value = item(&value, &key)?;
            rest = after;
        }
    }
    value.defined().cloned()
}

fn read_spec(source: &str) -> Result<Spec, Error> {
    let wrong = || Error::other("Invalid format specifier");
    let mut spec = Spec { kind: '\0', ..Spec::default() };
    let mut chars: Vec<char> = source.chars().collect();
    chars.reverse();
    let aligns = |c: Option<&char>| c.is_some_and(|c| matches!(c, '<' | '>' | '^' | '='));
    if chars.len() > 1 && aligns(chars.get(chars.len() - 2)) {
        spec.fill = chars.pop().unwrap_or(' ');
        spec.align = chars.pop();
    } else if aligns(chars.last()) {
        spec.align = chars.pop();
    }
    if matches!(chars.last(), Some('+' | '-' | ' ')) {
        spec.sign = chars.pop();
    }
    if chars.last() == Some(&'#') {
        chars.pop();
        spec.alternate = true;
    }
    if chars.last() == Some(&'0') {
        chars.pop();
        spec.zero = true;
    }
    let number = |chars: &mut Vec<char>| {
        let mut n = None;
        while let Some(d) = chars.last().and_then(|c| c.to_digit(10)) {
            n = Some((n.unwrap_or(0) * 10 + d as usize).min(WIDEST + 1));
            chars.pop();
        }
        n
    };
    spec.width = number(&mut chars).unwrap_or(0);
    if matches!(chars.last(), Some(',' | '_')) {
        spec.group = chars.pop();
    }
    if chars.last() == Some(&'.') {
        chars.pop();
        spec.precision = Some(number(&mut chars).ok_or_else(|| Error::other("Format specifier missing precision"))?);
    }
    if spec.width > WIDEST || spec.precision.is_some_and(|p| p > WIDEST) {
        return Err(Error::other("the field is too wide"));
    }
    if let Some(kind) = chars.pop() {
        spec.kind = kind;
    }
    if chars.is_empty() { Ok(spec) } else { Err(wrong()) }
}

fn shape_value(value: &Value, source: &str) -> Result<String, Error> {
    if source.is_empty() {
        return Ok(text(value));
    }
    if let Value::Object(o) = value {
        if let Some(out) = super::dates::format_object(o, source) {
            return out;
        }
    }
    let mut spec = read_spec(source)?;
    let unknown =
        |kind: char| Error::other(format!("Unknown format code '{kind}' for object of type '{}'", value.type_name()));
    Ok(match (value, value.as_int(), spec.kind) {
        (Value::Str(..), _, '\0' | 's') => {
            let s = text(value);
            let s = spec.precision.map_or(s.clone(), |p| s.chars().take(p).collect());
            if spec.zero {
                spec.fill = '0';
            }
            spec.aligned(&s, '<')
        }
        (_, Some(i), 'd' | 'x' | 'X' | 'o' | 'b' | 'n') => spec.int(i),
        (Value::Int(i), _, '\0') => spec.int(*i),
        (_, Some(i), 'c') => char::from_u32(u32::try_from(i).unwrap_or(0)).map(String::from).unwrap_or_default(),
        (Value::Int(_) | Value::Float(_) | Value::Bool(_), _, 'e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%') => {
            spec.float(value.as_float().unwrap_or(0.0))
        }
        (Value::Float(f), _, '\0') => match spec.precision {
            Some(_) => {
                spec.kind = 'g';
                spec.float(*f)
            }
            None => spec.number(*f < 0.0, "", super::value::float_text(*f).trim_start_matches('-')),
        },
        (Value::Str(..) | Value::Int(_) | Value::Float(_), _, kind) => return Err(unknown(kind)),
        _ => {
            return Err(Error::typed(format!("unsupported format string passed to {}.__format__", value.type_name())));
        }
    })
}
