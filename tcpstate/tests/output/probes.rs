//! `tcpstate probes`, in both formats.

use serde_json::Value;
use tcpstate::report::{probes_json, probes_text};
use tcpstate_core::model::probes::{Hooks, Role};

use crate::{
    golden::assert_golden,
    sample::{hooks, refused},
    schema::assert_documented,
};

const SCHEMA: &str = include_str!("../../schema/probes-v1.schema.json");

fn text(hooks: &Hooks) -> String {
    let mut out = Vec::new();
    probes_text::write(&mut out, hooks).expect("a Vec takes it");
    String::from_utf8(out).expect("text is UTF-8")
}

fn json(hooks: &Hooks) -> Value {
    let mut out = Vec::new();
    probes_json::write(&mut out, hooks).expect("a Vec takes it");
    assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1, "one line");
    serde_json::from_slice(&out).expect("JSON")
}

#[test]
fn golden() {
    assert_golden("probes.txt", &text(&hooks()));
    let mut value = json(&hooks());
    value["tcpstate"] = "VERSION".into();
    assert_golden("probes.json", &format!("{value:#}\n"));
}

#[test]
fn is_as_the_schema_says() {
    assert_documented(SCHEMA, &json(&hooks()));
}

#[test]
fn every_role_is_in_the_schema() {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let names = &schema["properties"]["roles"]["items"]["properties"]["role"]["enum"];
    assert_eq!(names, &Value::from(Role::ALL.map(Role::name).to_vec()));
}

#[test]
fn without_what_is_required_a_kernel_is_not_usable() {
    let mut hooks = hooks();
    assert_eq!(json(&hooks)["usable"], true);
    hooks.roles[0].attempts = vec![refused("tp_btf/inet_sock_set_state", Some(2), "missing")];
    let value = json(&hooks);
    assert_eq!((&value["usable"], &value["roles"][0]["chosen"]), (&false.into(), &Value::Null));
    assert!(text(&hooks).contains("no hook for transitions: no transition can be seen"), "{}", text(&hooks));
}

#[test]
fn an_unknown_lockdown_mode_is_not_made_up() {
    let hooks = Hooks { lockdown: None, ..hooks() };
    assert!(text(&hooks).starts_with("kernel 6.18.44, lockdown not known\n"), "{}", text(&hooks));
    assert_eq!(json(&hooks)["lockdown"], Value::Null);
}
