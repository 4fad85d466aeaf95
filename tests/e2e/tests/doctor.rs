//! What `verbatim doctor` finds, on services that are well and on services that are not; and that it leaves nothing behind.

use anyhow::Result;
use e2e::{Run, World};
use fault_proxy::{Fault, Rule};
use serde_json::Value;

/// The findings, as `check subject level`.
fn findings(run: &Run) -> Result<Vec<String>> {
    let report = run.json()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = report["findings"].as_array().cloned().unwrap_or_default();
    Ok(all
        .iter()
        // Whether an engine is here does not matter to these tests.
        .filter(|finding| finding["check"] != "engine")
        .map(|finding| {
            let [check, subject, level] =
                ["check", "subject", "level"].map(|name| text(&finding[name]));
            format!("{check} {subject} {level}")
        })
        .collect())
}

/// The hints of one kind of check.
fn hints(run: &Run, check: &str) -> Result<String> {
    let report = run.json()?;
    let all = report["findings"].as_array().cloned().unwrap_or_default();
    let found = all.iter().find(|finding| finding["check"] == check && finding["level"] != "ok");
    Ok(found.map(|finding| finding.to_string()).unwrap_or_default())
}

const DOCTOR: [&str; 3] = ["doctor", "--format", "json"];

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_looked_at_and_nothing_is_left_behind() -> Result<()> {
    let world = World::start().await?;
    let host = world.registry_proxy.address().to_string();
    let release = world.release("One").await?;
    let _ = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(0);
    let before = (world.registry_proxy.requests(), world.argocd_proxy.requests());
    let run = world.verbatim(&DOCTOR).await?.ends(0);
    let told = hints(&run, "override")?;
    let own = "shop-staging: helm:image.tag is not overridden: the chart's own `none` runs, which is no release";
    assert!(told.contains(own), "{told}");
    let want = [
        "configuration verbatim.yaml ok".to_owned(),
        "source . ok".to_owned(),
        "key ci ok".to_owned(),
        format!("registry {host}/shop/app ok"),
        format!("clock {host} ok"),
        "argocd main ok".to_owned(),
        "clock main ok".to_owned(),
        "environment dev ok".to_owned(),
        "override dev ok".to_owned(),
        "environment staging ok".to_owned(),
        "override staging warning".to_owned(),
        "environment production ok".to_owned(),
        "override production warning".to_owned(),
    ];
    assert_eq!(findings(&run)?, want, "{run}");
    let written = world.registry_proxy.seen().split_off(before.0);
    let written = written.iter().filter(|seen| !matches!(seen.method.as_str(), "GET" | "HEAD"));
    let methods: Vec<String> = written.map(|seen| seen.method.to_string()).collect();
    assert_eq!(methods, ["POST", "DELETE"], "an upload is begun and given up");
    let written = world.argocd_proxy.seen().split_off(before.1);
    let reads = |method: &http::Method, target: &str| {
        *method == http::Method::GET || target.ends_with("/appdetails")
    };
    assert!(written.iter().all(|seen| reads(&seen.method, &seen.target)), "{written:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_fail_a_command_fails_the_checkup_alike() -> Result<()> {
    let world = World::start().await?;
    let host = world.registry_proxy.address().to_string();
    // A registry that lets nothing in.
    let refuse = Rule::new(Fault::Status(403)).method(&http::Method::POST).path("/blobs/uploads/");
    world.registry_proxy.inject(refuse.always());
    let run = world.verbatim(&DOCTOR).await?.ends(7);
    assert!(findings(&run)?.contains(&format!("registry {host}/shop/app failed")), "{run}");
    world.registry_proxy.heal();
    // A token that may only read.
    let reader = world.tool.clone().with("ARGOCD_AUTH_TOKEN", &world.argocd.tokens().reader);
    let run = reader.run(&DOCTOR).await?.ends(7);
    let told = hints(&run, "environment")?;
    assert!(told.contains("the token may not update shop-dev, sync shop-dev"), "{run}");
    // Argo CD does not answer: its applications are not told of, too.
    world.argocd_proxy.inject(Rule::new(Fault::Reset).always());
    let run = world.verbatim(&DOCTOR).await?.ends(3);
    let found = findings(&run)?;
    assert!(found.contains(&"argocd main failed".to_owned()), "{run}");
    assert!(!found.iter().any(|finding| finding.starts_with("environment")), "{run}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_some_commands_need_is_a_warning() -> Result<()> {
    let world = World::start().await?;
    world.project.write("chart/new.txt", "not committed")?;
    let mut tool = world.tool.clone();
    tool.variables.remove("VERBATIM_KEY");
    let run = tool.run(&DOCTOR).await?.ends(0);
    let found = findings(&run)?;
    assert!(found.contains(&"source . warning".to_owned()), "{run}");
    assert!(found.contains(&"key  warning".to_owned()), "{run}");
    // A key that nobody trusts is a mistake, and no record of it would count.
    let stranger = e2e::key(9)?.to_pkcs8_pem()?;
    let stranger = verbatim_credentials::ExposeSecret::expose_secret(&stranger);
    let run = world.tool.clone().with("VERBATIM_KEY", stranger).run(&DOCTOR).await?.ends(2);
    assert!(findings(&run)?.contains(&"key  failed".to_owned()), "{run}");
    Ok(())
}
