//! What `ss` says: the kernel's own account of its sockets, also of those without a descriptor.

use std::{net::SocketAddr, process::Command};

use anyhow::{Context, Result, ensure};

/// A socket as `ss` lists it.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// In the kernel's spelling, such as `CLOSE_WAIT`.
    pub(crate) state: &'static str,
    /// Of a listener: connections that wait to be accepted.
    pub(crate) recv_queue: usize,
    pub(crate) local: SocketAddr,
    pub(crate) remote: Option<SocketAddr>,
    /// `sk:`, the socket's cookie.
    pub(crate) cookie: u64,
}

/// TCP sockets of the test's own network namespace with this local port; no `TIME_WAIT`, which is no socket any more.
pub(crate) fn with_local_port(port: u16) -> Result<Vec<Listed>> {
    let filter = format!("sport = :{port}");
    let output = Command::new("ss").args(["-tanHOe", "exclude", "time-wait", &filter]).output().context("`ss`")?;
    ensure!(output.status.success(), "`ss`: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)?.lines().map(|line| parse(line).with_context(|| format!("ss: `{line}`"))).collect()
}

fn parse(line: &str) -> Result<Listed> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let cookie = fields.iter().find_map(|field| field.strip_prefix("sk:")).context("no `sk:`")?;
    Ok(Listed {
        state: match *fields.first().context("no state")? {
            "ESTAB" => "ESTABLISHED",
            "SYN-SENT" => "SYN_SENT",
            "FIN-WAIT-1" => "FIN_WAIT1",
            "FIN-WAIT-2" => "FIN_WAIT2",
            "CLOSE-WAIT" => "CLOSE_WAIT",
            "LAST-ACK" => "LAST_ACK",
            "LISTEN" => "LISTEN",
            "CLOSING" => "CLOSING",
            other => anyhow::bail!("state `{other}`"),
        },
        recv_queue: fields.get(1).context("no Recv-Q")?.parse()?,
        local: fields.get(3).context("no local address")?.parse()?,
        remote: fields.get(4).context("no remote address")?.parse().ok(),
        cookie: u64::from_str_radix(cookie, 16)?,
    })
}
