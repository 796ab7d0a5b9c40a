//! What clients are told to connect to where nothing is configured.

use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::OnceLock;

use crate::base::limits::HOST_NAME_BYTES_MAX;

/// The canonical name of this machine, as Apache Kafka finds it: the name of the address that its host name stands for, or
/// that address if it has none. It may ask a name server; looked up once.
pub fn canonical_host_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = if kernel.trim().is_empty() { "localhost" } else { kernel.trim() };
        canonical(name, &addresses, &name_of)
    })
}

/// The rule; a host name that stands for no address is used as it is.
fn canonical(
    name: &str,
    addresses: &dyn Fn(&str) -> Vec<IpAddr>,
    name_of: &dyn Fn(IpAddr) -> Option<String>,
) -> String {
    let all = addresses(name);
    let Some(address) = all.iter().find(|address| address.is_ipv4()).or(all.first()) else {
        return name.to_owned();
    };
    // A name that does not lead back to the address is not believed.
    let found = name_of(*address).filter(|found| addresses(found).contains(address));
    found.unwrap_or_else(|| address.to_string())
}

fn addresses(name: &str) -> Vec<IpAddr> {
    (name, 0).to_socket_addrs().map(|all| all.map(|address| address.ip()).collect()).unwrap_or_default()
}

fn name_of(address: IpAddr) -> Option<String> {
    match address {
        IpAddr::V4(v4) => {
            let of = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: 0,
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.octets()) },
                sin_zero: [0; 8],
            };
            ask((&raw const of).cast(), size_of_val(&of))
        }
        IpAddr::V6(v6) => {
            let of = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: 0,
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: v6.octets() },
                sin6_scope_id: 0,
            };
            ask((&raw const of).cast(), size_of_val(&of))
        }
    }
}

fn ask(address: *const libc::sockaddr, len: usize) -> Option<String> {
    let mut name = [0u8; HOST_NAME_BYTES_MAX];
    // SAFETY: the callers' addresses are as long as they say and outlive the call; the name is written within its buffer.
    let failed = unsafe {
        libc::getnameinfo(
            address,
            len as libc::socklen_t,
            name.as_mut_ptr().cast(),
            name.len() as libc::socklen_t,
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    let end = name.iter().position(|byte| *byte == 0)?;
    (failed == 0).then(|| String::from_utf8_lossy(&name[..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_address_counts_if_it_leads_back() {
        let (ours, other) = (IpAddr::from([10, 0, 0, 5]), IpAddr::from([10, 0, 0, 6]));
        let v6 = IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]);
        let addresses = |name: &str| match name {
            "box" | "box.example.com" => vec![v6, ours],
            "lying" => vec![other],
            _ => Vec::new(),
        };
        let ask = |name, found: Option<&str>| canonical(name, &addresses, &|_| found.map(str::to_owned));
        assert_eq!(ask("box", Some("box.example.com")), "box.example.com");
        assert_eq!(ask("box", None), "10.0.0.5");
        assert_eq!(ask("box", Some("lying")), "10.0.0.5");
        assert_eq!(ask("unknown", Some("box")), "unknown");
    }

    #[test]
    fn this_machine_has_one() {
        assert!(!canonical_host_name().is_empty());
        assert_eq!(name_of(IpAddr::from([127, 0, 0, 1])).as_deref().unwrap_or("localhost"), "localhost");
    }
}
