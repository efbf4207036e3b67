//! Recordings: from bytes to what is shown of them, but for the text.

use std::time::Duration;

use tcpstate_core::{
    aggregate::{
        dwell::DwellTable,
        leaks::{Leaks, Observed},
        stack_book::StackBook,
        states::{By, SocketCounts, SocketFilter, count},
    },
    model::{MonotonicNs, leak::FoundSocket, leak::Snapshot},
};
use tcpstate_recording::{CensusGaps, CensusPart, Content, FrameKind, Reader, v1};

/// Bytes of the header of a file, and of that of a frame.
const HEADER: usize = 16;
const FRAME_HEADER: usize = 16;
/// What begins a sequence of payloads that are not compressed and have no checksums, each after its kind and its length, two bytes.
const SEQUENCE: u8 = 0xff;

/// Reads any bytes: as a file; as a payload after its kind, which a fuzzer would never find compressed and with its checksum; as a
/// sequence of payloads. What is read is counted and put together as reports are.
///
/// # Panics
///
/// When something cannot be written again as it was read.
pub fn recording(bytes: &[u8]) {
    if let Ok(mut reader) = Reader::new(bytes) {
        let mut viewer = Viewer::new();
        while let Ok(Some(content)) = reader.frame() {
            viewer.take(content);
        }
    }
    let Some((kind, rest)) = bytes.split_first() else { return };
    if *kind == SEQUENCE {
        sequence(rest);
    }
    payload(u16::from(*kind), rest);
    // A whole frame whose checksum need not match.
    if let Some((header, rest)) = bytes.get(HEADER..).and_then(|frame| frame.split_first_chunk::<FRAME_HEADER>()) {
        payload(u16::from_le_bytes([header[8], header[9]]), rest);
    }
}

fn sequence(mut bytes: &[u8]) {
    let mut viewer = Viewer::new();
    while let Some((&[kind, low, high], rest)) = bytes.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([low, high])).min(rest.len());
        let (payload, rest) = rest.split_at(length);
        bytes = rest;
        if let Some(kind) = FrameKind::from_number(u16::from(kind))
            && let Ok(content) = v1::decode(kind, payload)
        {
            viewer.take(content);
        }
    }
}

fn payload(kind: u16, payload: &[u8]) {
    let Some(kind) = FrameKind::from_number(kind) else { return };
    let Ok(content) = v1::decode(kind, payload) else { return };
    Viewer::new().take(content.clone());
    // What can be read can be written, and is the same then.
    let encoded = v1::encode(content.clone()).expect("memory");
    assert_eq!(v1::decode(kind, &encoded), Ok(content));
}

/// What is kept of a recording until it is shown.
struct Viewer {
    leaks: Option<Leaks>,
    book: StackBook,
    dwell: DwellTable,
    sockets: Vec<FoundSocket>,
    parts: Vec<CensusPart>,
    gaps: Option<CensusGaps>,
    shown: Option<SocketCounts>,
}

impl Viewer {
    fn new() -> Self {
        Self {
            leaks: None,
            book: StackBook::default(),
            dwell: DwellTable::default(),
            sockets: Vec::new(),
            parts: Vec::new(),
            gaps: None,
            shown: None,
        }
    }

    fn take(&mut self, content: Content) {
        match content {
            Content::Start(start) => {
                let leaks = Leaks::new(start.leak_options(Duration::ZERO));
                self.leaks = Some(leaks.filtered_by_process(start.is_filtered_by_process()));
            }
            Content::Events(events) => {
                for event in &events {
                    if let (Some(leaks), Some(event)) = (&mut self.leaks, event.leak()) {
                        leaks.push(&event);
                    }
                    if let Some(transition) = event.transition() {
                        self.dwell.record(transition);
                    }
                }
                let last = events.iter().map(|event| event.at()).max().unwrap_or_default();
                assert!(self.dwell.rows(last).len() <= 256, "a state is a byte");
            }
            Content::Sockets(sockets) => self.sockets.extend(sockets),
            Content::Stacks(stacks) => stacks.into_iter().for_each(|(place, stack)| self.book.insert(place, stack)),
            Content::Checkpoint(checkpoint) => {
                let sockets = std::mem::take(&mut self.sockets);
                let Some(leaks) = &mut self.leaks else { return };
                if let Some(snapshot) = checkpoint.snapshot {
                    leaks.reconcile(&Snapshot { sockets, ..snapshot });
                }
                let fold = |place| self.book.fold(place);
                let asleep_in_send = checkpoint.in_send.as_ref();
                let survey = leaks.survey(&Observed { now: checkpoint.now, asleep_in_send, fold: &fold });
                let grouped: u64 = survey.groups.iter().map(|group| group.sockets).sum();
                assert!(grouped <= survey.totals.close_wait + survey.totals.ghosts, "{survey:?}");
                self.book.retain(&leaks.places());
            }
            Content::CensusPart(part) => self.parts.push(part),
            Content::CensusGaps(gaps) => self.gaps = Some(gaps),
            Content::Census(rest) => {
                let parts = std::mem::take(&mut self.parts);
                let now = rest.now;
                if let Ok(census) = rest.with(parts, self.gaps.take()) {
                    self.count(&census, now);
                }
            }
            Content::Traffic(_)
            | Content::Activities(_)
            | Content::Names(_)
            | Content::Counts(_)
            | Content::Unseen(_)
            | Content::End(_) => {}
        }
    }

    /// Whatever it says of processes and namespaces, it can be counted.
    fn count(&mut self, census: &tcpstate_core::model::census::Census, now: MonotonicNs) {
        for by in [None, Some(By::Process), Some(By::Cgroup)] {
            let mut counts = count(census, &SocketFilter::default(), by, now);
            if let Some(before) = &self.shown {
                counts.compare(before);
            }
            self.shown = Some(counts);
        }
    }
}
