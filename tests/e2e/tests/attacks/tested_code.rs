//! Whoever has a line in what a test runs: a dependency, a change of a pull request. It runs beside the key and the tokens of
//! the pipeline.

use anyhow::Result;
use e2e::World;

/// Looks where a secret may be: the own environment, that of the pipeline, and what it may have been handed.
const SEARCH: &str = "#!/bin/sh
found() { echo \"FOUND $1\" >> ../found; }
env | grep -qE 'VERBATIM_KEY|ARGOCD_AUTH_TOKEN|DOCKER_AUTH_CONFIG|COSIGN_PASSWORD|KUBECONFIG|s3cr3t' && found own
pid=$PPID
while test \"$pid\" -gt 1; do
  name=$(sed -n 's/^Name:\\t//p' /proc/$pid/status)
  case $name in verbatim|sh) ;; *) break;; esac
  test $name = verbatim && touch ../searched
  tr '\\0' '\\n' < /proc/$pid/environ | grep -qE 'BEGIN .*PRIVATE KEY|s3cr3t|eyJ' && found environ
  timeout 1 cat /proc/$pid/fd/0 2> /dev/null | grep -qE 'PRIVATE KEY|s3cr3t' && found stdin
  pid=$(sed -n 's/^PPid:\\t//p' /proc/$pid/status)
done
";

#[tokio::test(flavor = "multi_thread")]
async fn a_test_finds_no_secret_of_the_pipeline() -> Result<()> {
    let world = World::start().await?;
    let text = world.configuration().replacen(
        "tests: { smoke:",
        "tests: { search: 'sh search.sh', smoke:",
        1,
    );
    world.project.write("verbatim.yaml", &text)?;
    world.project.write("search.sh", SEARCH)?;
    let release = world.release("One").await?;
    let _ = world.verbatim(&["promote", "dev", "--release", &release]).await?.ends(0);
    let job = world.tool.clone().with("COSIGN_PASSWORD", "s3cr3t").with("KUBECONFIG", "/the/way");
    // What it signs with is there all the same.
    let run = job.run(&["test", "dev"]).await?.ends(0);
    assert!(world.beside("searched").exists(), "{run}");
    let found = std::fs::read_to_string(world.beside("found")).unwrap_or_default();
    assert_eq!(found, "", "{run}");
    let history = world.verbatim(&["verify", &release]).await?.ends(0);
    assert!(history.stdout.contains("search"), "{history}");
    // Nor may a configuration hand one on.
    let text = text.replacen(
        "search: 'sh search.sh'",
        "search: { run: 'sh search.sh', pass: [VERBATIM_KEY] }",
        1,
    );
    world.project.write("verbatim.yaml", &text)?;
    let run = job.run(&["test", "dev"]).await?.ends(2);
    assert!(
        run.stderr.contains("`VERBATIM_KEY` lets whoever has it act as this pipeline"),
        "{run}"
    );
    Ok(())
}
