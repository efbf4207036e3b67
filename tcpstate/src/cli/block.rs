//! Blocks of addresses as they are given.

use std::fmt;

use ipnet::IpNet;

/// A block, and the link that a link-local one is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressBlock {
    /// The block, without the link.
    pub net: IpNet,
    /// Name or number of the interface.
    pub link: Option<String>,
}

impl From<IpNet> for AddressBlock {
    fn from(net: IpNet) -> Self {
        Self { net, link: None }
    }
}

impl fmt::Display for AddressBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.link {
            None => self.net.fmt(f),
            Some(link) => write!(f, "{}%{link}/{}", self.net.addr(), self.net.prefix_len()),
        }
    }
}
