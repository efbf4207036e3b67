//! What is written, against what its schema says.

use std::collections::BTreeSet;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

/// Schemas let consumers meet fields that they do not know; what this version writes must all be documented.
pub(crate) fn strict(schema: &str) -> Validator {
    fn forbid_more(value: &mut Value) {
        match value {
            Value::Object(object) => {
                if object.get("type") == Some(&json!("object")) {
                    object.insert("unevaluatedProperties".to_owned(), json!(false));
                }
                object.values_mut().for_each(forbid_more);
            }
            Value::Array(array) => array.iter_mut().for_each(forbid_more),
            _ => {}
        }
    }
    let mut schema = serde_json::from_str(schema).expect("the schema is JSON");
    forbid_more(&mut schema);
    jsonschema::validator_for(&schema).expect("the schema is a schema")
}

/// Names of all fields, with those of the objects within them.
pub(crate) fn fields(value: &Value, path: &str, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                names.insert(format!("{path}{name}"));
                fields(value, &format!("{path}{name}."), names);
            }
        }
        Value::Array(array) => array.iter().for_each(|value| fields(value, path, names)),
        _ => {}
    }
}

/// The same out of the schema.
pub(crate) fn documented(schema: &Value, node: &Value, path: &str, names: &mut BTreeSet<String>) {
    let Some(object) = node.as_object() else { return };
    if let Some(pointer) = object.get("$ref").and_then(Value::as_str) {
        let target = schema.pointer(pointer.trim_start_matches('#')).expect("references lead somewhere");
        documented(schema, target, path, names);
    }
    for keyword in ["allOf", "oneOf"] {
        object.get(keyword).and_then(Value::as_array).into_iter().flatten().for_each(|node| {
            documented(schema, node, path, names);
        });
    }
    object.get("items").into_iter().for_each(|node| documented(schema, node, path, names));
    for (name, node) in object.get("properties").and_then(Value::as_object).unwrap_or(&Map::new()) {
        names.insert(format!("{path}{name}"));
        documented(schema, node, &format!("{path}{name}."), names);
    }
}

/// An object that has every kind of value is as the schema says, and has every field that the schema has.
pub(crate) fn assert_documented(schema: &str, value: &Value) {
    let errors: Vec<_> = strict(schema).iter_errors(value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{value}\n{errors:?}");
    let (mut written, mut promised) = (BTreeSet::new(), BTreeSet::new());
    fields(value, "", &mut written);
    let schema: Value = serde_json::from_str(schema).expect("the schema is JSON");
    documented(&schema, &schema, "", &mut promised);
    assert_eq!(promised, written);
}
