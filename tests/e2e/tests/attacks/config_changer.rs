//! Whoever may change the repository of the product with its `verbatim.yaml`, and not the policy, which stands elsewhere.

use anyhow::{Context as _, Result};
use e2e::{Project, Run, World};
use serde_json::{Value, json};

/// The rules of the world.
const RULES: &str = "\
version: 1
environments:
  staging: { after: [dev], gates: { tested: { in: dev, suites: [smoke] } } }
  production: { after: [staging] }
keys:
  - { name: ci, file: project/ci.pub, roles: [builder, tester, promoter] }
";

/// A world whose rules are beside its repository, with what they pin. Its suite is a file of the repository.
async fn world() -> Result<World> {
    let world = World::start().await?;
    let text = without_rules(&world.configuration())?;
    let (before, after) = text.split_once("    tests: ").context("no tests")?;
    let (_, after) = after.split_once('\n').context("no line")?;
    let text = format!("{before}    tests: {{ smoke: ./smoke.sh }}\n{after}");
    world.project.write("smoke.sh", "#!/bin/sh\ntest ! -e ../fail\n")?;
    world.project.git(&["add", "."]).await?;
    world.project.git(&["update-index", "--chmod=+x", "smoke.sh"]).await?;
    world.project.git(&["checkout", "smoke.sh"]).await?;
    world.project.write("verbatim.yaml", &text)?;
    let pins = world.verbatim(&["policy", "pin"]).await?.ends(0).stdout;
    std::fs::write(world.beside("policy.yaml"), format!("{RULES}{pins}"))?;
    world.project.commit("The rules stand elsewhere").await?;
    Ok(world)
}

/// A configuration whose rules stand elsewhere.
fn without_rules(text: &str) -> Result<String> {
    let (stages, _) = text.split_once("keys:\n").context("no keys")?;
    let is_rule =
        |line: &&str| !["    after:", "    gates:"].iter().any(|rule| line.starts_with(rule));
    let stages: Vec<&str> = stages.lines().filter(is_rule).collect();
    Ok(format!("{}\npolicy: {{ file: ../policy.yaml }}\n", stages.join("\n")))
}

fn configuration(world: &World) -> Result<String> {
    Ok(std::fs::read_to_string(world.project.root.join("verbatim.yaml"))?)
}

/// Changes the configuration, runs a command, and puts it back.
async fn changed(world: &World, old: &str, new: &str, arguments: &[&str]) -> Result<Run> {
    let text = configuration(world)?;
    assert_eq!(text.matches(old).count(), 1, "{old}: {text}");
    world.project.write("verbatim.yaml", &text.replace(old, new))?;
    let run = world.verbatim(arguments).await?;
    world.project.write("verbatim.yaml", &text)?;
    Ok(run)
}

/// No line of the configuration leads around a gate of the policy.
#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_about_what_the_policy_pins() -> Result<()> {
    let world = world().await?;
    let release = world.release("Not tested").await?;
    world.argocd.forget_seen();
    let into = |environment| ["promote", environment, "--release", &release];
    let _ = world.verbatim(&into("production")).await?.ends(1);
    let (line, more) = (
        "{\"name\":\"hotfix\",\"apps\":[{\"name\":\"shop-production\",\"server\":\"main\"}]}",
        "- name: dev\n    apps: [shop-dev]",
    );
    for (old, new, environment, told) in [
        ("name: production", "name: hotfix", "hotfix", "does not name the environment `hotfix`"),
        ("name: production", "name: hotfix", "hotfix", line),
        (more, "- name: dev\n    apps: [shop-dev, shop-more]", "dev", "pins other applications"),
        ("[shop-dev]", "[shop-other]", "dev", "pins other applications or values of `dev`"),
        ("project: shop", "project: shop2", "dev", "is for another project"),
        (
            "argocd:",
            "records: 127.0.0.1:1/empty\nargocd:",
            "dev",
            "pins another repository of records",
        ),
        ("/shop/app,", "/shop/other,", "dev", "pins other images"),
        ("main: { url:", "main: { insecure: true, url:", "dev", "pins other Argo CD servers"),
        (
            "    image.repository:",
            "    command: \"${tag}\"\n    image.repository:",
            "dev",
            "pins other applications or values",
        ),
        ("./smoke.sh", "'true'", "dev", "pins other suites of `dev`"),
    ] {
        let run = changed(&world, old, new, &into(environment)).await?.ends(2);
        assert!(run.stderr.contains(told), "{run}");
    }
    // Nor does breaking the glass, which asks the rules nothing else.
    let broken = ["rollback", "dev", "--from-argocd-history", "--reason", "all is down"];
    let run = changed(&world, "[shop-dev]", "[shop-other]", &broken).await?.ends(2);
    assert!(run.stderr.contains("pins other applications"), "{run}");
    // Nor with a line that makes the configuration a mistake, so that its rules could not be had.
    let stray = "keys: [{ name: mine, file: mine.pub, roles: [promoter] }]\nenvironments:";
    let text = std::fs::read_to_string(world.project.root.join("verbatim.yaml"))?;
    world.project.write("verbatim.yaml", &text.replacen("environments:", stray, 1))?;
    let run = changed(&world, "[shop-dev]", "[shop-other]", &broken).await?.ends(2);
    assert!(run.stderr.contains("pins other applications"), "{run}");
    world.project.write("verbatim.yaml", &text)?;
    assert_eq!(world.writes(), [] as [&str; 0]);
    world.carry(&release, &["dev", "staging", "production"]).await
}

/// The policy names a suite; what that does is not up to the code.
#[tokio::test(flavor = "multi_thread")]
async fn a_suite_does_what_the_policy_pins() -> Result<()> {
    let world = world().await?;
    let release = world.release("Broken").await?;
    let _ = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(0);
    world.project.write("smoke.sh", "#!/bin/sh\nexit 0\n")?;
    let test = ["test", "dev", "--release", &release];
    let run = world.verbatim(&test).await?.ends(1);
    assert!(
        run.stderr.contains("smoke.sh of the suite smoke is not the file that the policy pins"),
        "{run}"
    );
    let run = world.verbatim(&["promote", "staging", "--release", &release]).await?.ends(1);
    assert!(run.stdout.contains("refused  tested"), "{run}");
    world.project.git(&["checkout", "smoke.sh"]).await?;
    let _ = world.verbatim(&test).await?.ends(0);
    Ok(())
}

/// A policy of an earlier verbatim says nothing of these things. It must not be read as if it did not care.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_without_pins_says_what_to_add() -> Result<()> {
    let world = world().await?;
    let policy = world.beside("policy.yaml");
    std::fs::write(&policy, RULES)?;
    let run = world.verbatim(&["policy", "check"]).await?.ends(2);
    assert!(run.stderr.contains("run `verbatim policy pin` and add what it prints"), "{run}");
    let pins = world.verbatim(&["policy", "pin"]).await?.ends(0).stdout;
    std::fs::write(&policy, format!("{RULES}{pins}"))?;
    let run = world.verbatim(&["policy", "check"]).await?.ends(0);
    assert!(!run.stdout.contains("pins no file"), "{run}");
    // A suite that is pinned by its command alone is one that the code may change.
    let bare: Vec<&str> = pins.lines().filter(|line| !line.contains("smoke.sh: sha256")).collect();
    std::fs::write(&policy, format!("{RULES}{}", bare.join("\n").replace("files:", "files: {}")))?;
    let run = world.verbatim(&["policy", "check"]).await?.ends(0);
    assert!(run.stdout.contains("the policy pins no file of the suite `smoke`"), "{run}");
    Ok(())
}

/// The job says where the rules are. Then no line of the repository says it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_from_outside_is_the_only_one() -> Result<()> {
    let world = world().await?;
    let text = configuration(&world)?;
    let (unnamed, named) = text.split_once("policy:").context("no policy")?;
    let lax = std::fs::read_to_string(world.beside("policy.yaml"))?
        .replace(
            "  staging: { after: [dev], gates: { tested: { in: dev, suites: [smoke] } } }\n",
            "",
        )
        .replace("production: { after: [staging] }", "production: {}");
    std::fs::write(world.beside("lax.yaml"), lax)?;
    let release = world.release("Not tested").await?;
    let promote = ["promote", "production", "--release", &release, "--dry-run"];
    // Where nobody says it, the repository chooses.
    let elsewhere = format!("{unnamed}policy: {{ file: ../lax.yaml }}\n");
    world.project.write("verbatim.yaml", &elsewhere)?;
    let _ = world.verbatim(&promote).await?.ends(0);
    let outside = world.tool.clone().with("VERBATIM_POLICY", "../policy.yaml");
    let keys = "keys:\n  - { name: mine, file: ci.pub, roles: [promoter] }\n";
    for (text, status, told) in [
        (elsewhere.as_str(), 2, "this job takes its rules from elsewhere"),
        (&format!("{unnamed}{keys}"), 2, "a key stands in the policy that is named, not here"),
        (unnamed, 1, "refused"),
        (&format!("{unnamed}policy:{named}"), 1, "refused"),
    ] {
        world.project.write("verbatim.yaml", text)?;
        let run = outside.run(&promote).await?.ends(status);
        assert!(run.stderr.contains(told) || run.stdout.contains(told), "`{told}`: {run}");
    }
    // A variable that was meant to say it and is empty does not leave it to the repository.
    world.project.write("verbatim.yaml", &elsewhere)?;
    let empty = world.tool.clone().with("VERBATIM_POLICY", "");
    let _ = empty.run(&promote).await?.ends(2);
    Ok(())
}

/// A repository of the rules, with or without gates, and how `policy` names it.
async fn repository(world: &World, name: &str, rules: &str) -> Result<(String, String)> {
    let policies = Project::empty(&world.beside(name)).await?;
    std::fs::create_dir_all(policies.root.join("project"))?;
    policies.write("policy.yaml", rules)?;
    policies.write("project/ci.pub", &world.key.verifying_key().to_pem()?)?;
    policies.commit("The rules").await?;
    let url = format!("file://{}", policies.root.display());
    let source = format!("{{ git: '{url}', ref: main, path: policy.yaml }}");
    Ok((source, format!("git+{url}@main#policy.yaml")))
}

/// Rules from elsewhere let a release in, and then everything is as it was. It is not: the ledger knows.
#[tokio::test(flavor = "multi_thread")]
async fn rules_from_elsewhere_leave_a_trace() -> Result<()> {
    let world = world().await?;
    let rules = std::fs::read_to_string(world.beside("policy.yaml"))?;
    let lax = rules.replace("roles: [builder,", "actors: [mallory], roles: [builder,");
    let (honest, origin) = repository(&world, "policies", &rules).await?;
    let (mine, elsewhere) = repository(&world, "mallory", &lax).await?;
    let text = configuration(&world)?;
    let with = |source: &str| text.replace("{ file: ../policy.yaml }", source);
    let told = async |name: &str| -> Result<(String, Value)> {
        let run = world.verbatim(&["history", "dev"]).await?.ends(0);
        let json = world.verbatim(&["history", "dev", "--format", "json"]).await?.ends(0).json()?;
        assert_eq!(
            run.stdout.contains("the policy came from"),
            !json["promotions"][0]["policy_changes"].is_null(),
            "{name} {run}"
        );
        Ok((run.stdout, json["promotions"][0]["policy_changes"].clone()))
    };
    let status = async || -> Result<String> {
        Ok(world.verbatim(&["status", "--check"]).await?.ends(0).stdout)
    };
    world.project.write("verbatim.yaml", &with(&honest))?;
    for release in [world.release("One").await?, world.release("Two").await?] {
        world.carry(&release, &["dev"]).await?;
        assert_eq!(told(&release).await?.1, Value::Null);
    }
    assert!(!status().await?.contains("the policy"));
    world.project.write("verbatim.yaml", &with(&mine))?;
    let before =
        format!("the policy came from {origin} before; the policy trusted other keys before");
    assert!(status().await?.contains(&before), "{}", status().await?);
    let release = world.release("Three").await?;
    let _ = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(0);
    assert!(!status().await?.contains("the policy"));
    let (text, changes) = told("Three").await?;
    assert!(text.contains(&before), "{text}");
    assert_eq!(changes[0], json!({ "what": "origin", "was": origin }));
    assert_eq!(changes[1]["what"], "keys");
    // The record itself says it to whoever reads it alone.
    let mut recorded = Vec::new();
    let list = ["registry", "referrers", "list", &release, "--format", "json"];
    let listed = world.verbatim(&list).await?.ends(0).json()?;
    let (repository, _) = release.split_once(":local").context("no tag")?;
    for referrer in listed["referrers"].as_array().context("no referrers")? {
        let name = format!("{repository}@{}", referrer["digest"].as_str().context("no digest")?);
        let bundle = world.verbatim(&["registry", "referrers", "get", &name]).await?.ends(0);
        let bundle: Value = serde_json::from_str(&bundle.stdout)?;
        let payload = bundle["dsseEnvelope"]["payload"].as_str().context("no payload")?;
        let statement: Value = serde_json::from_slice(&e2e::base64(payload)?)?;
        recorded.push(statement["predicate"]["policyChanges"].clone());
    }
    assert!(recorded.contains(&changes), "{recorded:?}");
    // The honest rules are back, and see it.
    world.project.write("verbatim.yaml", &with(&honest))?;
    let after = format!("the policy came from {elsewhere} before");
    assert!(status().await?.contains(&after), "{}", status().await?);
    assert!(told("Three").await?.0.contains(&before));
    Ok(())
}

/// A step before the build calls the branch another name and the clone another repository. The CI knows better.
#[tokio::test(flavor = "multi_thread")]
async fn a_clone_does_not_say_which_branch_is_built() -> Result<()> {
    let world = World::start().await?;
    let text = world.configuration();
    let gate =
        "gates: { signed: { sources: ['https://github.com/acme/*'], branches: [main] }, tested";
    world.project.write("verbatim.yaml", &text.replace("gates: { tested", gate))?;
    world.project.write("Dockerfile", "FROM scratch\nCOPY verbatim.yaml /\n")?;
    let commit = world.project.commit("A feature of mallory").await?;
    let acme = "https://github.com/acme/shop";
    world.project.git(&["remote", "add", "origin", acme]).await?;
    let github = |repository: &str| {
        let tool = world.tool.clone().with("GITHUB_ACTIONS", "true");
        let tool = tool.with("GITHUB_SERVER_URL", "https://github.com");
        let tool = tool.with("GITHUB_REPOSITORY", repository).with("GITHUB_SHA", &commit);
        tool.with("GITHUB_REF", "refs/heads/feature").with("GITHUB_RUN_NUMBER", "7")
    };
    let run = github("acme/shop").run(&["build"]).await?.ends(1);
    let told = "git says that this is the branch main, and github says that it is feature";
    assert!(run.stderr.contains(told), "{run}");
    world.project.git(&["checkout", "--quiet", "--detach"]).await?;
    let run = github("mallory/shop").run(&["build"]).await?.ends(1);
    assert!(run.stderr.contains("git says that this is the repository"), "{run}");
    // Nor does a variable choose another clone, in which no word of the CI is contradicted.
    let elsewhere = world.beside("elsewhere").display().to_string();
    world.project.git(&["clone", "--quiet", "--bare", ".", &elsewhere]).await?;
    let theirs = "https://github.com/mallory/shop";
    let renamed = ["--git-dir", &elsewhere, "remote", "set-url", "origin", theirs];
    world.project.git(&renamed).await?;
    let misled = github("mallory/shop").with("GIT_DIR", &elsewhere);
    let run = misled.run(&["build"]).await?.ends(1);
    assert!(run.stderr.contains("git says that this is the repository"), "{run}");
    let Some(engine) = e2e::docker_host() else { return Ok(()) };
    // Without a word of git's the record has those of the CI, and on a laptop none.
    world.project.git(&["remote", "remove", "origin"]).await?;
    let anew = ["build", "--overwrite", "--format", "json"];
    for (tool, told) in [
        (github("mallory/shop"), "source https://github.com/mallory/shop is not"),
        (github("acme/shop"), "branch feature is not main"),
        (world.tool.clone(), "it names no source"),
    ] {
        let built = tool.with("DOCKER_HOST", &engine).run(&anew).await?.ends(0).json()?;
        let release = built["release"]["reference"].as_str().context("no release")?.to_owned();
        world.carry(&release, &["dev"]).await?;
        let run =
            world.verbatim(&["promote", "staging", "--release", &release, "-v"]).await?.ends(1);
        assert!(run.stdout.contains(told), "`{told}`: {run}");
    }
    Ok(())
}

/// The file names a server of the attacker, and the secret that it is to get.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_goes_to_a_server_that_it_is_not_for() -> Result<()> {
    let world = World::start().await?;
    let text = world.configuration();
    let theirs = std::net::TcpListener::bind("127.0.0.1:0")?;
    theirs.set_nonblocking(true)?;
    let honest = world.argocd_proxy.url();
    let with = |server: &str| {
        let server = server.replace(
            "THEIRS",
            &format!("http://{}", theirs.local_addr().map_or(String::new(), |it| it.to_string())),
        );
        text.replace(&format!("main: {{ url: {honest} }}"), &format!("main: {server}"))
    };
    let pinned = world.tool.clone().with("ARGOCD_SERVER", &honest).with("DOCKER_AUTH_CONFIG", "{}");
    for (server, told) in [
        ("{ url: THEIRS, token_variable: VERBATIM_KEY }", "is not the name of a token of Argo CD"),
        ("{ url: THEIRS, token_variable: DOCKER_AUTH_CONFIG }", "is not the name of a token"),
        (
            "{ url: THEIRS, token_variable: ARGOCD_AUTH_TOKEN }",
            "ARGOCD_SERVER names a different server",
        ),
        ("{ url: THEIRS }", "is for ARGOCD_SERVER, a different server"),
    ] {
        let text = with(server);
        assert!(text.contains("127.0.0.1") && text != world.configuration(), "{text}");
        world.project.write("verbatim.yaml", &text)?;
        let run = pinned.run(&["rollback", "dev", "--dry-run"]).await?.ends(2);
        assert!(run.stderr.contains(told), "{run}");
        // Nor by a command that goes on without Argo CD.
        let run = pinned.run(&["history", "dev"]).await?;
        assert!(run.stderr.contains(told), "{run}");
    }
    assert!(theirs.accept().is_err(), "something was sent to the attacker");
    Ok(())
}

/// A line of the file takes away what protects the token. It is never silent, and a pull request may not do it.
#[tokio::test(flavor = "multi_thread")]
async fn what_weakens_the_way_to_a_service_is_said_each_time() -> Result<()> {
    let world = World::start().await?;
    let text = world.configuration();
    let honest = format!("main: {{ url: {} }}", world.argocd_proxy.url());
    let check = ["policy", "check"];
    for (server, registries, told) in [
        (
            "main: { url: https://argocd.example, insecure: true }",
            "",
            "is not checked (`insecure`)",
        ),
        ("main: { url: http://argocd.example, plain_http: true }", "", "over plain HTTP"),
        (
            honest.as_str(),
            "registries: { registry.example: { plain_http: true } }\n",
            "read the login",
        ),
    ] {
        let weak = text.replace(&honest, server).replace("set:\n", &format!("{registries}set:\n"));
        assert_ne!(weak, text);
        world.project.write("verbatim.yaml", &weak)?;
        let run = world.verbatim(&check).await?.ends(0);
        assert!(run.stderr.contains("warning: ") && run.stderr.contains(told), "{run}");
        let json =
            world.verbatim(&["policy", "check", "--format", "json"]).await?.ends(0).json()?;
        assert!(json["alerts"][0].as_str().is_some_and(|alert| alert.contains(told)), "{json}");
        let request = world.tool.clone().with("GITHUB_ACTIONS", "true");
        let request =
            request.with("GITHUB_EVENT_NAME", "pull_request").with("GITHUB_HEAD_REF", "patch");
        let run = request.run(&check).await?.ends(2);
        assert!(run.stderr.contains("this is the job of a pull request"), "{run}");
    }
    world.project.write("verbatim.yaml", &text)?;
    let run = world.verbatim(&check).await?.ends(0);
    assert!(!run.stderr.contains("plain HTTP"), "{run}");
    Ok(())
}
