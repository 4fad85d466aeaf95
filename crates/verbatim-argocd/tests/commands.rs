//! The commands against a simulated Argo CD: which exit status each has, for one application and for several.
//!
//! What they do to objects is compared with the real argocd in the end-to-end tests.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which lints do not take for tests")]

mod support;

use clap::Parser;
use serde_json::json;
use support::Rig;
use verbatim_argocd::cli::{self, ArgocdCommand};
use verbatim_console::Console;

#[derive(Debug, Parser)]
struct Tool {
    #[command(subcommand)]
    command: ArgocdCommand,
}

/// Runs a command line, and gives its exit status.
async fn status(rig: &Rig, token: &str, line: &str) -> u8 {
    let url = rig.server.url();
    let words = ["tool"].into_iter().chain(line.split_whitespace());
    let words = words.chain(["--server", &url, "--auth-token", token, "--argocd-opts", ""]);
    let tool = Tool::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
    match cli::run(tool.command, &Console::silent()).await {
        Ok(status) => status.code(),
        Err(failure) => failure.status.code(),
    }
}

#[tokio::test]
async fn each_command_has_its_exit_status() {
    let rig = Rig::start().await;
    rig.app("shop", false, json!([])).await;
    rig.app("cart", false, json!([])).await;
    let tokens = rig.server.tokens();
    let cases = [
        ("list", 0),
        ("list -l team=none", 0),
        ("get shop", 0),
        ("get shop -o tree", 0),
        ("get shop cart -o tree", 0),
        ("get shop -o wide --show-operation --show-params --refresh", 0),
        ("get shop -o json", 0),
        ("get no-such", 7),
        ("get no-such --project default", 7),
        // One that is there does not hide one that is not.
        ("get shop no-such", 7),
        ("get", 2),
        ("get -l team=none", 7),
        ("get --project default", 0),
        ("diff shop", 0),
        ("diff shop cart", 0),
        ("manifests shop", 0),
        ("manifests shop --source live", 0),
        ("manifests shop cart --revision main", 0),
        ("manifests --project default", 0),
        ("manifests shop no-such", 7),
        ("manifests shop --source live --revision main", 2),
        ("manifests shop --revisions main --source-positions 0", 2),
        ("resources shop", 0),
        ("resources shop cart --orphaned", 0),
        ("history shop cart", 0),
        ("app sync shop --prune", 2),
        ("app edit shop", 2),
        ("actions list shop", 0),
        ("actions list --project default --kind Deployment -o json", 0),
        ("actions run shop restart", 2),
        ("actions run shop restart --kind Deployment", 0),
        ("actions run --project default restart --kind Deployment --all", 0),
        ("actions run shop fly --kind Deployment", 3),
        ("actions run shop restart --kind Job", 7),
        ("get-resource shop --kind Deployment", 0),
        ("get-resource shop cart --kind Pod --filter-fields status.phase -o yaml", 0),
        ("get-resource shop", 2),
        ("get-resource shop --kind Job", 7),
        ("patch shop --patch {", 2),
        ("set shop", 2),
        ("set shop --auto-prune --dry-run", 0),
        ("set no-such --sync-policy none", 7),
        ("logout", 2),
        ("images shop", 0),
        ("images --project default", 0),
        ("overrides", 0),
        ("overrides --project no-such", 0),
        ("history shop -o wide", 0),
        ("events shop", 0),
        ("events shop --kind Nothing", 7),
        ("events shop cart --kind Deployment", 0),
        ("events --project default", 0),
        // No kubelet answers here.
        ("logs shop", 3),
        ("logs shop cart --tail 1", 3),
        ("logs shop no-such --kind Nothing", 7),
        ("logs shop cart --follow --parallel 1", 2),
        ("cluster list", 0),
        ("project list -o name", 0),
        ("repo list", 0),
        ("whoami", 0),
        ("version", 0),
        ("can-i delete applications default/shop", 0),
        ("wait shop", 0),
        ("wait shop cart --health --sync --parallel 1", 0),
        ("wait shop --suspended --timeout 1", 4),
        ("wait shop --resource apps:Deployment:shop", 0),
        ("wait shop --delete --timeout 1", 4),
        ("terminate shop", 1),
        ("terminate shop cart", 1),
        ("rollback shop 7", 1),
        ("rollback shop --id 7", 1),
        ("rollback shop cart --id 7", 1),
        ("rollback shop 7 --id 7", 2),
        ("rollback shop cart 7", 2),
        // Each has been deployed once.
        ("rollback --project default", 1),
        ("prove shop cart --image example/web:1", 2),
        ("override shop", 2),
        ("unset shop", 2),
        ("override no-such --helm-set a=b", 7),
        ("sync shop --resource batch:Job:none", 7),
        ("delete", 2),
        ("delete --project default", 2),
    ];
    for (line, want) in cases {
        assert_eq!(status(&rig, &tokens.admin, line).await, want, "{line}");
    }
    let bot = [
        ("can-i delete applications default/shop", 1),
        ("logs shop", 7),
        ("delete shop", 7),
        ("actions run shop restart --kind Deployment", 7),
        ("patch-resource shop --kind Deployment --patch {}", 7),
        ("delete-resource shop --kind Deployment", 7),
    ];
    for (line, want) in bot {
        assert_eq!(status(&rig, &tokens.bot, line).await, want, "bot: {line}");
    }
}

/// What docs/from-argocd-cli.md says is not there.
#[test]
fn what_is_left_out_is_not_taken_for_something_else() {
    for line in [
        "diff shop --local .",
        "diff shop --server-side-diff",
        "manifests shop --local .",
        "sync shop --local .",
        "wait shop --hydrated",
        "cluster add shop",
        "proj create shop",
        "proj role list shop",
    ] {
        let words = ["tool"].into_iter().chain(line.split_whitespace());
        assert!(Tool::try_parse_from(words).is_err(), "{line}");
    }
}

#[test]
fn the_page_for_users_of_argocd_has_no_empty_cell_and_names_a_test_in_each_row() {
    let page = include_str!("../../../docs/from-argocd-cli.md");
    let mut rows = 0;
    for line in page.lines().filter(|line| line.starts_with('|')) {
        let line = line.replace("\\|", "/");
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{line}");
        assert_ne!(cells.last(), Some(&"none"), "{line}");
        rows += 1;
    }
    assert!(rows > 50, "{rows} rows");
}

#[tokio::test]
async fn several_applications_are_changed_and_deployed_alike() {
    let rig = Rig::start().await;
    let shop = rig.app("shop", false, json!([])).await;
    let cart = rig.app("cart", false, json!([])).await;
    let bot = rig.server.tokens().bot;
    let value = |text: &str| vec![("replicas".to_owned(), text.to_owned())];
    assert_eq!(status(&rig, &bot, "override --project default --helm-set replicas=3").await, 0);
    for app in [&shop, &cart] {
        assert_eq!(rig.parameters(app).await, value("3"), "{app}");
    }
    assert_eq!(status(&rig, &bot, "diff shop cart --refresh").await, 1);
    assert_eq!(status(&rig, &bot, "sync shop cart --preview-changes").await, 1);
    assert_eq!(status(&rig, &bot, "sync shop cart").await, 0);
    assert_eq!(status(&rig, &bot, "diff shop cart").await, 0);
    assert_eq!(status(&rig, &bot, "unset shop cart --parameter replicas").await, 0);
    for app in [&shop, &cart] {
        assert_eq!(rig.parameters(app).await, [], "{app}");
    }
    assert_eq!(status(&rig, &bot, "override shop cart --undo").await, 0);
    assert_eq!(rig.parameters(&cart).await, value("3"));
    // Nothing is left to undo on the one, and that is said of both.
    assert_eq!(status(&rig, &bot, "override shop cart --undo").await, 1);
    assert_eq!(status(&rig, &bot, "rollback --project default").await, 0);
    let admin = rig.server.tokens().admin;
    assert_eq!(status(&rig, &admin, "delete shop cart --wait").await, 0);
    assert_eq!(status(&rig, &admin, "get shop").await, 7);
}

/// A secret that stood in a parameter is not kept in the claim, nor printed; only the run that replaced it knows it.
#[tokio::test]
async fn a_secret_is_in_no_claim_and_undo_says_that_it_cannot_put_it_back() {
    let rig = Rig::start().await;
    let shop = rig.app("shop", false, json!([{ "name": "dbPassword", "value": "hunter2" }])).await;
    let bot = rig.server.tokens().bot;
    assert_eq!(status(&rig, &bot, "override shop --helm-set dbPassword=hunter3").await, 0);
    assert_eq!(rig.parameters(&shop).await[0].1, "hunter3");
    let object = rig.client().object(&shop).await.unwrap();
    let claim = object["metadata"]["annotations"]["verbatim.dev/claim"].as_str().unwrap();
    assert!(claim.contains("dbPassword") && !claim.contains("hunter"), "{claim}");
    assert_eq!(status(&rig, &bot, "override shop --undo").await, 5);
    assert_eq!(rig.parameters(&shop).await[0].1, "hunter3");
}

/// What is changed beside values: once more it is nothing, and what an answer does not hold is told.
#[tokio::test]
async fn applications_and_objects_are_changed_past_the_values() {
    let rig = Rig::start().await;
    rig.app("shop", false, json!([])).await;
    rig.app("cart", false, json!([])).await;
    let (bot, admin) = (rig.server.tokens().bot, rig.server.tokens().admin);
    let set = "set shop cart --sync-policy automated --self-heal --revision-history-limit 3 --sync-option Prune=false";
    assert_eq!(status(&rig, &bot, &format!("{set} --dry-run")).await, 0);
    assert_eq!(rig.spec("shop").await["revisionHistoryLimit"], json!(null));
    for _ in 0..2 {
        assert_eq!(status(&rig, &bot, set).await, 0);
    }
    // The second time there was nothing to write.
    assert_eq!(rig.writes().iter().filter(|line| line.starts_with("PATCH")).count(), 2);
    for app in ["shop", "cart"] {
        let spec = rig.spec(app).await;
        assert_eq!(spec["revisionHistoryLimit"], 3, "{spec}");
        assert_eq!(
            spec["syncPolicy"],
            json!({
                "automated": { "selfHeal": true },
                "syncOptions": ["CreateNamespace=true", "Prune=false"],
            })
        );
    }
    let cases = [
        (r#"patch shop --type merge --patch {"spec":{"revisionHistoryLimit":4}}"#, 0),
        (
            r#"patch shop --patch [{"op":"replace","path":"/spec/revisionHistoryLimit","value":5}] -o json"#,
            0,
        ),
        (r#"patch shop --patch [{"op":"test","path":"/spec/revisionHistoryLimit","value":4}]"#, 5),
        (r#"patch shop --type merge --patch {"spec":{"noSuchField":1}}"#, 1),
        ("confirm-deletion shop cart", 0),
    ];
    for (line, want) in cases {
        assert_eq!(status(&rig, &bot, line).await, want, "{line}");
    }
    assert_eq!(rig.spec("shop").await["revisionHistoryLimit"], 5);
    let cases = [
        (
            r#"patch-resource shop cart --kind Deployment --patch {"metadata":{"labels":{"a":"b"}}}"#,
            0,
        ),
        ("delete-resource cart --kind Deployment", 0),
    ];
    for (line, want) in cases {
        assert_eq!(status(&rig, &admin, line).await, want, "{line}");
    }
}
