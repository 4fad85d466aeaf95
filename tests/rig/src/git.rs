//! The git repositories that Argo CD reads: made from the fixtures, served over smart HTTP.
//!
//! Not `git daemon`: its short listen queue refuses connections when many applications are synced at once.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, ensure};
use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures_util::TryStreamExt as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio_util::io::{ReaderStream, StreamReader};

/// The repository with the fixtures.
pub(super) const REPOSITORY: &str = "fixtures.git";

/// Makes the repositories as they are at the start: `fixtures.git` with the fixtures in one commit on `main`, whose hash
/// is the same in every rig. Whatever was there goes away.
pub(super) fn fill(root: &Path, scratch: &Path) -> anyhow::Result<()> {
    let fixtures = needs::workspace_root().join("tests/rig/fixtures");
    if root.exists() {
        fs::remove_dir_all(root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    fs::create_dir_all(root)?;
    let bare = root.join(REPOSITORY);
    git(root, ["init", "--quiet", "--bare", "--initial-branch=main", REPOSITORY])?;
    // A push without credentials is allowed: only this machine's users reach the server.
    git(&bare, ["config", "http.receivepack", "true"])?;
    // Argo CD resolves and fetches commits by their hash too.
    git(&bare, ["config", "uploadpack.allowAnySHA1InWant", "true"])?;
    let index = scratch.join("fixtures.index");
    let _ = fs::remove_file(&index);
    let work_tree = fixtures.to_str().context("the path of the fixtures is not UTF-8")?;
    let index = index.to_str().context("the path of the index is not UTF-8")?;
    // Straight from the fixtures' folder into the bare repository: no copy, no work tree.
    let add = |args: &[&str]| {
        git_with(&bare, args, &[("GIT_WORK_TREE", work_tree), ("GIT_INDEX_FILE", index)])
    };
    add(&["add", "--all", "--force", "."])?;
    let tree = add(&["write-tree"])?;
    let commit = git(&bare, ["commit-tree", &tree, "-m", "Add the fixtures"])?;
    git(&bare, ["update-ref", "refs/heads/main", &commit])?;
    Ok(())
}

fn git<const N: usize>(dir: &Path, args: [&str; N]) -> anyhow::Result<String> {
    git_with(dir, &args, &[])
}

fn git_with(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> anyhow::Result<String> {
    let output = needs::Program::Git
        .command()
        .args(args)
        .current_dir(dir)
        .envs(hermetic())
        // Set when the task itself runs below a git hook.
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()
        .context("cannot run git")?;
    ensure!(
        output.status.success(),
        "git {} failed: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// An environment in which git asks nobody and reads nobody's configuration; the commits of the fixtures are always
/// the same.
fn hermetic() -> impl Iterator<Item = (&'static str, &'static str)> {
    [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_AUTHOR_NAME", "Rig"),
        ("GIT_AUTHOR_EMAIL", "rig@example.com"),
        ("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z"),
        ("GIT_COMMITTER_NAME", "Rig"),
        ("GIT_COMMITTER_EMAIL", "rig@example.com"),
        ("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z"),
    ]
    .into_iter()
}

/// Serves every bare repository in `root` until the process is ended.
pub(super) async fn serve(root: PathBuf, address: SocketAddr) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let app = axum::Router::new().fallback(answer).with_state(root);
    axum::serve(listener, app).await.context("the git server ended")
}

async fn answer(State(root): State<PathBuf>, request: Request) -> Response {
    match run_backend(&root, request).await {
        Ok(response) => response,
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")).into_response(),
    }
}

/// Runs one request through `git http-backend`, which is a CGI program (RFC 3875). Bodies are streamed both ways.
async fn run_backend(root: &Path, request: Request) -> anyhow::Result<Response> {
    let (parts, body) = request.into_parts();
    let text = |name: HeaderName| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    };
    let mut command = tokio::process::Command::from(needs::Program::Git.command());
    command
        .arg("http-backend")
        .envs(hermetic())
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("CONTENT_TYPE", text(header::CONTENT_TYPE))
        .env("HTTP_CONTENT_ENCODING", text(header::CONTENT_ENCODING))
        .env("GIT_PROTOCOL", text(HeaderName::from_static("git-protocol")))
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    let length = text(header::CONTENT_LENGTH);
    if !length.is_empty() {
        command.env("CONTENT_LENGTH", length);
    }
    let mut child = command.spawn().context("cannot run git http-backend")?;
    let mut input = child.stdin.take().context("git http-backend has no input")?;
    let output = child.stdout.take().context("git http-backend has no output")?;
    tokio::spawn(async move {
        let mut body = StreamReader::new(body.into_data_stream().map_err(std::io::Error::other));
        // A backend that answers before it has read everything closes its input; its answer says why.
        let _ = tokio::io::copy(&mut body, &mut input).await;
    });
    let mut output = BufReader::new(output);
    let mut response = Response::builder().status(StatusCode::OK);
    loop {
        let mut line = String::new();
        // No header of git's own is longer.
        ensure!(
            (&mut output).take(8192).read_line(&mut line).await? > 0,
            "git http-backend ended within its headers"
        );
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) =
            line.split_once(':').with_context(|| format!("git http-backend sent `{line}`"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().unwrap_or_default();
            response =
                response.status(code.parse::<u16>().context("git http-backend sent a bad status")?);
        } else {
            response = response.header(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
    }
    // The child lives until its output was sent; dropped early (the client went away), it is killed.
    let stream = ReaderStream::new(output).map_ok(move |chunk| {
        let _ = &child;
        chunk
    });
    Ok(response.body(Body::from_stream(stream))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn serves_the_fixtures_and_takes_a_push() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("git");
        fill(&root, dir.path()).unwrap();
        let first = git(&root.join(REPOSITORY), ["rev-parse", "main"]).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/{REPOSITORY}", listener.local_addr().unwrap());
        let app = axum::Router::new().fallback(answer).with_state(root.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let scratch = dir.path().to_owned();
        let bare = root.join(REPOSITORY);
        tokio::task::spawn_blocking(move || {
            git(&scratch, ["clone", "--quiet", &url, "clone"]).unwrap();
            let clone = scratch.join("clone");
            assert!(clone.join("chart/Chart.yaml").is_file());
            // More than a pipe holds, so that bodies really stream.
            let bytes: Vec<u8> =
                (0..2_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            fs::write(clone.join("large"), bytes).unwrap();
            git(&clone, ["add", "--all"]).unwrap();
            git(&clone, ["commit", "--quiet", "-m", "Add a large file"]).unwrap();
            git(&clone, ["push", "--quiet", "origin", "main"]).unwrap();
            let pushed = git(&clone, ["rev-parse", "main"]).unwrap();
            assert_eq!(git(&bare, ["rev-parse", "main"]).unwrap(), pushed);
            assert!(git(&clone, ["ls-remote", &format!("{url}/nothing")]).is_err());
        })
        .await
        .unwrap();
        // Made again, it is as at the start: the same commit.
        fill(&root, dir.path()).unwrap();
        assert_eq!(git(&root.join(REPOSITORY), ["rev-parse", "main"]).unwrap(), first);
    }
}
