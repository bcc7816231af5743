//! Whether a port has no connections any more, as the kernel's table tells.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use towpath_core::{Result, shell_quote};

use super::Remote;
use super::wait::{Want, run};

/// The kernel's number of a state.
pub(super) fn code(state: &str) -> Option<&'static str> {
    Some(match state {
        "ESTABLISHED" => "01",
        "SYN_SENT" => "02",
        "SYN_RECV" => "03",
        "FIN_WAIT1" => "04",
        "FIN_WAIT2" => "05",
        "TIME_WAIT" => "06",
        _ => return None,
    })
}

/// `0100007F`: words in the machine's order, which is that of every machine we meet.
fn address(hex: &str) -> Option<IpAddr> {
    let words: Vec<[u8; 4]> = hex
        .as_bytes()
        .chunks(8)
        .map(|c| Some(u32::from_str_radix(std::str::from_utf8(c).ok()?, 16).ok()?.to_le_bytes()))
        .collect::<Option<_>>()?;
    let bytes = words.concat();
    match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => Some(IpAddr::V4(Ipv4Addr::from(four))),
        Err(_) => {
            let six = Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?);
            Some(six.to_ipv4_mapped().map_or(IpAddr::V6(six), IpAddr::V4))
        }
    }
}

/// Whether no connection of the asked states is left.
pub(super) async fn idle(want: &Want, remote: &mut dyn Remote) -> Result<bool> {
    let names: Vec<&String> =
        want.excluded.iter().chain([&want.host]).filter(|h| h.parse::<IpAddr>().is_err()).collect();
    let mut script = String::new();
    for name in names {
        script.push_str(&format!("echo name {n} $(getent ahosts {n} | cut -d' ' -f1)\n", n = shell_quote(name)));
    }
    script.push_str("cat /proc/net/tcp /proc/net/tcp6 2>/dev/null\nexit 0\n");
    let text = run(remote, script).await?.text();
    let resolve = |host: &String| -> Vec<IpAddr> {
        match host.parse() {
            Ok(ip) => vec![ip],
            Err(_) => {
                let line = text.lines().find_map(|l| l.strip_prefix("name ")?.strip_prefix(host.as_str()));
                line.unwrap_or_default().split(' ').filter_map(|w| w.parse().ok()).collect()
            }
        }
    };
    let excluded: Vec<IpAddr> = want.excluded.iter().flat_map(resolve).collect();
    let own = resolve(&want.host);
    let any = own.iter().any(IpAddr::is_unspecified);
    let active = |line: &str| -> Option<bool> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (local, port) = words.get(1)?.split_once(':')?;
        let (remote, _) = words.get(2)?.split_once(':')?;
        let state = words.get(3)?;
        let local = address(local)?;
        Some(
            u16::from_str_radix(port, 16).ok() == want.port
                && want.states.iter().any(|s| code(s) == Some(*state))
                && (any || own.contains(&local))
                && !excluded.contains(&address(remote)?),
        )
    };
    Ok(!text.lines().any(|l| active(l) == Some(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_kernels_table_are_read() {
        assert_eq!(address("0100007F"), Some(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(address("00000000000000000000000001000000"), Some(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(address("0000000000000000FFFF00000100007F"), Some(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(address("xyz"), None);
    }
}
