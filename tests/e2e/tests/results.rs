//! What the commands print for programs, as `docs/json.md` describes it: one thing has one name and one shape, whichever
//! command tells it.

use anyhow::{Context as _, Result};
use e2e::World;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// Objects whose form is another one's: a statement's, a saved plan's, Argo CD's, or names that people chose.
const FOREIGN: [&str; 8] =
    ["plan", "report", "source", "known_from", "origin", "policy_origin", "gates", "drift"];

/// What is wrong with a result. `path` is where it stands.
fn faults(path: &str, value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().flat_map(|value| faults(path, value)).collect(),
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| !FOREIGN.contains(&name.as_str()))
            .flat_map(|(name, value)| {
                let path = format!("{path}.{name}");
                let of_field = fault(name, value).map(|fault| format!("{path}: {fault}"));
                of_field.into_iter().chain(faults(&path, value)).collect::<Vec<_>>()
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn fault(name: &str, value: &Value) -> Option<String> {
    let text = value.as_str();
    let is_digest = |value: &Value| value.as_str().is_some_and(|it| it.starts_with("sha256:"));
    let is_fine = match name {
        "release" => is_release(value),
        "promotion" => value["number"].is_u64() && is_digest(&value["record"]),
        "record" | "digest" => is_digest(value),
        "environment" => text.is_some_and(|id| id.starts_with("shop/")),
        "at" | "since" | "until" | "deadline" | "started_at" | "finished_at" | "recorded_at" => {
            value.is_null() || text.is_some_and(|it| it.parse::<Timestamp>().is_ok())
        }
        _ => !name.contains(|c: char| c.is_ascii_uppercase()),
    };
    (!is_fine).then(|| value.to_string())
}

fn is_release(value: &Value) -> bool {
    let [repository, digest] = ["repository", "digest"].map(|it| value[it].as_str().unwrap_or("?"));
    let tag = value["tag"].as_str().map(|tag| format!(":{tag}")).unwrap_or_default();
    value["reference"] == format!("{repository}{tag}@{digest}")
}

/// Runs a command with JSON, and checks what it prints.
async fn result(world: &World, arguments: &[&str], code: i32) -> Result<Map<String, Value>> {
    let run = world.verbatim(&[arguments, &["--format", "json"]].concat()).await?.ends(code);
    let json = run.json()?;
    assert_eq!(json["schema_version"], 1, "{arguments:?}: {run}");
    assert_eq!(faults("", &json), [] as [&str; 0], "{arguments:?}: {run}");
    json.as_object().cloned().context("no object")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_tells_the_same_thing_in_the_same_way() -> Result<()> {
    let world = World::start().await?;
    let text = world
        .configuration()
        .replace("[builder, tester, promoter]", "[builder, tester, promoter, lead]");
    let text = text.replace(
        "    apps: [shop-dev]",
        "    apps: [shop-dev]\n    gates: { approvals: { role: lead } }",
    );
    world.project.write("verbatim.yaml", &text)?;
    let release = world.release("One").await?;
    let with = ["--release", &release];
    let told = result(&world, &[&["promote", "dev"][..], &with].concat(), 1).await?;
    assert_eq!(told["decision"]["allowed"], false);
    let commands: [(&[&str], i32); 19] = [
        (&["status"], 0),
        (&["approve", "dev", "--for", "1h", with[0], with[1]], 0),
        (&["policy", "check"], 0),
        (&["policy", "explain", "dev", with[0], with[1]], 0),
        (&["plan", "dev", with[0], with[1]], 0),
        (&["promote", "dev", with[0], with[1]], 0),
        (&["test", "dev", with[0], with[1]], 0),
        (&["run", "--to", "staging", with[0], with[1]], 0),
        (&["restore", "dev"], 0),
        (&["lock", "dev", "--reason", "audit", "--no-annotation"], 0),
        (&["veto", &release, "--reason", "it leaks", "--environment", "dev"], 0),
        (&["status"], 0),
        (&["status", "--check"], 1),
        (&["unveto", &release, "--reason", "it does not", "--environment", "dev"], 0),
        (&["unlock", "dev", "--reason", "over", "--no-annotation"], 0),
        (&["history", "dev"], 0),
        (&["verify", &release], 0),
        (&["ci", "github"], 0),
        (&["version"], 0),
    ];
    for (arguments, code) in commands {
        let _ = result(&world, arguments, code).await?;
    }
    let next = world.release("Two").await?;
    let approve = ["approve", "dev", "--release", &next];
    let _ = result(&world, &approve, 0).await?;
    let _ = result(&world, &["promote", "dev", "--release", &next], 0).await?;
    let told = result(&world, &[&["promote", "dev"][..], &with].concat(), 6).await?;
    assert!(is_release(&told["superseded_by"]), "{told:?}");
    let _ = result(&world, &["rollback", "dev"], 0).await?;
    Ok(())
}

/// What runs already, proven and tested, is left alone by a whole run; since when it runs does not move.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_leaves_alone_what_runs_already() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("One").await?;
    let run = ["run", "--to", "dev", "--release", &release];
    let first = result(&world, &run, 0).await?;
    assert_eq!(first["stages"][0]["promotion"]["number"], 1);
    let since = result(&world, &["status"], 0).await?["environments"][0]["since"].clone();
    world.argocd.forget_seen();
    let again = result(&world, &run, 0).await?;
    assert_eq!(world.writes(), [] as [&str; 0]);
    let [promoted, tested] = [0, 1].map(|stage| again["stages"][stage].clone());
    assert_eq!((&promoted["proven"], &promoted["promotion"]), (&true.into(), &Value::Null));
    assert_eq!(
        (&tested["earlier"], &tested["record"]),
        (&true.into(), &first["stages"][1]["record"])
    );
    let told = world.verbatim(&run).await?.ends(0);
    let hex = release.split("@sha256:").nth(1).map(|hex| &hex[..12]).context("no digest")?;
    let [proven, tested] = [0, 1].map(|line| told.stdout.lines().nth(line).unwrap_or_default());
    assert!(proven.starts_with(&format!("shop/dev  {hex}  proven  1 app  ")), "{told}");
    assert!(proven.ends_with("  as recorded"), "{told}");
    assert_eq!(tested, format!("shop/dev  {hex}  tested before  smoke"), "{told}");

    // On demand all of it is done again, and it is there since it came.
    let forced = result(&world, &[&run[..], &["--again"]].concat(), 0).await?;
    assert_eq!(forced["stages"][0]["promotion"]["number"], 2);
    assert_eq!(forced["stages"][1]["earlier"], Value::Null);
    let status = result(&world, &["status", "--check"], 0).await?;
    assert_eq!(status["environments"][0]["since"], since);

    // A test that failed since is run again.
    std::fs::write(world.beside("fail"), "")?;
    let _ = world.verbatim(&["test", "dev", "--release", &release]).await?.ends(1);
    let _ = result(&world, &run, 1).await?;
    std::fs::remove_file(world.beside("fail"))?;
    let mended = result(&world, &run, 0).await?;
    assert_eq!(mended["stages"][1]["earlier"], Value::Null);
    Ok(())
}

/// GitHub shows a file of the job as its summary. However a stage ends, it is there, with what stands in its way first.
#[tokio::test(flavor = "multi_thread")]
async fn every_end_is_in_the_summary_of_the_job() -> Result<()> {
    let world = e2e::with_gates("    gates: { approvals: { role: release-manager } }\n").await?;
    let release = world.release("First").await?;
    let summary = world.beside("summary.md");
    let tool = world
        .tool
        .clone()
        .with("GITHUB_ACTIONS", "true")
        .with("GITHUB_STEP_SUMMARY", &summary.to_string_lossy());
    let told = async |arguments: &[&str], code: i32| -> Result<String> {
        std::fs::write(&summary, "")?;
        let _ = tool.run(arguments).await?.ends(code);
        let text = std::fs::read_to_string(&summary)?;
        assert!(!text.contains('\u{1b}'), "{arguments:?}: {text:?}");
        Ok(text)
    };
    let promote = ["promote", "dev", "--release", &release];
    let refused = told(&promote, 1).await?;
    let lines: Vec<&str> = refused.lines().filter(|line| !line.is_empty()).collect();
    assert!(lines[0].ends_with("→ shop/dev: refused (1)"), "{refused}");
    assert!(lines[1].starts_with("- gate **approvals**: "), "{refused}");

    let _ = e2e::by(&world, "lead", &["approve", "dev", "--release", &release]).await?.ends(0);
    let proven = told(&promote, 0).await?;
    assert!(proven.starts_with("### `") && proven.contains("→ shop/dev: proven\n"), "{proven}");
    let tested = told(&["test", "dev", "--release", &release], 0).await?;
    assert!(tested.contains(" in shop/dev: tested\n"), "{tested}");
    let wrong = told(&["promote", "nowhere"], 2).await?;
    assert!(wrong.starts_with("### `verbatim promote nowhere`: usage (2)\n"), "{wrong}");
    let nothing = told(&["status"], 0).await?;
    assert_eq!(nothing, "", "a look is no stage");
    Ok(())
}
