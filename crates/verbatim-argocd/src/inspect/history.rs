//! What an application ran before, from Argo CD's own history: the way back that needs neither registry nor records. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use verbatim_oci::Digest;

use crate::model::{Application, SourceAt};
use crate::overrides::plan::AppPlan;
use crate::overrides::values::{
    Occurrence, OverrideKey, OverrideValues, ValueChange, find, is_part_of_image, is_typed,
    same_element, shown,
};

/// Values that an application was deployed with.
#[derive(Clone, Debug, PartialEq)]
pub struct PastValues {
    /// The number of the newest deployment with these values.
    pub id: i64,
    /// When that was done.
    pub deployed_at: Option<Timestamp>,
    /// The values.
    pub values: Vec<PastValue>,
}

/// One value that an application was deployed with.
#[derive(Clone, Debug, PartialEq)]
pub struct PastValue {
    /// In which source.
    pub source: SourceAt,
    /// Which value.
    pub key: OverrideKey,
    /// What it was, as text.
    pub text: String,
    /// Whether it is a Helm parameter of which Helm makes a boolean or a number.
    pub is_typed: bool,
}

impl PastValue {
    /// The value of a change before it.
    pub fn before(change: &ValueChange) -> Self {
        Self::of(change, change.old.as_ref())
    }

    fn of(change: &ValueChange, element: Option<&Value>) -> Self {
        Self {
            source: change.source,
            key: change.key.clone(),
            text: shown(element),
            is_typed: element.is_some_and(|element| is_typed_name(&change.key, element)),
        }
    }
}

impl PastValues {
    /// These values as an override of the same sources.
    ///
    /// # Errors
    /// A stored Kustomize image that is none.
    pub fn to_override(
        &self,
    ) -> Result<OverrideValues, crate::overrides::values::KustomizeImageError> {
        let mut all: BTreeMap<SourceAt, OverrideValues> = BTreeMap::new();
        for PastValue { source, key, text, is_typed } in &self.values {
            let values = all.entry(*source).or_insert_with(|| OverrideValues {
                source: (*source).into(),
                ..OverrideValues::default()
            });
            match key {
                OverrideKey::Helm(name) => {
                    values.helm.insert(name.clone(), text.clone());
                    if *is_typed {
                        values.typed.insert(name.clone());
                    }
                }
                OverrideKey::Kustomize(_) => values.kustomize.push(text.parse()?),
                // `past` tells nothing of plans with others: a text alone does not say what they were.
                _ => {}
            }
        }
        let mut all = all.into_values();
        let first = all.next().unwrap_or_default();
        Ok(OverrideValues { elsewhere: all.collect(), ..first })
    }

    /// The digests that these values pin.
    pub fn digests(&self) -> Vec<Digest> {
        let texts = self.values.iter().map(|value| value.text.as_str());
        crate::overrides::values::digests(texts)
    }
}

/// Whether a Helm parameter is stored without `forceString`, and that changes what its text is.
fn is_typed_name(key: &OverrideKey, element: &Value) -> bool {
    matches!(key, OverrideKey::Helm(name) if is_typed(element) && !is_part_of_image(name))
}

/// What the keys of a plan were at each successful deployment, newest first; each set of values once, and only those
/// that had all keys. The values that stand now are left out.
pub fn past(app: &Application, plan: &AppPlan) -> Vec<PastValues> {
    let mut told: Vec<PastValues> = Vec::new();
    let is_text =
        |key: &OverrideKey| matches!(key, OverrideKey::Helm(_) | OverrideKey::Kustomize(_));
    if !plan.changes.iter().all(|change| is_text(&change.key)) {
        return told;
    }
    for entry in app.status.history.iter().rev() {
        let sources = entry.sources();
        let elements = plan.changes.iter().map(|change| {
            match find(sources.get(change.source)?, &change.key) {
                Occurrence::At(_, element) => Some((change, element)),
                Occurrence::Absent | Occurrence::Repeated => None,
            }
        });
        let Some(elements) = elements.collect::<Option<Vec<_>>>() else { continue };
        let stands = elements.iter().all(|(change, element)| {
            change.old.as_ref().is_some_and(|old| same_element(old, element))
        });
        let values: Vec<PastValue> =
            elements.iter().map(|(change, element)| PastValue::of(change, Some(element))).collect();
        if !stands && told.iter().all(|past| past.values != values) {
            told.push(PastValues { id: entry.id, deployed_at: entry.deployed_at, values });
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::request::AppRef;
    use crate::judge::plan::plan;

    fn source(tag: Option<&str>) -> Value {
        let parameters: Vec<Value> =
            tag.iter().map(|tag| json!({ "name": "image.tag", "value": tag })).collect();
        json!({ "repoURL": "r", "path": "c", "helm": { "parameters": parameters } })
    }

    #[track_caller]
    fn check(now: Option<&str>, history: &[Option<&str>], want: &[(i64, &str)]) {
        let history: Vec<Value> = history
            .iter()
            .enumerate()
            .map(|(id, tag)| json!({ "id": id, "source": source(*tag) }))
            .collect();
        let app: Application = serde_json::from_value(json!({
            "metadata": { "name": "a" }, "spec": { "source": source(now) },
            "status": { "sourceType": "Helm", "history": history },
        }))
        .unwrap();
        let wanted = OverrideValues {
            helm: [("image.tag".to_owned(), String::new())].into(),
            ..OverrideValues::default()
        };
        let plan = plan(&AppRef::new("a"), &app, &wanted).unwrap();
        let got: Vec<_> = past(&app, &plan)
            .into_iter()
            .map(|past| (past.id, past.values[0].text.clone()))
            .collect();
        let want: Vec<_> = want.iter().map(|(id, tag)| (*id, (*tag).to_owned())).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn each_earlier_value_is_told_once_newest_first() {
        check(Some("3"), &[Some("1"), Some("2"), Some("1"), Some("3")], &[(2, "1"), (1, "2")]);
        check(Some("3"), &[Some("3")], &[]);
        // Before there was an override, something else decided.
        check(Some("2"), &[None, Some("1"), Some("2")], &[(1, "1")]);
        // The override is gone: all that was pinned is in the past.
        check(None, &[Some("1"), Some("2"), None], &[(1, "2"), (0, "1")]);
        check(Some("1"), &[], &[]);
    }

    #[test]
    fn a_value_of_the_past_is_typed_as_it_was_and_a_tag_never() {
        let cases = [
            ("ingress.enabled", json!({ "value": "true" }), true),
            ("ingress.enabled", json!({ "value": "true", "forceString": true }), false),
            ("image.tag", json!({ "value": "7" }), false),
        ];
        for (name, element, want) in cases {
            let told = is_typed_name(&OverrideKey::Helm(name.to_owned()), &element);
            assert_eq!(told, want, "{name} {element}");
        }
    }

    #[test]
    fn values_of_the_past_can_be_written_again() {
        let digest = Digest::of(b"x");
        let value = |index, key: OverrideKey, text: String, is_typed| PastValue {
            source: SourceAt::Index(index),
            key,
            text,
            is_typed,
        };
        let helm = |name: &str| OverrideKey::Helm(name.to_owned());
        let image = format!("web=r.example/web@{digest}");
        let past = PastValues {
            id: 1,
            deployed_at: None,
            values: vec![
                value(1, helm("image.tag"), format!("1@{digest}"), false),
                value(1, helm("on"), "true".to_owned(), true),
                value(2, OverrideKey::Kustomize("web".to_owned()), image, false),
            ],
        };
        assert_eq!(past.digests(), [digest]);
        let values = past.to_override().unwrap();
        assert_eq!(values.source, crate::overrides::values::SourceChoice::Position(2));
        assert_eq!(values.helm["image.tag"], format!("1@{digest}"));
        assert_eq!(values.typed, ["on".to_owned()].into());
        let [second] = &values.elsewhere[..] else { panic!("{values:?}") };
        assert_eq!(second.source, crate::overrides::values::SourceChoice::Position(3));
        assert_eq!(second.kustomize[0].name(), "web");
    }
}
