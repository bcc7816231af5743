//! Symbolic modes.

/// `u=rwX,g-w` on top of `now`. A clause without a letter for whom leaves the bits of `umask` alone.
pub(super) fn symbolic(text: &str, now: u32, directory: bool, umask: u32) -> Result<u32, String> {
    let bad = || format!("`{text}` is no symbolic mode");
    let mut mode = now;
    for clause in text.split(',') {
        let at = clause.find(['=', '+', '-']).ok_or_else(bad)?;
        let (who, rest) = clause.split_at(at);
        let mask = if who.is_empty() { 0o777 & !umask } else { 0o777 };
        let who = if who.is_empty() || who.contains('a') { "ugo" } else { who };
        let mut rest = rest.chars().peekable();
        while let Some(op) = rest.next() {
            let mut perms = String::new();
            while let Some(c) = rest.next_if(|c| !"=+-".contains(*c)) {
                perms.push(c);
            }
            for w in who.chars() {
                let shift = match w {
                    'u' => 6,
                    'g' => 3,
                    'o' => 0,
                    _ => return Err(bad()),
                };
                let (mut bits, mut special) = (0, 0);
                for c in perms.chars() {
                    match c {
                        'r' => bits |= 4,
                        'w' => bits |= 2,
                        'x' => bits |= 1,
                        'X' if directory || mode & 0o111 != 0 => bits |= 1,
                        'X' => {}
                        's' if w == 'u' => special |= 0o4000,
                        's' if w == 'g' => special |= 0o2000,
                        's' => {}
                        't' => special |= 0o1000,
                        'u' => bits |= mode >> 6 & 7,
                        'g' => bits |= mode >> 3 & 7,
                        'o' => bits |= mode & 7,
                        _ => return Err(bad()),
                    }
                }
                bits &= mask >> shift & 7;
                match op {
                    // Ansible takes the special bit away, too, which `chmod` leaves on folders.
                    '=' => mode = mode & !(7 << shift | 0o1000 << (shift / 3)) | bits << shift | special,
                    '+' => mode |= bits << shift | special,
                    _ => mode &= !(bits << shift | special),
                }
            }
        }
    }
    Ok(mode)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::symbolic;

    #[test]
    fn symbolic_modes() {
        assert_eq!(symbolic("u=rw,g=r,o=", 0o777, false, 0).unwrap(), 0o640);
        assert_eq!(symbolic("a+X", 0o644, true, 0).unwrap(), 0o755);
        assert_eq!(symbolic("g+s,o-rwx", 0o755, true, 0).unwrap(), 0o2750);
        assert!(symbolic("z=r", 0, false, 0).is_err());
    }
}
