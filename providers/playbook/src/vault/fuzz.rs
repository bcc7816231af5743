//! Vaults made wrong give an error and no panic; what was written is read again.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use towpath_core::{ErrorKind, Secret};

use super::{DEFAULT_VAULT_ID, Vault, envelope};
use crate::mutate::{changes, mutated, rounds};

/// What vaults are made of.
const PIECES: &[&str] = &[
    "$ANSIBLE_VAULT",
    ";1.1",
    ";1.2",
    ";1.0",
    ";9",
    ";AES256",
    ";AES",
    ";dev",
    ";other",
    ";",
    "\n",
    "\r\n",
    " ",
    "0",
    "3",
    "a",
    "F",
    "30",
    "0a",
    "3061",
    "33",
    "zz",
    "\u{0}",
    "ü",
];

fn keyring() -> Vault {
    Vault::new().key("dev", Secret::new("pw"))
}

/// Decrypting needs as long as it is meant to, so there is one key only, and one vault.
fn sealed() -> &'static str {
    static SEALED: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    SEALED.get_or_init(|| keyring().encrypt(b"secret: value\n", Some("dev")).unwrap())
}

proptest! {
    #![proptest_config(rounds(64))]

    #[test]
    fn what_is_written_is_read_again(plain in prop::collection::vec(any::<u8>(), 0..300), id in "[a-z]{1,8}", password in ".{1,40}") {
        let vault = Vault::new().key(id.clone(), Secret::new(password));
        let text = vault.encrypt(&plain, Some(&id)).unwrap();
        prop_assert!(text.lines().all(|l| l.len() <= 80) && Vault::is_encrypted(text.as_bytes()));
        prop_assert_eq!(vault.decrypt(text.as_bytes(), "x").unwrap(), plain);
    }

    #[test]
    fn wrong_vaults(changes in changes(PIECES)) {
        let text = mutated(sealed(), &changes);
        match keyring().decrypt(text.as_bytes(), "vars.yml:3") {
            // Blanks, the id and what stands behind it are no part of what is sealed.
            Ok(plain) => prop_assert_eq!(plain, b"secret: value\n"),
            Err(e) => {
                prop_assert!([ErrorKind::InvalidInput, ErrorKind::Denied].contains(&e.kind()), "{}", e.report());
                prop_assert!(e.report().contains("vars.yml:3") && !e.report().contains("secret: "), "{}", e.report());
            }
        }
    }

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(keyring().decrypt(&bytes, "x").is_err());
        prop_assert!(keyring().decrypt(&[b"$ANSIBLE_VAULT;1.1;AES256\n".as_slice(), &bytes].concat(), "x").is_err());
    }
}

#[test]
fn every_truncation_is_an_error() {
    let text = sealed().trim_end();
    for end in 0..text.len() {
        assert!(
            envelope::open(text.get(..end).unwrap()).is_err()
                || keyring().decrypt(text.get(..end).unwrap().as_bytes(), "x").is_err()
        );
    }
}

#[test]
fn another_id_is_tried_with_every_password() {
    let renamed = sealed().replacen(";dev", ";gone", 1);
    assert_eq!(keyring().decrypt(renamed.as_bytes(), "x").unwrap(), b"secret: value\n");
    let other = Vault::new().key("dev", Secret::new("another")).key(DEFAULT_VAULT_ID, Secret::new("third"));
    assert_eq!(other.decrypt(sealed().as_bytes(), "x").unwrap_err().kind(), ErrorKind::Denied);
}

#[test]
fn a_long_vault_is_read_in_time() {
    let plain = vec![b'x'; 4 << 20];
    let text = keyring().encrypt(&plain, Some("dev")).unwrap();
    assert!(keyring().decrypt(text.as_bytes(), "x").unwrap() == plain);
}
