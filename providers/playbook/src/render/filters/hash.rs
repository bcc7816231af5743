//! Filters of hashes.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};

use super::{Filter, input};
use crate::render::error::Error;
use crate::render::value::Value;

pub(super) fn get(name: &str) -> Option<Filter> {
    Some(match name {
        "hash" => |_, v, mut a| {
            let kind = a.text("hashtype")?.unwrap_or_else(|| "sha1".into());
            let found = digest(&kind, input(&v)?.as_bytes());
            found.map(Value::from).ok_or_else(|| Error::other(format!("unsupported hash type {kind}")))
        },
        "checksum" | "sha1" => |_, v, _| Ok(digest("sha1", input(&v)?.as_bytes()).map_or(Value::None, Value::from)),
        "md5" => |_, v, _| Ok(digest("md5", input(&v)?.as_bytes()).map_or(Value::None, Value::from)),
        "to_uuid" => |_, v, mut a| {
            let space = a.text("namespace")?.unwrap_or_else(|| "361E6D51-FAEC-444A-9079-341386DA8E2E".into());
            let hex = space.replace("urn:", "").replace("uuid:", "").replace(['-', '{', '}'], "");
            let bytes = hex::decode(&hex).ok().filter(|b| b.len() == 16).ok_or_else(|| {
                Error::other(format!("Invalid value '{space}' for 'namespace': badly formed hexadecimal UUID string"))
            })?;
            let digest = Sha1::new().chain_update(bytes).chain_update(input(&v)?.as_bytes()).finalize();
            let mut id: Vec<u8> = digest.iter().take(16).copied().collect();
            if let Some(b) = id.get_mut(6) {
                *b = *b & 0x0f | 0x50;
            }
            if let Some(b) = id.get_mut(8) {
                *b = *b & 0x3f | 0x80;
            }
            let hex = hex::encode(id);
            let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().to_owned();
            Ok(Value::from([part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")))
        },
        _ => return None,
    })
}

/// A hash in hexadecimal digits; `None` if there is no such one.
fn digest(kind: &str, bytes: &[u8]) -> Option<String> {
    Some(match kind {
        "md5" => hex::encode(Md5::digest(bytes)),
        "sha1" => hex::encode(Sha1::digest(bytes)),
        "sha224" => hex::encode(Sha224::digest(bytes)),
        "sha256" => hex::encode(Sha256::digest(bytes)),
        "sha384" => hex::encode(Sha384::digest(bytes)),
        "sha512" => hex::encode(Sha512::digest(bytes)),
        "sha3_224" => hex::encode(sha3::Sha3_224::digest(bytes)),
        "sha3_256" => hex::encode(sha3::Sha3_256::digest(bytes)),
        "sha3_384" => hex::encode(sha3::Sha3_384::digest(bytes)),
        "sha3_512" => hex::encode(sha3::Sha3_512::digest(bytes)),
        "blake2b" => hex::encode(blake2::Blake2b512::digest(bytes)),
        "blake2s" => hex::encode(blake2::Blake2s256::digest(bytes)),
        _ => return None,
    })
}
