//! What people say about releases and environments, and what the gates make of it: with the real binary, a registry and a
//! simulated Argo CD. Every gate for itself is a table in `verbatim-policy`.

use anyhow::Result;
use e2e::{World, by, refusals, with_gates};
use fault_proxy::{Fault, Rule};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_opens_the_gate() -> Result<()> {
    let world = with_gates("    gates: { approvals: { role: release-manager } }\n").await?;
    let (release, other) = (world.release("One").await?, world.release("Two").await?);
    let promote = ["promote", "dev", "--release", &release, "--format", "json"];
    let run = world.verbatim(&promote).await?.ends(1).json()?;
    assert_eq!(refusals(&run), ["approvals"]);
    assert_eq!(world.writes(), [] as [&str; 0]);
    // By a key without the role, for another release, for another environment: none of it counts.
    let unasked = ["approve", "dev", "--release", &release];
    let run = world.verbatim(&unasked).await?.ends(2);
    assert!(run.stderr.contains("no gate before shop/dev asks"), "{run}");
    assert!(run.stderr.contains("its gates ask for the role `release-manager`"), "{run}");
    let _ = world.verbatim(&[&unasked[..], &["--anyway"]].concat()).await?.ends(0);
    let _ = by(&world, "lead", &["approve", "dev", "--release", &other]).await?.ends(0);
    let unasked = ["approve", "staging", "--release", &release];
    let _ = by(&world, "lead", &unasked).await?.ends(2);
    let _ = by(&world, "lead", &[&unasked[..], &["--anyway"]].concat()).await?.ends(0);
    assert_eq!(refusals(&world.verbatim(&promote).await?.ends(1).json()?), ["approvals"]);
    let approve = ["approve", "dev", "--release", &release, "--reason", "demo went well"];
    let _ = by(&world, "lead", &approve).await?.ends(0);
    let _ = world.verbatim(&promote).await?.ends(0);
    let told = world.verbatim(&["verify", &release]).await?.ends(0);
    assert!(told.stdout.contains("for shop/dev: demo went well"), "{told}");
    Ok(())
}

/// One key is one person, however often it signs.
#[tokio::test(flavor = "multi_thread")]
async fn two_approvals_by_one_key_are_one() -> Result<()> {
    let gates = "    gates: { approvals: { count: 2, role: release-manager } }\n";
    let world = with_gates(gates).await?;
    let text = std::fs::read_to_string(world.project.root.join("verbatim.yaml"))?;
    let text = text.replace("[promoter, break-glass]", "[promoter, release-manager]");
    world.project.write("verbatim.yaml", &text)?;
    let release = world.release("One").await?;
    let promote = ["promote", "dev", "--release", &release];
    for reason in ["once", "twice"] {
        let approve = ["approve", "dev", "--release", &release, "--reason", reason];
        let _ = by(&world, "lead", &approve).await?.ends(0);
        let run = world.verbatim(&promote).await?.ends(1);
        assert!(run.stdout.contains("1 of 2 approvals by `release-manager`"), "{run}");
    }
    assert_eq!(world.writes(), [] as [&str; 0]);
    let _ = by(&world, "chief", &["approve", "dev", "--release", &release]).await?.ends(0);
    let run = world.verbatim(&[&promote[..], &["--format", "json"]].concat()).await?.ends(0);
    assert!(run.stdout.contains("approved by chief, lead"), "{run}");
    Ok(())
}

/// A rule with a fault, how a promotion ends with it and what is told; and the same rule without the fault.
const FAULTY_RULES: [(&str, i32, &str, &str); 4] = [
    (
        "windows: [{ allow: '00:00-25:00' }]",
        2,
        "`25:00` is not a time of the day",
        "windows: [{ allow: '00:00-24:00' }]",
    ),
    (
        "when: { own: 'release.digest = release.digest' }",
        2,
        "does not compile",
        "when: { own: 'release.digest == release.digest' }",
    ),
    (
        "when: { own: 'release.labels.team != \"\"' }",
        1,
        "there is no field `release.labels.team`",
        "when: { own: 'release.labels[\"org.opencontainers.image.revision\"] != \"\"' }",
    ),
    (
        "when: { own: 'LIST.all(a, LIST.all(b, LIST.all(c, LIST.all(d, LIST.all(e, LIST.all(f, true))))))' }",
        1,
        "it takes more than 40000 steps",
        "when: { own: 'LIST.all(a, LIST.all(b, true))' }",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_rule_lets_nobody_in() -> Result<()> {
    let world = with_gates("    gates: {}\n").await?;
    let text = std::fs::read_to_string(world.project.root.join("verbatim.yaml"))?;
    let release = world.release("One").await?;
    let promote = ["promote", "dev", "--dry-run", "--release", &release];
    for (faulty, code, told, right) in FAULTY_RULES {
        let written = |rule: &str| {
            let rule = rule.replace("LIST", "[0,1,2,3,4,5,6,7,8,9]");
            world
                .project
                .write("verbatim.yaml", &text.replace("gates: {}", &format!("gates: {{ {rule} }}")))
        };
        written(faulty)?;
        let run = world.verbatim(&promote).await?.ends(code);
        assert!(run.to_string().contains(told), "{run}");
        written(right)?;
        let _ = world.verbatim(&promote).await?.ends(0);
    }
    assert_eq!(world.writes(), [] as [&str; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_and_vetoes_keep_out_until_they_are_lifted() -> Result<()> {
    let world = with_gates("").await?;
    let release = world.release("One").await?;
    let digest = release.split_once('@').map_or("", |(_, digest)| digest);
    let promote = ["promote", "dev", "--release", &release, "--format", "json"];
    let _ = by(&world, "lead", &["lock", "dev", "--reason", "audit"]).await?.ends(0);
    let _ = by(&world, "lead", &["veto", digest, "--reason", "it leaks"]).await?.ends(0);
    let app = world.api(http::Method::GET, "/shop-dev", None).await?;
    assert_eq!(app["metadata"]["annotations"]["verbatim.dev/lock"], "audit");
    let run = world.verbatim(&promote).await?.ends(1).json()?;
    assert_eq!(refusals(&run), ["locked", "vetoed"]);
    // The pipeline does not lift what a person imposed.
    let run = world.verbatim(&["unlock", "dev", "--reason", "hurry"]).await?.ends(1);
    assert!(run.stderr.contains("is by `lead`"), "{run}");
    let _ = world.verbatim(&["unveto", digest, "--reason", "hurry"]).await?.ends(1);
    let _ = by(&world, "chief", &["unlock", "dev", "--reason", "done"]).await?.ends(0);
    let app = world.api(http::Method::GET, "/shop-dev", None).await?;
    assert_eq!(app["metadata"]["annotations"]["verbatim.dev/lock"], Value::Null);
    assert_eq!(refusals(&world.verbatim(&promote).await?.ends(1).json()?), ["vetoed"]);
    let _ = by(&world, "lead", &["unveto", digest, "--reason", "fixed"]).await?.ends(0);
    let _ = by(&world, "lead", &["unveto", digest, "--reason", "again"]).await?.ends(1);
    let _ = world.verbatim(&promote).await?.ends(0);
    Ok(())
}

/// What the status tells of an environment.
async fn row(world: &World, check: &[&str], code: i32, environment: usize) -> Result<Value> {
    let arguments = [&["status", "--format", "json"], check].concat();
    let run = world.verbatim(&arguments).await?.ends(code).json()?;
    Ok(run["environments"][environment].clone())
}

/// A lock is no reason to wake anybody up. That something runs which somebody said must not is one.
#[tokio::test(flavor = "multi_thread")]
async fn the_status_tells_locks_and_vetoes() -> Result<()> {
    const CHECK: [&str; 1] = ["--check"];
    let world = with_gates("").await?;
    let release = world.release("One").await?;
    let digest = release.split_once('@').map_or("", |(_, digest)| digest);
    world.carry(&release, &["dev"]).await?;
    let row_of_dev = row(&world, &CHECK, 0, 0).await?;
    assert_eq!((&row_of_dev["locks"], &row_of_dev["vetoes"]), (&Value::Null, &Value::Null));

    let lock = ["lock", "dev", "--reason", "audit", "--until", "2126-01-01T00:00:00Z"];
    let _ = by(&world, "lead", &lock).await?.ends(0);
    let _ = by(&world, "lead", &["lock", "staging", "--reason", "holidays"]).await?.ends(0);
    let run = world.verbatim(&["status", "--check"]).await?.ends(0);
    let told = "running; locked by lead until 2126-01-01T00:00:00Z: audit";
    assert!(run.stdout.contains(told), "{run}");
    assert!(run.stdout.contains("nothing promoted yet; locked by lead: holidays"), "{run}");
    let locks = row(&world, &CHECK, 0, 0).await?["locks"].clone();
    assert_eq!((&locks[0]["reason"], &locks[0]["signed_by"]), (&json!("audit"), &json!("lead")));
    assert!(locks[0]["record"].is_string() && locks[0]["since"].is_string(), "{locks}");
    let _ = by(&world, "lead", &["unlock", "dev", "--reason", "done"]).await?.ends(0);
    assert_eq!(row(&world, &CHECK, 0, 0).await?["locks"], Value::Null);

    let veto = ["veto", digest, "--reason", "it leaks"];
    let unveto = ["unveto", digest, "--reason", "it does not"];
    for (place, code) in
        [(&[][..], 1), (&["--environment", "dev"], 1), (&["--environment", "production"], 0)]
    {
        let _ = by(&world, "lead", &[&veto[..], place].concat()).await?.ends(0);
        let _ = row(&world, &[], 0, 0).await?;
        let dev = row(&world, &CHECK, code, 0).await?;
        assert_eq!(dev["state"], "running");
        assert_eq!(dev["vetoes"].is_array(), code == 1, "{place:?}: {dev}");
        let run = world.verbatim(&["status", "--check"]).await?.ends(code);
        let told = run.stdout.contains("running; vetoed by lead: it leaks");
        let hint = run.stderr.contains("hint: verbatim rollback dev");
        assert_eq!((told, hint), (code == 1, code == 1), "{place:?}: {run}");
        let _ = by(&world, "lead", &[&unveto[..], place].concat()).await?.ends(0);
        let _ = row(&world, &CHECK, 0, 0).await?;
    }
    // What could not be listed is not none.
    let rule = Rule::new(Fault::Status(403)).path(&format!("/referrers/{digest}"));
    world.registry_proxy.inject(rule.always());
    let run = world.verbatim(&["status"]).await?.ends(7);
    assert!(
        run.stdout.contains(&format!("unknown: cannot tell whether {} has a veto", &digest[..19])),
        "{run}"
    );
    Ok(())
}

/// A policy that lets nobody in, ever.
#[tokio::test(flavor = "multi_thread")]
async fn the_glass_is_broken_by_those_who_may_and_it_is_recorded() -> Result<()> {
    let world = with_gates("    gates: { windows: [{ allow: '2020-01-01' }] }\n").await?;
    let release = world.release("One").await?;
    let check = world.verbatim(&["policy", "check"]).await?.ends(0);
    assert!(check.stdout.contains("no window of shop/dev opens within 400 days"), "{check}");
    let explain =
        world.verbatim(&["policy", "explain", "dev", "--release", &release]).await?.ends(1);
    assert!(explain.stdout.contains("refused  windows"), "{explain}");
    let promote = ["promote", "dev", "--release", &release];
    let _ = world.verbatim(&promote).await?.ends(1);
    let broken = [&promote[..], &["--override-gate", "windows", "--reason", "down"]].concat();
    let run = world.verbatim(&broken).await?.ends(2);
    assert!(run.stderr.contains("it needs one of the roles `break-glass`"), "{run}");
    let unknown = [&promote[..], &["--override-gate", "window", "--reason", "down"]].concat();
    let run = by(&world, "chief", &unknown).await?.ends(2);
    assert!(run.stderr.contains("no gate `window` before"), "{run}");
    assert_eq!(world.writes(), [] as [&str; 0]);
    let run = by(&world, "chief", &broken).await?.ends(0);
    assert!(run.stdout.contains("overridden: down"), "{run}");
    // The record counts: the next promotion follows it.
    let other = world.release("Two").await?;
    let again =
        ["promote", "dev", "--release", &other, "--override-gate", "windows", "--reason", "down"];
    let _ = by(&world, "chief", &again).await?.ends(0);
    Ok(())
}

/// The promotions of an environment, newest first.
async fn history(world: &World, environment: &str) -> Result<Vec<Value>> {
    let run = world.verbatim(&["history", environment, "--format", "json"]).await?.ends(0);
    Ok(run.json()?["promotions"].as_array().cloned().unwrap_or_default())
}

const OVER_WINDOWS: [&str; 4] = ["--override-gate", "windows", "--reason", "down"];

/// What was overridden when a plan was made is part of it and of its hash; what is overridden when it is applied is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_what_it_overrides() -> Result<()> {
    let world = with_gates("    gates: { windows: [{ allow: '2020-01-01' }] }\n").await?;
    let (first, second) = (world.release("One").await?, world.release("Two").await?);
    let plan = async |release: &str, more: &[&str]| {
        let arguments = ["plan", "dev", "--release", release, "--out", "../plan.json"];
        let run = world.verbatim(&[&arguments[..], more].concat()).await?.ends(0);
        let saved = std::fs::read(world.beside("plan.json"))?;
        anyhow::Ok((run, serde_json::from_slice::<Value>(&saved)?))
    };
    let apply = ["apply", "../plan.json", "--format", "json"];
    let (_, plain) = plan(&first, &[]).await?;
    let _ = by(&world, "chief", &apply).await?.ends(1);
    let (run, saved) = plan(&first, &OVER_WINDOWS).await?;
    assert!(run.stdout.contains("overrides the gate windows: down"), "{run}");
    assert_eq!(saved["plan"]["overrides"], json!([{ "gate": "windows", "reason": "down" }]));
    assert_ne!(saved["hash"], plain["hash"], "whoever approves it approves that, too");
    // The plan gives nobody the right to carry it out.
    let _ = by(&world, "chief", &apply).await?.ends(1);
    let again = [&apply[..], &OVER_WINDOWS].concat();
    let run = world.verbatim(&again).await?.ends(2);
    assert!(run.stderr.contains("it needs one of the roles `break-glass`"), "{run}");
    assert_eq!(world.writes(), [] as [&str; 0]);
    let run = by(&world, "chief", &again).await?.ends(0).json()?;
    assert_eq!(run["plan_hash"], saved["hash"]);
    let told = history(&world, "dev").await?;
    assert_eq!((&told[0]["overridden"], &told[0]["reason"]), (&json!(["windows"]), &json!("down")));

    let (_, saved) = plan(&second, &[]).await?;
    let _ = world.verbatim(&again).await?.ends(2);
    let run = by(&world, "chief", &again).await?.ends(0).json()?;
    assert_eq!(run["plan_hash"], saved["hash"]);
    assert_eq!(history(&world, "dev").await?[0]["overridden"], json!(["windows"]));
    Ok(())
}

/// Before every environment that has the gate, and no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_whole_run_overrides_where_the_gate_is() -> Result<()> {
    let world = with_gates("    gates: { windows: [{ allow: '2020-01-01' }] }\n").await?;
    let text = std::fs::read_to_string(world.project.root.join("verbatim.yaml"))?;
    let text = text.replace("[promoter, break-glass]", "[builder, tester, promoter, break-glass]");
    world.project.write("verbatim.yaml", &text)?;
    let release = world.release("One").await?;
    let run = ["run", "--to", "staging", "--release", &release];
    let _ = world.verbatim(&run).await?.ends(1);
    let broken = [&run[..], &OVER_WINDOWS].concat();
    let refused = world.verbatim(&broken).await?.ends(2);
    assert!(refused.stderr.contains("it needs one of the roles `break-glass`"), "{refused}");
    let unknown = [&run[..], &["--override-gate", "soak", "--reason", "down"]].concat();
    let refused = by(&world, "chief", &unknown).await?.ends(2);
    let why = "there is no gate `soak` before dev, staging";
    assert!(refused.stderr.contains(why), "{refused}");
    let empty = [&run[..], &["--override-gate", "windows", "--reason", " "]].concat();
    let _ = by(&world, "chief", &empty).await?.ends(2);
    assert_eq!(world.writes(), [] as [&str; 0]);
    let _ = by(&world, "chief", &broken).await?.ends(0);
    let (dev, staging) = (history(&world, "dev").await?, history(&world, "staging").await?);
    assert_eq!((&dev[0]["overridden"], &dev[0]["reason"]), (&json!(["windows"]), &json!("down")));
    assert_eq!((&staging[0]["overridden"], &staging[0]["reason"]), (&Value::Null, &Value::Null));
    Ok(())
}

/// A lock locks the ways back, too, but for those who may break the glass.
#[tokio::test(flavor = "multi_thread")]
async fn the_ways_back_override_a_gate() -> Result<()> {
    let world = with_gates("").await?;
    for name in ["One", "Two"] {
        world.carry(&world.release(name).await?, &["dev"]).await?;
    }
    let _ = by(&world, "lead", &["lock", "dev", "--reason", "audit"]).await?.ends(0);
    let over = ["--override-gate", "locked", "--reason", "the shop is down"];
    for (way, kind) in [("rollback", "rollback"), ("restore", "restore")] {
        if way == "restore" {
            let gone = json!([{ "op": "remove", "path": "/spec/source/helm/parameters" }]);
            world.patch("shop-dev", gone).await?;
        }
        world.argocd.forget_seen();
        let run = world.verbatim(&[way, "dev", "--format", "json"]).await?.ends(1).json()?;
        assert_eq!(refusals(&run), ["locked"]);
        let broken = [&[way, "dev"][..], &over].concat();
        let run = world.verbatim(&broken).await?.ends(2);
        assert!(run.stderr.contains("it needs one of the roles `break-glass`"), "{run}");
        let run = world.verbatim(&[way, "dev", "--override-gate", "locked"]).await?.ends(2);
        assert!(run.stderr.contains("--reason"), "{run}");
        assert_eq!(world.writes(), [] as [&str; 0]);
        let run = by(&world, "chief", &broken).await?.ends(0);
        assert!(run.stdout.contains("overridden: the shop is down"), "{run}");
        let told = history(&world, "dev").await?;
        assert_eq!((&told[0]["kind"], &told[0]["overridden"]), (&json!(kind), &json!(["locked"])));
    }
    // Their records count: the ledger is whole.
    let _ = world.verbatim(&["status", "--check"]).await?.ends(0);
    Ok(())
}

/// Whoever goes back is the author of that promotion, and does not approve it.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_approves_the_way_back_that_is_their_own() -> Result<()> {
    let gates = "    gates: { approvals: { role: release-manager, not_author: true }, on_rollback: { ask: [approvals] } }\n";
    let world = with_gates(gates).await?;
    let text = std::fs::read_to_string(world.project.root.join("verbatim.yaml"))?;
    let lead = "roles: [release-manager, promoter], actors: [lead]";
    let text = text.replace("roles: [release-manager]", lead);
    let text = text.replace("file: ci.pub,", "file: ci.pub, actors: [pipeline],");
    world.project.write("verbatim.yaml", &text)?;
    for name in ["One", "Two"] {
        let release = world.release(name).await?;
        let _ = by(&world, "lead", &["approve", "dev", "--release", &release]).await?.ends(0);
        world.carry(&release, &["dev"]).await?;
    }
    for way in ["restore", "rollback"] {
        let line = [way, "dev", "--format", "json"];
        let run = by(&world, "lead", &line).await?.ends(1).json()?;
        assert_eq!(refusals(&run), ["approvals"], "{run}");
        let _ = world.verbatim(&line).await?.ends(0);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_tests_its_own_rules() -> Result<()> {
    let gates = "    gates: { approvals: { role: release-manager }, windows: [{ allow: 'Mon-Thu 09:00-16:00', timezone: Europe/Kyiv }] }\n";
    let world = with_gates(gates).await?;
    let cases = "\
version: 1
cases:
  - name: in the morning, approved
    environment: dev
    now: 2026-11-24T08:00:00Z
    build: { by: ci, at: 2026-11-24T07:00:00Z }
    approvals: [{ by: lead, at: 2026-11-24T07:30:00Z }]
    want: allowed
  - name: at night, by the wrong key
    environment: dev
    now: 2026-11-24T23:00:00Z
    approvals: [{ by: ci, at: 2026-11-24T07:30:00Z }]
    want: refused
    refused_by: [approvals, windows]
  - name: a rollback does not wait
    environment: dev
    now: 2026-11-24T23:00:00Z
    rollback: true
    want: allowed
  - name: but a lock locks
    environment: dev
    now: 2026-11-24T23:00:00Z
    rollback: true
    locks: [{ by: lead, at: 2026-11-24T22:00:00Z }]
    want: refused
    refused_by: [locked]
";
    world.project.write("cases.yaml", cases)?;
    let run = world.verbatim(&["policy", "test", "cases.yaml"]).await?.ends(0);
    assert!(run.stdout.contains("4 passed, 0 failed"), "{run}");
    world.project.write(
        "cases.yaml",
        &cases.replace("rollback: true\n    want: allowed", "want: allowed"),
    )?;
    let run = world.verbatim(&["policy", "test", "cases.yaml"]).await?.ends(1);
    assert!(run.stdout.contains("3 passed, 1 failed"), "{run}");
    assert!(run.stdout.contains("refused, but the case wants it allowed"), "{run}");
    world.project.write("cases.yaml", &cases.replace("approvals:", "aprovals:"))?;
    let run = world.verbatim(&["policy", "test", "cases.yaml"]).await?.ends(2);
    assert!(run.stderr.contains("did you mean `approvals`?"), "{run}");
    Ok(())
}
