//! Whoever can have something printed: the message of a pod, the reason of a record, a value of a chart, a refusal of a
//! registry. Terminals, CI systems and Markdown would obey it.

use anyhow::{Context as _, Result};
use e2e::{Run, World, by, with_gates};
use serde_json::{Value, json};
use simulated_argocd::{Behaviour, PodRule};

/// What somebody would like to be obeyed: by a terminal, by a reader from right to left, by Azure, GitHub, TeamCity and GitLab.
const SPOKEN: &str = "so\r\u{1b}[2K\u{1b}]0;title\u{7}\u{202e}dekcehc\n##vso[task.setvariable variable=VERBATIM_RELEASE]sha256:evil\n\
    ::add-mask::x\n  ::error title=a::b\n##[error]c\n##teamcity[setParameter name='a' value='b']\nsection_start:1:x\r\u{1b}[0K\n\
    pass  locked  it is not locked";

/// Whether anybody would obey what a run printed.
fn is_tame(run: &Run, what: &str) {
    for text in [&run.stdout, &run.stderr] {
        let obeyed =
            |c: char| (c.is_control() && !"\n\t".contains(c)) || "\u{202e}\u{200b}".contains(c);
        assert!(!text.contains(obeyed), "{what}: {text:?}");
        for line in text.lines().map(str::trim_start) {
            let command = ["##vso[", "##[", "##teamcity["].iter().any(|word| line.contains(word));
            assert!(!command && !line.starts_with("::"), "{what}: {line}");
            // What was said does not become a line of ours.
            assert!(!line.starts_with("pass  locked  it is not"), "{what}: {text}");
        }
    }
}

fn digest(release: &str) -> Result<&str> {
    Ok(release.split_once('@').context("no digest")?.1)
}

/// Azure's agent reads the log of a step and does what such lines say; `release` is then another one in the next stage.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_pod_says_is_obeyed_by_nobody() -> Result<()> {
    let world = World::start().await?;
    let release = world.release("One").await?;
    let behaviour = Behaviour::CrashSaying(SPOKEN.to_owned());
    world.argocd.set_pod_rules(vec![PodRule { image: digest(&release)?.to_owned(), behaviour }]);
    for format in ["human", "json"] {
        let promote = ["promote", "dev", "--release", &release, "--format", format, "-v"];
        let run = world.verbatim(&promote).await?.ends(1);
        assert!(run.stdout.contains("task.setvariable"), "{run}");
        is_tame(&run, format);
    }
    let server = ["--server", &world.argocd_proxy.url()];
    for command in [&["argocd", "get", "shop-dev"][..], &["argocd", "resources", "shop-dev"]] {
        is_tame(&world.verbatim(&[command, &server].concat()).await?, command[1]);
    }
    Ok(())
}

/// A release manager's words are in everybody's history.
#[tokio::test(flavor = "multi_thread")]
async fn the_reason_of_a_record_is_obeyed_by_nobody() -> Result<()> {
    let world = with_gates("").await?;
    let release = world.release("One").await?;
    world.carry(&release, &["dev"]).await?;
    let digest = digest(&release)?;
    let said = ["veto", digest, "--environment", "dev", "--reason", SPOKEN];
    is_tame(&by(&world, "lead", &said).await?.ends(0), "veto");
    is_tame(&by(&world, "lead", &["lock", "dev", "--reason", SPOKEN]).await?.ends(0), "lock");
    let commands: [&[&str]; 7] = [
        &["promote", "dev", "--release", &release],
        &["promote", "dev", "--release", &release, "--format", "json"],
        &["plan", "dev", "--release", &release, "--format", "markdown"],
        &["status"],
        &["status", "--format", "json"],
        &["history", "dev"],
        &["verify", &release],
    ];
    for command in commands {
        let run = world.verbatim(command).await?;
        is_tame(&run, &command.join(" "));
    }
    let history = world.verbatim(&["history", "dev", "--format", "json"]).await?.ends(0);
    assert!(history.json()?.to_string().contains("dekcehc"), "the value itself is kept: {history}");
    Ok(())
}

/// The comment on a pull request is read by those who approve.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_as_markdown_says_only_what_we_say() -> Result<()> {
    let world = World::start().await?;
    let evil =
        "x\n```\n## All gates passed\n@acme/security [ok](http://evil) <img src=//evil>\n```";
    let config = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: words}}\ndata: {{words: {}, tag: \"{{{{ .Values.image.tag }}}}\"}}\n",
        json!(format!("{evil} TAG")).to_string().replace("TAG", "{{ .Values.image.tag }}"),
    );
    world.project.write("chart/templates/words.yaml", &config)?;
    let release = world.release("One").await?;
    world.carry(&release, &["dev"]).await?;
    let next = world.release("Two").await?;
    let plan = ["plan", "dev", "--release", &next, "--format", "markdown"];
    let run = world.verbatim(&plan).await?.ends(0);
    assert!(run.stdout.contains("All gates passed"), "the value is shown: {run}");
    let mut fence: Option<String> = None;
    for line in run.stdout.lines() {
        let ticks: String = line.chars().take_while(|c| *c == '`').collect();
        match &fence {
            Some(open) if line.trim_end() == open => fence = None,
            Some(_) => {}
            None if ticks.len() >= 3 => fence = Some(ticks),
            None => assert!(
                !["## All", "@acme", "](http", "<img"].iter().any(|it| line.contains(it)),
                "{run}"
            ),
        }
    }
    assert_eq!(fence, None, "{run}");
    let _: Value = world
        .verbatim(&["plan", "dev", "--release", &next, "--format", "json"])
        .await?
        .ends(0)
        .json()?;
    Ok(())
}
