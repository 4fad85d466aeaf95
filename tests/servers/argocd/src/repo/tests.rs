//! Rendering without helm and kustomize; with them it is tested by the shared cases.

use serde_json::json;

use super::*;

const TARGET: Target<'static> = Target { app: "web", project: "default", namespace: "n" };

fn git(folder: &Path, arguments: &[&str]) {
    let output = needs::Program::Git
        .command()
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .args([
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.invalid",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A repository with these files in one commit of `main`.
fn repository(files: &[(&str, &str)]) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["init", "-q"]);
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    git(folder.path(), &["add", "-A"]);
    git(folder.path(), &["commit", "-q", "-m", "first"]);
    let url = format!("file://{}", folder.path().display());
    (folder, url)
}

fn server(work: &Path) -> RepoServer {
    let tools = Tools { helm: None, kustomize: None, substitute: true, ..Tools::default() };
    RepoServer::new(tools, work.to_owned())
}

#[tokio::test]
async fn plain_manifests_at_a_revision() {
    let (folder, url) = repository(&[
        (
            "app/a.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n---\nkind: List\napiVersion: v1\nitems: [{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: other}}]\n",
        ),
        ("app/note.txt", "kind: nothing"),
    ]);
    let work = tempfile::tempdir().unwrap();
    let server = server(work.path());
    let first = server.repositories().resolve(&url, "main").await.unwrap();
    std::fs::write(
        folder.path().join("app/a.yaml"),
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
    )
    .unwrap();
    git(folder.path(), &["commit", "-qam", "second"]);
    git(folder.path(), &["tag", "-am", "note", "v2"]);
    let second = server.repositories().resolve(&url, "v2").await.unwrap();
    assert_eq!(server.repositories().resolve(&url, "HEAD").await.unwrap(), second);
    assert_eq!(server.repositories().resolve(&url, &first).await.unwrap(), first);

    let source = json!({ "repoURL": url, "path": "app" });
    let ids = async |revision: &str| {
        let rendered = server.render(&source, revision, TARGET).await.unwrap();
        assert_eq!(rendered.kind, "Directory");
        let id = |manifest: &Value| {
            text(&manifest["metadata"]["annotations"], "argocd.argoproj.io/tracking-id").to_owned()
        };
        rendered.manifests.iter().map(id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&first).await, ["web:/ConfigMap:n/a", "web:/Secret:other/s"]);
    assert_eq!(ids(&second).await, ["web:/ConfigMap:n/b"]);
}

#[tokio::test]
async fn what_cannot_be_rendered_says_so() {
    let (_folder, url) = repository(&[
        ("chart/Chart.yaml", "name: c\nversion: 1.0.0\n"),
        ("chart/templates/a.yaml", "{{ fail \"no\" }}"),
        ("kust/kustomization.yaml", ""),
    ]);
    let work = tempfile::tempdir().unwrap();
    let server = server(work.path());
    let revision = server.repositories().resolve(&url, "main").await.unwrap();
    let cases = [
        ("nope", "nope: app path does not exist"),
        ("../x", "../x: app path is outside root"),
        ("chart", "without helm only"),
        ("kust", "\"kustomize\": executable file not found"),
    ];
    for (path, want) in cases {
        let source = json!({ "repoURL": url, "path": path });
        let error = server.render(&source, &revision, TARGET).await.unwrap_err();
        assert!(error.contains(want), "{path}: {error}");
    }
    let missing = server.repositories().resolve(&url, "nope").await.unwrap_err();
    assert_eq!(missing, "unable to resolve 'nope' to a commit SHA: revision not found");
}

#[tokio::test]
async fn a_file_in_git_wins_over_the_spec() {
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {tag: '{{ .Values.image.tag }}'}\n";
    let (_folder, url) = repository(&[
        ("chart/Chart.yaml", "name: c\nversion: 1.0.0\n"),
        ("chart/values.yaml", "image: {tag: default}\n"),
        ("chart/templates/a.yaml", template),
        (
            "chart/.argocd-source-shadow.yaml",
            "helm: {parameters: [{name: image.tag, value: from-file}]}\npath: elsewhere\n",
        ),
    ]);
    let work = tempfile::tempdir().unwrap();
    let server = server(work.path());
    let revision = server.repositories().resolve(&url, "main").await.unwrap();
    let source = json!({ "repoURL": url, "path": "chart", "helm": { "parameters": [{ "name": "image.tag", "value": "from-spec" }] } });
    for (app, want) in [("web", "from-spec"), ("shadow", "from-file")] {
        let rendered = server.render(&source, &revision, Target { app, ..TARGET }).await.unwrap();
        assert_eq!(rendered.manifests[0]["data"]["tag"], want);
    }
    let plain = json!({ "repoURL": url, "path": "chart" });
    assert_eq!(
        server.render(&plain, &revision, TARGET).await.unwrap().manifests[0]["data"]["tag"],
        "default"
    );
    let details = server.details(&source).await.unwrap();
    assert_eq!(details["helm"]["parameters"], json!([{ "name": "image.tag", "value": "default" }]));
}
