//! What a person sees when `verbatim.yaml` is wrong, and what a right one becomes.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use super::*;

/// A key pair of no value, made for these tests.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt
6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==
-----END PUBLIC KEY-----
";

/// A file that is right; every mistake below is one change to it.
const RIGHT: &str = "\
version: 1
project: example
images:
  app:
    repository: registry.example/team/app
argocd:
  main: { url: https://argocd.example }
set:
  helm: { image.tag: \"${app.tag}@${app.digest}\" }
environments:
  - name: dev
    apps: [web-dev]
  - name: staging
    after: [dev]
    apps: [web-staging, { name: worker-staging, project: team, source: 2 }]
    tests: { smoke: ./smoke.sh, load: { run: ./load.sh, timeout: 1h } }
  - name: production
    after: [{ environment: staging, ran: ever }]
    apps: { selector: 'team=web' }
    gates: { tested: { in: staging, suites: [smoke] } }
keys:
  - { name: ci, file: ci.pub, roles: [builder, tester, promoter] }
";

fn files(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("ci.pub") => Ok(PUBLIC_KEY.to_owned()),
        Some("private.pem") => {
            Ok("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n".to_owned())
        }
        Some("rules.yaml") => {
            Ok("version: 1\nenvironments: { staging: { after: [dev] } }\nkeys: [{ name: ci, file: ci.pub, roles: [promoter] }]\n".to_owned())
        }
        Some("bad-rules.yaml") => {
            Ok("version: 1\nenvironments: { stagin: { after: [dev] } }\nkeys: [{ name: ci, file: ci.pub, roles: [promoter] }]\n".to_owned())
        }
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn read(text: &str) -> Result<Config, ConfigError> {
    parse(Path::new("verbatim.yaml"), text, &files)
}

/// The right file with one part replaced. The part must be there, or the case would test nothing.
#[track_caller]
fn with(old: &str, new: &str) -> String {
    assert_eq!(RIGHT.matches(old).count(), 1, "`{old}` is not in the right file exactly once");
    RIGHT.replace(old, new)
}

#[test]
fn a_right_file_is_read() {
    let config = read(RIGHT).unwrap();
    assert_eq!(config.environment_names().collect::<Vec<_>>(), ["dev", "staging", "production"]);
    let staging = config.environment("staging").unwrap();
    let Apps::Named(apps) = &staging.apps else { panic!("named") };
    assert_eq!(apps[0].server, "main");
    assert_eq!(apps[1].source, Some(SourceChoice::Position(2)));
    assert_eq!(apps[1].set.helm["image.tag"].as_str(), "${app.tag}@${app.digest}");
    assert_eq!(staging.tests["load"].timeout.as_secs(), 3600);
    assert_eq!(config.environment("dev").unwrap().settle.as_secs(), 0);
    assert_eq!(config.rules("staging").after[0].ran, Ran::Running);
    assert_eq!(config.rules("production").after[0].ran, Ran::Ever);
    assert_eq!(config.rules("production").tested.unwrap().suites, ["smoke"]);
    assert_eq!(config.images["app"].tag.as_str(), "${build}.${commit}");
}

/// The hash says what the rules are, not how they were written.
#[test]
fn the_policy_hash_follows_the_rules_alone() {
    let hash = |text: &str| read(text).unwrap().policy.hash;
    let right = hash(RIGHT);
    assert_eq!(right, hash(&with("project: example", "project: example # a comment")));
    assert_eq!(
        right,
        hash(&with("apps: [web-dev]", "apps: [web-dev-2]")),
        "applications are no rules"
    );
    assert_eq!(right, hash(&with("after: [dev]", "after: [{ environment: dev }]")));
    assert_ne!(right, hash(&with("after: [dev]", "after: [{ environment: dev, ran: ever }]")));
    assert_ne!(right, hash(&with("suites: [smoke]", "suites: [smoke, load]")));
    assert_ne!(right, hash(&with(", promoter]", "]")));
}

#[test]
fn rules_may_stand_in_a_file_of_their_own() {
    let (mut text, _) = RIGHT.split_once("  - name: staging").unwrap();
    let own = format!(
        "{text}  - name: staging\n    apps: [web-staging]\npolicy: {{ file: rules.yaml }}\n"
    );
    text = &own;
    let config = read(text).unwrap();
    assert_eq!(config.rules("staging").after[0].environment, "dev");
    assert_eq!(config.policy.file.as_deref(), Some(Path::new("rules.yaml")));
    assert_eq!(config.file, Path::new("verbatim.yaml"));
}

#[test]
fn mistakes_are_shown_where_they_are() {
    let cases = [
        ("an unknown key", with("    after: [dev]", "    afer: [dev]")),
        (
            "an unknown key at the top",
            with("project: example", "project: example\nenviroments: []"),
        ),
        ("an unknown key of a long form", with("project: team", "projekt: team")),
        ("an unknown gate", with("tested: {", "soak: { in: staging, for: 30m }, tested: {")),
        ("a wrong type", with("    after: [dev]", "    after: dev")),
        ("a number for a name", with("[web-dev]", "[42]")),
        ("a list for a mapping", with("{ smoke: ./smoke.sh,", "{ smoke: [a],")),
        ("a key twice", with("project: example", "project: example\nproject: other")),
        ("a missing key", with("project: example\n", "")),
        ("another version", with("version: 1", "version: 2")),
        ("not YAML", with("  app:", "  app: [")),
        ("an unknown environment in `after`", with("after: [dev]", "after: [development, dve]")),
        ("after itself", with("after: [dev]", "after: [staging]")),
        ("a cycle", with("    apps: [web-dev]", "    apps: [web-dev]\n    after: [production]")),
        ("an environment twice", with("name: staging", "name: dev")),
        ("a bad name", with("name: dev", "name: \"dev/1\"")),
        ("an unknown image in a template", with("${app.digest}", "${ap.digest}")),
        ("a template that is not closed", with("@${app.digest}", "@${app.digest")),
        ("a tag alone", with("${app.tag}@${app.digest}", "${app.tag}")),
        ("no image at all", with("${app.tag}@${app.digest}", "latest")),
        (
            "nothing to write",
            with("set:\n  helm: { image.tag: \"${app.tag}@${app.digest}\" }\n", ""),
        ),
        ("a bad repository", with("registry.example/team/app", "Registry.example/Team/App")),
        ("a bad length of time", with("timeout: 1h", "timeout: soon")),
        ("a number for a length of time", with("timeout: 1h", "timeout: 60")),
        ("plain HTTP", with("https://argocd.example", "http://argocd.example")),
        (
            "credentials in an address",
            with("https://argocd.example", "https://me:secret@argocd.example"),
        ),
        ("no server", with("argocd:\n  main: { url: https://argocd.example }\n", "")),
        (
            "an unknown server",
            with("{ name: worker-staging, project: team, source: 2 }", "{ name: w, server: mian }"),
        ),
        (
            "several servers",
            with(
                "https://argocd.example }",
                "https://argocd.example }\n  other: { url: https://b }",
            ),
        ),
        ("an application twice", with("[web-dev]", "[web-dev, web-dev]")),
        ("no application", with("[web-dev]", "[]")),
        ("an unknown suite", with("suites: [smoke]", "suites: [smok]")),
        (
            "a suite that another environment has",
            with("tested: { in: staging", "tested: { in: dev"),
        ),
        ("a key file that is not there", with("file: ci.pub", "file: other.pub")),
        (
            "a key under two names",
            format!("{RIGHT}  - {{ name: other, file: ci.pub, roles: [tester] }}\n"),
        ),
        (
            "gates without keys",
            with("keys:\n  - { name: ci, file: ci.pub, roles: [builder, tester, promoter] }\n", ""),
        ),
        ("a private key", with("file: ci.pub", "file: private.pem")),
        ("a policy that is not there", format!("{RIGHT}policy: {{ file: nowhere.yaml }}\n")),
        ("rules beside a policy", format!("{RIGHT}policy: {{ file: rules.yaml }}\n")),
        (
            "a mistake in the policy",
            format!(
                "{}policy: {{ file: bad-rules.yaml }}\n",
                RIGHT
                    .split_once("keys:")
                    .unwrap()
                    .0
                    .replace("    after: [dev]\n", "")
                    .replace("    after: [{ environment: staging, ran: ever }]\n", "")
                    .replace("    gates: { tested: { in: staging, suites: [smoke] } }\n", "")
            ),
        ),
    ];
    let mut shown = String::new();
    for (name, text) in cases {
        let error = read(&text).map(drop).expect_err(name);
        writeln!(shown, "## {name}\n{error}\n").unwrap();
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn no_text_makes_the_reader_panic() {
    for end in 0..RIGHT.len() {
        let _ = read(&RIGHT[..end]);
        let _ = read(&format!("{}%{}", &RIGHT[..end], &RIGHT[end..]));
    }
}
