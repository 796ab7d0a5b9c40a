//! Listeners: `NAME://host:port`, and the security protocol of each name.

use super::error::ConfigError;
use super::value::list_parts;
use std::collections::BTreeMap;
use std::fmt;

/// How a listener protects what goes over it (`org.apache.kafka.common.security.auth.SecurityProtocol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Not at all.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL without TLS.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    const ALL: [SecurityProtocol; 4] = [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl];

    /// Kafka's number of it, as in broker registrations.
    pub fn id(self) -> i16 {
        match self {
            SecurityProtocol::Plaintext => 0,
            SecurityProtocol::Ssl => 1,
            SecurityProtocol::SaslPlaintext => 2,
            SecurityProtocol::SaslSsl => 3,
        }
    }

    /// Kafka's name of it.
    pub fn name(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "PLAINTEXT",
            SecurityProtocol::Ssl => "SSL",
            SecurityProtocol::SaslPlaintext => "SASL_PLAINTEXT",
            SecurityProtocol::SaslSsl => "SASL_SSL",
        }
    }

    /// From its name, in any case.
    pub fn parse(name: &str) -> Option<SecurityProtocol> {
        Self::ALL.into_iter().find(|p| p.name().eq_ignore_ascii_case(name))
    }
}

/// One address, to listen on or to tell clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name in capitals.
    pub name: String,
    /// Its host name or address, without brackets. None means all interfaces.
    pub host: Option<String>,
    /// Its port; 0 lets the kernel choose.
    pub port: u16,
    /// Its security protocol.
    pub protocol: SecurityProtocol,
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.name, host_port(self.host.as_deref().unwrap_or(""), self.port))
    }
}

/// `host:port` as clients take it: an IPv6 address stands in brackets.
pub fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The names and protocols of `listener.security.protocol.map`.
pub type ProtocolMap = BTreeMap<String, SecurityProtocol>;

/// Reads `NAME:PROTOCOL,...`.
pub fn parse_protocol_map(text: &str) -> Result<ProtocolMap, ConfigError> {
    let key = "listener.security.protocol.map";
    let invalid =
        |why: String| ConfigError::InvalidValue { key: key.to_owned(), value: text.to_owned(), why };
    let mut map = ProtocolMap::new();
    for entry in list_parts(text.trim()) {
        let Some((name, protocol)) = entry.rsplit_once(':') else {
            return Err(invalid(format!("`{entry}` must be in the form NAME:PROTOCOL")));
        };
        let protocol = protocol.trim();
        let Some(protocol) = SecurityProtocol::parse(protocol) else {
            return Err(invalid(format!(
                "`{protocol}` must be one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"
            )));
        };
        map.insert(name.trim().to_uppercase(), protocol);
    }
    Ok(map)
}

/// Reads listeners and gives each its protocol. `key` is for the error.
pub fn parse_listeners(
    key: &'static str,
    entries: &[String],
    protocols: &ProtocolMap,
) -> Result<Vec<Listener>, ConfigError> {
    let invalid =
        |why: String| ConfigError::InvalidValue { key: key.to_owned(), value: entries.join(","), why };
    let mut listeners: Vec<Listener> = Vec::with_capacity(entries.len());
    for entry in entries {
        let Some((name, host, port)) = split(entry) else {
            let port = entry.rsplit_once(':').map_or("", |(_, port)| port.trim());
            let why = if !port.is_empty()
                && port.bytes().all(|b| b.is_ascii_digit())
                && port.parse::<u16>().is_err()
            {
                format!("in `{entry}` the port must be a number from 0 to 65535")
            } else {
                format!("`{entry}` must be in the form NAME://host:port")
            };
            return Err(invalid(why));
        };
        let Some(&protocol) = protocols.get(&name) else {
            return Err(invalid(format!(
                "No security protocol defined for listener {name}: add {name}:PLAINTEXT to \
                 listener.security.protocol.map"
            )));
        };
        if listeners.iter().any(|l| l.name == name) {
            return Err(invalid("Each listener must have a different name".to_owned()));
        }
        listeners.push(Listener { name, host, port, protocol });
    }
    Ok(listeners)
}

/// Refuses two listeners on one port, unless one is on an IPv4 and the other on an IPv6 address.
pub fn check_ports(key: &'static str, listeners: &[Listener]) -> Result<(), ConfigError> {
    for (i, a) in listeners.iter().enumerate() {
        for b in &listeners[i + 1..] {
            let families = |l: &Listener| {
                let address = l.host.as_deref().and_then(|h| h.parse::<std::net::IpAddr>().ok());
                address.map(|a| a.is_ipv4())
            };
            let apart =
                matches!((families(a), families(b)), (Some(true), Some(false)) | (Some(false), Some(true)));
            if a.port != 0 && a.port == b.port && !apart {
                return Err(ConfigError::InvalidValue {
                    key: key.to_owned(),
                    value: listeners.iter().map(Listener::to_string).collect::<Vec<_>>().join(","),
                    why: "Each listener must have a different port, unless one has an IPv4 address and the \
                          other an IPv6 address"
                        .to_owned(),
                });
            }
        }
    }
    Ok(())
}

fn split(entry: &str) -> Option<(String, Option<String>, u16)> {
    let (name, address) = entry.trim().split_once("://")?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-%._:".contains(c);
    if name.is_empty() || !host.chars().all(allowed) || !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let host = if host.is_empty() { None } else { Some(host.to_owned()) };
    Some((name.to_uppercase(), host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Listener>, ConfigError> {
        let map = parse_protocol_map("PLAINTEXT:PLAINTEXT, a:PLAINTEXT,SSL:ssl").unwrap();
        parse_listeners("listeners", &list_parts(text), &map)
    }

    #[test]
    fn forms() {
        let table = [
            ("PLAINTEXT://:9092", "PLAINTEXT", None, 9092, SecurityProtocol::Plaintext),
            ("a://0.0.0.0:1", "A", Some("0.0.0.0"), 1, SecurityProtocol::Plaintext),
            ("ssl://[::1]:65535", "SSL", Some("::1"), 65535, SecurityProtocol::Ssl),
            ("A://my-host.example:0", "A", Some("my-host.example"), 0, SecurityProtocol::Plaintext),
        ];
        for (text, name, host, port, protocol) in table {
            let got = parse(text).unwrap();
            let want = Listener { name: name.into(), host: host.map(str::to_owned), port, protocol };
            assert_eq!(got, [want]);
            assert_eq!(got[0].to_string().to_lowercase(), text.to_lowercase());
        }
    }

    #[test]
    fn refused() {
        let table = [
            ("localhost:9092", "NAME://host:port"),
            ("PLAINTEXT://localhost", "NAME://host:port"),
            ("PLAINTEXT://localhost:99999", "the port must be a number from 0 to 65535"),
            ("PLAINTEXT://lo cal:1", "NAME://host:port"),
            ("B://localhost:9092", "No security protocol defined for listener B"),
            ("a://:1,A://:2", "different name"),
        ];
        for (text, why) in table {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("listeners"), "{error}");
        }
        assert!(parse_protocol_map("A:TLS").is_err());
        assert!(parse_protocol_map("A").is_err());
        let same = parse("a://:1,PLAINTEXT://:1").unwrap();
        assert!(check_ports("listeners", &same).is_err());
        let apart = parse("a://127.0.0.1:1,PLAINTEXT://[::1]:1").unwrap();
        assert!(check_ports("listeners", &apart).is_ok());
    }
}
