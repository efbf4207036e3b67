//! What leaked in the end: from sockets that were kept, and those that stand, to findings.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use super::{
    classify::Sighting,
    fate::Fate,
    group::Group,
    kept::Ended,
    openers::Company,
    origin::{Opening, Origin, Side},
    process::Process,
    sum::Sum,
    tracker::Leaks,
    types::Observed,
};
use crate::{
    aggregate::verdict::Verdict,
    model::{Comm, Endpoint, MonotonicNs, ProcessId, leak::PlaceId},
};

/// A leaked socket, as rules look at it.
#[derive(Clone, Debug)]
pub struct Suspect {
    /// Why it was in CLOSE_WAIT.
    pub verdict: Verdict,
    /// The other end.
    pub remote: Endpoint,
    /// The places that its group shows: where it was opened, where its program was told of the end, where it was shut down or
    /// closed.
    pub places: Vec<PlaceId>,
}

/// Leaked sockets of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct LeakFinding {
    /// What became of them.
    pub fate: Fate,
    /// Number of the rule that lets them pass.
    pub rule: Option<usize>,
    /// How many processes they belong to, the one that the group names included.
    pub processes: u64,
    /// The sockets. Those of several processes of one name are together.
    pub group: Group,
}

/// Everything that leaked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// By socket-seconds, those that no rule lets pass first.
    pub findings: Vec<LeakFinding>,
    /// Leaked sockets that there was no room to keep: in no group, and no rule has looked at them.
    pub not_kept: u64,
}

impl Outcome {
    /// Leaked sockets that no rule lets pass.
    #[must_use]
    pub fn leaked(&self) -> u64 {
        let leaked = self.findings.iter().filter(|finding| finding.rule.is_none());
        leaked.map(|finding| finding.group.sockets).sum::<u64>() + self.not_kept
    }

    /// Leaked sockets by the rule that lets them pass.
    #[must_use]
    pub fn allowed(&self) -> BTreeMap<usize, u64> {
        let mut allowed = BTreeMap::new();
        for finding in &self.findings {
            if let Some(rule) = finding.rule {
                *allowed.entry(rule).or_default() += finding.group.sockets;
            }
        }
        allowed
    }
}

/// What makes sockets one finding. Processes of one name count as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FindingKey {
    fate: Fate,
    rule: Option<usize>,
    verdict: Verdict,
    comm: Option<Comm>,
    passed_on: bool,
    netns: u32,
    side: Side,
    opening: Opening,
}

/// What adds up to a finding.
#[derive(Debug)]
struct Share<'a> {
    origin: Origin,
    comm: Option<Comm>,
    processes: BTreeSet<Option<ProcessId>>,
    sum: Sum<'a>,
}

impl Leaks {
    /// Everything that leaked: what was kept, and what stands now. `rule` says which rule lets a socket pass.
    #[must_use]
    pub fn outcome(&self, observed: &Observed<'_>, rule: &dyn Fn(&Suspect) -> Option<usize>) -> Outcome {
        let Some(kept) = &self.kept else { return Outcome::default() };
        let mut shares: HashMap<FindingKey, Share<'_>> = HashMap::new();
        for ended in &kept.sockets {
            let Ended { socket, at, fate, verdict, process, opener, comm } = ended;
            let age = socket.entered.age(*at);
            let sighting =
                Sighting { socket, holders: &[], age, verdict: *verdict, process: *process, opener: *opener };
            self.share(&mut shares, sighting, (*fate, *comm, *at), observed, rule);
        }
        for socket in self.sockets.iter() {
            let sighting = self
                .sight(socket, observed)
                .filter(|sighting| sighting.verdict.is_leak() && self.is_leaked(sighting.age.at_least_ns));
            if let Some(sighting) = sighting {
                let comm = socket.owner.map(|owner| owner.comm);
                let comm = sighting.process.and_then(|process| self.process(process, comm).comm);
                self.share(&mut shares, sighting, (Fate::Open, comm, observed.now), observed, rule);
            }
        }
        let mut findings: Vec<_> = shares.into_iter().map(|(key, share)| self.finding(key, share, observed)).collect();
        findings.sort_by_key(|finding| {
            let Group { socket_ns, origin, verdict, .. } = finding.group;
            (finding.rule.is_some(), finding.fate, Reverse(socket_ns), origin, verdict)
        });
        Outcome { findings, not_kept: kept.not_kept }
    }

    fn share<'a>(
        &'a self,
        shares: &mut HashMap<FindingKey, Share<'a>>,
        sighting: Sighting<'a>,
        (fate, comm, at): (Fate, Option<Comm>, MonotonicNs),
        observed: &Observed<'_>,
        rule: &dyn Fn(&Suspect) -> Option<usize>,
    ) {
        let Sighting { socket, verdict, .. } = sighting;
        let suspect = Suspect { verdict, remote: socket.remote, places: socket.places().collect() };
        let origin = self.origin(&sighting, &Company::default()).folded(observed.fold);
        let Origin { process, opener, netns, side, .. } = origin;
        let rule = rule(&suspect);
        let opening = origin.as_if_seen().opening;
        let key = FindingKey { fate, rule, verdict, comm, passed_on: opener.is_some(), netns, side, opening };
        let share = shares.entry(key).or_insert_with(|| Share {
            origin: origin.as_if_seen(),
            comm,
            processes: BTreeSet::new(),
            sum: Sum::default(),
        });
        share.processes.insert(process);
        share.sum.add(&sighting, origin, self, at);
    }

    fn finding(&self, key: FindingKey, share: Share<'_>, observed: &Observed<'_>) -> LeakFinding {
        let FindingKey { fate, rule, verdict, .. } = key;
        let Share { origin, comm, processes, sum } = share;
        let mut group = self.group((origin, verdict), sum, None, 0, observed);
        group.fate = Some(fate);
        group.process = origin.process.map(|process| Process::new(process, comm));
        if fate != Fate::Open {
            // What was seen of them at their end; how long ago that was does not matter.
            group.asleep_in_send = None;
            group.backlogs.clear();
            group.other_backlogs = 0;
        }
        LeakFinding { fate, rule, processes: processes.len() as u64, group }
    }
}
