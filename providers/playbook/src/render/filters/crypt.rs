//! Passwords as `/etc/shadow` wants them. Source: Ulrich Drepper, "Unix crypt using SHA-256 and SHA-512".

use sha2::{Digest, Sha256, Sha512};

use super::{Filter, input};
use crate::render::error::{Error, Out};
use crate::render::eval::State;
use crate::render::value::{Args, Value};

const LETTERS: &[u8] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Rounds where none are said, as passlib has them.
const ROUNDS_256: u32 = 535_000;
const ROUNDS_512: u32 = 656_000;

pub(super) fn get(name: &str) -> Option<Filter> {
    (name == "password_hash").then_some(password_hash as Filter)
}

fn password_hash(state: &mut State, v: Value, mut args: Args) -> Out {
    let kind = args.text("hashtype")?.unwrap_or_else(|| "sha512".into());
    let salt = args.text("salt")?;
    args.take("salt_size");
    let rounds = args
        .take("rounds")
        .filter(|r| !r.is_none())
        .map(|r| r.as_int().or_else(|| r.as_str().and_then(|s| s.parse().ok())).and_then(|n| u32::try_from(n).ok()));
    let rounds = match rounds {
        Some(None) => return Err(Error::other("rounds must be a number")),
        Some(n) => n,
        None => None,
    };
    let long = match kind.as_str() {
        "sha512" | "sha512_crypt" => true,
        "sha256" | "sha256_crypt" => false,
        other => {
            return Err(Error::other(format!(
                "password_hash: the hash type '{other}' is not supported; there are sha512 and sha256"
            )));
        }
    };
    let salt = match salt {
        Some(s) => s,
        None => {
            state.scope.note_effect()?;
            random_salt()
        }
    };
    if salt.len() > 16 || !salt.bytes().all(|b| LETTERS.contains(&b)) {
        return Err(Error::other("invalid characters or length of the salt; up to 16 of ./0-9A-Za-z"));
    }
    sha_crypt(&input(&v)?, &salt, rounds, long).map(Value::from)
}

fn random_salt() -> String {
    use rand::Rng as _;
    let mut random = rand::rng();
    (0..16).filter_map(|_| LETTERS.get(random.random_range(0..LETTERS.len())).map(|b| char::from(*b))).collect()
}

/// The hash of a password: SHA-512 if `long`, else SHA-256.
pub(crate) fn sha_crypt(password: &str, salt: &str, rounds: Option<u32>, long: bool) -> Result<String, Error> {
    let (id, default) = if long { ("6", ROUNDS_512) } else { ("5", ROUNDS_256) };
    let rounds = rounds.unwrap_or(default);
    if !(1000..=999_999_999).contains(&rounds) {
        return Err(Error::other("rounds must be between 1000 and 999999999"));
    }
    // More would keep the controller busy for minutes.
    if rounds > 5_000_000 {
        return Err(Error::other("more than 5000000 rounds are not supported"));
    }
    let digest = if long {
        hash::<Sha512>(password.as_bytes(), salt.as_bytes(), rounds)
    } else {
        hash::<Sha256>(password.as_bytes(), salt.as_bytes(), rounds)
    };
    let said = if rounds == 5000 { String::new() } else { format!("rounds={rounds}$") };
    Ok(format!("${id}${said}{salt}${}", encode(&digest, long)))
}

fn hash<D: Digest>(password: &[u8], salt: &[u8], rounds: u32) -> Vec<u8> {
    let size = <D as Digest>::output_size();
    let b = D::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut a = D::new().chain_update(password).chain_update(salt);
    let stretch = |digest: &[u8], n: usize| digest.iter().copied().cycle().take(n).collect::<Vec<u8>>();
    a.update(stretch(&b, password.len()));
    let mut n = password.len();
    while n > 0 {
        if n & 1 == 1 {
            a.update(&b)
        } else {
            a.update(password)
        }
        n >>= 1;
    }
    let mut a = a.finalize();
    let mut dp = D::new();
    for _ in 0..password.len() {
        dp.update(password);
    }
    let p = stretch(&dp.finalize(), password.len());
    let mut ds = D::new();
    for _ in 0..16 + usize::from(a.first().copied().unwrap_or(0)) {
        ds.update(salt);
    }
    let s = stretch(&ds.finalize(), salt.len());
    debug_assert_eq!(a.len(), size);
    for round in 0..rounds {
        let mut c = D::new();
        if round % 2 == 1 {
            c.update(&p)
        } else {
            c.update(&a)
        }
        if round % 3 != 0 {
            c.update(&s);
        }
        if round % 7 != 0 {
            c.update(&p);
        }
        if round % 2 == 1 {
            c.update(&a)
        } else {
            c.update(&p)
        }
        a = c.finalize();
    }
    a.to_vec()
}

/// Base 64 with crypt's own alphabet and order of bytes.
fn encode(d: &[u8], long: bool) -> String {
    let mut out = String::new();
    let mut put = |a: Option<usize>, b: Option<usize>, c: usize, n: u32| {
        let byte = |i: Option<usize>| i.and_then(|i| d.get(i)).map_or(0, |b| u32::from(*b));
        let mut w = byte(a) << 16 | byte(b) << 8 | byte(Some(c));
        for _ in 0..n {
            out.extend(LETTERS.get((w & 0x3f) as usize).map(|b| char::from(*b)));
            w >>= 6;
        }
    };
    if long {
        let (mut a, mut b, mut c) = (0, 21, 42);
        for _ in 0..21 {
            put(Some(a), Some(b), c, 4);
            (a, b, c) = (b + 1, c + 1, a + 1);
        }
        put(None, None, 63, 2);
    } else {
        let (mut a, mut b, mut c) = (0, 10, 20);
        for _ in 0..10 {
            put(Some(a), Some(b), c, 4);
            (a, b, c) = (c + 1, a + 1, b + 1);
        }
        put(None, Some(31), 30, 3);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::sha_crypt;

    // Source: crypt(3) of glibc.
    #[test]
    fn known_passwords() {
        let hash = |p, s, r, long| sha_crypt(p, s, Some(r), long).expect("good");
        assert_eq!(
            hash("Hello world!", "saltstring", 5000, true),
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
        );
        assert_eq!(
            hash("Hello world!", "saltstringsaltst", 10000, true),
            "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v."
        );
        assert_eq!(
            hash("Hello world!", "saltstring", 5000, false),
            "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"
        );
    }
}
