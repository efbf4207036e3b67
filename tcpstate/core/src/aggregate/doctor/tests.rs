//! The rules, on made-up machines.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tcpstate_common::state::TcpState;

use super::*;
use crate::{
    aggregate::states::{By, SocketFilter, count},
    model::{
        Comm, Endpoint, Family, MonotonicNs, State,
        census::{Census, EphemeralPorts, FoundNamespace, FoundProcess, ListedSocket},
        doctor::{Configured, Confinement, Limit, Machine},
        probes::Hooks,
    },
};

fn endpoint(port: u16) -> Endpoint {
    Endpoint { addr: [127, 0, 0, 1].into(), port }
}

fn socket(state: TcpState, inode: u32, local: u16, remote: u16) -> ListedSocket {
    ListedSocket {
        cookie: 0,
        family: Family::Inet,
        state: State::Known(state),
        local: endpoint(local),
        remote: endpoint(remote),
        inode,
        cgroup: None,
        receive_queue: 0,
        send_queue: 0,
        age: None,
    }
}

fn process(descriptors: u64, limit: Option<u64>) -> FoundProcess {
    FoundProcess { pid: 812, comm: Some(Comm(*b"gateway\0\0\0\0\0\0\0\0\0")), descriptors, limit }
}

/// A quiet machine with the settings of a Linux 6.18, on which everything can be traced.
fn facts(sockets: Vec<ListedSocket>, process: FoundProcess) -> Facts {
    let ports = Some(EphemeralPorts { low: 40_000, high: 40_009, reserved: Vec::new() });
    let holders = sockets.iter().filter(|socket| socket.inode > 0).map(|socket| (socket.inode, 0)).collect();
    let namespace = FoundNamespace { inode: 7, own: true, sockets, ports, ..FoundNamespace::default() };
    let census = Census { namespaces: vec![namespace], processes: vec![process], holders, ..Census::default() };
    let sockets = count(&census, &SocketFilter::default(), Some(By::Process), MonotonicNs(0));
    let values = SETTINGS.iter().filter(|setting| setting.gone.is_none());
    let mut readings: BTreeMap<_, _> =
        values.map(|setting| (setting.name, Reading::Value(setting.default_of(None).to_owned()))).collect();
    readings.insert("net.ipv4.tcp_tw_recycle", Reading::Absent);
    let limit = Limit { soft: None, hard: None };
    let kernel = "6.18.44".to_owned();
    Facts {
        machine: Machine {
            kernel: kernel.clone(),
            lockdown: None,
            uid: 0,
            capabilities: Vec::new(),
            btf: true,
            tracefs: true,
            initial_pids: true,
            memlock: limit,
            nofile: limit,
            hooks: Ok(Hooks { kernel, lockdown: None, roles: Vec::new() }),
            sandbox: Ok(Confinement::COMPLETE),
        },
        netns: 7,
        own_netns: true,
        settings: readings,
        configured: Vec::new(),
        sockets_here: sockets.clone(),
        sockets,
    }
}

fn quiet() -> Facts {
    facts(Vec::new(), process(3, Some(1024)))
}

fn kinds(facts: &Facts) -> Vec<&'static str> {
    diagnose(facts).findings.iter().map(|finding| finding.kind.name()).collect()
}

fn help(facts: &Facts, name: &str) -> Option<Help> {
    diagnose(facts).settings.iter().find(|row| row.setting.name == name).map(|row| row.relevance.help)
}

fn with(facts: Facts, name: &'static str, value: &str) -> Facts {
    let mut facts = facts;
    facts.settings.insert(name, Reading::Value(value.to_owned()));
    facts
}

#[test]
fn a_quiet_machine_has_nothing_wrong() {
    assert_eq!(kinds(&quiet()), [""; 0]);
    assert_eq!(diagnose(&quiet()).cannot_trace, None);
    assert!(diagnose(&quiet()).settings.iter().all(|row| row.relevance.help != Help::Perhaps));
}

#[test]
fn close_wait_is_a_finding_with_its_process_and_makes_no_setting_helpful() {
    let leaking =
        facts((1..=299).map(|inode| socket(TcpState::CloseWait, inode, 8080, 5)).collect(), process(300, None));
    let diagnosis = diagnose(&leaking);
    let [Finding { severity: Severity::Warning, kind }] = &diagnosis.findings[..] else { panic!("{diagnosis:?}") };
    assert_eq!(kind.pid(), Some(812));
    assert!(matches!(kind, FindingKind::CloseWait { row, .. } if row.sockets == 299), "{kind:?}");
    assert!(kind.advice().contains("`tcpstate leaks --pid 812`"), "{}", kind.advice());
    assert!(diagnosis.settings.iter().all(|row| row.relevance.help != Help::Perhaps), "{:?}", diagnosis.settings);
}

#[test]
fn limits_count_from_eighty_per_cent_on() {
    assert_eq!(kinds(&facts(Vec::new(), process(80, Some(100)))), [""; 0]);
    assert_eq!(kinds(&facts(Vec::new(), process(81, Some(100)))), ["descriptors"]);
    let waiting = |ports: u16| {
        facts((0..ports).map(|port| socket(TcpState::TimeWait, 0, 40_000 + port, 80)).collect(), process(3, None))
    };
    assert_eq!(kinds(&waiting(8)), [""; 0]);
    assert_eq!(help(&waiting(8), "net.ipv4.tcp_tw_reuse"), Some(Help::No));
    assert_eq!(kinds(&waiting(9)), ["ports"]);
    assert_eq!(help(&waiting(9), "net.ipv4.tcp_tw_reuse"), Some(Help::Perhaps));
    assert_eq!(diagnose(&waiting(10)).findings[0].severity, Severity::Error);
}

#[test]
fn the_worst_comes_first() {
    let mut facts = facts(vec![socket(TcpState::CloseWait, 1, 8080, 5)], process(100, Some(100)));
    facts.machine.hooks = Err("no BTF".to_owned());
    facts.sockets.gaps.processes = 2;
    assert_eq!(kinds(&facts), ["cannot_trace", "descriptors", "close_wait", "gaps"]);
    assert_eq!(diagnose(&facts).cannot_trace.as_deref(), Some("no BTF"));
}

#[test]
fn harmful_values_are_found() {
    for (name, value) in [
        ("net.ipv4.tcp_tw_recycle", "1"),
        ("net.ipv4.tcp_syncookies", "0"),
        ("net.ipv4.tcp_max_tw_buckets", "0"),
        ("net.ipv4.tcp_fin_timeout", "15"),
        ("net.ipv4.ip_local_port_range", "40000 40009"),
        ("net.ipv4.tcp_abort_on_overflow", "1"),
        ("net.core.bpf_jit_enable", "0"),
    ] {
        assert_eq!(kinds(&with(quiet(), name, value)), ["setting"], "{name}");
    }
}

#[test]
fn a_line_of_a_file_for_what_is_gone_is_found() {
    let mut facts = quiet();
    let line = |name: &str| Configured { file: "/etc/sysctl.d/99-blog.conf".to_owned(), name: name.to_owned() };
    facts.configured = vec![line("net.ipv4.tcp_tw_recycle"), line("net.ipv4.tcp_fin_timeout"), line("vm.swappiness")];
    assert_eq!(kinds(&facts), ["setting_absent"]);
    assert_eq!(help(&facts, "net.ipv4.tcp_tw_recycle"), Some(Help::Absent));
}

#[test]
fn a_setting_of_the_whole_host_is_not_said_to_be_gone() {
    let mut facts = quiet();
    facts.settings.insert("net.core.netdev_max_backlog", Reading::Absent);
    facts.configured =
        vec![Configured { file: "/etc/sysctl.conf".to_owned(), name: "net.core.netdev_max_backlog".to_owned() }];
    let diagnosis = diagnose(&facts);
    assert_eq!(diagnosis.findings, []);
    let row =
        diagnosis.settings.iter().find(|row| row.setting.name == "net.core.netdev_max_backlog").expect("explained");
    assert!(row.relevance.why.contains("whole host"), "{}", row.relevance.why);
}

#[test]
fn defaults_are_those_of_the_version() {
    let default = |name, version| {
        SETTINGS.iter().find(|setting| setting.name == name).map(|setting| setting.default_of(Some(version)))
    };
    assert_eq!(default("net.core.somaxconn", (5, 3)), Some("128"));
    assert_eq!(default("net.core.somaxconn", (5, 4)), Some("4096"));
    assert_eq!(default("net.ipv4.tcp_tw_reuse", (4, 18)), Some("0"));
    assert_eq!(default("net.ipv4.tcp_tw_reuse", (5, 10)), Some("2"));
    assert_eq!(default("net.ipv4.tcp_tw_recycle", (4, 11)), Some("0"));
}

#[test]
fn many_of_a_kind_are_counted() {
    let mut facts = quiet();
    let row = facts_row();
    facts.sockets.processes = vec![row; 25];
    let findings = diagnose(&facts).findings;
    assert_eq!(findings.len(), 11);
    assert_eq!(findings[10].kind, FindingKind::More { kind: "descriptors", count: 15 });
}

fn facts_row() -> crate::aggregate::states::ProcessRow {
    facts(Vec::new(), process(99, Some(100))).sockets.processes[0]
}

const STATES: [TcpState; 10] = [
    TcpState::Established,
    TcpState::SynSent,
    TcpState::SynRecv,
    TcpState::FinWait1,
    TcpState::FinWait2,
    TcpState::TimeWait,
    TcpState::CloseWait,
    TcpState::LastAck,
    TcpState::Listen,
    TcpState::Closing,
];

proptest! {
    /// Whatever is in CLOSE_WAIT, no advice about it names a setting, and no setting becomes helpful by it.
    #[test]
    fn no_setting_is_a_cure_for_close_wait(
        others in prop::collection::vec((0..STATES.len(), 0_u32..40, 1_u16..50), 0..30),
        leaked in prop::collection::vec((0_u32..40, 1_u16..50), 1..30),
    ) {
        let others: Vec<_> = others.into_iter().map(|(state, inode, port)| socket(STATES[state], inode, 8080, port)).collect();
        let leaked = leaked.into_iter().map(|(inode, port)| socket(TcpState::CloseWait, inode, 8080, port));
        let all: Vec<_> = others.iter().copied().chain(leaked).collect();
        let (without, with) = (facts(others, process(3, None)), facts(all, process(3, None)));
        for finding in diagnose(&with).findings {
            if matches!(finding.kind, FindingKind::CloseWait { .. }) {
                let advice = finding.kind.advice();
                for setting in &SETTINGS {
                    let short = setting.name.rsplit('.').next().unwrap_or_default();
                    prop_assert!(!advice.contains(short) && !advice.contains("sysctl"), "{advice}");
                }
            }
        }
        let helps = |facts: &Facts| diagnose(facts).settings.iter().map(|row| row.relevance.help).collect::<Vec<_>>();
        prop_assert_eq!(helps(&without), helps(&with));
    }

    /// Worst first, whatever there is.
    #[test]
    fn findings_are_in_order(used in 0_u64..200, sockets in 0_u32..20, gaps in 0_u64..3) {
        let mut facts = facts((0..sockets).map(|inode| socket(TcpState::CloseWait, inode, 8080, 5)).collect(), process(used, Some(100)));
        facts.sockets.gaps.processes = gaps;
        let found: Vec<_> = diagnose(&facts).findings.iter().map(|finding| finding.severity).collect();
        prop_assert!(found.is_sorted(), "{found:?}");
    }
}

#[test]
fn a_sandbox_that_is_not_complete() {
    let with = |sandbox| {
        let mut facts = quiet();
        facts.machine.sandbox = sandbox;
        diagnose(&facts)
            .findings
            .into_iter()
            .map(|finding| (finding.severity, finding.kind.advice()))
            .collect::<Vec<_>>()
    };
    let old = with(Ok(Confinement { landlock: false, ..Confinement::COMPLETE }));
    let [(Severity::Note, advice)] = &old[..] else { panic!("{old:?}") };
    assert!(advice.contains("Linux 5.13") && !advice.contains("CAP_SETUID"), "{advice}");
    let open = with(Ok(Confinement { seccomp: false, landlock: false, ..Confinement::COMPLETE }));
    assert!(matches!(&open[..], [(Severity::Warning, _)]), "{open:?}");
    let none = with(Err("no".to_owned()));
    assert!(matches!(&none[..], [(Severity::Error, _)]), "{none:?}");
}
