//! YAML of Kubernetes objects, for people and for `kubectl`. Pure.

use serde_json::Value;

/// Why a document has no YAML. Never for JSON that came from a server.
#[derive(Debug, thiserror::Error)]
#[error("cannot be written as YAML: {0}")]
pub(crate) struct YamlError(String);

/// A document as YAML, its keys in alphabetical order as Kubernetes' tools have them.
pub(crate) fn text(document: &Value) -> Result<String, YamlError> {
    let mut text =
        serde_saphyr::to_string(document).map_err(|error| YamlError(error.to_string()))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A reader of YAML 1.1, which Kubernetes' tools are, must read back the same.
    #[test]
    fn texts_that_look_like_something_else_stay_texts() {
        let document = json!({
            "no": "no", "on": "on", "number": "012", "version": "1.10", "empty": "", "null": "null", "date": "2026-11-24",
            "lines": "a\nb\n", "hash": "#x", "colon": "a: b", "real": true, "count": 3, "list": [], "map": {},
        });
        let text = text(&document).unwrap();
        for (quoted, name) in [
            ("no", "no"),
            ("on", "on"),
            ("012", "number"),
            ("1.10", "version"),
            ("", "empty"),
            ("null", "null"),
            ("2026-11-24", "date"),
        ] {
            let line = text.lines().find(|line| {
                line.trim_start_matches(['"', '\'']).starts_with(name) && line.contains(": ")
            });
            let value = line.unwrap_or_default().split_once(": ").unwrap_or_default().1;
            assert!(value == format!("\"{quoted}\"") || value == format!("'{quoted}'"), "{text}");
        }
        let back: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(back, document, "{text}");
    }
}
