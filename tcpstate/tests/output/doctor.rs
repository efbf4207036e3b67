//! `tcpstate doctor`, in both formats.

use serde_json::Value;
use tcpstate::report::{doctor_json, doctor_text::DoctorText};
use tcpstate_common::state::TcpState;
use tcpstate_core::{
    aggregate::{
        doctor::{
            Facts, diagnose,
            settings::{NAMES, SETTINGS},
        },
        states::{By, SocketFilter, count},
    },
    model::{
        Age, Comm, Endpoint, Family, MonotonicNs, State,
        census::{Census, EphemeralPorts, FoundNamespace, FoundProcess, Gaps, ListedSocket},
        doctor::{Capability, Configured, Confinement, Limit, Machine, Reading},
    },
};

use crate::{golden::assert_golden, sample::hooks, schema::assert_documented};

const SCHEMA: &str = include_str!("../../schema/doctor-v1.schema.json");

fn socket(state: TcpState, inode: u32, local: u16, remote: u16) -> ListedSocket {
    let endpoint = |port| Endpoint { addr: [127, 0, 0, 1].into(), port };
    let age = Age { at_least_ns: 38_000_000_000, at_most_ns: Some(38_004_000_000) };
    ListedSocket {
        cookie: 0,
        family: Family::Inet,
        state: State::Known(state),
        local: endpoint(local),
        remote: endpoint(remote),
        inode,
        cgroup: None,
        receive_queue: if state == TcpState::Listen { 129 } else { 0 },
        send_queue: if state == TcpState::Listen { 128 } else { 0 },
        age: (state == TcpState::CloseWait).then_some(age),
    }
}

/// A host on which everything is wrong at once.
fn facts() -> Facts {
    let mut sockets: Vec<_> = (1..=299).map(|inode| socket(TcpState::CloseWait, inode, 8080, 2_000)).collect();
    sockets.push(socket(TcpState::Listen, 300, 8080, 0));
    sockets.extend([socket(TcpState::CloseWait, 0, 8080, 2_001), socket(TcpState::SynRecv, 0, 8080, 2_002)]);
    sockets.extend((0..9).map(|port| socket(TcpState::TimeWait, 0, 40_000 + port, 9090)));
    let namespace = FoundNamespace {
        inode: 4_026_531_840,
        own: true,
        sockets,
        listen_overflows: Some(22),
        listen_drops: Some(30),
        ports: Some(EphemeralPorts { low: 40_000, high: 40_009, reserved: Vec::new() }),
        ..FoundNamespace::default()
    };
    let comm = Some(Comm(*b"gate\x1bway\0\0\0\0\0\0\0\0"));
    let census = Census {
        namespaces: vec![namespace],
        processes: vec![FoundProcess { pid: 812, comm, descriptors: 324, limit: Some(400) }],
        holders: (1..=300).map(|inode| (inode, 0)).collect(),
        gaps: Gaps {
            namespaces: vec![("blue".to_owned(), "no".to_owned())],
            processes: 3,
            refused: vec![1],
            why: Some("it takes `CAP_SYS_PTRACE`".to_owned()),
            hidden: Some("`/proc` hides processes".to_owned()),
        },
        ..Census::default()
    };
    let sockets = count(&census, &SocketFilter::default(), Some(By::Process), MonotonicNs(0));
    let value = |name| match name {
        "net.ipv4.tcp_tw_recycle" | "kernel.yama.ptrace_scope" => Reading::Absent,
        "net.ipv4.tcp_fin_timeout" => Reading::Value("15".to_owned()),
        "net.ipv4.tcp_max_tw_buckets" => Reading::Value("10".to_owned()),
        "net.core.somaxconn" => Reading::Value("128".to_owned()),
        "fs.file-nr" => Reading::Value("900 0 1000".to_owned()),
        "fs.nr_open" => Reading::Unreadable("Permission denied".to_owned()),
        name => Reading::Value(
            SETTINGS.iter().find(|row| row.name == name).map_or("0", |row| row.default_of(None)).to_owned(),
        ),
    };
    let capability = |name, effective| Capability { name, purpose: "a purpose", effective };
    Facts {
        machine: Machine {
            kernel: "6.18.44".to_owned(),
            lockdown: Some("integrity".to_owned()),
            uid: 1_000,
            capabilities: vec![capability("CAP_BPF", true), capability("CAP_SYS_PTRACE", false)],
            btf: true,
            tracefs: false,
            initial_pids: false,
            memlock: Limit { soft: Some(8 << 20), hard: None },
            nofile: Limit { soft: Some(1_024), hard: Some(4_096) },
            hooks: Ok(hooks()),
            sandbox: Ok(Confinement { landlock: false, ..Confinement::COMPLETE }),
        },
        netns: 4_026_531_840,
        own_netns: true,
        settings: NAMES.iter().map(|&name| (name, value(name))).collect(),
        configured: vec![Configured {
            file: "/etc/sysctl.d/99-blog.conf".to_owned(),
            name: "net.ipv4.tcp_tw_recycle".to_owned(),
        }],
        sockets_here: sockets.clone(),
        sockets,
    }
}

fn text(facts: &Facts, color: bool, width: Option<usize>) -> String {
    let mut out = Vec::new();
    DoctorText { color, width }.write(&mut out, facts, &diagnose(facts)).expect("a Vec takes it");
    String::from_utf8(out).expect("text is UTF-8")
}

fn json(facts: &Facts) -> Value {
    let mut out = Vec::new();
    doctor_json::write(&mut out, facts, &diagnose(facts)).expect("a Vec takes it");
    assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1, "one line");
    serde_json::from_slice(&out).expect("JSON")
}

#[test]
fn golden() {
    assert_golden("doctor.txt", &text(&facts(), false, Some(110)));
    let mut value = json(&facts());
    value["tcpstate"] = "VERSION".into();
    assert_golden("doctor.json", &format!("{value:#}\n"));
}

#[test]
fn is_as_the_schema_says() {
    assert_documented(SCHEMA, &json(&facts()));
}

#[test]
fn every_setting_is_in_the_schema() {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let names = &schema["properties"]["settings"]["items"]["properties"]["name"]["enum"];
    assert_eq!(names, &Value::from(SETTINGS.iter().map(|setting| setting.name).collect::<Vec<_>>()));
}

#[test]
fn findings_come_first_and_colours_only_where_asked() {
    let plain = text(&facts(), false, None);
    assert!(plain.starts_with("FINDINGS\n"), "{plain}");
    assert!(!plain.contains('\x1b'), "{plain:?}");
    assert!(text(&facts(), true, None).contains("\x1b["));
}

#[test]
fn without_hooks_it_says_why() {
    let mut facts = facts();
    facts.machine.hooks = Err("missing capability `CAP_BPF`".to_owned());
    let value = json(&facts);
    assert_eq!((&value["usable"], &value["roles"]), (&false.into(), &Value::Array(Vec::new())));
    assert_eq!(value["cannot_trace"], "missing capability `CAP_BPF`");
    assert_eq!(value["findings"][0]["kind"], "cannot_trace");
    assert!(text(&facts, false, None).contains("hooks were not tried: missing capability `CAP_BPF`"));
}
