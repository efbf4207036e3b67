//! Stacks, and who opened what where.

use std::os::unix::ffi::OsStrExt as _;

use serde::Serialize;
use tcpstate_core::{
    aggregate::leaks::{Opening, Origin, Process, Side, Tallied},
    model::{
        Comm,
        leak::PlaceId,
        stack::{Frame, Stack},
    },
};

use super::super::{
    escape::Escaped,
    json::{ProcessBody, escaped, hexadecimal},
    leaks::LeakReport,
};

#[derive(Serialize)]
pub(super) struct OpenedBody<'a> {
    how: &'static str,
    port: Option<u16>,
    common_port: Option<CommonPortBody>,
    netns: u32,
    by: Option<ProcessBody>,
    thread: Option<String>,
    known: &'static str,
    stack: Option<StackBody<'a>>,
}

/// What sockets share whose role is not known.
#[derive(Serialize)]
struct CommonPortBody {
    side: &'static str,
    port: u16,
}

pub(super) fn opened(report: &LeakReport, origin: Origin, by: Option<Process>, thread: Option<Comm>) -> OpenedBody<'_> {
    let (how, port, common_port) = match origin.side {
        Side::Accepted(port) => ("accept", Some(port), None),
        Side::Connected(port) => ("connect", Some(port), None),
        Side::LocalPort(port) => ("unknown", None, Some(CommonPortBody { side: "local", port })),
        Side::RemotePort(port) => ("unknown", None, Some(CommonPortBody { side: "remote", port })),
    };
    OpenedBody {
        how,
        port,
        common_port,
        netns: origin.netns,
        by: by.map(ProcessBody::from),
        thread: thread.as_ref().map(name),
        known: match origin.opening {
            Opening::Seen(_) => "seen",
            Opening::Inferred(_) => "inferred",
            Opening::NotTaken => "not-taken",
            // The schema has no other word for what was not seen.
            Opening::BeforeTrace | Opening::NotSeen => "before-trace",
            Opening::NotAccepted => "not-accepted",
        },
        stack: stack(report, origin.opening.place()),
    }
}

#[derive(Serialize)]
pub(super) struct CountedStackBody<'a> {
    pub(super) sockets: u64,
    pub(super) stack: Option<StackBody<'a>>,
}

pub(super) fn counted<'a>(report: &'a LeakReport, places: &Tallied<PlaceId>) -> Vec<CountedStackBody<'a>> {
    places.top.iter().map(|&(place, sockets)| CountedStackBody { sockets, stack: stack(report, Some(place)) }).collect()
}

#[derive(Serialize)]
pub(super) struct StackBody<'a> {
    frames: Vec<FrameBody<'a>>,
    kernel: Vec<String>,
    truncated: Option<String>,
    hint: Option<String>,
}

pub(super) fn stack(report: &LeakReport, place: Option<PlaceId>) -> Option<StackBody<'_>> {
    report.stack(place?).map(StackBody::from)
}

impl<'a> From<&'a Stack> for StackBody<'a> {
    fn from(stack: &'a Stack) -> Self {
        let text = |text: &Option<String>| text.as_ref().map(|text| Escaped(text.as_bytes()).to_string());
        Self {
            frames: stack.frames.iter().map(FrameBody::from).collect(),
            kernel: stack.kernel.iter().map(|name| Escaped(name.as_bytes()).to_string()).collect(),
            truncated: text(&stack.truncated),
            hint: text(&stack.hint),
        }
    }
}

#[derive(Serialize)]
struct FrameBody<'a> {
    #[serde(serialize_with = "escaped_option")]
    function: Option<&'a [u8]>,
    #[serde(serialize_with = "escaped_option")]
    file: Option<&'a [u8]>,
    line: Option<u32>,
    #[serde(serialize_with = "escaped_option")]
    module: Option<&'a [u8]>,
    #[serde(serialize_with = "hexadecimal")]
    offset: u64,
    inlined: bool,
    library: bool,
}

impl<'a> From<&'a Frame> for FrameBody<'a> {
    fn from(frame: &'a Frame) -> Self {
        Self {
            function: frame.function.as_deref().map(str::as_bytes),
            file: frame.source.as_ref().map(|source| source.file.as_os_str().as_bytes()),
            line: frame.source.as_ref().and_then(|source| source.line),
            module: frame.module.as_deref().map(|module| module.as_os_str().as_bytes()),
            offset: frame.offset,
            inlined: frame.inlined,
            library: frame.is_library(),
        }
    }
}

pub(super) fn name(comm: &Comm) -> String {
    Escaped(comm.bytes()).to_string()
}

fn escaped_option<S: serde::Serializer>(bytes: &Option<&[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => escaped(bytes, serializer),
        None => serializer.serialize_none(),
    }
}
