//! Stacks, and who opened what where.

use std::os::unix::ffi::OsStrExt as _;

use serde::Serialize;
use tcpstate_core::{
    aggregate::leaks::{Opening, Origin, Process, Side, Tallied, Threads},
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
    threads: usize,
    threads_more: bool,
    thread_names: Vec<ThreadNameBody>,
    known: &'static str,
    inferred: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<LeftOutBody>,
    stack: Option<StackBody<'a>>,
}

/// Perhaps they were opened by a process that the filters leave out.
#[derive(Serialize)]
struct LeftOutBody {
    listener: Option<ProcessBody>,
}

#[derive(Serialize)]
struct ThreadNameBody {
    comm: String,
    sockets: u64,
}

/// What sockets share whose role is not known.
#[derive(Serialize)]
struct CommonPortBody {
    side: &'static str,
    port: u16,
}

pub(super) fn opened<'a>(
    report: &'a LeakReport,
    origin: Origin,
    by: Option<Process>,
    (thread, threads): (Option<Comm>, &Threads),
    inferred: u64,
) -> OpenedBody<'a> {
    let (how, port, common_port) = match origin.side {
        Side::Accepted(port) => ("accept", Some(port), None),
        Side::Connected(port) => ("connect", Some(port), None),
        Side::LocalPort(port) => ("unknown", None, Some(CommonPortBody { side: "local", port })),
        Side::RemotePort(port) => ("unknown", None, Some(CommonPortBody { side: "remote", port })),
    };
    let is_left_out = origin.opening == Opening::LeftOut;
    // Whom the story names holds them.
    let (by, thread) = if is_left_out { (None, None) } else { (by, thread) };
    OpenedBody {
        how,
        port,
        common_port,
        netns: origin.netns,
        by: by.map(ProcessBody::from),
        thread: thread.as_ref().map(name),
        threads: threads.number,
        threads_more: threads.more,
        thread_names: threads
            .names
            .top
            .iter()
            .map(|(comm, sockets)| ThreadNameBody { comm: name(comm), sockets: *sockets })
            .collect(),
        known: match origin.opening {
            Opening::Seen(_) => "seen",
            Opening::Inferred(_) => "inferred",
            Opening::NotTaken => "not-taken",
            // The schema has no other word for what was not seen.
            Opening::BeforeTrace | Opening::LeftOut | Opening::NotSeen | Opening::NotKnown => "before-trace",
            Opening::NotAccepted => "not-accepted",
        },
        inferred,
        left_out: is_left_out.then(|| LeftOutBody { listener: report.listens(&origin).map(ProcessBody::from) }),
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
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'static str>,
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
            language: frame.language(),
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
