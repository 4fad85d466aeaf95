//! Forwarding: reads a request, breaks it if a rule says so, and passes the rest through unchanged.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::io::{ClientStream, EndWithReset, connect};
use super::rule::{CUT_AFTER, Rule, changed};
use super::{Fault, Shared};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, Error>;

/// Serves connections until a rule makes the proxy unreachable, or its task is aborted.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut arrived = shared.arrived.subscribe();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(connection(stream, shared.clone()));
            },
            _ = arrived.changed() => if shared.state().gone { break },
            Some(_) = connections.join_next() => {}
        }
    }
    // The port is closed; what is under way still ends.
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let (stream, reset) = ClientStream::new(stream);
    let service = service_fn(move |request| answer(request, shared.clone(), reset.clone()));
    let serving = hyper::server::conn::http1::Builder::new()
        .preserve_header_case(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // An error here is a broken connection: ours by a rule, or the client's.
    let _ = serving.await;
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    reset: EndWithReset,
) -> Result<Response<Body>, Error> {
    let target = request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    let (index, rule) = shared.arrive(request.method(), &target);
    let response = match rule {
        None => forward(request, &shared, index).await,
        Some(rule) => broken(rule, request, &shared, index, &reset).await,
    };
    if let Ok(response) = &response {
        let status = response.status();
        shared.note(index, |seen| seen.status = Some(status));
    }
    response
}

/// Answers a request that a rule applies to. An error ends the connection without an answer.
async fn broken(
    rule: Rule,
    request: Request<Incoming>,
    shared: &Shared,
    index: usize,
    reset: &EndWithReset,
) -> Result<Response<Body>, Error> {
    let fault = rule.fault;
    if let Some(delay) = fault.delay() {
        tokio::time::sleep(delay).await;
        return forward(request, shared, index).await;
    }
    if fault.needs_answer() {
        let response = forward(request, shared, index).await?;
        return spoiled(response, &fault, reset).await;
    }
    if rule.delivered {
        // The service's whole answer is read, so that the request has taken effect when the client sees the fault.
        forward(request, shared, index).await?.into_body().collect().await?;
        shared.strike(index);
    } else {
        // The request is read to its end: a client that is still sending would see a broken pipe instead of the answer.
        if !matches!(fault, Fault::Close | Fault::Reset | Fault::Unreachable | Fault::Stall) {
            request.into_body().collect().await?;
        }
    }
    match fault {
        Fault::Reset => {
            reset.set();
            Err("reset by a rule".into())
        }
        Fault::Stall => {
            // When the network is well again, a connection that it had forgotten ends. A client that has no deadline of its
            // own, such as an engine that pushes, would otherwise wait for it for ever.
            let healed = shared.healed.subscribe().changed().await;
            healed.map_err(Error::from).and(Err("forgotten while the rule was in force".into()))
        }
        Fault::Status(code) => made_up(StatusCode::from_u16(code)?, None, None),
        Fault::Code { status, code } => made_up(StatusCode::from_u16(status)?, Some(&code), None),
        Fault::TooManyRequests { retry_after } => {
            made_up(StatusCode::TOO_MANY_REQUESTS, None, Some(retry_after))
        }
        Fault::Html => {
            let page = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>\n";
            let mut response = Response::new(whole(page.into()));
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            Ok(response)
        }
        _ => Err("closed by a rule".into()),
    }
}

/// An error answer with members for each kind of client: `errors` for registries, `message` for engines,
/// `error` and `code` for Argo CD.
fn made_up(
    status: StatusCode,
    code: Option<&str>,
    retry_after: Option<u64>,
) -> Result<Response<Body>, Error> {
    let message = status.canonical_reason().unwrap_or("injected fault").to_lowercase();
    let grpc = match status.as_u16() {
        400 => 3,
        401 => 16,
        403 => 7,
        404 => 5,
        409 => 10,
        429 => 8,
        501 => 12,
        503 => 14,
        504 => 4,
        _ => 2,
    };
    let registry = match status.as_u16() {
        401 => "UNAUTHORIZED",
        403 => "DENIED",
        404 => "MANIFEST_UNKNOWN",
        429 => "TOOMANYREQUESTS",
        _ => "UNKNOWN",
    };
    let registry = code.unwrap_or(registry);
    let errors = json!([{ "code": registry, "message": message, "detail": null }]);
    let body = json!({ "error": message, "message": message, "code": grpc, "errors": errors });
    let mut response = Response::new(whole(body.to_string().into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    Ok(response)
}

/// Changes the service's answer as the fault says.
async fn spoiled(
    response: Response<Body>,
    fault: &Fault,
    reset: &EndWithReset,
) -> Result<Response<Body>, Error> {
    let (mut head, body) = response.into_parts();
    match fault {
        Fault::LyingDigestHeader => {
            let other = format!("sha256:{}", "0".repeat(64));
            head.headers.insert("docker-content-digest", HeaderValue::try_from(other)?);
            Ok(Response::from_parts(head, body))
        }
        Fault::Date(text) => {
            head.headers.insert("date", HeaderValue::try_from(text.as_str())?);
            Ok(Response::from_parts(head, body))
        }
        Fault::LyingBody => {
            let bytes = body.collect().await?.to_bytes();
            Ok(Response::from_parts(head, whole(changed(&bytes).into())))
        }
        _ => {
            let keep = cut_after(&head.headers, body.size_hint().exact());
            let end = match fault {
                Fault::StallBody => End::Silence,
                Fault::TruncateReset => End::Reset(reset.clone()),
                _ => End::Close,
            };
            Ok(Response::from_parts(head, cut(body, keep, end)))
        }
    }
}

/// How many bytes of a body pass before the cut: half of it, but at least none and at most [`CUT_AFTER`].
fn cut_after(headers: &HeaderMap, exact: Option<u64>) -> usize {
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let half = declared.or(exact).map(|length| length / 2);
    half.and_then(|half| usize::try_from(half).ok()).map_or(64, |half| half.min(CUT_AFTER))
}

/// How a cut body ends.
enum End {
    Close,
    Reset(EndWithReset),
    Silence,
}

/// The first `keep` bytes of `body`, then `end`.
fn cut(body: Body, keep: usize, end: End) -> Body {
    let mut left = keep;
    let head = BodyStream::new(body)
        .try_filter_map(|frame| std::future::ready(Ok(frame.into_data().ok())))
        .map_ok(move |mut data| {
            data.truncate(left);
            left -= data.len();
            data
        })
        .try_take_while(|data| std::future::ready(Ok(!data.is_empty())))
        .map_ok(Frame::data);
    let tail = futures_util::stream::once(async move {
        // hyper drops what it has buffered when a body fails; returning to it once lets it send the head first.
        tokio::task::yield_now().await;
        match end {
            End::Silence => pending().await,
            End::Reset(reset) => reset.set(),
            End::Close => {}
        }
        Err::<Frame<Bytes>, Error>("cut by a rule".into())
    });
    StreamBody::new(head.chain(tail)).boxed_unsync()
}

/// Sends the request to the service and gives its answer as it comes.
async fn forward(
    mut request: Request<Incoming>,
    shared: &Shared,
    index: usize,
) -> Result<Response<Body>, Error> {
    let Ok(stream) = connect(&shared.upstream).await else {
        return made_up(StatusCode::BAD_GATEWAY, None, None);
    };
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .preserve_header_case(true)
        .handshake(TokioIo::new(stream))
        .await?;
    tokio::spawn(connection.with_upgrades());
    shared.note(index, |seen| seen.delivered = true);
    let client = hyper::upgrade::on(&mut request);
    let mut response = sender.send_request(request).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let service = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            let (client, service) = tokio::try_join!(client, service)?;
            copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(service)).await?;
            Ok::<_, Error>(())
        });
    }
    // The sender has to outlive the answer's body, or the connection is closed under it.
    Ok(response.map(|body| {
        body.map_err(move |error| {
            let _held = &sender;
            error.into()
        })
        .boxed_unsync()
    }))
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync()
}
