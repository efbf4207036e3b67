//! Settings of `tcpstate doctor`.

use super::{color::wants_color, error::SettingsError};

use crate::{
    cli::{DoctorArgs, OutputFormat},
    host::{Host, namespaces::OnlyNetns},
};

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoctorSettings {
    /// Where to look; `None` for the sockets of all network namespaces and the settings of one's own.
    pub netns: Option<OnlyNetns>,
    /// Format of standard output.
    pub output: OutputFormat,
    /// Whether text output is coloured.
    pub color: bool,
}

impl DoctorSettings {
    /// Checks the arguments against this host.
    ///
    /// # Errors
    ///
    /// When there is no such network namespace.
    pub fn new(args: &DoctorArgs, host: &Host) -> Result<Self, SettingsError> {
        let netns = args.netns.as_deref().map(|given| OnlyNetns::new(given, host)).transpose()?;
        Ok(Self { netns, output: args.output, color: wants_color(args.color, host) })
    }
}
