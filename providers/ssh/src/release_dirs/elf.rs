//! What an executable needs of a host.

/// The facts of an ELF file that decide whether a host can run it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Needs {
    /// As `uname -m` says it; empty: unknown.
    pub(crate) machine: &'static str,
    /// The dynamic loader; `None`: statically linked.
    pub(crate) loader: Option<String>,
    /// The newest glibc symbol version it uses.
    pub(crate) glibc: Option<(u32, u32)>,
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let part = bytes.get(at..at.checked_add(length)?)?;
    usize::try_from(part.iter().rev().fold(0u64, |n, b| (n << 8) | u64::from(*b))).ok()
}

/// Reads an ELF file; `None` for anything else. Big-endian and 32-bit ones are told by their machine only.
/// Source: "Executable and Linking Format", gABI 4.1.
pub(crate) fn read(bytes: &[u8]) -> Option<Needs> {
    if !bytes.starts_with(b"\x7fELF") {
        return None;
    }
    let (wide, little) = (bytes.get(4) == Some(&2), bytes.get(5) == Some(&1));
    if !wide || !little {
        return Some(Needs::default());
    }
    let machine = match number(bytes, 18, 2)? {
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv64",
        _ => "",
    };
    let mut needs = Needs { machine, ..Needs::default() };
    let (start, size, count) = (number(bytes, 32, 8)?, number(bytes, 54, 2)?, number(bytes, 56, 2)?);
    for i in 0..count {
        let at = start.checked_add(i.checked_mul(size)?)?;
        // PT_INTERP
        if number(bytes, at, 4)? == 3 {
            let (offset, length) = (number(bytes, at + 8, 8)?, number(bytes, at + 32, 8)?);
            let name = bytes.get(offset..offset.checked_add(length)?)?;
            needs.loader = Some(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned());
        }
    }
    if needs.loader.is_some() {
        needs.glibc = glibc(bytes);
    }
    Some(needs)
}

/// The newest version among the strings of the dynamic symbol table's versions.
fn glibc(bytes: &[u8]) -> Option<(u32, u32)> {
    let mark = b"\0GLIBC_2.";
    let mut newest = None;
    let mut rest = bytes;
    while let Some(at) = rest.windows(mark.len()).position(|w| w == mark) {
        rest = rest.get(at + mark.len()..)?;
        let end = rest.iter().take(8).position(|b| *b == 0).unwrap_or(0);
        let text = String::from_utf8_lossy(rest.get(..end)?);
        // `2.3.4` counts as 2.3: hosts say only two numbers.
        if let Ok(minor) = text.split('.').next().unwrap_or_default().parse() {
            newest = newest.max(Some((2, minor)));
        }
    }
    newest
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    #[test]
    fn this_test_is_an_executable_of_this_machine() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let needs = super::read(&bytes).unwrap();
        assert_eq!(needs.machine, std::env::consts::ARCH);
        assert!(super::read(b"#!/bin/sh\n").is_none());
    }
}
