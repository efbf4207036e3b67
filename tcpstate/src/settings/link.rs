//! Blocks of link-local addresses, with the number of their interface.

use ipnet::IpNet;
use tcpstate_core::model::scope;

use crate::{
    cli::AddressBlock,
    host::{Host, HostError},
};

/// Why a link was refused.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// There is none of that name here.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The name of an interface that is not of this host's network namespace.
    #[error("interface `{0}` is one of another network namespace: give its number there, as `ip link` shows it")]
    Elsewhere(String),
}

/// The block as addresses are kept, which have the number within. Names of interfaces are those of this host's network namespace;
/// without it only numbers are understood.
///
/// # Errors
///
/// When there is no such interface.
pub(super) fn numbered(block: Option<&AddressBlock>, here: Option<&Host>) -> Result<Option<IpNet>, LinkError> {
    let Some(AddressBlock { net, link }) = block else { return Ok(None) };
    let Some(link) = link else { return Ok(Some(*net)) };
    let number = match (link.parse().ok().filter(|&number| number != 0), here) {
        (Some(number), _) => number,
        (None, Some(host)) => host.interface(link)?,
        (None, None) => return Err(LinkError::Elsewhere(link.clone())),
    };
    let addr = scope::on_link(net.addr(), number);
    // It was a block before.
    Ok(Some(IpNet::new(addr, net.prefix_len()).unwrap_or(*net)))
}
