//! The remote ends that a rule of the allow list is for.

use std::{net::IpAddr, str::FromStr};

use ipnet::IpNet;
use tcpstate_core::model::{Endpoint, scope};

/// `10.0.0.0/8`, `192.0.2.7:5432`, `[2001:db8::/32]:443`, `:5432`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remote {
    network: Option<IpNet>,
    port: Option<u16>,
}

impl Remote {
    pub(super) fn matches(&self, remote: Endpoint) -> bool {
        let addr = scope::split(remote.addr.to_canonical()).0;
        self.network.is_none_or(|network| network.contains(&addr)) && self.port.is_none_or(|port| port == remote.port)
    }
}

impl FromStr for Remote {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no remote end: give an address or a block, a port, or both, as in `10.0.0.0/8`, \
                 `192.0.2.7:5432`, `[2001:db8::/32]:443` or `:5432`"
            )
        };
        let network = |text: &str| {
            let alone = || text.parse::<IpAddr>().ok().map(IpNet::from);
            text.parse::<IpNet>().ok().or_else(alone)
        };
        if let Some(network) = network(text) {
            return Ok(Self { network: Some(network), port: None });
        }
        let (block, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|&port| port != 0).ok_or_else(wrong)?;
        if block.is_empty() {
            return Ok(Self { network: None, port: Some(port) });
        }
        let bare = block.strip_prefix('[').and_then(|block| block.strip_suffix(']'));
        let network = network(bare.unwrap_or(block)).ok_or_else(wrong)?;
        // Without brackets an IPv6 address swallows its port.
        let unclear = bare.is_none() && matches!(network, IpNet::V6(_));
        if unclear { Err(wrong()) } else { Ok(Self { network: Some(network), port: Some(port) }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_ends() {
        for text in
            ["10.0.0.0/8", "10.0.0.1", "::1", "10.0.0.1:80", "10.0.0.0/8:80", "[::1]:80", "[fe80::/10]:80", ":80"]
        {
            assert!(text.parse::<Remote>().is_ok(), "{text}");
        }
        for text in ["", ":", ":0", ":http", "host:80", "10.0.0.1:", "10.0.0.0/33", "fe80::/10:80"] {
            assert!(text.parse::<Remote>().is_err(), "{text}");
        }
    }
}
