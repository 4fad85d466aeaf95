//! Compares objects and documents.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};

/// The parts of an object at these pointers, without what differs from one application to the next.
pub(crate) fn picture(object: &Value, name: &str, parts: &[&str]) -> Value {
    let mut picture = Map::new();
    for part in parts {
        let mut value = object.pointer(part).cloned().unwrap_or_default();
        neutral(&mut value, name);
        picture.insert((*part).to_owned(), value);
    }
    picture.into()
}

/// Takes out times, our own marks, and the application's name.
fn neutral(value: &mut Value, name: &str) {
    match value {
        Value::String(text) => *text = text.replace(name, "NAME"),
        Value::Array(list) => {
            list.retain(|one| one["name"] != "verbatim.dev/nonce");
            list.iter_mut().for_each(|one| neutral(one, name));
        }
        Value::Object(fields) => {
            fields.retain(|key, value| {
                !key.starts_with("verbatim.dev/")
                    && !key.starts_with("argocd.argoproj.io/")
                    && !["startedAt", "finishedAt", "deployedAt", "deployStartedAt"]
                        .contains(&key.as_str())
                    && key != "kubectl.kubernetes.io/restartedAt"
                    // Nothing and an empty list or map are the same to Argo CD.
                    && *value != json!([])
                    && *value != json!({})
            });
            fields.values_mut().for_each(|one| neutral(one, name));
            // A list of which only our mark was there.
            fields.retain(|_, value| *value != json!([]) && *value != json!({}));
        }
        _ => {}
    }
}

/// Fails with both, unless they are equal.
pub(crate) fn same(theirs: &Value, ours: &Value) -> Result<()> {
    ensure!(theirs == ours, "argocd leaves\n{theirs:#}\nverbatim leaves\n{ours:#}");
    Ok(())
}

/// Both printed the same JSON.
pub(crate) fn same_json(theirs: &str, ours: &str) -> Result<()> {
    let read = |text: &str| serde_json::from_str::<Value>(text).context("it is not JSON");
    let (mut theirs, mut ours) = (read(theirs)?, read(ours)?);
    for document in [&mut theirs, &mut ours] {
        without_empty(document);
    }
    same(&theirs, &ours)
}

/// Go leaves out what is empty, in some places and not in others; and adds the kind that the server leaves out.
fn without_empty(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(without_empty),
        Value::Object(fields) => {
            fields.values_mut().for_each(without_empty);
            fields.retain(|key, value| {
                !value.is_null()
                    && *value != json!("")
                    && *value != json!({})
                    && *value != json!([])
                    && *value != json!(false)
                    && !(["kind", "apiVersion"].contains(&key.as_str()) && value.is_string())
            });
        }
        _ => {}
    }
}

/// Both printed the same lines, in whatever order and whatever space at their ends.
pub(crate) fn same_lines(theirs: &str, ours: &str) -> Result<()> {
    let lines = |text: &str| {
        let mut lines: Vec<String> =
            text.lines().map(|line| line.trim_end().to_owned()).filter(|l| !l.is_empty()).collect();
        lines.sort();
        lines
    };
    let (theirs, ours) = (lines(theirs), lines(ours));
    ensure!(theirs == ours, "argocd prints\n{theirs:#?}\nverbatim prints\n{ours:#?}");
    Ok(())
}

/// What ours takes away and adds, theirs does, too; theirs shows more of an object that goes. `diff` marks lines with `<` and
/// `>`, a unified one with `-` and `+`.
pub(crate) fn same_changes(theirs: &str, ours: &str) -> Result<()> {
    let changes = |text: &str, marks: [char; 2]| -> BTreeSet<(bool, String)> {
        text.lines()
            .filter(|line| !line.starts_with("---") && !line.starts_with("+++"))
            .filter_map(|line| {
                let added = line.starts_with(marks[1]);
                // The two quote texts in ways of their own.
                let rest =
                    line.strip_prefix(marks)?.trim().trim_start_matches("- ").replace('"', "");
                Some((added, rest)).filter(|(_, rest)| !rest.is_empty())
            })
            .collect()
    };
    let (all, ours) = (changes(theirs, ['<', '>']), changes(ours, ['-', '+']));
    ensure!(
        !ours.is_empty() && ours.is_subset(&all),
        "argocd prints\n{all:#?}\nverbatim\n{ours:#?}"
    );
    // An object that is changed, and not one that goes: all of it.
    let added = |set: &BTreeSet<(bool, String)>| -> Vec<String> {
        set.iter().filter(|(added, _)| *added).map(|(_, line)| line.clone()).collect()
    };
    ensure!(added(&all) == added(&ours), "argocd prints\n{all:#?}\nverbatim\n{ours:#?}");
    Ok(())
}

/// Both printed the same YAML documents, in whatever order.
pub(crate) fn same_yaml(theirs: &str, ours: &str) -> Result<()> {
    let read = |text: &str| -> Result<Vec<String>> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).context("it is not YAML")?;
        let mut texts: Vec<String> = documents
            .into_iter()
            .filter(|document| !document.is_null())
            .map(|mut document| {
                without_empty(&mut document);
                document.to_string()
            })
            .collect();
        texts.sort();
        Ok(texts)
    };
    let (theirs, ours) = (read(theirs)?, read(ours)?);
    ensure!(theirs == ours, "argocd prints\n{theirs:#?}\nverbatim prints\n{ours:#?}");
    Ok(())
}

/// What is printed is not compared: the two are laid out in different ways on purpose.
pub(crate) fn any(theirs: &str, ours: &str) -> Result<()> {
    ensure!(
        theirs.trim().is_empty() == ours.trim().is_empty(),
        "only one of them prints something"
    );
    Ok(())
}
