//! The environment of a container, from its specification. Pure: config maps and secrets are handed in.

use std::collections::BTreeMap;

use super::model::{Container, EnvSource, KeyRef, Pod};

/// The data of config maps and secrets of one namespace, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    pub(crate) config_maps: BTreeMap<String, BTreeMap<String, String>>,
    pub(crate) secrets: BTreeMap<String, BTreeMap<String, String>>,
}

/// What a pod's containers refer to, by kind: config maps, secrets.
pub(crate) fn referenced(container: &Container) -> (Vec<String>, Vec<String>) {
    let sources = || container.env.iter().filter_map(|var| var.value_from.as_ref());
    let names = |from: Vec<&KeyRef>| from.into_iter().map(|key| key.name.clone()).collect();
    let maps = sources()
        .filter_map(|source| source.config_map_key_ref.as_ref())
        .chain(container.env_from.iter().filter_map(|from| from.config_map_ref.as_ref()));
    let secrets = sources()
        .filter_map(|source| source.secret_key_ref.as_ref())
        .chain(container.env_from.iter().filter_map(|from| from.secret_ref.as_ref()));
    (names(maps.collect()), names(secrets.collect()))
}

/// The variables of a container as `NAME=value`, in order. `POD_IP` is always there.
pub(crate) fn resolve(
    pod: &Pod,
    container: &Container,
    pod_ip: &str,
    sources: &Sources,
) -> Result<Vec<String>, String> {
    let mut values: Vec<(String, String)> = vec![("POD_IP".to_owned(), pod_ip.to_owned())];
    for from in &container.env_from {
        for (key, kind, all) in [
            (&from.config_map_ref, "configmap", &sources.config_maps),
            (&from.secret_ref, "secret", &sources.secrets),
        ] {
            let Some(key) = key else { continue };
            match all.get(&key.name) {
                Some(data) => {
                    values
                        .extend(data.iter().map(|(name, value)| {
                            (format!("{}{name}", from.prefix), value.clone())
                        }));
                }
                None if key.optional => {}
                None => return Err(format!("{kind} {:?} not found", key.name)),
            }
        }
    }
    for var in &container.env {
        let value = match &var.value_from {
            None => Some(expand(&var.value, &values)),
            Some(source) => from_source(source, pod, pod_ip, sources)?,
        };
        if let Some(value) = value {
            values.push((var.name.clone(), value));
        }
    }
    // The last one of a name wins, at the place of the first.
    let mut last: Vec<(String, String)> = Vec::new();
    for (name, value) in values {
        match last.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => last.push((name, value)),
        }
    }
    Ok(last.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

fn from_source(
    source: &EnvSource,
    pod: &Pod,
    pod_ip: &str,
    sources: &Sources,
) -> Result<Option<String>, String> {
    if let Some(field) = &source.field_ref {
        return field_of(&field.field_path, pod, pod_ip).map(Some);
    }
    for (key, kind, all) in [
        (&source.config_map_key_ref, "configmap", &sources.config_maps),
        (&source.secret_key_ref, "secret", &sources.secrets),
    ] {
        let Some(key) = key else { continue };
        let value = all.get(&key.name).and_then(|data| data.get(&key.key));
        return match value {
            Some(value) => Ok(Some(value.clone())),
            None if key.optional => Ok(None),
            None if all.contains_key(&key.name) => {
                Err(format!("couldn't find key {} in {kind} {:?}", key.key, key.name))
            }
            None => Err(format!("{kind} {:?} not found", key.name)),
        };
    }
    Err("this node agent knows env values from fieldRef, configMapKeyRef and secretKeyRef only"
        .to_owned())
}

/// A field of the downward API.
fn field_of(path: &str, pod: &Pod, pod_ip: &str) -> Result<String, String> {
    let metadata = &pod.metadata;
    let in_map = |map: &BTreeMap<String, String>, prefix: &str| {
        let key = path.strip_prefix(prefix)?.strip_suffix("']")?;
        Some(map.get(key).cloned().unwrap_or_default())
    };
    Ok(match path {
        "status.podIP" | "status.podIPs" => pod_ip.to_owned(),
        "status.hostIP" | "status.hostIPs" => "127.0.0.1".to_owned(),
        "metadata.name" => metadata.name.clone(),
        "metadata.namespace" => metadata.namespace.clone(),
        "metadata.uid" => metadata.uid.clone(),
        "spec.nodeName" => pod.spec.node_name.clone(),
        "spec.serviceAccountName" => pod.spec.service_account_name.clone(),
        _ => in_map(&metadata.labels, "metadata.labels['")
            .or_else(|| in_map(&metadata.annotations, "metadata.annotations['"))
            .ok_or_else(|| format!("unsupported fieldPath: {path}"))?,
    })
}

/// Replaces `$(NAME)` by a variable that was set before; `$$` is a dollar; anything else stays.
pub(crate) fn expand(text: &str, values: &[(String, String)]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let reference = rest.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        match reference.and_then(|(name, after)| {
            let (_, value) = values.iter().rev().find(|(known, _)| known == name)?;
            Some((value, after))
        }) {
            Some((value, after)) => {
                out.push_str(value);
                rest = after;
            }
            None => out.push('$'),
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(container: serde_json::Value, want: Result<&[&str], &str>) {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "p", "namespace": "n", "uid": "u", "labels": { "app.kubernetes.io/name": "web" } },
            "spec": { "nodeName": "node" },
        }))
        .unwrap();
        let container: Container = serde_json::from_value(container).unwrap();
        let map = |name: &str| {
            BTreeMap::from([(name.to_owned(), BTreeMap::from([("k".to_owned(), "v".to_owned())]))])
        };
        let sources = Sources { config_maps: map("m"), secrets: map("s") };
        let got = resolve(&pod, &container, "127.9.0.2", &sources);
        let want = want
            .map(|list| list.iter().map(|&one| one.to_owned()).collect())
            .map_err(str::to_owned);
        assert_eq!(got, want);
    }

    #[test]
    fn every_source_of_a_variable() {
        let field = |path: &str| json!({ "env": [{ "name": "X", "valueFrom": { "fieldRef": { "fieldPath": path } } }] });
        check(json!({}), Ok(&["POD_IP=127.9.0.2"]));
        check(field("status.podIP"), Ok(&["POD_IP=127.9.0.2", "X=127.9.0.2"]));
        check(field("metadata.name"), Ok(&["POD_IP=127.9.0.2", "X=p"]));
        check(field("metadata.namespace"), Ok(&["POD_IP=127.9.0.2", "X=n"]));
        check(field("spec.nodeName"), Ok(&["POD_IP=127.9.0.2", "X=node"]));
        check(
            field("metadata.labels['app.kubernetes.io/name']"),
            Ok(&["POD_IP=127.9.0.2", "X=web"]),
        );
        check(field("spec.foo"), Err("unsupported fieldPath: spec.foo"));
        let key = |kind: &str, name: &str, key: &str, optional: bool| {
            let source = json!({ kind: { "name": name, "key": key, "optional": optional } });
            json!({ "env": [{ "name": "X", "valueFrom": source }] })
        };
        check(key("configMapKeyRef", "m", "k", false), Ok(&["POD_IP=127.9.0.2", "X=v"]));
        check(key("secretKeyRef", "s", "k", false), Ok(&["POD_IP=127.9.0.2", "X=v"]));
        check(key("secretKeyRef", "s", "z", false), Err("couldn't find key z in secret \"s\""));
        check(key("configMapKeyRef", "z", "k", false), Err("configmap \"z\" not found"));
        check(key("configMapKeyRef", "z", "k", true), Ok(&["POD_IP=127.9.0.2"]));
        check(
            json!({ "envFrom": [{ "prefix": "P_", "configMapRef": { "name": "m" } }] }),
            Ok(&["POD_IP=127.9.0.2", "P_k=v"]),
        );
        check(
            json!({ "envFrom": [{ "secretRef": { "name": "z" } }] }),
            Err("secret \"z\" not found"),
        );
    }

    #[test]
    fn later_variables_see_and_replace_earlier_ones() {
        let env = |list: &[(&str, &str)]| {
            let list: Vec<_> =
                list.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
            json!({ "env": list })
        };
        check(env(&[("A", "1"), ("B", "$(A)2")]), Ok(&["POD_IP=127.9.0.2", "A=1", "B=12"]));
        check(env(&[("A", "$(B) $$(A) $ $")]), Ok(&["POD_IP=127.9.0.2", "A=$(B) $(A) $ $"]));
        check(env(&[("A", "1"), ("A", "2")]), Ok(&["POD_IP=127.9.0.2", "A=2"]));
        check(
            env(&[("U", "http://$(POD_IP):1")]),
            Ok(&["POD_IP=127.9.0.2", "U=http://127.9.0.2:1"]),
        );
    }
}
