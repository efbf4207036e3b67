//! Sockets of a group, one by one.

use std::io;

use tcpstate_core::{
    aggregate::leaks::{Example, Group, Side},
    model::Protocol,
};

use crate::report::{
    page::{Page, Paragraph},
    style::{DIM, PLAIN, WARNING},
    words::{AgeText, Count, EndpointText},
};

/// Descriptors of one socket that are listed; the rest is counted.
const HOLDERS: usize = 4;

/// Writes the oldest ones, or all of them.
pub(super) fn write<W: io::Write>(page: &mut Page<'_, W>, group: &Group) -> io::Result<()> {
    for (index, example) in group.examples.iter().enumerate() {
        let label = match (index, group.sockets > group.examples.len() as u64) {
            (0, true) => "oldest",
            (0, false) => "sockets",
            _ => "",
        };
        page.labelled(label, &socket(group, example))?;
    }
    Ok(())
}

fn socket(group: &Group, example: &Example) -> Paragraph {
    let arrow = match group.origin.side {
        Side::Accepted(_) => '←',
        Side::Connected(_) => '→',
        Side::LocalPort(_) | Side::RemotePort(_) => '↔',
    };
    let (local, remote) = (EndpointText(example.local), EndpointText(example.remote));
    let mut line = Paragraph::new().word(PLAIN, local).word(PLAIN, arrow).word(PLAIN, remote);
    line = line.item(PLAIN, AgeText(example.age));
    if let Some((recv_q, send_q)) = example.recv_q.zip(example.send_q) {
        line = line.item(DIM, format_args!("Recv-Q {recv_q} Send-Q {send_q}"));
    }
    if example.protocol == Protocol::Mptcp {
        line = line.item(WARNING, "mptcp");
    }
    for holder in example.holders.iter().take(HOLDERS) {
        let own = group.process.is_some_and(|process| process.pid == holder.pid);
        line = match own {
            true => line.item(PLAIN, format_args!("fd {}", holder.fd)),
            false => line.item(PLAIN, format_args!("fd {} of pid {}", holder.fd, holder.pid)),
        };
    }
    match example.holders.len().saturating_sub(HOLDERS) as u64 + example.other_holders {
        0 => line,
        more => line.item(DIM, format_args!("and {}", Count(more, "more descriptor"))),
    }
}
