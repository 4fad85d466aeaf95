//! Plans the write to one application: which source, which values, from what to what.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::api::request::AppRef;
use crate::judge::refusal::WriteRefusal;
use crate::model::{AppSource, Application, SourceAt};
use crate::overrides::plan::AppPlan;
use crate::overrides::values::{
    Occurrence, OverrideKey, OverrideValues, SourceChoice, SourceField, ValueChange, find,
};

/// Plans an override, or tells every reason why it cannot be.
pub fn plan(
    reference: &AppRef,
    app: &Application,
    wanted: &OverrideValues,
) -> Result<AppPlan, Vec<WriteRefusal>> {
    let mut refusals = Vec::new();
    if app.metadata.deletion_timestamp.is_some() {
        refusals.push(WriteRefusal::BeingDeleted);
    }
    let chosen = choose(app, wanted);
    let (at, source) = match chosen {
        Ok(chosen) => chosen,
        Err(refusal) => {
            refusals.push(refusal);
            return Err(refusals);
        }
    };
    let mut changes = Vec::new();
    for (key, new) in wanted.wanted() {
        match find(source, &key) {
            Occurrence::Repeated => refusals.push(WriteRefusal::Repeated { key: key.to_string() }),
            // What is not there need not be taken away.
            Occurrence::Absent if new.is_null() => {}
            Occurrence::Absent => changes.push(ValueChange { key, old: None, new }),
            Occurrence::At(_, old) => {
                changes.push(ValueChange { key, old: Some(old.clone()), new })
            }
        }
    }
    changes.extend(fewer_files(source, &wanted.without_files));
    changes.sort_by(|a, b| a.key.cmp(&b.key));
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let source_name = source.describe_among(app.spec.sources().iter().map(|(_, source)| source));
    let mut reference = reference.clone();
    if reference.project.is_none() && !app.spec.project.is_empty() {
        reference.project = Some(app.spec.project.clone());
    }
    Ok(AppPlan { app: reference, source: at, source_name, changes })
}

/// The list of files with values without some of them; no change if it has none of them.
fn fewer_files(source: &AppSource, without: &BTreeSet<String>) -> Option<ValueChange> {
    let key = OverrideKey::Field(SourceField::HelmValueFiles);
    let Occurrence::At(_, old) = find(source, &key) else { return None };
    let files = old.as_array()?;
    let left: Vec<Value> = files
        .iter()
        .filter(|file| !file.as_str().is_some_and(|file| without.contains(file)))
        .cloned()
        .collect();
    let new = if left.is_empty() { Value::Null } else { Value::Array(left.clone()) };
    (left.len() < files.len()).then(|| ValueChange { key, old: Some(old.clone()), new })
}

fn choose<'a>(
    app: &'a Application,
    wanted: &OverrideValues,
) -> Result<(SourceAt, &'a AppSource), WriteRefusal> {
    if app.spec.source_hydrator.is_some() {
        return Err(WriteRefusal::UnsupportedSource {
            kind: "Hydrator".into(),
            advice: "a hydrated application takes its values from git only: write the digest there"
                .into(),
        });
    }
    let all: Vec<_> = app.spec.sources().iter().collect();
    let describe = |(at, source): &(SourceAt, &AppSource)| match at {
        SourceAt::Single => source.describe(),
        SourceAt::Index(index) => format!("{} {}", index + 1, source.describe()),
    };
    let no_such = |wanted: String| WriteRefusal::NoSuchSource {
        wanted,
        sources: all.iter().map(describe).collect(),
    };
    let chosen = match &wanted.source {
        SourceChoice::Position(position) => all
            .get(position.wrapping_sub(1))
            .copied()
            .ok_or_else(|| no_such(format!("at position {position}")))?,
        SourceChoice::Name(name) => all
            .iter()
            .find(|(_, source)| source.name() == name)
            .copied()
            .ok_or_else(|| no_such(format!("named {name}")))?,
        SourceChoice::Auto if all.len() == 1 => all[0],
        SourceChoice::Auto => {
            let fitting: Vec<_> = all
                .iter()
                .filter(|(at, source)| {
                    misfit(app.status.source_type(*at), source, wanted).is_none()
                })
                .filter(|(_, source)| !source.path().is_empty() || !source.chart().is_empty())
                .copied()
                .collect();
            let [only] = fitting[..] else {
                return Err(WriteRefusal::WhichSource {
                    sources: fitting.iter().map(describe).collect(),
                });
            };
            only
        }
    };
    match misfit(app.status.source_type(chosen.0), chosen.1, wanted) {
        Some(refusal) => Err(refusal),
        None => Ok(chosen),
    }
}

/// Why a source of that kind cannot take the values, as far as its kind is known.
fn misfit(kind: &str, source: &AppSource, wanted: &OverrideValues) -> Option<WriteRefusal> {
    let kind = match kind {
        "" if !source.chart().is_empty() || source.has("/helm") => "Helm",
        "" if source.has("/kustomize") => "Kustomize",
        "" if source.has("/plugin") => "Plugin",
        other => other,
    };
    if kind.is_empty() || wanted.kinds().iter().all(|wanted| wanted.name() == kind) {
        return None;
    }
    let advice = match kind {
        "Helm" => "use --helm-set for a Helm chart",
        "Kustomize" => "use --kustomize-image for a Kustomize folder",
        "Plugin" => "use --plugin-env or --plugin-parameter for a plugin",
        _ => "plain manifests have no parameters: put a kustomization.yaml next to them",
    };
    Some(WriteRefusal::UnsupportedSource { kind: kind.to_owned(), advice: advice.to_owned() })
}

/// A new Helm parameter of a plan that a chart does not list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnlistedParameter {
    pub name: String,
    /// A listed one beside it, of which this is a misspelling.
    pub meant: Option<String>,
}

/// Helm parameters of the plan that a chart does not list and that the application does not have yet. A chart may read what it
/// does not list: values of a dependency or an alias, keys of an empty map, a name with a default in a template. So this alone
/// is no reason to refuse; that it is a misspelling of a neighbour is.
pub(crate) fn unlisted_parameters(plan: &AppPlan, known: &[String]) -> Vec<UnlistedParameter> {
    plan.changes
        .iter()
        .filter(|change| change.old.is_none() && !change.new.is_null())
        .filter_map(|change| match &change.key {
            OverrideKey::Helm(name) => Some(name),
            _ => None,
        })
        // Argo CD lists the names of values without the backslash by which `--set` escapes a dot.
        .map(|name| (name, name.replace("\\.", ".")))
        .filter(|(_, plain)| !known.iter().any(|known| covers(known, plain)))
        .map(|(name, plain)| UnlistedParameter { name: name.clone(), meant: meant(&plain, known) })
        .collect()
}

/// Whether a listed parameter is the wanted one, or they are nested in each other: `a` covers `a.b` and `a[0]`.
fn covers(known: &str, name: &str) -> bool {
    let inside = |outer: &str, inner: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    inside(known, name) || inside(name, known)
}

/// The listed parameter of the same map that a name is most likely to mean.
fn meant(name: &str, known: &[String]) -> Option<String> {
    let parts = |name: &str| {
        let (parent, last) = name.rsplit_once('.').unwrap_or(("", name));
        (parent.to_lowercase(), last.to_lowercase())
    };
    let (parent, last) = parts(name);
    let letters = |name: &str| {
        let mut letters: Vec<char> = name.chars().collect();
        letters.sort_unstable();
        letters
    };
    let near = known.iter().filter_map(|known| {
        let (beside, other) = parts(known);
        let distance = distance(&other, &last);
        // Two short names are near each other by chance, unless their letters are the same.
        let is_near = distance <= 2.min(last.len() / 2) || letters(&other) == letters(&last);
        (beside == parent && is_near).then_some((distance, known))
    });
    near.min().map(|(_, known)| known.clone())
}

/// The names that values give to parameters, those of maps and lists, too: they may be empty.
pub(crate) fn names_of_values(values: &Value) -> Vec<String> {
    fn walk(parent: &str, value: &Value, names: &mut Vec<String>) {
        let Value::Object(fields) = value else { return };
        for (field, value) in fields {
            let name = if parent.is_empty() { field.clone() } else { format!("{parent}.{field}") };
            walk(&name, value, names);
            // Of a map with values, its values speak.
            if value.as_object().is_none_or(serde_json::Map::is_empty) {
                names.push(name);
            }
        }
    }
    let mut names = Vec::new();
    walk("", values, &mut names);
    names
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn app(spec: Value, status: Value) -> Application {
        serde_json::from_value(
            json!({ "metadata": { "name": "a" }, "spec": spec, "status": status }),
        )
        .unwrap()
    }

    fn helm(source: SourceChoice) -> OverrideValues {
        OverrideValues {
            source,
            helm: [("image.tag".to_owned(), "2".to_owned())].into(),
            ..OverrideValues::default()
        }
    }

    fn kustomize() -> OverrideValues {
        OverrideValues { kustomize: vec!["web:2".parse().unwrap()], ..OverrideValues::default() }
    }

    #[track_caller]
    fn check(app: &Application, wanted: &OverrideValues, want: Result<SourceAt, &str>) {
        let got = plan(&AppRef::new("a"), app, wanted);
        let got = got.map(|plan| plan.source).map_err(|refusals| {
            serde_json::to_value(&refusals[0]).unwrap()["reason"].as_str().unwrap().to_owned()
        });
        assert_eq!(got, want.map_err(str::to_owned));
    }

    #[test]
    fn the_other_files_with_values_keep_their_order() {
        let spec = |files: Value| {
            json!({ "source": {
                "repoURL": "r", "path": "c", "helm": { "valueFiles": files },
            }})
        };
        let cases = [
            (json!(["a", "b", "c"]), &["b"][..], Some(json!(["a", "c"]))),
            (json!(["a", "b"]), &["b", "a"], Some(Value::Null)),
            (json!(["a", "b"]), &["c"], None),
            (json!(null), &["a"], None),
        ];
        for (files, without, want) in cases {
            let without = without.iter().map(|file| (*file).to_owned()).collect();
            let wanted = OverrideValues { without_files: without, ..OverrideValues::default() };
            assert!(!wanted.is_empty());
            let app = app(spec(files.clone()), json!({ "sourceType": "Helm" }));
            let plan = plan(&AppRef::new("a"), &app, &wanted).unwrap();
            let new = plan.changes.first().map(|change| change.new.clone());
            assert_eq!(new, want, "{files}");
            assert_eq!(plan.changes.len(), usize::from(want.is_some()));
        }
        let kustomize = app(
            json!({ "source": { "repoURL": "r", "path": "k" } }),
            json!({ "sourceType": "Kustomize" }),
        );
        let wanted =
            OverrideValues { without_files: ["a".to_owned()].into(), ..OverrideValues::default() };
        check(&kustomize, &wanted, Err("unsupported-source"));
    }

    #[test]
    fn the_source_is_found_or_asked_for() {
        use SourceAt::{Index, Single};
        use SourceChoice::{Auto, Name, Position};
        let git = |path: &str| json!({ "repoURL": "https://example.com/r.git", "path": path });
        let one =
            |kind: &str| app(json!({ "source": git("chart") }), json!({ "sourceType": kind }));
        check(&one("Helm"), &helm(Auto), Ok(Single));
        check(&one(""), &helm(Auto), Ok(Single));
        check(&one("Helm"), &helm(Position(1)), Ok(Single));
        check(&one("Helm"), &helm(Position(2)), Err("no-such-source"));
        check(&one("Helm"), &helm(Position(0)), Err("no-such-source"));
        check(&one("Kustomize"), &kustomize(), Ok(Single));
        for (kind, wanted, advice) in [
            ("Helm", kustomize(), "use --helm-set for a Helm chart"),
            ("Kustomize", helm(Auto), "use --kustomize-image for a Kustomize folder"),
            ("Plugin", helm(Auto), "use --plugin-env or --plugin-parameter for a plugin"),
            (
                "Directory",
                helm(Auto),
                "plain manifests have no parameters: put a kustomization.yaml next to them",
            ),
        ] {
            let refusals = plan(&AppRef::new("a"), &one(kind), &wanted).unwrap_err();
            let (kind, advice) = (kind.to_owned(), advice.to_owned());
            assert_eq!(refusals, [WriteRefusal::UnsupportedSource { kind, advice }]);
        }
        let two = |kinds: [&str; 2]| {
            let named =
                json!({ "repoURL": "https://example.com/r.git", "path": "b", "name": "second" });
            app(json!({ "sources": [git("a"), named] }), json!({ "sourceTypes": kinds }))
        };
        check(&two(["Helm", "Directory"]), &helm(Auto), Ok(Index(0)));
        check(&two(["Directory", "Helm"]), &helm(Auto), Ok(Index(1)));
        check(&two(["Helm", "Helm"]), &helm(Auto), Err("which-source"));
        check(&two(["Directory", "Directory"]), &helm(Auto), Err("which-source"));
        check(&two(["Helm", "Helm"]), &helm(Position(2)), Ok(Index(1)));
        check(&two(["Helm", "Helm"]), &helm(Name("second".into())), Ok(Index(1)));
        check(&two(["Helm", "Helm"]), &helm(Name("third".into())), Err("no-such-source"));
        // A source with only `ref` lends its files and renders nothing.
        let values = app(
            json!({ "sources": [{ "repoURL": "https://example.com/v.git", "ref": "values" }, git("chart")] }),
            json!({ "sourceTypes": ["", "Helm"] }),
        );
        check(&values, &helm(Auto), Ok(Index(1)));
        let hydrated =
            app(json!({ "source": git("x"), "sourceHydrator": { "drySource": {} } }), json!({}));
        check(&hydrated, &helm(Auto), Err("unsupported-source"));
    }

    #[test]
    fn old_values_are_kept_as_they_were() {
        let app = app(
            json!({ "project": "p", "source": { "repoURL": "r", "path": "c", "helm": { "parameters": [
                { "name": "image.tag", "value": "1" }, { "name": "x", "value": "1" }, { "name": "x", "value": "2" },
            ]}}}),
            json!({ "sourceType": "Helm" }),
        );
        let plan_of = |pairs: &[(&str, &str)]| {
            let helm = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            plan(&AppRef::new("a"), &app, &OverrideValues { helm, ..OverrideValues::default() })
        };
        let plan = plan_of(&[("image.tag", "2"), ("image.digest", "d")]).unwrap();
        assert_eq!(plan.app.project.as_deref(), Some("p"));
        let olds: Vec<_> = plan
            .changes
            .iter()
            .map(|change| (change.key.to_string(), change.old.clone()))
            .collect();
        assert_eq!(
            olds,
            [
                ("helm:image.digest".to_owned(), None),
                ("helm:image.tag".to_owned(), Some(json!({ "name": "image.tag", "value": "1" }))),
            ]
        );
        assert_eq!(
            plan_of(&[("x", "1")]).unwrap_err(),
            [WriteRefusal::Repeated { key: "helm:x".into() }]
        );
        // The same text without forceString is not the same value.
        assert!(!plan_of(&[("image.tag", "1")]).unwrap().is_noop());
    }

    #[test]
    fn an_earlier_plan_is_outdated_when_its_old_values_are_gone() {
        let app = |tag: &str| {
            let parameters = json!([{ "name": "image.tag", "value": tag, "forceString": true }]);
            let source =
                json!({ "repoURL": "r", "path": "c", "helm": { "parameters": parameters } });
            app(json!({ "source": source }), json!({ "sourceType": "Helm" }))
        };
        let plan_at = |tag: &str, to: &str| {
            let helm = [("image.tag".to_owned(), to.to_owned())].into();
            plan(
                &AppRef::new("a"),
                &app(tag),
                &OverrideValues { helm, ..OverrideValues::default() },
            )
            .unwrap()
        };
        assert_eq!(plan_at("1", "2").app.project, None, "the application has none");
        assert!(plan_at("1", "2").differences(&plan_at("1", "2")).is_empty());
        assert_eq!(
            plan_at("9", "2").differences(&plan_at("1", "2")),
            ["helm:image.tag is 9, was 1"]
        );
        assert_eq!(
            plan_at("1", "3").differences(&plan_at("1", "2")),
            ["helm:image.tag is to become 3"]
        );
    }

    #[test]
    fn only_a_misspelt_neighbour_is_certain() {
        let known: Vec<String> =
            ["image.tag", "image.repository", "replica", "replicas", "config.admin.enabled"]
                .map(str::to_owned)
                .to_vec();
        let values =
            json!({ "podAnnotations": {}, "list": [], "web": { "replicas": 1 }, "n": null });
        let known: Vec<String> = known.into_iter().chain(names_of_values(&values)).collect();
        let unlisted = |name: &str| {
            let plan = AppPlan {
                app: AppRef::new("a"),
                source: SourceAt::Single,
                source_name: String::new(),
                changes: vec![ValueChange {
                    key: OverrideKey::Helm(name.into()),
                    old: None,
                    new: json!({}),
                }],
            };
            unlisted_parameters(&plan, &known).into_iter().next().map(|unlisted| unlisted.meant)
        };
        let listed = [
            "image.tag",
            "image",
            "replicas",
            r"config.admin\.enabled",
            r"podAnnotations.example\.com/x",
            "list[0].name",
            "n.x",
        ];
        for name in listed {
            assert_eq!(unlisted(name), None, "{name}");
        }
        assert_eq!(unlisted("image.tga"), Some(Some("image.tag".into())));
        assert_eq!(unlisted("Image.Tag"), Some(Some("image.tag".into())));
        assert_eq!(unlisted("image.repostry"), Some(Some("image.repository".into())));
        assert_eq!(unlisted("replicass"), Some(Some("replicas".into())), "the nearest");
        assert_eq!(unlisted("image.top"), Some(None), "short names are alike by chance");
        // A dependency's values, or of a name that only a template knows.
        for name in ["web.image.tag", "app.image.tag", "colour", "tag", "image.hash", "web.sha"] {
            assert_eq!(unlisted(name), Some(None), "{name}");
        }
    }
}
