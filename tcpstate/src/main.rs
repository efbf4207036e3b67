//! `tcpstate`.

fn main() {}
