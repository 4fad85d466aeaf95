//! A JSON object as rows of a table.

use serde_json::Value;

/// The fields of an object, one a row: `spec.containers[0].image` and its value.
pub(crate) fn rows(object: &Value) -> Vec<[String; 2]> {
    let mut rows = Vec::new();
    add_rows(&mut rows, String::new(), object);
    rows
}

fn add_rows(rows: &mut Vec<[String; 2]>, place: String, value: &Value) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                let dot = if place.is_empty() { "" } else { "." };
                add_rows(rows, format!("{place}{dot}{name}"), member);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for (index, one) in list.iter().enumerate() {
                add_rows(rows, format!("{place}[{index}]"), one);
            }
        }
        Value::String(text) => rows.push([place, text.clone()]),
        other => rows.push([place, other.to_string()]),
    }
}
