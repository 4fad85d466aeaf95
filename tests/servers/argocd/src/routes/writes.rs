//! Writing applications: create, patch, put, delete.
//!
//! There is no compare-and-set, as in the real server: a write reads, validates, reads again and puts its spec, labels,
//! annotations and finalizers over whatever is there then. What others wrote in between is lost, and nobody is told.

use serde_json::{Value, json};

use super::{Answer, Call, GoJson, object_of};
use crate::error::{ApiError, ApiResult};
use crate::objects::{set, text, unset};
use crate::{Server, controller, pause, schema};

/// The parts that a write takes from what it was given.
const WRITTEN: [&str; 4] =
    ["/spec", "/metadata/labels", "/metadata/annotations", "/metadata/finalizers"];

pub(super) async fn patch(call: Call) -> Answer {
    let body = call.body()?;
    let (first_read, claims) = call.app_by(&body, "get")?;
    claims.enforce("applications", "update", &object_of(&first_read))?;
    let text_of_patch = text(&body, "/patch");
    let patched = match text(&body, "/patchType") {
        "json" | "" => crate::patch::json_patch(&first_read, text_of_patch),
        "merge" => crate::patch::merge_patch(&first_read, text_of_patch),
        other => return Err(ApiError::invalid(format!("Patch type '{other}' is not supported"))),
    };
    let patched = patched.map_err(ApiError::unknown)?;
    let decode =
        |error: String| ApiError::unknown(format!("error unmarshaling patched app: {error}"));
    let wanted = schema::application(&patched).map_err(decode)?;
    overwrite(&call, wanted, true).await.map(GoJson)
}

/// Whether a query asks for more than the project and the destination to be checked.
fn is_validated(call: &Call) -> bool {
    call.query.get("validate") != Some("false")
}

pub(super) async fn put(call: Call) -> Answer {
    let body = call.body()?;
    call.app_of(&call.name, "update", Some(text(&body, "/spec/project")), "")?;
    let wanted = schema::application(&body).map_err(ApiError::invalid)?;
    overwrite(&call, wanted, is_validated(&call)).await.map(GoJson)
}

pub(super) async fn put_spec(call: Call) -> Answer {
    let (mut wanted, _) = call.app("update")?;
    let spec = schema::spec(&call.body()?).map_err(ApiError::invalid)?;
    set(&mut wanted, "/spec", spec);
    let mut app = overwrite(&call, wanted, is_validated(&call)).await?;
    Ok(GoJson(app["spec"].take()))
}

/// Validates `wanted`, and puts its parts over the application as it is then.
async fn overwrite(call: &Call, mut wanted: Value, validate: bool) -> ApiResult<Value> {
    let server = &call.server;
    let spec = schema::normalized(wanted.get("spec").unwrap_or(&Value::Null));
    set(&mut wanted, "/spec", spec);
    check(server, &wanted, validate).await?;
    pause(call.pace.write_ms).await;
    let written = server.store.update(&call.name, |app| {
        for part in WRITTEN {
            match wanted.pointer(part) {
                Some(value) => set(app, part, value.clone()),
                None => unset(app, part),
            }
        }
    });
    let (written, ()) = written.ok_or_else(|| ApiError::app_not_found(&call.name))?;
    server.cache.shows(&written).await;
    Ok(written)
}

/// What the real server checks of a spec: always its project and destination, and unless told not to its rendering.
async fn check(server: &Server, app: &Value, validate: bool) -> ApiResult<()> {
    let name = text(app, "/metadata/name");
    let invalid = |words: &str| {
        ApiError::invalid(format!(
            "application spec for {name} is invalid: InvalidSpecError: {words}"
        ))
    };
    let project = text(app, "/spec/project");
    if server.store.project(project).is_none() {
        return Err(ApiError::invalid(format!(
            "application references project {project} which does not exist"
        )));
    }
    if text(app, "/spec/destination/server").is_empty()
        && text(app, "/spec/destination/name").is_empty()
    {
        return Err(invalid("Destination server missing from app spec"));
    }
    let (sources, _) = controller::sources(app);
    for source in &sources {
        if text(source, "/repoURL").is_empty()
            || (text(source, "/path").is_empty()
                && text(source, "/chart").is_empty()
                && text(source, "/ref").is_empty())
        {
            return Err(invalid(
                "spec.source.repoURL and either source.path, source.chart, or source.ref are required",
            ));
        }
    }
    if !validate {
        return Ok(());
    }
    for source in &sources {
        let url = text(source, "/repoURL");
        if let Err(error) = server.repo.repositories().reachable(url).await {
            return Err(invalid(&format!(
                "repository not accessible: repositories not accessible: &Repository{{Repo: \"{url}\", Type: \"\", Name: \"\", Project: \"\"}}: repo client error while testing repository: rpc error: code = Unknown desc = error testing repository connectivity: unable to ls-remote HEAD on repository: failed to list refs: {error}"
            )));
        }
    }
    for source in &sources {
        if let Err(error) = server.render_all(app, std::slice::from_ref(source), &[]).await {
            let own = error.split_once("rpc error: ").map_or(error.as_str(), |(_, own)| own);
            return Err(invalid(&format!(
                "Unable to generate manifests in {}: rpc error: {own}",
                text(source, "/path")
            )));
        }
    }
    Ok(())
}

pub(super) async fn create(call: Call) -> Answer {
    let (server, claims) = (&call.server, call.claims()?);
    let mut wanted = schema::application(&call.body()?).map_err(ApiError::invalid)?;
    let spec = schema::normalized(wanted.get("spec").unwrap_or(&Value::Null));
    set(&mut wanted, "/spec", spec);
    unset(&mut wanted, "/operation");
    unset(&mut wanted, "/status");
    let name = text(&wanted, "/metadata/name").to_owned();
    claims.enforce("applications", "create", &object_of(&wanted))?;
    check(server, &wanted, is_validated(&call)).await?;
    if let Some(created) = server.store.create(wanted.clone()) {
        server.cache.shows(&created).await;
        return Ok(GoJson(created));
    }
    let existing = server.store.app(&name).unwrap_or_default();
    let same = WRITTEN.iter().all(|part| {
        existing.pointer(part).filter(|value| !is_empty(value))
            == wanted.pointer(part).filter(|value| !is_empty(value))
    });
    if same {
        return Ok(GoJson(existing));
    }
    if !call.query.is_true("upsert") {
        return Err(ApiError::invalid(
            "existing application spec is different, use upsert flag to force update",
        ));
    }
    claims.enforce("applications", "update", &object_of(&wanted))?;
    let written = server.store.update(&name, |app| {
        set(app, "/spec", wanted["spec"].clone());
        // Labels and annotations are merged here, unlike everywhere else.
        for part in ["/metadata/labels", "/metadata/annotations"] {
            for (name, value) in
                wanted.pointer(part).and_then(Value::as_object).into_iter().flatten()
            {
                set(
                    app,
                    &format!("{part}/{}", name.replace('~', "~0").replace('/', "~1")),
                    value.clone(),
                );
            }
        }
        if let Some(finalizers) = wanted.pointer("/metadata/finalizers") {
            set(app, "/metadata/finalizers", finalizers.clone());
        }
    });
    written.map(|(app, ())| GoJson(app)).ok_or_else(|| ApiError::app_not_found(&name))
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty)
        || value.as_array().is_some_and(Vec::is_empty)
        || value.is_null()
}

pub(super) async fn delete(call: Call) -> Answer {
    let (app, claims) = call.app("get")?;
    claims.enforce("applications", "delete", &object_of(&app))?;
    let cascade = call.query.get("cascade") != Some("false");
    call.server.store.update(&call.name, |app| {
        let finalizers =
            if cascade { json!(["resources-finalizer.argocd.argoproj.io"]) } else { json!([]) };
        set(app, "/metadata/finalizers", finalizers);
        set(app, "/metadata/deletionTimestamp", crate::cluster::now_text());
    });
    Ok(GoJson(json!({})))
}
