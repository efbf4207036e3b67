//! `-o json`, against its schema.

use std::collections::BTreeSet;

use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};
use tcpstate::report::{escape::Escaped, trace_json::TraceJson};
use tcpstate_core::model::{
    Dwell, Endpoint, Family, Protocol, State, Totals, Transition,
    probes::{Probes, Role},
};

use crate::{
    golden::assert_golden,
    sample::{CLOCK, START, probes, summary, transitions},
    schema::{self, documented, fields},
    strategy::transition,
};

const SCHEMA: &str = include_str!("../../schema/trace-v1.schema.json");

fn strict() -> Validator {
    schema::strict(SCHEMA)
}

fn trace() -> String {
    let mut json = TraceJson::new(CLOCK);
    let mut out = Vec::new();
    json.probes(&mut out, START, &probes()).expect("a Vec takes it");
    for transition in transitions() {
        json.transition(&mut out, &transition).expect("a Vec takes it");
    }
    let end = transitions().last().map_or(START, |transition| transition.at);
    json.lost(&mut out, end, 3).expect("a Vec takes it");
    let totals = Totals { transitions: 13, seen: 10, lost: 3, filtered: 5, map_full: 1, unknown_state: 1 };
    json.summary(&mut out, end, &summary(totals)).expect("a Vec takes it");
    String::from_utf8(out).expect("JSON is UTF-8")
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).expect("every line is JSON")
}

fn line_of(transition: &Transition) -> String {
    let mut out = Vec::new();
    TraceJson::new(CLOCK).transition(&mut out, transition).expect("a Vec takes it");
    String::from_utf8(out).expect("JSON is UTF-8")
}

#[test]
fn golden() {
    let version = format!("\"tcpstate\":\"{}\"", env!("CARGO_PKG_VERSION"));
    assert_golden("trace.jsonl", &trace().replace(&version, "\"tcpstate\":\"VERSION\""));
}

/// What the line of a transition says.
fn said(transition: &Transition) -> Value {
    let endpoint = |end: Endpoint| json!({ "addr": end.addr.to_string(), "port": end.port });
    let state = |state: State| match state {
        State::Known(state) => json!(state.name()),
        State::Unknown(number) => json!(number),
    };
    let mut value = json!({
        "schema": 1,
        "kind": "transition",
        "time": format!("{:.9}", CLOCK.at(transition.at)),
        "mono_ns": transition.at.0,
        "id": transition.id,
        "cookie": transition.socket.cookie,
        "skaddr": format!("{:#018x}", transition.socket.skaddr),
        "netns": transition.netns,
        "cgroup": transition.cgroup,
        "uid": transition.uid,
        "protocol": match transition.protocol {
            Protocol::Tcp => json!("tcp"),
            Protocol::Mptcp => json!("mptcp"),
            Protocol::Other(number) => json!(number),
        },
        "family": if transition.family == Family::Inet { "inet" } else { "inet6" },
        "local": endpoint(transition.local),
        "remote": endpoint(transition.remote),
        "old": state(transition.old),
        "new": state(transition.new),
        "owner": transition.owner.map(|owner| json!({
            "pid": owner.pid,
            "tid": owner.tid,
            "comm": Escaped(owner.comm.bytes()).to_string(),
            "via": format!("{:?}", owner.source).to_lowercase(),
        })),
    });
    match transition.in_old {
        Dwell::Exact(ns) => value["in_old_ns"] = json!(ns),
        Dwell::AtLeast(ns) => value["in_old_at_least_ns"] = json!(ns),
        Dwell::Unknown => {}
    }
    value
}

#[test]
fn every_kind_is_as_the_schema_says() {
    let strict = strict();
    for line in trace().lines() {
        let value = parse(line);
        let errors: Vec<_> = strict.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{line}\n{errors:?}");
    }
}

#[test]
fn a_kernel_on_which_accept_cannot_be_seen_says_so() {
    let mut out = Vec::new();
    let mut probes: Probes = probes();
    let accept = probes.hooks.roles.iter_mut().find(|probe| probe.role == Role::Accept).expect("a role");
    accept.attempts.retain(|hook| hook.refused.is_some());
    TraceJson::new(CLOCK).probes(&mut out, START, &probes).expect("a Vec takes it");
    let value: Value = serde_json::from_slice(&out).expect("every line is JSON");
    assert!(strict().is_valid(&value), "{value}");
    assert_eq!(value["hooks"]["accept"], Value::Null);
    let refused = json!({"hook": "kretprobe/inet_csk_accept", "errno": null, "reason": "no kprobe PMU"});
    assert_eq!(value["hooks"]["refused"][1], refused);
    let lost = json!({"role": "accept", "chosen": null, "lost": Role::Accept.lost()});
    assert_eq!(value["hooks"]["roles"][2], lost);
}

#[test]
fn nothing_is_documented_that_is_never_written() {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    for kind in ["probes", "transition", "lost", "summary"] {
        let mut written = BTreeSet::new();
        let lines: Vec<Value> = trace().lines().map(parse).filter(|line| line["kind"] == kind).collect();
        lines.iter().for_each(|line| fields(line, "", &mut written));
        let mut promised = BTreeSet::new();
        documented(&schema, &schema["$defs"][kind], "", &mut promised);
        assert_eq!(promised, written, "of kind {kind}");
    }
}

#[test]
fn both_clocks_are_one_moment() {
    let value = parse(&line_of(&transitions()[0]));
    assert_eq!(value["mono_ns"], json!(100_500_000_000_u64));
    assert_eq!(value["time"], json!("2026-09-21T14:15:00.500000000Z"));
}

#[test]
fn nothing_is_allocated_for_a_transition() {
    let transitions = transitions();
    let mut json = TraceJson::new(CLOCK);
    let mut out = Vec::with_capacity(1 << 20);
    let mut round = || transitions.iter().for_each(|transition| json.transition(&mut out, transition).expect("a Vec"));
    round();
    let info = allocation_counter::measure(|| (0..10).for_each(|_| round()));
    assert_eq!(info.count_total, 0);
}

proptest! {
    #[test]
    fn any_transition_is_as_the_schema_says(transitions in prop::collection::vec(transition(), 50)) {
        let strict = strict();
        for transition in &transitions {
            let line = line_of(transition);
            prop_assert!(strict.is_valid(&parse(&line)), "{}", line);
        }
    }

    #[test]
    fn any_transition_is_told_whole(transitions in prop::collection::vec(transition(), 1..8)) {
        let mut json = TraceJson::new(CLOCK);
        let mut out = Vec::new();
        for transition in &transitions {
            json.transition(&mut out, transition).expect("a Vec takes it");
        }
        let text = String::from_utf8(out).expect("JSON is UTF-8");
        let told: Vec<_> = text.lines().map(parse).collect();
        prop_assert_eq!(told, transitions.iter().map(said).collect::<Vec<_>>());
    }

    /// Also not through `jq -r`, which undoes JSON's own escapes.
    #[test]
    fn no_control_character_is_in_a_name(transition in transition()) {
        if let Some(comm) = parse(&line_of(&transition))["owner"]["comm"].as_str() {
            prop_assert!(!comm.chars().any(|c| c.is_control() || c == '\u{202e}' || c == '\u{2028}'), "{:?}", comm);
        }
    }
}
