//! What Go's decoder accepts as an Application: unknown members are dropped, a wrong type is an error.
//!
//! Pure, and only as deep as a client of overrides can reach.

use serde_json::{Map, Value};

/// The Go type of a value.
#[derive(Debug, Clone, Copy)]
enum Type {
    String,
    Bool,
    Int,
    /// `map[string]string`.
    Strings,
    /// A list, with the name of its Go type.
    List(&'static str, &'static Type),
    Struct(&'static str, &'static [(&'static str, Type)]),
    Any,
}

use Type::{Any, Bool, Int, List, String as Text, Strings, Struct};

const PARAMETER: Type =
    Struct("v1alpha1.HelmParameter", &[("name", Text), ("value", Text), ("forceString", Bool)]);
const FILE_PARAMETER: Type =
    Struct("v1alpha1.HelmFileParameter", &[("name", Text), ("path", Text)]);

const HELM: Type = Struct(
    "v1alpha1.ApplicationSourceHelm",
    &[
        ("valueFiles", List("[]string", &Text)),
        ("parameters", List("[]v1alpha1.HelmParameter", &PARAMETER)),
        ("fileParameters", List("[]v1alpha1.HelmFileParameter", &FILE_PARAMETER)),
        ("values", Text),
        ("valuesObject", Any),
        ("releaseName", Text),
        ("version", Text),
        ("passCredentials", Bool),
        ("ignoreMissingValueFiles", Bool),
        ("skipCrds", Bool),
        ("skipTests", Bool),
        ("skipSchemaValidation", Bool),
        ("namespace", Text),
        ("kubeVersion", Text),
        ("apiVersions", List("[]string", &Text)),
    ],
);

const KUSTOMIZE: Type = Struct(
    "v1alpha1.ApplicationSourceKustomize",
    &[
        ("namePrefix", Text),
        ("nameSuffix", Text),
        ("images", List("v1alpha1.KustomizeImages", &Text)),
        ("commonLabels", Strings),
        ("commonAnnotations", Strings),
        ("version", Text),
        ("namespace", Text),
        ("forceCommonLabels", Bool),
        ("forceCommonAnnotations", Bool),
        ("replicas", Any),
        ("patches", Any),
        ("components", List("[]string", &Text)),
    ],
);

const SOURCE_MEMBERS: &[(&str, Type)] = &[
    ("repoURL", Text),
    ("path", Text),
    ("chart", Text),
    ("targetRevision", Text),
    ("ref", Text),
    ("name", Text),
    ("tagPrefix", Text),
    ("helm", HELM),
    ("kustomize", KUSTOMIZE),
    ("directory", Any),
    ("plugin", Any),
];
const SOURCE: Type = Struct("v1alpha1.ApplicationSource", SOURCE_MEMBERS);

const AUTOMATED: Type = Struct(
    "v1alpha1.SyncPolicyAutomated",
    &[("prune", Bool), ("selfHeal", Bool), ("allowEmpty", Bool), ("enabled", Bool)],
);
const SYNC_POLICY: Type = Struct(
    "v1alpha1.SyncPolicy",
    &[
        ("automated", AUTOMATED),
        ("syncOptions", List("v1alpha1.SyncOptions", &Text)),
        ("retry", Any),
        ("managedNamespaceMetadata", Any),
    ],
);

const SPEC: Type = Struct(
    "v1alpha1.ApplicationSpec",
    &[
        ("source", SOURCE),
        ("sources", List("v1alpha1.ApplicationSources", &SOURCE)),
        (
            "destination",
            Struct(
                "v1alpha1.ApplicationDestination",
                &[("server", Text), ("namespace", Text), ("name", Text)],
            ),
        ),
        ("project", Text),
        ("syncPolicy", SYNC_POLICY),
        ("ignoreDifferences", Any),
        ("info", Any),
        ("revisionHistoryLimit", Int),
        ("sourceHydrator", Any),
    ],
);

const METADATA: Type = Struct(
    "v1.ObjectMeta",
    &[
        ("name", Text),
        ("namespace", Text),
        ("labels", Strings),
        ("annotations", Strings),
        ("finalizers", List("[]string", &Text)),
        ("ownerReferences", Any),
        ("resourceVersion", Text),
        ("uid", Text),
        ("generation", Int),
        ("creationTimestamp", Any),
        ("deletionTimestamp", Any),
        ("managedFields", Any),
    ],
);

const APPLICATION: Type = Struct(
    "v1alpha1.Application",
    &[("metadata", METADATA), ("spec", SPEC), ("status", Any), ("operation", Any)],
);

/// Decodes a whole Application. The error is the decoder's text, `json: cannot unmarshal …`.
pub(crate) fn application(value: &Value) -> Result<Value, String> {
    decode(value, APPLICATION, "Application")
}

/// Decodes an `ApplicationSpec`.
pub(crate) fn spec(value: &Value) -> Result<Value, String> {
    decode(value, SPEC, "ApplicationSpec")
}

pub(crate) fn source(value: &Value) -> Result<Value, String> {
    decode(value, SOURCE, "ApplicationSource")
}

fn decode(value: &Value, wanted: Type, place: &str) -> Result<Value, String> {
    let wrong = |kind: &str, go: &str| {
        Err(format!("json: cannot unmarshal {kind} into Go struct field {place} of type {go}"))
    };
    let kind = match value {
        Value::Null => return Ok(Value::Null),
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    match (wanted, value) {
        (Any, _) | (Text, Value::String(_)) | (Bool, Value::Bool(_)) => Ok(value.clone()),
        (Int, Value::Number(number)) if number.is_i64() => Ok(value.clone()),
        (Strings, Value::Object(object)) => {
            if let Some((_, bad)) = object.iter().find(|(_, value)| !value.is_string()) {
                let kind = if bad.is_number() { "number" } else { "object" };
                return wrong(kind, "string");
            }
            Ok(value.clone())
        }
        (List(_, item), Value::Array(array)) => array
            .iter()
            .enumerate()
            .map(|(at, value)| decode(value, *item, &format!("{place}.{at}")))
            .collect::<Result<_, _>>()
            .map(Value::Array),
        (Struct(_, members), Value::Object(object)) => {
            let mut decoded = Map::new();
            for (name, member) in members {
                if let Some(value) = object.get(*name).filter(|value| !value.is_null()) {
                    decoded.insert(
                        (*name).to_owned(),
                        decode(value, *member, &format!("{place}.{name}"))?,
                    );
                }
            }
            Ok(Value::Object(decoded))
        }
        (Text, _) => wrong(kind, "string"),
        (Bool, _) => wrong(kind, "bool"),
        (Int, _) => wrong(kind, "int64"),
        (Strings, _) => wrong(kind, "map[string]string"),
        (List(go, _) | Struct(go, _), _) => wrong(kind, go),
    }
}

/// What Argo CD's `NormalizeApplicationSpec` does: empty parts go away, an empty project is `default`.
pub(crate) fn normalized(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let Some(object) = spec.as_object_mut() else { return spec };
    if object.get("project").and_then(Value::as_str).unwrap_or_default().is_empty() {
        object.insert("project".to_owned(), "default".into());
    }
    if let Some(source) = object.get_mut("source") {
        normalize_source(source);
    }
    if let Some(Value::Array(sources)) = object.get_mut("sources") {
        if sources.is_empty() {
            object.remove("sources");
        } else {
            sources.iter_mut().for_each(normalize_source);
        }
    }
    if object
        .get("syncPolicy")
        .is_some_and(|policy| is_zero(policy) && policy.get("automated").is_none())
    {
        object.remove("syncPolicy");
    }
    spec
}

fn normalize_source(source: &mut Value) {
    let Some(object) = source.as_object_mut() else { return };
    for part in ["helm", "kustomize", "directory", "plugin"] {
        if let Some(Value::Object(members)) = object.get_mut(part) {
            members.retain(|name, value| name == "valuesObject" || !is_zero(value));
            if members.is_empty() {
                object.remove(part);
            }
        }
    }
    if let Some(Value::Array(parameters)) =
        object.get_mut("helm").and_then(|helm| helm.get_mut("parameters"))
    {
        for parameter in parameters.iter_mut().filter_map(Value::as_object_mut) {
            parameter.retain(|_, value| !is_zero(value));
        }
    }
}

/// What `omitempty` leaves out.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn wrong_types_name_the_field() {
        let parameters =
            |value: Value| json!({ "spec": { "source": { "helm": { "parameters": value } } } });
        let cases = [
            (
                parameters(json!("x")),
                "json: cannot unmarshal string into Go struct field Application.spec.source.helm.parameters of type []v1alpha1.HelmParameter",
            ),
            (
                parameters(json!([{ "name": "a" }, { "name": "replicas", "value": 3 }])),
                "json: cannot unmarshal number into Go struct field Application.spec.source.helm.parameters.1.value of type string",
            ),
        ];
        for (document, want) in cases {
            assert_eq!(application(&document), Err(want.to_owned()));
        }
    }

    #[test]
    fn unknown_members_are_dropped() {
        let document = json!({ "spec": { "project": "p", "sorce": {}, "source": { "repoURL": "u", "extra": 1 } } });
        assert_eq!(
            application(&document).unwrap(),
            json!({ "spec": { "project": "p", "source": { "repoURL": "u" } } })
        );
    }

    #[test]
    fn empty_parts_go_away() {
        let spec = json!({
            "source": { "repoURL": "u", "helm": { "parameters": [] }, "kustomize": { "images": [] } }, "syncPolicy": {},
        });
        assert_eq!(
            normalized(&spec),
            json!({ "source": { "repoURL": "u" }, "project": "default" })
        );
        let spec = json!({
            "project": "p", "syncPolicy": { "automated": {} },
            "source": { "helm": { "parameters": [{ "name": "a", "value": "", "forceString": false }] } },
        });
        let want = json!({ "project": "p", "syncPolicy": { "automated": {} }, "source": { "helm": { "parameters": [{ "name": "a" }] } } });
        assert_eq!(normalized(&spec), want);
    }
}
