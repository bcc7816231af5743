//! AES-256 in counter mode with an HMAC over the ciphertext, keys from PBKDF2.

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit as _, StreamCipher as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2_of_ssh::Sha256;
use towpath_core::Secret;
use zeroize::Zeroizing;

use super::envelope::Sealed;

/// Fixed by the format.
const ROUNDS: u32 = 10_000;
const BLOCK: usize = 16;

struct Keys(Zeroizing<[u8; 80]>);

impl Keys {
    fn of(password: &Secret, salt: &[u8]) -> Self {
        let mut all = Zeroizing::new([0; 80]);
        pbkdf2::pbkdf2_hmac::<Sha256>(password.expose().as_bytes(), salt, ROUNDS, &mut all[..]);
        Self(all)
    }

    fn part(&self, from: usize, to: usize) -> &[u8] {
        self.0.get(from..to).unwrap_or_default()
    }

    fn mac(&self, text: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.part(32, 64)).expect("HMAC takes a key of any length");
        mac.update(text);
        mac
    }

    /// Encrypts and decrypts: counter mode is the same both ways.
    fn apply(&self, text: &mut [u8]) {
        let mut stream = Ctr128BE::<Aes256>::new_from_slices(self.part(0, 32), self.part(64, 80))
            .expect("32 bytes of key and 16 of counter are what AES-256 takes");
        stream.apply_keystream(text);
    }
}

/// `None`: it is another password, or the text was changed.
pub(super) fn decrypt(password: &Secret, sealed: &Sealed) -> Option<Vec<u8>> {
    let keys = Keys::of(password, &sealed.salt);
    // Compared in constant time.
    keys.mac(&sealed.text).verify_slice(&sealed.mac).ok()?;
    let mut plain = sealed.text.clone();
    keys.apply(&mut plain);
    let pad = usize::from(*plain.last()?);
    let end = plain.len().checked_sub(pad).filter(|_| (1..=BLOCK).contains(&pad))?;
    plain.truncate(end);
    Some(plain)
}

pub(super) fn encrypt(password: &Secret, plain: &[u8]) -> Sealed {
    let salt: [u8; 32] = rand::random();
    let keys = Keys::of(password, &salt);
    let mut text = plain.to_vec();
    let pad = BLOCK - plain.len() % BLOCK;
    text.extend(std::iter::repeat_n(u8::try_from(pad).unwrap_or_default(), pad));
    keys.apply(&mut text);
    let mac = keys.mac(&text).finalize().into_bytes().to_vec();
    Sealed { id: None, salt: salt.to_vec(), mac, text }
}
