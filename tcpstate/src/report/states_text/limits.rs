//! What has a limit: backlogs, descriptors, ports.

use tcpstate_core::aggregate::states::{DestinationRow, ListenerRow, ProcessRow, SocketCounts, is_near};

use super::table::Table;
use crate::report::{
    columns::Align,
    escape::Escaped,
    style::{BAD, PLAIN, WARNING},
    words::{Count, EndpointText, ProcessText},
};

/// Beside what is near its limit, so that it is marked without colours, too.
const ABOVE: &str = "above 80 %";

/// Listening sockets and how full their backlogs are.
pub(super) fn listeners(counts: &SocketCounts) -> Table {
    let mut table = Table::new(vec![
        ("LISTENING AT", Align::Left),
        (netns_title(counts), Align::Left),
        ("BACKLOG", Align::Right),
        ("LIMIT", Align::Right),
        ("PROCESS", Align::Left),
    ]);
    for row in &counts.listeners {
        let ListenerRow { netns, local, process, holders, used, limit } = *row;
        let style = if used > limit {
            BAD
        } else if is_near(used, limit) {
            WARNING
        } else {
            PLAIN
        };
        let process = match process {
            Some(process) if holders > 1 => {
                format!("{} and {}", ProcessText(process), Count(holders - 1, "more process"))
            }
            Some(process) => ProcessText(process).to_string(),
            None => "-".to_owned(),
        };
        let mark = if used > limit {
            "  full"
        } else if is_near(used, limit) {
            "  above 80 %"
        } else {
            ""
        };
        table.row(vec![
            (PLAIN, EndpointText(local).to_string()),
            (PLAIN, netns_name(counts, netns)),
            (style, used.to_string()),
            (style, limit.to_string()),
            (style, format!("{process}{mark}")),
        ]);
    }
    table
}

/// Processes and how many of their descriptors are used.
pub(super) fn descriptors(counts: &SocketCounts) -> Table {
    let mut table = Table::new(vec![
        ("PROCESS", Align::Left),
        ("DESCRIPTORS", Align::Right),
        ("LIMIT", Align::Right),
        ("USED", Align::Right),
        ("TCP", Align::Right),
        ("", Align::Left),
    ]);
    for row in &counts.processes {
        let ProcessRow { process, descriptors, limit, sockets } = *row;
        let style = if row.is_near() { BAD } else { PLAIN };
        table.row(vec![
            (style, ProcessText(process).to_string()),
            (style, descriptors.to_string()),
            (style, limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string())),
            (style, limit.map_or_else(|| "-".to_owned(), |limit| percent(descriptors, limit))),
            (PLAIN, sockets.to_string()),
            (style, if row.is_near() { ABOVE.to_owned() } else { String::new() }),
        ]);
    }
    table
}

/// Remote ends and how many ports to reach them are used.
pub(super) fn ports(counts: &SocketCounts) -> Table {
    let mut table = Table::new(vec![
        ("FROM", Align::Left),
        ("TO", Align::Left),
        (netns_title(counts), Align::Left),
        ("PORTS", Align::Right),
        ("TIME_WAIT", Align::Right),
        ("RANGE", Align::Right),
        ("USED", Align::Right),
        ("", Align::Left),
    ]);
    for row in &counts.destinations {
        let DestinationRow { netns, local, remote, used, time_wait, limit } = *row;
        let near = is_near(used, limit);
        let style = if near { BAD } else { PLAIN };
        table.row(vec![
            (PLAIN, local.to_string()),
            (PLAIN, EndpointText(remote).to_string()),
            (PLAIN, netns_name(counts, netns)),
            (style, used.to_string()),
            (PLAIN, time_wait.to_string()),
            (style, limit.to_string()),
            (style, percent(used, limit)),
            (style, if near { ABOVE.to_owned() } else { String::new() }),
        ]);
    }
    table
}

/// A column of namespaces is needed only where there are several.
fn netns_title(counts: &SocketCounts) -> &'static str {
    if counts.namespaces.len() > 1 { "NETNS" } else { "" }
}

fn netns_name(counts: &SocketCounts, inode: u32) -> String {
    if counts.namespaces.len() < 2 {
        return String::new();
    }
    let row = counts.namespaces.iter().find(|row| row.inode == inode);
    let name = row.and_then(|row| row.names.first());
    name.map_or_else(|| inode.to_string(), |name| Escaped(name).to_string())
}

fn percent(used: u64, limit: u64) -> String {
    match u128::from(used) * 100 / u128::from(limit.max(1)) {
        0 if used > 0 => "< 1 %".to_owned(),
        percent => format!("{percent} %"),
    }
}
