//! What a file or a perf map says of an address.

pub(crate) use tcpstate_wire::{Function, FunctionSource as Source};
