//! `helm template`, called as Argo CD 3.6 calls it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tokio::process::Command;

use super::{KUBE_VERSION, Target, Tools, run, substitute, text};

/// What helm prints for the chart in `folder`.
pub(super) async fn template(
    tools: &Tools,
    source: &Value,
    folder: &Path,
    target: Target<'_>,
    environment: &BTreeMap<String, String>,
) -> Result<String, String> {
    let helm = source.get("helm").unwrap_or(&Value::Null);
    let values = values_file(helm)?;
    let values = values.as_ref().map(tempfile::NamedTempFile::path);
    let arguments = arguments(helm, values, target, environment);
    let Some(program) = &tools.helm else {
        if tools.substitute {
            return substitute::template(folder, &arguments, target);
        }
        return Err("failed to execute helm template command: exec: \"helm\": executable file not found in $PATH".to_owned());
    };
    let home = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.current_dir(folder).args(&arguments);
    command
        .env("HELM_CACHE_HOME", home.path())
        .env("HELM_CONFIG_HOME", home.path())
        .env("HELM_DATA_HOME", home.path());
    let shown = format!("helm {}", arguments.join(" "));
    run(command, &shown).await.map_err(|error| {
        format!("failed to execute helm template command: failed running helm: {error}")
    })
}

/// The values of the spec as a file: `valuesObject`, or else `values`.
fn values_file(helm: &Value) -> Result<Option<tempfile::NamedTempFile>, String> {
    let content = match (helm.get("valuesObject"), text(helm, "values")) {
        (Some(object), _) if !object.is_null() => object.to_string(),
        (_, "") => return Ok(None),
        (_, values) => values.to_owned(),
    };
    let file =
        tempfile::Builder::new().suffix(".yaml").tempfile().map_err(|error| error.to_string())?;
    std::fs::write(file.path(), content).map_err(|error| error.to_string())?;
    Ok(Some(file))
}

fn arguments(
    helm: &Value,
    values: Option<&Path>,
    target: Target<'_>,
    environment: &BTreeMap<String, String>,
) -> Vec<String> {
    let or = |value: &str, other: &str| {
        if value.is_empty() { other.to_owned() } else { value.to_owned() }
    };
    let mut arguments: Vec<String> = vec!["template".into(), ".".into()];
    let mut push = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    push("--name-template", or(text(helm, "releaseName"), target.app));
    push("--namespace", or(text(helm, "namespace"), target.namespace));
    push("--kube-version", or(text(helm, "kubeVersion"), KUBE_VERSION));
    for (flag, name, value) in sets(helm, environment) {
        push(flag, format!("{name}={value}"));
    }
    for file in list(helm, "fileParameters") {
        push("--set-file", format!("{}={}", text(file, "name"), text(file, "path")));
    }
    for file in list(helm, "valueFiles").filter_map(Value::as_str) {
        push("--values", expand(file, environment));
    }
    if let Some(file) = values {
        push("--values", file.display().to_string());
    }
    for version in list(helm, "apiVersions").filter_map(Value::as_str) {
        push("--api-versions", version.to_owned());
    }
    if !helm.get("skipCrds").and_then(Value::as_bool).unwrap_or(false) {
        arguments.push("--include-crds".to_owned());
    }
    arguments
}

fn list<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// The parameters as flags: the plain ones first, of equal names the last one.
fn sets(
    helm: &Value,
    environment: &BTreeMap<String, String>,
) -> Vec<(&'static str, String, String)> {
    let mut sets = Vec::new();
    for (flag, forced) in [("--set", false), ("--set-string", true)] {
        let mut chosen: Vec<(&'static str, String, String)> = Vec::new();
        for parameter in list(helm, "parameters") {
            if parameter.get("forceString").and_then(Value::as_bool).unwrap_or(false) != forced {
                continue;
            }
            let name = text(parameter, "name").to_owned();
            let value = escaped(&expand(text(parameter, "value"), environment));
            chosen.retain(|(_, known, _)| *known != name);
            chosen.push((flag, name, value));
        }
        sets.extend(chosen);
    }
    sets
}

/// Commas are escaped, but not in a list and not twice.
fn escaped(value: &str) -> String {
    if value.starts_with('{') && value.ends_with('}') {
        return value.to_owned();
    }
    let mut out = String::with_capacity(value.len());
    let mut before = ' ';
    for one in value.chars() {
        if one == ',' && before != '\\' {
            out.push('\\');
        }
        out.push(one);
        before = one;
    }
    out
}

/// Go's `os.Expand` over the build environment: `$NAME`, `${NAME}`, unknown names empty, `$$` one dollar.
pub(super) fn expand(text: &str, environment: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (name, after) = if let Some(braced) = rest.strip_prefix('{') {
            braced.split_once('}').unwrap_or((braced, ""))
        } else if rest.starts_with('$') {
            rest.split_at(1)
        } else {
            let end = rest
                .find(|one: char| !one.is_ascii_alphanumeric() && one != '_')
                .unwrap_or(rest.len());
            rest.split_at(end)
        };
        // `$$`, and a `$` that no name follows.
        if name.is_empty() || name == "$" {
            out.push('$');
        } else {
            out.push_str(environment.get(name).map_or("", String::as_str));
        }
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn variables_are_expanded() {
        let environment = BTreeMap::from([("A_1".to_owned(), "x".to_owned())]);
        let cases = [
            ("a$A_1-b", "ax-b"),
            ("${A_1}2", "x2"),
            ("$FOO", ""),
            ("$$FOO", "$FOO"),
            ("a$", "a$"),
            ("1.0", "1.0"),
        ];
        for (text, want) in cases {
            assert_eq!(expand(text, &environment), want, "{text}");
        }
    }

    #[test]
    fn parameters_become_flags() {
        let helm = json!({ "parameters": [
            { "name": "b", "value": "1", "forceString": true },
            { "name": "a", "value": "x,y\\,z" },
            { "name": "l", "value": "{x,y}" },
            { "name": "a", "value": "last" },
            { "name": "e" },
        ]});
        let got: Vec<String> = sets(&helm, &BTreeMap::new())
            .iter()
            .map(|(flag, name, value)| format!("{flag} {name}={value}"))
            .collect();
        assert_eq!(got, ["--set l={x,y}", "--set a=last", "--set e=", "--set-string b=1"]);
        assert_eq!(escaped("x,y\\,z"), "x\\,y\\,z");
    }
}
