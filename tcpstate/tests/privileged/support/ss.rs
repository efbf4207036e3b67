//! What `ss` says: the kernel's own account of its sockets, also of those without a descriptor.

use std::{net::SocketAddr, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

/// A socket as `ss` lists it.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// In the kernel's spelling, such as `CLOSE_WAIT`.
    pub(crate) state: &'static str,
    /// Bytes not read, an unread FIN counted as one; of a listener: connections that wait to be accepted.
    pub(crate) recv_queue: usize,
    /// Bytes not acknowledged.
    pub(crate) send_queue: usize,
    pub(crate) local: SocketAddr,
    pub(crate) remote: Option<SocketAddr>,
    /// `sk:`, the socket's cookie.
    pub(crate) cookie: u64,
    /// 0 when no descriptor has ever referred to it.
    pub(crate) inode: u64,
    pub(crate) holders: Vec<Holder>,
}

/// A descriptor that refers to a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) comm: String,
    pub(crate) pid: u32,
    pub(crate) fd: u32,
}

/// TCP sockets of the test's own network namespace with this local port; no `TIME_WAIT`, which is no socket any more.
pub(crate) fn with_local_port(port: u16) -> Result<Vec<Listed>> {
    run(Command::new("ss"), &format!("sport = :{port}"))
}

/// TCP sockets of the network namespace at `netns` that satisfy an `ss` filter; no `TIME_WAIT`.
pub(crate) fn inside(netns: &Path, filter: &str) -> Result<Vec<Listed>> {
    let mut nsenter = Command::new("nsenter");
    nsenter.arg(format!("--net={}", netns.display())).arg("ss");
    run(nsenter, filter)
}

fn run(mut ss: Command, filter: &str) -> Result<Vec<Listed>> {
    let output = ss.args(["-tanHOep", "exclude", "time-wait", filter]).output().context("`ss`")?;
    ensure!(output.status.success(), "`ss`: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)?.lines().map(|line| parse(line).with_context(|| format!("ss: `{line}`"))).collect()
}

fn parse(line: &str) -> Result<Listed> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let detail = |key| fields.iter().find_map(|field| field.strip_prefix(key));
    let cookie = detail("sk:").context("no `sk:`")?;
    Ok(Listed {
        state: match *fields.first().context("no state")? {
            "ESTAB" => "ESTABLISHED",
            "SYN-SENT" => "SYN_SENT",
            "SYN-RECV" => "SYN_RECV",
            "FIN-WAIT-1" => "FIN_WAIT1",
            "FIN-WAIT-2" => "FIN_WAIT2",
            "CLOSE-WAIT" => "CLOSE_WAIT",
            "LAST-ACK" => "LAST_ACK",
            "LISTEN" => "LISTEN",
            "CLOSING" => "CLOSING",
            other => anyhow::bail!("state `{other}`"),
        },
        recv_queue: fields.get(1).context("no Recv-Q")?.parse()?,
        send_queue: fields.get(2).context("no Send-Q")?.parse()?,
        local: fields.get(3).context("no local address")?.parse()?,
        remote: fields.get(4).context("no remote address")?.parse().ok(),
        cookie: u64::from_str_radix(cookie, 16)?,
        inode: detail("ino:").context("no `ino:`")?.parse()?,
        holders: line.split_once("users:((").map_or(Ok(Vec::new()), |(_, users)| parse_holders(users))?,
    })
}

/// `"name",pid=1,fd=2),("name",pid=3,fd=4))`
fn parse_holders(users: &str) -> Result<Vec<Holder>> {
    let end = users.find("))").context("an open end of `users:`")?;
    let parse = |user: &str| {
        let (comm, numbers) = user.rsplit_once("\",pid=")?;
        let (pid, fd) = numbers.split_once(",fd=")?;
        let comm = comm.strip_prefix('"')?.to_owned();
        Some(Holder { comm, pid: pid.parse().ok()?, fd: fd.parse().ok()? })
    };
    users[..end].split("),(").map(|user| parse(user).with_context(|| format!("holder `{user}`"))).collect()
}
