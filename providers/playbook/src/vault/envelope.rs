//! The text form of a vault: a header, then hexadecimal digits in lines of 80.

use hex::FromHex;

pub(super) const HEADER: &str = "$ANSIBLE_VAULT";

/// What stands in a vault.
#[derive(Debug)]
pub(super) struct Sealed {
    /// From a header of the form 1.2.
    pub(super) id: Option<String>,
    pub(super) salt: Vec<u8>,
    /// HMAC-SHA256 of the ciphertext.
    pub(super) mac: Vec<u8>,
    pub(super) text: Vec<u8>,
}

/// Takes a text apart. The error says what is wrong with it.
pub(super) fn open(text: &str) -> Result<Sealed, String> {
    let mut lines = text.lines().map(str::trim);
    let header = lines.next().unwrap_or_default();
    let mut fields = header.split(';').map(str::trim);
    if fields.next() != Some(HEADER) {
        return Err(format!("it does not begin with `{HEADER}`"));
    }
    let (version, cipher) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    if !["1.1", "1.2"].contains(&version) || cipher != "AES256" {
        return Err(format!(
            "version `{version}` with cipher `{cipher}` is not known; there are 1.1 and 1.2 with AES256"
        ));
    }
    let id = fields.next().filter(|id| !id.is_empty()).map(str::to_owned);
    let digits: String = lines.collect();
    let inner = Vec::from_hex(&digits).map_err(|e| format!("its body is not hexadecimal: {e}"))?;
    let parts: Vec<&[u8]> = inner.splitn(3, |b| *b == b'\n').collect();
    let [salt, mac, body] = parts.as_slice() else { return Err("its body is not complete".into()) };
    let bytes = |part: &[u8]| Vec::from_hex(part).map_err(|e| format!("a part of its body is not hexadecimal: {e}"));
    Ok(Sealed { id, salt: bytes(salt)?, mac: bytes(mac)?, text: bytes(body)? })
}

/// Puts a text together.
pub(super) fn seal(sealed: &Sealed, id: Option<&str>) -> String {
    let inner = [hex::encode(&sealed.salt), hex::encode(&sealed.mac), hex::encode(&sealed.text)].join("\n");
    let digits = hex::encode(inner);
    let mut out = match id {
        Some(id) => format!("{HEADER};1.2;AES256;{id}\n"),
        None => format!("{HEADER};1.1;AES256\n"),
    };
    let mut rest = digits.as_str();
    while !rest.is_empty() {
        // Digits are one byte each.
        let (line, tail) = rest.split_at(rest.len().min(80));
        out.push_str(line);
        out.push('\n');
        rest = tail;
    }
    out
}
