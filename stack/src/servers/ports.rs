//! Free TCP ports on the loopback interface.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::Context as _;

/// Maximum number of starts of a server, each on other ports. Another program may take a free port before the server
/// listens on it.
pub const TRIES: usize = 3;

/// Returns `N` different ports that are free now.
pub fn free<const N: usize>() -> anyhow::Result<[u16; N]> {
    // Hold all of them at the same time, so that no two are equal.
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("failed to find a free port")?;
        *port = listener.local_addr().context("failed to read a listener's port")?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Returns the ports that were used last time if all of them are free, else others.
pub fn free_again<const N: usize>(last: Option<[u16; N]>) -> anyhow::Result<[u16; N]> {
    match last {
        Some(ports) if ports.iter().all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()) => {
            Ok(ports)
        }
        _ => free(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_asked_for_together_differ() {
        let ports: [u16; 5] = free().unwrap();
        let different: std::collections::BTreeSet<_> = ports.into_iter().collect();
        assert_eq!(different.len(), 5);
    }

    #[test]
    fn the_last_ports_are_taken_again_unless_one_is_in_use() {
        let last: [u16; 2] = free().unwrap();
        assert_eq!(free_again(Some(last)).unwrap(), last);
        let _held = TcpListener::bind((Ipv4Addr::LOCALHOST, last[1])).unwrap();
        assert!(!free_again(Some(last)).unwrap().contains(&last[1]));
    }
}
