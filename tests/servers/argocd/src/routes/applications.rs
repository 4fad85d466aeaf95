//! Reading applications.

use serde_json::{Value, json};

use super::{Answer, Call, GoJson, Query, object_of};
use crate::error::ApiError;
use crate::objects::{set, text, unset};
use crate::{Server, controller, gojson, tree};

pub(super) async fn get(call: Call) -> Answer {
    call.claims()?;
    if call.query.projects().len() > 1 {
        let words =
            "multiple projects specified - the get endpoint accepts either zero or one project";
        return Err(ApiError::invalid(words));
    }
    let (app, _) = call.app("get")?;
    Ok(GoJson(match call.query.get("refresh") {
        None => app,
        Some(kind) => {
            let kind = if kind == "hard" { "hard" } else { "normal" };
            refresh(&call.server, &call.name, kind).await.unwrap_or(app)
        }
    }))
}

const REFRESH: &str = "/metadata/annotations/argocd.argoproj.io~1refresh";

/// Writes the annotation that asks for a comparison, and waits until the cache shows that the controller has taken it away.
async fn refresh(server: &Server, name: &str, kind: &str) -> Option<Value> {
    let mut changes = server.cache.changes();
    let asked = jiff::Timestamp::now().to_string();
    let (asked, ()) = server.store.update(name, |app| {
        set(app, REFRESH, kind);
        set(app, "/metadata/annotations/argocd.argoproj.io~1hydrate", kind);
        set(app, "/metadata/annotations/argocd.argoproj.io~1hydrate-timestamp", asked);
    })?;
    let version = |app: &Value| text(app, "/metadata/resourceVersion").parse().unwrap_or(0_u64);
    loop {
        match server.cache.app(name) {
            Some(app) if version(&app) > version(&asked) && app.pointer(REFRESH).is_none() => {
                return Some(app);
            }
            // It is gone.
            None if server.store.app(name).is_none() => return None,
            _ => {}
        }
        changes.changed().await.ok()?;
    }
}

pub(super) async fn list(call: Call) -> Answer {
    let (claims, query) = (call.claims()?, &call.query);
    let (apps, version) = call.server.cache.apps();
    let items: Vec<Value> = apps
        .into_iter()
        .filter(|app| claims.may("applications", "get", &object_of(app)))
        .filter(|app| is_visible(app, query))
        .filter(|app| {
            query.get("repo").is_none_or(|url| url.is_empty() || first_repository(app) == url)
        })
        .map(without_resource_health)
        .collect();
    let items = if items.is_empty() { Value::Null } else { items.into() };
    let list = json!({ "metadata": { "resourceVersion": version.to_string() }, "items": items });
    Ok(GoJson(match query.get("fields") {
        Some(fields) if !fields.is_empty() => project(&list, fields),
        _ => list,
    }))
}

fn first_repository(app: &Value) -> &str {
    match text(app, "/spec/sources/0/repoURL") {
        "" => text(app, "/spec/source/repoURL"),
        url => url,
    }
}

/// Only GET fills in the health of resources.
fn without_resource_health(mut app: Value) -> Value {
    if let Some(Value::Array(resources)) = app.pointer_mut("/status/resources") {
        resources.iter_mut().for_each(|resource| unset(resource, "/health"));
    }
    app
}

/// Equality selectors of labels: `a=b,c==d,e!=f,g,!h`.
fn selected(app: &Value, selector: &str) -> bool {
    let label = |name: &str| {
        app.pointer("/metadata/labels").and_then(|labels| labels.get(name)).and_then(Value::as_str)
    };
    selector.split(',').map(str::trim).filter(|part| !part.is_empty()).all(|part| {
        if let Some((name, value)) = part.split_once("!=") {
            label(name) != Some(value)
        } else if let Some((name, value)) = part.split_once('=') {
            label(name) == Some(value.trim_start_matches('='))
        } else if let Some(name) = part.strip_prefix('!') {
            label(name).is_none()
        } else {
            label(part).is_some()
        }
    })
}

/// `fields=a.b,a.c` keeps those members, `fields=-a.b` leaves them out. Lists are passed through.
pub(super) fn project(value: &Value, fields: &str) -> Value {
    let (excluded, fields) = fields.strip_prefix('-').map_or((false, fields), |rest| (true, rest));
    let paths: Vec<Vec<&str>> = fields.split(',').map(|path| path.split('.').collect()).collect();
    if excluded {
        let mut value = value.clone();
        paths.iter().for_each(|path| drop_path(&mut value, path));
        return value;
    }
    keep_paths(value, &paths.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

fn drop_path(value: &mut Value, path: &[&str]) {
    match (value, path) {
        (Value::Array(items), path) => items.iter_mut().for_each(|item| drop_path(item, path)),
        (Value::Object(members), [last]) => {
            members.remove(*last);
        }
        (Value::Object(members), [first, rest @ ..]) => {
            if let Some(member) = members.get_mut(*first) {
                drop_path(member, rest);
            }
        }
        _ => {}
    }
}

fn keep_paths(value: &Value, paths: &[&[&str]]) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| keep_paths(item, paths)).collect(),
        Value::Object(members) => {
            let kept = members.iter().filter_map(|(name, member)| {
                let below: Vec<&[&str]> = paths
                    .iter()
                    .filter(|path| path.first() == Some(&name.as_str()))
                    .map(|path| &path[1..])
                    .collect();
                if below.is_empty() {
                    return None;
                }
                let whole = below.iter().any(|path| path.is_empty());
                Some((
                    name.clone(),
                    if whole { member.clone() } else { keep_paths(member, &below) },
                ))
            });
            Value::Object(kept.collect())
        }
        other => other.clone(),
    }
}

pub(super) async fn tree(call: Call) -> Answer {
    call.app("get")?;
    Ok(GoJson(tree::tree(&call.name, &call.server.cluster.objects())))
}

pub(super) async fn managed(call: Call) -> Answer {
    call.app("get")?;
    let (server, name) = (&call.server, &call.name);
    let targets =
        server.controller.compared(name).map(|compared| compared.targets()).unwrap_or_default();
    let fits = |item: &Value, part: &str| {
        call.query.get(part).is_none_or(|wanted| wanted.is_empty() || item[part] == wanted)
    };
    let items: Vec<Value> =
        tree::managed_resources(name, &targets, &server.cluster.objects(), |key| {
            server.cluster.last_applied(key)
        })
        .into_iter()
        .filter(|item| ["group", "kind", "namespace", "name"].iter().all(|part| fits(item, part)))
        .collect();
    Ok(GoJson(if items.is_empty() { json!({}) } else { json!({ "items": items }) }))
}

pub(super) async fn manifests(call: Call) -> Answer {
    let (app, _) = call.app("get")?;
    let app = call.server.cache.app(&call.name).unwrap_or(app);
    let (sources, is_multi) = controller::sources(&app);
    let revision = call.query.text("revision").to_owned();
    let all = call.server.render_all(&app, &sources, &[revision]).await.map_err(bare)?;
    let manifests: Vec<String> =
        all.iter().flat_map(|one| &one.manifests).map(gojson::to_string).collect();
    let mut answer = json!({ "manifests": manifests });
    if let (false, Some(one)) = (is_multi, all.first()) {
        set(&mut answer, "/namespace", text(&app, "/spec/destination/namespace"));
        set(&mut answer, "/server", text(&app, "/spec/destination/server"));
        set(&mut answer, "/revision", one.revision.clone());
        set(&mut answer, "/sourceType", one.kind);
    }
    Ok(GoJson(answer))
}

/// The repo-server's own words: the call is passed through, so wrapping prefixes are dropped.
fn bare(error: String) -> ApiError {
    let own = error
        .split_once("rpc error: code = Unknown desc = ")
        .map_or(error.as_str(), |(_, own)| own);
    ApiError::unknown(own)
}

/// The health that a watch and a GET show is in the stored document already.
pub(super) fn is_visible(app: &Value, query: &Query) -> bool {
    let projects = query.projects();
    (projects.is_empty() || projects.contains(&text(app, "/spec/project")))
        && query
            .get("name")
            .is_none_or(|name| name.is_empty() || name == text(app, "/metadata/name"))
        && is_named(app, query)
        && selected(app, query.text("selector"))
}

/// Whether an application is among the `names` of a list or a watch, which may name its namespace, too: `MatchesNameFilter`
/// in `util/argo/argo.go` of Argo CD 3.6.1. An older server does not know them and shows all.
fn is_named(app: &Value, query: &Query) -> bool {
    let (name, namespace) = (text(app, "/metadata/name"), text(app, "/metadata/namespace"));
    let mut names = query.all("names").peekable();
    let is_it = |wanted: &str| match wanted.split_once('/') {
        Some((of, wanted)) => of == namespace && wanted == name,
        None => wanted == name,
    };
    names.peek().is_none() || names.any(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_projected() {
        let value = json!({ "items": [{ "metadata": { "name": "a", "uid": "u" }, "spec": { "x": 1 } }], "metadata": {} });
        let kept = project(&value, "items.metadata.name,items.spec");
        assert_eq!(kept, json!({ "items": [{ "metadata": { "name": "a" }, "spec": { "x": 1 } }] }));
        let left = project(&value, "-items.spec");
        assert_eq!(
            left,
            json!({ "items": [{ "metadata": { "name": "a", "uid": "u" } }], "metadata": {} })
        );
    }

    #[test]
    fn selectors() {
        let app = json!({ "metadata": { "labels": { "a": "1", "b": "2" } } });
        let cases = [
            ("", true),
            ("a=1", true),
            ("a==1,b=2", true),
            ("a!=1", false),
            ("c!=1", true),
            ("a", true),
            ("!a", false),
            ("c", false),
        ];
        for (selector, want) in cases {
            assert_eq!(selected(&app, selector), want, "{selector}");
        }
    }
}
