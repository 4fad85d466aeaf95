//! A stand-in for `helm template` on a machine without helm: `{{ .Values.a.b }}` and the release's name, nothing else.
//!
//! Everything it does not know is an error; it never guesses what helm would print.

use std::path::Path;

use serde_json::{Map, Value};

use super::Target;

/// Prints the templates of the chart in `folder` for the `--set`, `--set-string` and `--values` among `arguments`.
pub(super) fn template(
    folder: &Path,
    arguments: &[String],
    target: Target<'_>,
) -> Result<String, String> {
    let values = values(folder, arguments)?;
    let chart = read_yaml(&folder.join("Chart.yaml"))?;
    let release = argument(arguments, "--name-template").unwrap_or(target.app);
    let namespace = argument(arguments, "--namespace").unwrap_or(target.namespace);
    let context = serde_json::json!({
        "Values": values, "Release": { "Name": release, "Namespace": namespace }, "Chart": { "Name": chart["name"], "Version": chart["version"] },
    });
    let mut files: Vec<_> = std::fs::read_dir(folder.join("templates"))
        .map_err(|error| format!("no templates: {error}"))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml" || end == "yml"))
        .collect();
    files.sort();
    let mut printed = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
        printed.push_str("\n---\n");
        printed.push_str(
            &filled(&text, &context).map_err(|message| format!("{}: {message}", file.display()))?,
        );
    }
    Ok(printed)
}

fn argument<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    arguments.windows(2).find(|pair| pair[0] == name).map(|pair| pair[1].as_str())
}

fn read_yaml(path: &Path) -> Result<Value, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_saphyr::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn values(folder: &Path, arguments: &[String]) -> Result<Value, String> {
    let mut values = read_yaml(&folder.join("values.yaml")).unwrap_or(Value::Object(Map::new()));
    for pair in arguments.windows(2).filter(|pair| pair[0] == "--values") {
        crate::patch::merge(&mut values, &read_yaml(&folder.join(&pair[1]))?);
    }
    for pair in arguments.windows(2).filter(|pair| pair[0] == "--set" || pair[0] == "--set-string")
    {
        let (name, value) = pair[1].split_once('=').unwrap_or((&pair[1], ""));
        let mut here = &mut values;
        for part in name.split('.') {
            if !here.is_object() {
                *here = Value::Object(Map::new());
            }
            let Value::Object(object) = here else { break };
            here = object.entry(part.to_owned()).or_insert(Value::Null);
        }
        *here = value.replace("\\,", ",").into();
    }
    Ok(values)
}

/// Replaces every action of a template.
fn filled(text: &str, context: &Value) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (action, after) = after.split_once("}}").ok_or("an action does not end")?;
        out.push_str(if action.starts_with('-') { before.trim_end() } else { before });
        out.push_str(&value_of(action.trim_matches('-').trim(), context)?);
        rest = if action.ends_with('-') { after.trim_start() } else { after };
    }
    Ok(out + rest)
}

fn value_of(action: &str, context: &Value) -> Result<String, String> {
    if action.starts_with("/*") {
        return Ok(String::new());
    }
    let (path, quote) = match action
        .split_once('|')
        .map(|(path, function)| (path.trim(), function.trim()))
    {
        None => (action, false),
        Some((path, "quote")) => (path, true),
        Some(_) => {
            return Err(format!(
                "without helm only `{{{{ .Values.… }}}}` is understood, not `{{{{ {action} }}}}`"
            ));
        }
    };
    let plain = path.starts_with('.')
        && path.chars().all(|one| one.is_ascii_alphanumeric() || one == '.' || one == '_');
    if !plain {
        return Err(format!(
            "without helm only `{{{{ .Values.… }}}}` is understood, not `{{{{ {action} }}}}`"
        ));
    }
    let value = context.pointer(&path.replace('.', "/")).unwrap_or(&Value::Null);
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Ok(if quote { Value::String(text).to_string() } else { text })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_plain_values_are_filled_in() {
        let context = json!({ "Values": { "image": { "tag": "1.0" }, "n": 2 }, "Release": { "Name": "web" } });
        let cases = [
            ("a: {{ .Values.image.tag }}", Some("a: 1.0")),
            ("a: {{.Values.n}}{{/* note */}}", Some("a: 2")),
            ("a: {{ .Values.image.tag | quote }}", Some("a: \"1.0\"")),
            ("{{ .Release.Name }}-{{ .Values.none }}", Some("web-")),
            ("a\n{{- .Values.n }}", Some("a2")),
            ("{{ include \"x\" . }}", None),
            ("{{ if .Values.n }}", None),
            ("{{ .Values.n | upper }}", None),
        ];
        for (text, want) in cases {
            assert_eq!(filled(text, &context).ok().as_deref(), want, "{text}");
        }
    }
}
