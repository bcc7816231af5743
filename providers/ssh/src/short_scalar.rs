//! ECDSA keys that the key library does not read.
//!
//! ssh-key 0.7.0-rc.11 asks for 32 bytes of a private number at least. OpenSSH leaves leading zeros out, so that of 256 P-256 keys one
//! has 31 bytes or fewer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::private::{EcdsaKeypair, EcdsaPrivateKey, KeypairData};
use russh::keys::ssh_key::sec1::EncodedPoint;
use zeroize::Zeroizing;

/// Reads an OpenSSH private key without a passphrase whose P-256 number is short. `None`: it is something else.
///
/// Source: OpenSSH, `PROTOCOL.key`.
pub(crate) fn read(text: &str) -> Option<PrivateKey> {
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
    let bytes = Zeroizing::new(STANDARD.decode(body).ok()?);
    let mut rest = bytes.strip_prefix(b"openssh-key-v1\0")?;
    let (cipher, _kdf, _options) = (field(&mut rest)?, field(&mut rest)?, field(&mut rest)?);
    let (count, mut rest) = rest.split_at_checked(4)?;
    if cipher != b"none" || count != [0, 0, 0, 1] {
        return None;
    }
    let _public = field(&mut rest)?;
    let mut rest = field(&mut rest)?.get(8..)?;
    let (kind, curve, point, number) = (field(&mut rest)?, field(&mut rest)?, field(&mut rest)?, field(&mut rest)?);
    if kind != b"ecdsa-sha2-nistp256" || curve != b"nistp256" || number.len() >= 32 {
        return None;
    }
    let mut padded = Zeroizing::new([0_u8; 32]);
    padded.get_mut(32 - number.len()..)?.copy_from_slice(number);
    let pair = EcdsaKeypair::NistP256 {
        public: EncodedPoint::from_bytes(point).ok()?,
        private: EcdsaPrivateKey::from(*padded),
    };
    let comment = String::from_utf8_lossy(field(&mut rest)?).into_owned();
    PrivateKey::new(KeypairData::Ecdsa(pair), comment).ok()
}

/// Takes a text with its length before it.
fn field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_at_checked(4)?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    let (field, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(field)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Made by OpenSSH 9.2 for this test, of 274 tries; used nowhere.
    const SHORT: &str = "-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAaAAAABNlY2RzYS
1zaGEyLW5pc3RwMjU2AAAACG5pc3RwMjU2AAAAQQRl4Qb4Ii0buyNKRqhA0txI+HKl/udc
3hcyteSIziTzgvyTHx4qxjPcRZlHKVwXNt6WWEJIhHAx9ggmQFT1s2ocAAAAqCYdpYomHa
WKAAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGXhBvgiLRu7I0pG
qEDS3Ej4cqX+51zeFzK15IjOJPOC/JMfHirGM9xFmUcpXBc23pZYQkiEcDH2CCZAVPWzah
wAAAAfPncwyhg49gL1fyvT7Z9Rolcjyzhf+gTEH1+Zitt+fQAAAAx0b3dwYXRoIHRlc3QB
AgMEBQ==
-----END OPENSSH PRIVATE KEY-----
";
    const PUBLIC: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGXhBvgiLRu7I0pGqEDS3Ej4cqX+51zeFzK15IjOJPOC/JMfHirGM9xFmUcpXBc23pZYQkiEcDH2CCZAVPWzahw= towpath test";

    #[test]
    fn a_short_number_is_read() {
        let key = read(SHORT).unwrap();
        assert_eq!(key.public_key().to_openssh().unwrap(), PUBLIC);
        assert!(russh::keys::decode_secret_key(SHORT, None).is_err(), "the library reads it now: this file can go");
    }

    #[test]
    fn it_signs_what_its_public_half_verifies() {
        use russh::keys::signature::{Signer as _, Verifier as _};
        let key = read(SHORT).unwrap();
        let signature: russh::keys::ssh_key::Signature = key.try_sign(b"text").unwrap();
        key.public_key().key_data().verify(b"text", &signature).unwrap();
    }

    #[test]
    fn anything_else_is_not_its_business() {
        for text in [
            "",
            "-----BEGIN OPENSSH PRIVATE KEY-----\n!\n",
            "b3BlbnNzaC1rZXktdjEA",
            "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAE",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
