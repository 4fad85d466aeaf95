//! Rules that do not stand in the repository of the product: at a commit of another git repository, or in a registry under
//! a digest. With the real binary, git, registries, and a simulated Argo CD.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, ensure};
use e2e::{Project, Run, Sshd, World};
use fault_proxy::{Fault, Rule};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::{Value, json};
use verbatim_oci::Digest;

/// The rules of the world, apart from its `verbatim.yaml`.
const RULES: &str = "\
version: 1
environments:
  staging: { after: [dev], gates: { tested: { in: dev, suites: [smoke] } } }
  production: { after: [staging] }
keys:
  # The key of the pipeline.
  - { name: ci, file: ../keys/ci.pub, roles: [builder, tester, promoter] }
";

/// Takes the rules out of `verbatim.yaml`, and names others.
fn named(world: &World, policy: &str) -> Result<()> {
    let text = world.configuration();
    let (stages, _) = text.split_once("keys:\n").context("no keys")?;
    let is_rule =
        |line: &&str| !["    after:", "    gates:"].iter().any(|rule| line.starts_with(rule));
    let stages: Vec<&str> = stages.lines().filter(is_rule).collect();
    world.project.write("verbatim.yaml", &format!("{}\npolicy: {policy}\n", stages.join("\n")))
}

/// The rules, and what they pin of the world.
async fn rules(world: &World) -> Result<String> {
    Ok(format!("{RULES}{}", world.verbatim(&["policy", "pin"]).await?.ends(0).stdout))
}

/// The hash of the same rules in a file of this machine.
async fn of_a_file(world: &World) -> Result<Value> {
    let folder = world.beside("rules");
    std::fs::create_dir_all(folder.join("shop"))?;
    std::fs::create_dir_all(folder.join("keys"))?;
    std::fs::write(folder.join("shop/policy.yaml"), rules(world).await?)?;
    std::fs::write(folder.join("keys/ci.pub"), world.key.verifying_key().to_pem()?)?;
    named(world, "{ file: ../rules/shop/policy.yaml }")?;
    Ok(check(world).await?["policy"].clone())
}

/// A repository of rules for several products, and its address.
async fn repository(world: &World) -> Result<(Project, String)> {
    let rules = Project::empty(&world.beside("policies")).await?;
    std::fs::create_dir_all(rules.root.join("shop"))?;
    std::fs::create_dir_all(rules.root.join("keys"))?;
    rules.write("shop/policy.yaml", &self::rules(world).await?)?;
    rules.write("keys/ci.pub", &world.key.verifying_key().to_pem()?)?;
    let url = format!("file://{}", rules.root.display());
    Ok((rules, url))
}

async fn check(world: &World) -> Result<Value> {
    world.verbatim(&["policy", "check", "--format", "json"]).await?.ends(0).json()
}

/// What the last promotion to staging says of its policy.
async fn recorded(world: &World) -> Result<(Value, Value)> {
    let told = world.verbatim(&["history", "staging", "--format", "json"]).await?.ends(0).json()?;
    let promotion = &told["promotions"][0];
    Ok((promotion["policy"].clone(), promotion["policy_origin"].clone()))
}

fn says(run: &Run, texts: &[&str]) {
    for text in texts {
        assert!(run.stderr.contains(text), "`{text}` is not told: {run}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_come_from_a_git_repository() -> Result<()> {
    let world = World::start().await?;
    let of_a_file = of_a_file(&world).await?;
    let (rules, url) = repository(&world).await?;
    let first = rules.commit("The rules").await?;
    named(&world, &format!("{{ git: '{url}', ref: main, path: shop/policy.yaml }}"))?;
    let checked = check(&world).await?;
    // The same rules, wherever they stand.
    assert_eq!(checked["policy"], of_a_file);
    assert_eq!(checked["origin"]["digest"]["gitCommit"], first);
    let release = world.release("One").await?;
    world.carry(&release, &["dev", "staging"]).await?;
    let (policy, origin) = recorded(&world).await?;
    assert_eq!(policy, of_a_file);
    let uri = format!("git+{url}@main#shop/policy.yaml");
    assert_eq!(origin, json!({ "uri": uri, "digest": { "gitCommit": first } }));
    // A branch moves, a commit does not.
    let closed = self::rules(&world).await?.replace(
        "production: { after: [staging] }",
        "production: { after: [staging], gates: { windows: [{ deny: '00:00-24:00' }] } }",
    );
    rules.write("shop/policy.yaml", &closed)?;
    let second = rules.commit("Nothing goes out").await?;
    let promote = ["promote", "production", "--release", &release];
    let refused = world.verbatim(&promote).await?.ends(1);
    assert!(refused.stdout.contains("windows"), "{refused}");
    assert_eq!(check(&world).await?["origin"]["digest"]["gitCommit"], second);
    named(&world, &format!("{{ git: '{url}', ref: {first}, path: shop/policy.yaml }}"))?;
    let _ = world.verbatim(&promote).await?.ends(0);
    // An annotated tag stands for its commit.
    rules.git(&["tag", "--annotate", "--message", "v1", "v1", &first]).await?;
    named(&world, &format!("{{ git: '{url}', ref: v1, path: shop/policy.yaml }}"))?;
    assert_eq!(check(&world).await?["origin"]["digest"]["gitCommit"], first);
    for arguments in [
        &["policy", "explain", "production"][..],
        &["status"],
        &["history", "dev"],
        &["ci", "github"],
    ] {
        let _ = world.verbatim(arguments).await?.ends(0);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_git_does_not_have_are_told() -> Result<()> {
    let world = World::start().await?;
    let (rules, url) = repository(&world).await?;
    let right = self::rules(&world).await?;
    rules.write("shop/wrong.yaml", &right.replace("[staging]", "[stagin]"))?;
    rules.write("shop/keyless.yaml", &right.replace("ci.pub", "other.pub"))?;
    rules.write("shop/outside.yaml", &right.replace("../keys", "../../keys"))?;
    std::os::unix::fs::symlink("policy.yaml", rules.root.join("shop/link.yaml"))?;
    rules.commit("The rules").await?;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let silent = format!("http://{}/policies.git", silent.local_addr()?);
    let nowhere = "0".repeat(40);
    let cases = [
        (url.as_str(), "mian", "shop/policy.yaml", 7, "no such branch, tag or commit"),
        (&url, &nowhere, "shop/policy.yaml", 7, "no such branch, tag or commit"),
        (&url, "main", "shop/polcy.yaml", 7, "has no such file"),
        (&url, "main", "shop", 7, "it is a folder"),
        (&url, "main", "shop/link.yaml", 7, "it is a symbolic link"),
        (&url, "main", "shop/wrong.yaml", 2, "unknown environment `stagin`"),
        (&url, "main", "shop/keyless.yaml", 2, "has no such file"),
        (&url, "main", "shop/outside.yaml", 2, "it is outside of the repository"),
        ("file:///nowhere/policies.git", "main", "p.yaml", 7, "the git server refused"),
        ("http://127.0.0.1:1/policies.git", "main", "p.yaml", 3, "git cannot fetch it"),
        (&silent, "main", "p.yaml", 3, "git did not end within"),
    ];
    for (url, reference, path, status, told) in cases {
        named(
            &world,
            &format!(
                "{{ git: '{url}', ref: '{reference}', path: {path} }}\nrequest_timeout: 500ms"
            ),
        )?;
        let run = world.verbatim(&["policy", "check"]).await?.ends(status);
        says(&run, &[told, &format!("{url}@{reference}:{path}")]);
    }
    // A repository that may not be read: git asks nobody.
    named(&world, &format!("{{ git: '{url}', ref: main, path: shop/policy.yaml }}"))?;
    let empty = world.beside("empty");
    std::fs::create_dir_all(&empty)?;
    let tool = world.tool.clone().with("PATH", &empty.to_string_lossy());
    let run = tool.run(&["policy", "check"]).await?.ends(2);
    says(&run, &["cannot run git", &url]);
    // What a hook has set for its own repository does not lead anywhere else.
    let tool =
        world.tool.clone().with("GIT_DIR", &world.project.root.join(".git").to_string_lossy());
    let _ = tool.run(&["policy", "check"]).await?.ends(0);
    Ok(())
}

/// Trying again is of no use where the server is not the one that is known, or does not know us.
#[tokio::test(flavor = "multi_thread")]
async fn rules_come_over_ssh_from_a_server_that_is_known() -> Result<()> {
    let world = World::start().await?;
    let Some(server) = Sshd::start(&world.beside("server")).await? else { return Ok(()) };
    let (rules, _) = repository(&world).await?;
    rules.commit("The rules").await?;
    let url = server.url(&rules.root);
    named(&world, &format!("{{ git: '{url}', ref: main, path: shop/policy.yaml }}"))?;
    let known = world.beside("known");
    let cases = [
        (String::new(), &server.key, 7, "ssh does not know the git server by the key that it has"),
        (server.known_by(&server.other_key)?, &server.key, 7, "IDENTIFICATION HAS CHANGED"),
        (server.known_by(&server.host_key)?, &server.other_key, 7, "the git server refused"),
        (server.known_by(&server.host_key)?, &server.key, 0, "SKIPPED BY ROLLBACKS"),
    ];
    for (hosts, key, status, told) in cases {
        std::fs::write(&known, hosts)?;
        let ssh = format!(
            "ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityAgent=none -o GlobalKnownHostsFile=none \
             -o UserKnownHostsFile={} -i {}",
            known.display(),
            key.display()
        );
        let tool = world.tool.clone().with("GIT_SSH_COMMAND", &ssh);
        let run = tool.run(&["policy", "check"]).await?.ends(status);
        assert!(run.stderr.contains(told) || run.stdout.contains(told), "`{told}`: {run}");
        assert_eq!(
            run.stderr.contains("`known_hosts` of ssh"),
            told.contains("IDENT") || told.contains("does not know"),
            "{run}"
        );
    }
    Ok(())
}

/// Nothing that git starts is left when it is ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_helper_of_git_ends_with_it() -> Result<()> {
    let world = World::start().await?;
    let (helper, note) = (world.beside("ssh"), world.beside("pid"));
    std::fs::write(&helper, format!("#!/bin/sh\necho $$ > {}\nexec sleep 600\n", note.display()))?;
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755))?;
    named(
        &world,
        "{ git: 'ssh://git.example/p.git', ref: main, path: p.yaml }\nrequest_timeout: 500ms",
    )?;
    let tool = world.tool.clone().with("GIT_SSH", &helper.to_string_lossy());
    let run = tool.run(&["policy", "check"]).await?.ends(3);
    says(&run, &["git did not end within 2 s"]);
    let pid = std::fs::read_to_string(&note).context("it was not started")?;
    ended(pid.trim().parse()?).await
}

/// Waits until a process that is no child of this one has ended. A signal that was sent takes effect some time later.
async fn ended(pid: i32) -> Result<()> {
    let process = Pid::from_raw(pid).context("not a process")?;
    let file = match pidfd_open(process, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(()),
        opened => opened?,
    };
    let ended = tokio::task::spawn_blocking(move || {
        let minute = Timespec { tv_sec: 60, tv_nsec: 0 };
        poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&minute))
    });
    ensure!(ended.await?? == 1, "process {pid} still runs");
    Ok(())
}

/// Pushes the rules of the world, which are in a file; returns what to name.
async fn pushed(world: &World, registry: &str) -> Result<String> {
    let folder = world.beside("rules");
    let file = folder.join("shop/policy.yaml");
    let push = ["policy", "push", &file.to_string_lossy(), &format!("{registry}/rules/shop")];
    let reference = world.verbatim(&push).await?.ends(0).stdout.trim().to_owned();
    // The same rules have the same digest.
    let again = world.verbatim(&push).await?.ends(0);
    assert_eq!(again.stdout.trim(), reference);
    Ok(reference)
}

/// Rules from this registry, from `policy push` to the record of a promotion.
async fn from_a_registry(world: &World, registry: &str) -> Result<String> {
    let of_a_file = of_a_file(world).await?;
    let reference = pushed(world, registry).await?;
    let (repository, digest) = reference.split_once('@').context("no digest")?;
    named(world, &format!("{{ oci: '{reference}' }}"))?;
    let checked = check(world).await?;
    assert_eq!(checked["policy"], of_a_file);
    let hex = digest.trim_start_matches("sha256:");
    let origin = json!({ "uri": format!("oci://{repository}"), "digest": { "sha256": hex } });
    assert_eq!(checked["origin"], origin);
    let release = world.release("One").await?;
    world.carry(&release, &["dev", "staging"]).await?;
    assert_eq!(recorded(world).await?, (of_a_file, origin));
    Ok(reference)
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_come_from_a_registry() -> Result<()> {
    let world = World::start().await?;
    let registry = world.registry_proxy.address().to_string();
    let reference = from_a_registry(&world, &registry).await?;
    let (repository, digest) = reference.split_once('@').context("no digest")?;
    // It holds the key itself, and what the team wrote about it.
    let client = e2e::client()?;
    let manifest = client.manifest(&reference.parse()?).await?;
    let verbatim_oci::Manifest::Image(image) = manifest.parse()? else {
        anyhow::bail!("no manifest")
    };
    let layer = client.blob(&repository.parse()?, &image.layers[0], 1 << 20).await?;
    let text = std::str::from_utf8(&layer)?;
    assert!(
        text.contains("pem: \"-----BEGIN") && text.contains("# The key of the pipeline."),
        "{text}"
    );

    let other = world.release("Not a policy").await?;
    let other = other.split_once('@').context("no digest")?.1;
    let nowhere = Digest::of(b"nowhere");
    let cases = [
        (format!("{repository}@{nowhere}"), 7, "404"),
        (format!("{registry}/shop/app@{other}"), 2, "no artifact with one layer of the type"),
        (format!("127.0.0.1:1/rules/shop@{digest}"), 3, "onnection refused"),
    ];
    for (reference, status, told) in cases {
        named(&world, &format!("{{ oci: '{reference}' }}"))?;
        let run = world.verbatim(&["policy", "check"]).await?.ends(status);
        says(&run, &[told, &format!("cannot get the policy {reference}")]);
    }
    // Neither a changed manifest nor a changed document is taken.
    named(&world, &format!("{{ oci: '{reference}' }}"))?;
    for path in ["/manifests/", "/blobs/"] {
        world.registry_proxy.inject(Rule::new(Fault::LyingBody).path(path).always());
        let run = world.verbatim(&["policy", "check"]).await?.ends(1);
        says(&run, &["do not use this content", &reference]);
        world.registry_proxy.heal();
        let _ = check(&world).await?;
    }
    Ok(())
}

/// The same with the reference implementation.
#[tokio::test(flavor = "multi_thread")]
async fn rules_come_from_the_reference_registry() -> Result<()> {
    let Some(registry) = e2e::distribution().await else { return Ok(()) };
    let world = World::start().await?;
    from_a_registry(&world, registry.host()).await.map(drop)
}

/// Whoever breaks the glass does not need the rules; all other commands stop without them.
#[tokio::test(flavor = "multi_thread")]
async fn the_glass_is_broken_without_the_rules() -> Result<()> {
    let world = World::start().await?;
    let (rules, url) = repository(&world).await?;
    rules.commit("The rules").await?;
    named(&world, &format!("{{ git: '{url}', ref: main, path: shop/policy.yaml }}"))?;
    let (good, bad) = (world.release("Good").await?, world.release("Bad").await?);
    for release in [&good, &bad] {
        world.carry(release, &["dev"]).await?;
    }
    let away = world.beside("away");
    std::fs::rename(&rules.root, &away)?;
    world.registry_proxy.inject(Rule::new(Fault::Status(503)).always());
    let _ = world.verbatim(&["rollback", "dev"]).await?.ends(7);
    let _ = world.verbatim(&["promote", "dev", "--release", &good]).await?.ends(7);
    let line =
        ["rollback", "dev", "--from-argocd-history", "--reason", "all is down", "--format", "json"];
    let run = world.verbatim(&line).await?.ends(0);
    says(&run, &["continuing without a policy", &url, "cannot tell whether the record will count"]);
    let json = run.json()?;
    assert_eq!((&json["kind"], &json["proven"]), (&json!("break-glass"), &json!(true)));
    // With everything back, what was kept counts.
    world.registry_proxy.heal();
    std::fs::rename(&away, &rules.root)?;
    for file in json["kept"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let _ = world.verbatim(&["record", "attach", file]).await?.ends(0);
    }
    let told = world.verbatim(&["history", "dev", "--format", "json"]).await?.ends(0).json()?;
    assert_eq!(told["promotions"][0]["kind"], "break-glass");
    let _ = world.verbatim(&["status", "--check"]).await?.ends(0);
    Ok(())
}
