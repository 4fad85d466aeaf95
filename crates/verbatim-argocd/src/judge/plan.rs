//! Plans the write to one application: which source, which values, from what to what.

use std::borrow::Cow;
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
    let mut reference = reference.clone();
    if reference.project.is_none() && !app.spec.project.is_empty() {
        reference.project = Some(app.spec.project.clone());
    }
    let mut plan = AppPlan { app: reference, sources: Vec::new(), changes: Vec::new() };
    for values in wanted.by_source() {
        match choose(app, values) {
            Ok(chosen) => {
                for ChosenSource { at, source, values } in chosen {
                    plan.add_source(app, at);
                    let (changes, repeated) = changes(at, source, &values);
                    plan.changes.extend(changes);
                    refusals.extend(repeated);
                }
            }
            Err(refusal) => refusals.push(refusal),
        }
    }
    plan.changes.sort_by(|a, b| (a.source, &a.key).cmp(&(b.source, &b.key)));
    let twice = plan.changes.windows(2).filter(|two| two[0].is_of_same_value(&two[1]));
    refusals.extend(twice.map(|two| WriteRefusal::GivenTwice { key: two[0].name() }));
    if refusals.is_empty() { Ok(plan) } else { Err(refusals) }
}

/// What becomes of a source by some values.
fn changes(
    at: SourceAt,
    source: &AppSource,
    values: &OverrideValues,
) -> (Vec<ValueChange>, Vec<WriteRefusal>) {
    let (mut changes, mut refusals) = (Vec::new(), Vec::new());
    for (key, new) in values.wanted() {
        let old = match find(source, &key) {
            Occurrence::Repeated => {
                refusals.push(WriteRefusal::Repeated { key: key.to_string() });
                continue;
            }
            // What is not there need not be taken away.
            Occurrence::Absent if new.is_null() => continue,
            Occurrence::Absent => None,
            Occurrence::At(_, old) => Some(old.clone()),
        };
        changes.push(ValueChange { source: at, key, old, new });
    }
    changes.extend(fewer_files(at, source, &values.without_files));
    (changes, refusals)
}

/// The list of files with values without some of them; no change if it has none of them.
fn fewer_files(
    at: SourceAt,
    source: &AppSource,
    without: &BTreeSet<String>,
) -> Option<ValueChange> {
    let key = OverrideKey::Field(SourceField::HelmValueFiles);
    let Occurrence::At(_, old) = find(source, &key) else { return None };
    let files = old.as_array()?;
    let left: Vec<Value> = files
        .iter()
        .filter(|file| !file.as_str().is_some_and(|file| without.contains(file)))
        .cloned()
        .collect();
    let new = if left.is_empty() { Value::Null } else { Value::Array(left.clone()) };
    let change = ValueChange { source: at, key, old: Some(old.clone()), new };
    (left.len() < files.len()).then_some(change)
}

/// A source, and which of the values go into it.
struct ChosenSource<'a> {
    at: SourceAt,
    source: &'a AppSource,
    values: Cow<'a, OverrideValues>,
}

/// The source that some values are for. If none takes all of them and they are for several kinds of source, those of each kind
/// go into the only one that takes them.
fn choose<'a>(
    app: &'a Application,
    wanted: &'a OverrideValues,
) -> Result<Vec<ChosenSource<'a>>, WriteRefusal> {
    if app.spec.source_hydrator.is_some() {
        return Err(WriteRefusal::UnsupportedSource {
            kind: "Hydrator".into(),
            advice: "a hydrated application takes its values from git only: write the digest there"
                .into(),
        });
    }
    let all: Vec<_> = app.spec.sources().iter().collect();
    let no_such = |wanted: String| WriteRefusal::NoSuchSource {
        wanted,
        sources: all.iter().map(|one| describe(app, one)).collect(),
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
        SourceChoice::Auto => return fitting(app, &all, wanted),
    };
    match misfit(app.status.source_type(chosen.0), chosen.1, wanted) {
        Some(refusal) => Err(refusal),
        None => {
            let (at, source) = chosen;
            Ok(vec![ChosenSource { at, source, values: Cow::Borrowed(wanted) }])
        }
    }
}

/// The only source that takes all values, or one for each kind of them.
fn fitting<'a>(
    app: &Application,
    all: &[(SourceAt, &'a AppSource)],
    wanted: &'a OverrideValues,
) -> Result<Vec<ChosenSource<'a>>, WriteRefusal> {
    let takes = |values: &OverrideValues| -> Vec<(SourceAt, &'a AppSource)> {
        let renders = |source: &AppSource| !source.path().is_empty() || !source.chart().is_empty();
        let fits = |at: SourceAt, source: &AppSource| {
            misfit(app.status.source_type(at), source, values).is_none()
        };
        all.iter().filter(|(at, source)| fits(*at, source) && renders(source)).copied().collect()
    };
    let only = |values: Cow<'a, OverrideValues>| match takes(&values)[..] {
        [(at, source)] => Ok(ChosenSource { at, source, values }),
        [] => Err(WriteRefusal::NoSourceFits {
            kinds: values.kinds().iter().map(|kind| kind.name().to_owned()).collect(),
            sources: all.iter().map(|one| describe(app, one)).collect(),
        }),
        ref several => {
            let sources = several.iter().map(|one| describe(app, one)).collect();
            Err(WriteRefusal::WhichSource { sources })
        }
    };
    let kinds = wanted.kinds();
    // What any source takes would go into each.
    let is_for_any = wanted.wanted().any(|(key, _)| key.kind().is_none());
    if kinds.len() < 2 || is_for_any || !takes(wanted).is_empty() {
        return only(Cow::Borrowed(wanted)).map(|chosen| vec![chosen]);
    }
    let mut parts: Vec<OverrideValues> = kinds.iter().map(|kind| wanted.of_kind(*kind)).collect();
    // That no source takes a part says more than that several take another one.
    parts.sort_by_key(|part| !takes(part).is_empty());
    parts.into_iter().map(|part| only(Cow::Owned(part))).collect()
}

/// A source for people: its position, its kind, its repository and folder or chart.
fn describe(app: &Application, (at, source): &(SourceAt, &AppSource)) -> String {
    let known = [app.status.source_type(*at), &source.describe()];
    let known = known.into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join(" ");
    at.position().map_or(known.clone(), |position| format!("{position} {known}"))
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
pub(crate) fn unlisted_parameters(
    plan: &AppPlan,
    known: &[(SourceAt, String)],
) -> Vec<UnlistedParameter> {
    let unlisted = plan.changes.iter().filter_map(|change| {
        let OverrideKey::Helm(name) = &change.key else { return None };
        if change.old.is_some() || change.new.is_null() {
            return None;
        }
        // Argo CD lists the names of values without the backslash by which `--set` escapes a dot.
        let plain = name.replace("\\.", ".");
        let of_source = known.iter().filter(|(at, _)| *at == change.source);
        let known: Vec<&str> = of_source.map(|(_, name)| name.as_str()).collect();
        let is_listed = known.iter().any(|known| covers(known, &plain));
        let meant = || meant(&plain, &known);
        (!is_listed).then(|| UnlistedParameter { name: name.clone(), meant: meant() })
    });
    unlisted.collect()
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
fn meant(name: &str, known: &[&str]) -> Option<String> {
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
    near.min().map(|(_, known)| (*known).to_owned())
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
        let got = got.map(|plan| plan.sources[0].at).map_err(|refusals| {
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
        check(&two(["Directory", "Directory"]), &helm(Auto), Err("no-source-fits"));
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

    /// Which value goes into which source, or why that cannot be told.
    #[test]
    fn each_value_goes_into_the_source_that_takes_it() {
        use SourceChoice::{Auto, Name, Position};
        let app = |kinds: &[&str]| {
            let source = |(index, kind): (usize, &&str)| {
                let name = if index == 0 { "first" } else { "" };
                json!({ "repoURL": "r", "path": format!("{kind}-{index}"), "name": name })
            };
            let sources: Vec<Value> = kinds.iter().enumerate().map(source).collect();
            app(json!({ "sources": sources }), json!({ "sourceTypes": kinds }))
        };
        let both = || OverrideValues { kustomize: kustomize().kustomize, ..helm(Auto) };
        let two = |one, other| OverrideValues { elsewhere: vec![helm(other)], ..helm(one) };
        let digest = OverrideValues {
            helm: [("image.digest".to_owned(), "d".to_owned())].into(),
            ..helm(Position(1))
        };
        let parted = OverrideValues { elsewhere: vec![digest], ..helm(Name("first".into())) };
        let with_any = OverrideValues {
            others: [(OverrideKey::Field(SourceField::TagPrefix), json!("v"))].into(),
            ..both()
        };
        let (tag, web) = ("helm:image.tag", "kustomize:web");
        let of = |key: &str, position: usize| format!("{key} of source {position}");
        let cases = [
            (&["Helm", "Kustomize"][..], both(), Ok(vec![of(tag, 1), of(web, 2)])),
            (&["Kustomize", "Directory", "Helm"], both(), Ok(vec![of(web, 1), of(tag, 3)])),
            (&["Helm", "Helm"], two(Position(1), Position(2)), Ok(vec![of(tag, 1), of(tag, 2)])),
            (&["Helm", "Helm"], parted, Ok(vec![of("helm:image.digest", 1), of(tag, 1)])),
            // Two of the values' kind, none of it, and what would go into both.
            (&["Helm", "Helm", "Kustomize"], both(), Err("which-source")),
            (&["Helm", "Helm"], both(), Err("no-source-fits")),
            (&["Helm", "Kustomize"], with_any, Err("no-source-fits")),
            (&["Helm", "Helm"], two(Position(1), Name("first".into())), Err("given-twice")),
            (&["Helm", "Helm"], two(Position(1), Auto), Err("which-source")),
        ];
        for (kinds, wanted, want) in cases {
            let got = plan(&AppRef::new("a"), &app(kinds), &wanted);
            let got = got.map(|plan| plan.changes.iter().map(ValueChange::name).collect());
            let got = got.map_err(|refusals: Vec<WriteRefusal>| {
                let reason = serde_json::to_value(&refusals[0]).unwrap()["reason"].clone();
                reason.as_str().unwrap().to_owned()
            });
            assert_eq!(got, want.map_err(str::to_owned), "{kinds:?} {wanted:?}");
        }
        let refusals = plan(&AppRef::new("a"), &app(&["Helm", "Helm"]), &both()).unwrap_err();
        let want = "its sources: 1 Helm first (r Helm-0); 2 Helm r Helm-1";
        assert_eq!(refusals[0].advice().as_deref(), Some(want));
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
        let known: Vec<(SourceAt, String)> = known
            .into_iter()
            .chain(names_of_values(&values))
            .map(|name| (SourceAt::Single, name))
            .collect();
        let unlisted = |name: &str| {
            let plan = AppPlan {
                app: AppRef::new("a"),
                sources: Vec::new(),
                changes: vec![ValueChange {
                    source: SourceAt::Single,
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
