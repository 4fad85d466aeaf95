//! JSON as Go's `encoding/json` writes it: `<`, `>`, `&`, U+2028 and U+2029 are escaped inside strings.
//!
//! It matters because Argo CD compares scalars of a JSON patch's `test` byte by byte.

use serde_json::Value;

pub(crate) fn to_string(value: &Value) -> String {
    escape(&value.to_string())
}

/// Escapes what Go escapes. Outside of strings these characters do not occur in JSON.
pub(crate) fn escape(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for one in json.chars() {
        match one {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_characters_are_escaped() {
        assert_eq!(
            to_string(&serde_json::json!({"a": "x<y&z>\u{2028}é"})),
            "{\"a\":\"x\\u003cy\\u0026z\\u003e\\u2028é\"}"
        );
    }
}
