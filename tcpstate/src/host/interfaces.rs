//! The network interfaces of our own network namespace.

use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice::name_to_index, socket_with};

use super::{Host, HostError};

impl Host {
    /// The number of an interface.
    ///
    /// # Errors
    ///
    /// When there is none of that name.
    pub(crate) fn interface(&self, name: &str) -> Result<u32, HostError> {
        let socket = socket_with(AddressFamily::INET6, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
            .or_else(|_| socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None));
        let number = socket.and_then(|socket| name_to_index(socket, name));
        number.map_err(|source| HostError::Interface { name: name.to_owned(), source: source.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name() {
        let host = Host::detect();
        assert_eq!(host.interface("lo").expect("each namespace has it"), 1);
        let error = host.interface("no-such-one").expect_err("there is none").to_string();
        assert!(error.contains("`no-such-one`"), "{error}");
    }
}
