//! Logging in, who asks, and the rules of the transport.

use anyhow::ensure;
use reqwest::Method;
use serde_json::{Value, json};

use super::context::{As, Context, same};
use super::{Checked, cases};

cases! {
    "login gives a token that works" => login,
    "login with a wrong password" => wrong_password,
    "login with an unknown user" => unknown_user,
    "no token" => no_token,
    "a bearer that is not a JWT" => garbage_token,
    "a token with a bad signature" => bad_signature,
    "userinfo without a token" => userinfo_nobody,
    "userinfo of the bot" => userinfo_bot,
    "version without a token" => version_nobody,
    "version with a token" => version_admin,
    "can-i: the bot may sync" => can_sync,
    "can-i: the bot may not delete" => cannot_delete,
    "can-i: an unknown action" => unknown_action,
    "can-i: a fine-grained action is another question" => fine_grained,
    "content type with a charset" => charset,
    "content type of a JSON patch" => json_patch_type,
    "content type in capitals" => capitals,
    "content type is needed without a body" => no_content_type,
    "an unknown path" => unknown_path,
    "a wrong method" => wrong_method,
    "healthz" => healthz,
}

async fn login(cx: &Context) -> Checked {
    let body = json!({ "username": "admin", "password": cx.target().password });
    let answer = cx.call(As::Nobody, Method::POST, "/api/v1/session", &body).await?.ok()?;
    let token = answer["token"].as_str().unwrap_or_default();
    let request = cx.request(As::Nobody, &Method::GET, "/api/v1/session/userinfo");
    let info = cx.send(request.bearer_auth(token)).await?.ok()?;
    same("the user", &info["username"], &"admin")?;
    let request = cx.request(As::Nobody, &Method::GET, "/api/v1/session/userinfo");
    let info = cx.send(request.header("cookie", format!("argocd.token={token}"))).await?.ok()?;
    same("the user of the cookie", &info["username"], &"admin")
}

async fn failed_login(cx: &Context, username: &str) -> Checked {
    let body = json!({ "username": username, "password": "wrong" });
    let answer = cx.call(As::Nobody, Method::POST, "/api/v1/session", &body).await?;
    answer.refused(401, 16, "Invalid username or password")
}

async fn wrong_password(cx: &Context) -> Checked {
    failed_login(cx, "admin").await
}

async fn unknown_user(cx: &Context) -> Checked {
    failed_login(cx, "nobody-of-that-name").await
}

async fn no_token(cx: &Context) -> Checked {
    cx.get_as(As::Nobody, "/api/v1/applications/x").await?.refused(
        401,
        16,
        "no session information",
    )?;
    cx.get_as(As::Nobody, "/api/v1/applications").await?.refused(401, 16, "no session information")
}

async fn garbage_token(cx: &Context) -> Checked {
    let request =
        cx.request(As::Nobody, &Method::GET, "/api/v1/applications/x").bearer_auth("not-a-token");
    cx.send(request).await?.refused(401, 16, "no session information")
}

async fn bad_signature(cx: &Context) -> Checked {
    let token = &cx.target().tokens.admin;
    let signed = token.rsplit_once('.').map_or("", |(signed, _)| signed);
    let other = format!("{signed}.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let request = cx.request(As::Nobody, &Method::GET, "/api/v1/applications/x").bearer_auth(other);
    let words = "invalid session: token signature is invalid: signature is invalid";
    cx.send(request).await?.refused(401, 16, words)
}

async fn userinfo_nobody(cx: &Context) -> Checked {
    let info = cx.get_as(As::Nobody, "/api/v1/session/userinfo").await?.ok()?;
    same("the answer", &info, &json!({}))
}

async fn userinfo_bot(cx: &Context) -> Checked {
    let info = cx.get_as(As::Bot, "/api/v1/session/userinfo").await?.ok()?;
    same("the answer", &info, &json!({ "loggedIn": true, "username": "bot", "iss": "argocd" }))
}

async fn version_nobody(cx: &Context) -> Checked {
    let version = cx.get_as(As::Nobody, "/api/version").await?.ok()?;
    let members: Vec<&String> =
        version.as_object().into_iter().flat_map(|object| object.keys()).collect();
    same("the members", &members, &vec!["Version"])?;
    ensure!(
        version["Version"].as_str().is_some_and(|version| version.starts_with('v')),
        "{version}"
    );
    Ok(())
}

async fn version_admin(cx: &Context) -> Checked {
    let version = cx.get("/api/version").await?.ok()?;
    ensure!(
        version["HelmVersion"].is_string() && version["KustomizeVersion"].is_string(),
        "{version}"
    );
    Ok(())
}

async fn can_i(cx: &Context, who: As, question: &str) -> anyhow::Result<Value> {
    cx.get_as(who, &format!("/api/v1/account/can-i/{question}")).await?.ok()
}

async fn can_sync(cx: &Context) -> Checked {
    same(
        "the answer",
        &can_i(cx, As::Bot, "applications/sync/default/shop").await?,
        &json!({ "value": "yes" }),
    )?;
    same(
        "the reader's",
        &can_i(cx, As::Reader, "applications/sync/default/shop").await?,
        &json!({ "value": "no" }),
    )
}

async fn cannot_delete(cx: &Context) -> Checked {
    same(
        "the answer",
        &can_i(cx, As::Bot, "applications/delete/default/shop").await?,
        &json!({ "value": "no" }),
    )
}

async fn unknown_action(cx: &Context) -> Checked {
    let answer = cx.get_as(As::Bot, "/api/v1/account/can-i/applications/fly/default/shop").await?;
    ensure!(answer.status == 400 && answer.json["code"] == 3, "{answer:?}");
    Ok(())
}

async fn fine_grained(cx: &Context) -> Checked {
    // The path is split at the escaped slash: `update/*` on an application cannot be asked for, only `update` on
    // an object that begins with the rest.
    for (action, action_and_rest) in [("update", "update%2Fapps"), ("delete", "delete%2Fapps")] {
        let split = can_i(cx, As::Bot, &format!("applications/{action}/apps/default/shop")).await?;
        let escaped =
            can_i(cx, As::Bot, &format!("applications/{action_and_rest}/default/shop")).await?;
        same("the answer", &escaped, &split)?;
    }
    Ok(())
}

/// A sync of a missing application, with a content type of the caller's choice.
async fn typed(cx: &Context, content_type: &str) -> anyhow::Result<super::context::Answer> {
    let request = cx.request(As::Admin, &Method::POST, "/api/v1/applications/none-such/sync");
    cx.send(request.header("content-type", content_type).body("{}")).await
}

async fn charset(cx: &Context) -> Checked {
    typed(cx, "application/json; charset=utf-8").await?.plain(415, "Invalid content type")?;
    Ok(())
}

async fn json_patch_type(cx: &Context) -> Checked {
    typed(cx, "application/json-patch+json").await?.plain(415, "Invalid content type")
}

async fn capitals(cx: &Context) -> Checked {
    typed(cx, "Application/JSON").await?.refused(403, 7, "permission denied")
}

async fn no_content_type(cx: &Context) -> Checked {
    for (method, path) in [
        (Method::DELETE, "/api/v1/applications/x/operation"),
        (Method::POST, "/api/v1/applications/x/sync"),
    ] {
        let answer = cx.send(cx.request(As::Nobody, &method, path)).await?;
        answer.plain(415, "Invalid content type")?;
    }
    Ok(())
}

async fn unknown_path(cx: &Context) -> Checked {
    cx.get("/api/v1/nope").await?.plain(404, "Not Found")
}

async fn wrong_method(cx: &Context) -> Checked {
    let answer = cx.call(As::Admin, Method::PUT, "/api/v1/applications/x/sync", &json!({})).await?;
    answer.plain(405, "Method Not Allowed")
}

async fn healthz(cx: &Context) -> Checked {
    let answer = cx.get_as(As::Nobody, "/healthz").await?;
    ensure!(answer.status == 200 && answer.text.trim() == "ok", "{answer:?}");
    Ok(())
}
