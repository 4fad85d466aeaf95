//! What a person sees when `verbatim.yaml` is wrong, and what a right one becomes.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use verbatim_policy::{Gate, GateKind};

use super::*;

/// A key pair of no value, made for these tests.
pub(super) const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
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
    apps: { project: web, selector: 'team=web' }
    gates: { tested: { in: staging, suites: [smoke] } }
keys:
  - { name: ci, file: ci.pub, roles: [builder, tester, promoter] }
";

pub(super) fn files(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("ci.pub") => Ok(PUBLIC_KEY.to_owned()),
        Some("private.pem") => {
            Ok("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n".to_owned())
        }
        Some("rules.yaml") => Ok(format!(
            "version: 1\nenvironments: {{ staging: {{ after: [dev] }} }}\n{KEYS}{}",
            pins()
        )),
        Some("no-pins.yaml") => {
            Ok(format!("version: 1\nenvironments: {{ staging: {{ after: [dev] }} }}\n{KEYS}"))
        }
        Some("bad-rules.yaml") => Ok(format!(
            "version: 1\nenvironments: {{ stagin: {{ after: [dev] }} }}\n{KEYS}{}",
            pins()
        )),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

const KEYS: &str = "keys: [{ name: ci, file: ci.pub, roles: [promoter] }]\n";

/// What a policy of its own says of the right file.
fn pins() -> String {
    let text = ruleless("{ file: rules.yaml }");
    let draft = Draft::parse(Path::new("verbatim.yaml"), &text, None, &files).unwrap();
    let pins = Pins::of(draft.config(), &|_| None, &|_| None).short();
    serde_saphyr::to_string(&std::collections::BTreeMap::from([("pins", pins)])).unwrap()
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

/// The right file, whose rules stand elsewhere.
fn ruleless(policy: &str) -> String {
    let (stages, _) = RIGHT.split_once("keys:").unwrap();
    let is_rule = |line: &&str| !line.starts_with("    after:") && !line.starts_with("    gates:");
    let stages: Vec<&str> = stages.lines().filter(is_rule).collect();
    format!("{}\npolicy: {policy}\n", stages.join("\n"))
}

/// The right file with another selection of production.
fn selection(apps: &str) -> String {
    with("{ project: web, selector: 'team=web' }", apps)
}

/// The right file with other gates before production.
fn gates(gates: &str) -> String {
    with("{ tested: { in: staging, suites: [smoke] } }", &format!("{{ {gates} }}"))
}

/// The example of the documentation is one that works, and has what it tells of.
#[test]
fn the_example_of_the_documentation_is_right() {
    let document = include_str!("../../../../docs/configuration.md");
    let (_, example) = document.split_once("## A whole example\n\n```yaml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    // Each file holds a key of its own.
    let public = |path: &Path| {
        let number = u8::try_from(path.as_os_str().len()).unwrap();
        let key = verbatim_record::SigningKey::generate(|bytes| {
            bytes.fill(number);
            Ok::<_, std::convert::Infallible>(())
        });
        Ok(key.unwrap().verifying_key().to_pem().unwrap())
    };
    let config = parse(Path::new("verbatim.yaml"), example, &public).unwrap();
    let names: Vec<&str> = config.environment_names().collect();
    assert_eq!(names, ["dev", "staging", "production"]);
    let gates: Vec<GateKind> =
        config.rules("production").gates.iter().map(|gate| gate.kind()).collect();
    assert_eq!(gates.len(), 5, "{gates:?}");
}

#[test]
fn every_gate_is_read() {
    let text = gates(
        "tested: [{ in: staging, max_age: 7d }, { in: staging, suites: [load] }], \
         signed: { builders: ['urn:verbatim:builder:*'], branches: [main, 'release/*'] }, \
         same_manifests: staging, soak: { in: staging, for: 1h30m }, \
         approvals: { role: lead, count: 1, not_author: true, max_age: 24h }, \
         windows: [{ allow: 'Mon-Thu 09:00-16:00', timezone: Europe/Kyiv }, { deny: '12-20..01-06' }], \
         attested: { type: 'https://example.com/v1', when: 'predicate.critical == 0', time: scan.finishedOn, max_age: 1d }, \
         order: newer, freshness: 14d, \
         when: { b: 'release.branch == \"main\"', a: 'now.getDayOfWeek() != 5' }, \
         on_rollback: { ask: [windows], skip: [same_manifests] }",
    );
    let text = text.replace(
        "[builder, tester, promoter] }",
        "[builder, tester, promoter, lead], actors: [ci-bot] }",
    );
    let config = read(&text).unwrap_or_else(|error| panic!("{error}"));
    let rules = config.rules("production");
    insta::assert_json_snapshot!(rules.gates);
    let skipped: Vec<_> = rules.skipped_by_rollbacks.iter().map(|kind| kind.name()).collect();
    assert_eq!(skipped, ["same_manifests", "soak", "approvals", "order", "freshness"]);
    let before =
        crate::policy::gates::gates(config.environment("production").unwrap(), &rules).unwrap();
    assert!(before.list.is_sorted_by_key(verbatim_policy::Gate::kind));
    assert!(before.has(GateKind::Locked) && before.has(GateKind::Vetoed));
    assert!(config.rules("dev").gates.is_empty());
    let key = config.policy.ring.iter().next().unwrap();
    assert_eq!(key.actors.iter().collect::<Vec<_>>(), ["ci-bot"]);
}

#[test]
fn booleans_and_numbers_are_what_yaml_has() {
    let with = |more: &str| {
        let pin = "image.tag: \"${app.tag}@${app.digest}\"";
        read(&RIGHT.replace(pin, &format!("{pin}, {more}")))
    };
    let config = with(
        "a: true, b: 'true', c: 3, d: '3', e: no, f: -1, g: 0.5, web.tag: 7, web.sha: true, h: x",
    );
    let config = config.unwrap();
    let Apps::Named(apps) = &config.environment("dev").unwrap().apps else { panic!("named") };
    let set = &apps[0].sets[0].set;
    assert_eq!(set.typed.iter().collect::<Vec<_>>(), ["a", "c", "f", "g"]);
    let texts = ["a", "b", "c", "d", "e", "f", "g", "web.tag", "web.sha", "h"];
    let texts = texts.map(|name| set.helm[name].as_str());
    assert_eq!(texts, ["true", "true", "3", "3", "no", "-1", "0.5", "7", "true", "x"]);
    // Of a number nobody can tell how it was written.
    for written in ["1.10", "1e5", "007", "0x1f", "0o17", "+5", "1_000"] {
        assert!(with(&format!("web.tag: {written}")).is_err(), "{written}");
        assert!(with(&format!("web.tag: '{written}'")).is_ok(), "{written}");
    }
}

#[test]
fn a_right_file_is_read() {
    let config = read(RIGHT).unwrap();
    assert_eq!(config.environment_names().collect::<Vec<_>>(), ["dev", "staging", "production"]);
    let staging = config.environment("staging").unwrap();
    let Apps::Named(apps) = &staging.apps else { panic!("named") };
    assert_eq!(apps[0].server, "main");
    assert_eq!(apps[1].sets[0].source, verbatim_argocd::SourceChoice::Position(2));
    assert_eq!(apps[1].sets[0].set.helm["image.tag"].as_str(), "${app.tag}@${app.digest}");
    assert_eq!(staging.tests["load"].timeout.as_secs(), 3600);
    assert_eq!(config.environment("dev").unwrap().settle.as_secs(), 0);
    assert_eq!(config.rules("staging").after[0].ran, Ran::Running);
    assert_eq!(config.rules("production").after[0].ran, Ran::Ever);
    let gates = config.rules("production").gates;
    let [Gate::Tested { environment, suites, max_age: None }] = gates.as_slice() else {
        panic!("{gates:?}")
    };
    assert_eq!(
        (environment.name(), suites.as_slice()),
        ("staging", ["smoke".to_owned()].as_slice())
    );
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
    for limit in [
        "environments: [dev]",
        "projects: [example]",
        "suites: [smoke]",
        "not_before: 2026-12-01T00:00:00Z",
        "not_after: 2026-12-01T00:00:00Z",
        "revoked_at: 2026-12-01T00:00:00Z",
    ] {
        assert_ne!(
            right,
            hash(&with("file: ci.pub", &format!("file: ci.pub, {limit}"))),
            "{limit}"
        );
    }
    for other in [
        "tested: { in: staging, suites: [smoke], max_age: 7d }",
        "windows: [{ allow: Mon }], tested: { in: staging, suites: [smoke] }",
        "on_rollback: { ask: [windows] }, tested: { in: staging, suites: [smoke] }",
    ] {
        assert_ne!(right, hash(&gates(other)), "{other}");
    }
    assert_ne!(right, hash(&with("promoter] }", "promoter], actors: [bot] }")));
    assert_ne!(right, hash(&format!("{RIGHT}powers: {{ lift: [promoter] }}\n")));
    assert_eq!(right, hash(&format!("{RIGHT}powers: {{ veto: [promoter] }}\n")), "as usual");
}

#[test]
fn rules_may_stand_in_a_file_of_their_own() {
    let config = read(&ruleless("{ file: rules.yaml }")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.rules("staging").after[0].environment, "dev");
    assert_eq!(config.policy.origin, None);
    assert!(config.policy.is_known());
    assert_eq!(config.file, Path::new("verbatim.yaml"));
}

/// Whoever changes the code changes nothing that the rules are about.
#[test]
fn what_the_policy_pins_stays_as_it_is() {
    let right = ruleless("{ file: rules.yaml }");
    let mut shown = String::new();
    for (old, new) in [
        ("project: example", "project: example-2"),
        ("registry.example/team/app", "registry.example/team/other"),
        (
            "    repository: registry.example/team/app",
            "    repository: registry.example/team/app\n  web: { repository: registry.example/team/web }",
        ),
        ("argocd:", "records: registry.example/empty\nargocd:"),
        ("https://argocd.example", "https://argocd.example.attacker.example"),
        ("https://argocd.example }", "https://argocd.example, insecure: true }"),
        ("https://argocd.example }", "https://argocd.example, ca: ca.pem }"),
        ("https://argocd.example }", "https://argocd.example, via: kubernetes }"),
        (
            "https://argocd.example }",
            "https://argocd.example, via: kubernetes, kube_context: other }",
        ),
        ("${app.tag}@${app.digest}", "latest@${app.digest}"),
        ("image.tag:", "command: \"${app.path}\", image.tag:"),
        (
            "  - name: dev",
            "  - { name: hotfix, apps: [{ name: web-hotfix, namespace: web }] }\n  - name: dev",
        ),
        ("  - name: production", "  - { name: hotfix, apps: [web-hotfix] }\n  - name: production"),
        ("[web-dev]", "[web-production]"),
        ("[web-dev]", "[web-dev, web-production]"),
        ("[web-dev]", "{ project: web, selector: 'team=other' }"),
        ("[web-dev]", "[web-dev]\n    url: https://elsewhere.example"),
        ("project: team", "project: other"),
        ("source: 2", "source: 1"),
        ("selector: 'team=web'", "selector: 'team!=web'"),
        ("smoke: ./smoke.sh", "smoke: 'true'"),
        ("timeout: 1h", "env: { PATH: /elsewhere }"),
        ("smoke: ./smoke.sh,", ""),
        ("load:", "other: 'true', load:"),
        ("  - name: dev\n    apps: [web-dev]\n", ""),
    ] {
        assert_eq!(right.matches(old).count(), 1, "{old}");
        let error = read(&right.replace(old, new)).map(drop).expect_err(new);
        writeln!(shown, "## {new}\n{error}\n").unwrap();
    }
    insta::assert_snapshot!(shown);
    // How long a suite may take, and how an image is built, is no rule.
    for (old, new) in [("timeout: 1h", "timeout: 2h"), ("app:\n", "app:\n    target: app\n")] {
        assert_eq!(right.matches(old).count(), 1, "{old}");
        assert!(read(&right.replace(old, new)).is_ok(), "{new}");
    }
}

/// The same rules about something else are other rules.
#[test]
fn the_policy_hash_follows_the_pins() {
    let hash = |pins: &str| {
        let found = FoundPolicy::file(Path::new("rules.yaml"), format!("version: 1\n{KEYS}{pins}"));
        separate_policy(&found, &files).unwrap_or_else(|error| panic!("{error}")).0.hash
    };
    let (pins, own) = (pins(), "web-dev\n      server: main");
    let right = hash(&pins);
    let long = pins.replace(own, "web-dev\n      set: { helm: { image.tag: '${app.tag}@${app.digest}' } }\n      server: main");
    assert_eq!((long == pins, hash(&long)), (false, right), "in full");
    for (old, new) in [
        ("name: web-dev", "name: web-other"),
        ("run: ./smoke.sh", "run: 'true'"),
        ("https://argocd.example", "https://other.example"),
        ("team/app", "team/other"),
    ] {
        assert_eq!(pins.matches(old).count(), 1, "{old}: {pins}");
        assert_ne!(hash(&pins.replace(old, new)), right, "{new}");
    }
}

#[test]
fn a_key_may_stand_in_the_file_itself() {
    let pem = PUBLIC_KEY.trim_end().replace('\n', "\\n");
    let config = read(&with("file: ci.pub", &format!("pem: \"{pem}\""))).unwrap();
    assert_eq!(config.policy.hash, read(RIGHT).unwrap().policy.hash);
}

#[test]
fn rules_elsewhere_are_named() {
    let named = |policy: &str| {
        let draft = Draft::parse(Path::new("a/verbatim.yaml"), &ruleless(policy), None, &files);
        let draft = draft.unwrap_or_else(|error| panic!("{error}"));
        assert!(!draft.config().policy.is_known());
        let source = draft.source().cloned();
        match source.unwrap() {
            PolicySource::File(file) => file.display().to_string(),
            PolicySource::Git(git) => git.to_string(),
            PolicySource::Oci(oci) => oci.to_string(),
        }
    };
    let digest = verbatim_oci::Digest::of(b"rules");
    let oci = format!("registry.example/rules@{digest}");
    for (policy, want) in [
        ("{ file: rules.yaml }".to_owned(), "a/rules.yaml"),
        (
            "{ git: 'git@git.example:r.git', ref: v1, path: shop/rules.yaml }".to_owned(),
            "git@git.example:r.git@v1:shop/rules.yaml",
        ),
        (format!("{{ oci: '{oci}' }}"), &oci),
        (format!("{{ oci: 'registry.example/rules:1@{digest}' }}"), &oci),
    ] {
        assert_eq!(named(&policy), want);
    }
}

/// What is named from outside is where the rules are, and the file may say no more than the same.
#[test]
fn rules_are_named_from_outside() {
    let (rules, none) =
        (ruleless("{ file: rules.yaml }"), ruleless("{}").replace("policy: {}", ""));
    let git = "{ git: 'https://git.example/r.git', ref: main, path: rules.yaml }";
    let git_with = |old: &str, new: &str| ruleless(&git.replace(old, new));
    for (outside, text, is_right) in [
        ("rules.yaml", &none, true),
        ("rules.yaml", &rules, true),
        ("{ file: ./rules.yaml }", &rules, true),
        ("elsewhere/rules.yaml", &rules, false),
        ("rules.yaml", &RIGHT.to_owned(), false),
        ("rules.yaml", &ruleless(git), false),
        (git, &none, true),
        (git, &ruleless(git), true),
        (git, &git_with("main", "other"), false),
        (git, &git_with("r.git", "mallory.git"), false),
        (git, &rules, false),
    ] {
        let outside = PolicySource::named(outside).unwrap_or_else(|error| panic!("{error}"));
        let draft = Draft::parse(Path::new("verbatim.yaml"), text, Some(&outside), &files);
        assert_eq!(draft.is_ok(), is_right, "{outside} {text}");
        if let Ok(draft) = draft {
            assert_eq!(draft.source(), Some(&outside));
        }
    }
    for wrong in ["", "{}", "{ git: 'https://git.example/r.git' }", "[a]", "{ files: a }"] {
        assert!(PolicySource::named(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn an_environment_overrides_how_all_are_deployed() {
    let text = with(
        "[web-dev]",
        "[web-dev]\n    deploy: { allow_unpruned: true, on_pause: wait, wait_for_window: 0s }",
    );
    let default = "deploy: { prune: true, trust_owner: true, on_pause: fail, terminate_foreign: true, wait_for_window: 1h }";
    let config = read(&format!("{text}{default}\n")).unwrap();
    let of = |name: &str| config.environment(name).unwrap().deploy;
    let all = DeploySettings {
        prune: true,
        trust_owner: true,
        fail_on_pause: true,
        terminate_foreign: true,
        wait_for_window: std::time::Duration::from_secs(3600),
        ..DeploySettings::default()
    };
    assert_eq!(of("staging"), all);
    let dev = DeploySettings {
        allow_unpruned: true,
        trust_owner: true,
        terminate_foreign: true,
        ..DeploySettings::default()
    };
    assert_eq!(of("dev"), dev);
    assert_eq!(read(RIGHT).unwrap().environment("dev").unwrap().deploy, DeploySettings::default());
}

#[test]
fn environments_may_share_an_application_with_values_of_their_own() {
    let own = "{ helm: { other.tag: \"${app.tag}@${app.digest}\" } }";
    for apps in [
        format!("[{{ name: web-staging, set: {own} }}]"),
        "[{ name: web-staging, namespace: team-a }]".to_owned(),
        "[{ name: worker-staging, source: 1 }]".to_owned(),
        "{ project: web, selector: 'team=other' }".to_owned(),
        "{ project: other }".to_owned(),
    ] {
        let shared = read(&with("[web-dev]", &apps));
        assert!(shared.is_ok(), "{apps}: {}", shared.unwrap_err());
    }
    // Which of several sources is meant, Argo CD tells; it may be the same one.
    assert!(read(&with("[web-dev]", "[worker-staging]")).is_err());
}

#[test]
fn an_application_may_say_what_goes_into_each_of_its_sources() {
    let tag = "{ helm: { image.tag: \"${app.tag}@${app.digest}\" } }";
    let digest = "{ helm: { image.digest: \"${app.digest}\" } }";
    let sources = format!("[{{ source: 1, set: {tag} }}, {{ source: chart, set: {digest} }}]");
    let config = read(&with("[web-dev]", &format!("[{{ name: web-dev, sources: {sources} }}]")));
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    let Apps::Named(apps) = &config.environments[0].apps else { panic!() };
    let [first, second] = &apps[0].sets[..] else { panic!("{apps:?}") };
    assert_eq!(first.source, verbatim_argocd::SourceChoice::Position(1));
    assert_eq!(second.source, verbatim_argocd::SourceChoice::Name("chart".to_owned()));
    assert_eq!(second.set.helm["image.digest"].as_str(), "${app.digest}");
    // Pinned, it is read as it was written.
    let pins = Pins::of(&config, &|_| None, &|_| None);
    let written = serde_json::to_value(&pins).unwrap();
    let app = &written["environments"][0]["apps"][0];
    assert_eq!(app["sources"][1]["source"], "chart");
    assert_eq!(app.get("set").or(app.get("source")), None);
    let short: Pins =
        serde_json::from_value(serde_json::to_value(pins.clone().short()).unwrap()).unwrap();
    assert_eq!(short.normal(), pins.normal());
}

#[test]
fn a_selection_is_of_a_project_and_on_some_servers() {
    let servers = |text: &str| {
        text.replace(
            "  main: { url: https://argocd.example }",
            "  main: { url: https://argocd.example }\n  eu: { url: https://eu.example }",
        )
        .replace("[web-dev]", "[{ name: web-dev, server: main }]")
        .replace(
            "[web-staging, { name: worker-staging,",
            "[{ name: web-staging, server: eu }, { name: worker-staging, server: eu,",
        )
    };
    for (apps, labels, on) in [
        ("{ project: web, server: eu }", None, &["eu"][..]),
        ("{ project: web, selector: a=b, servers: [main, eu] }", Some("a=b"), &["main", "eu"]),
    ] {
        let config = read(&servers(&selection(apps))).unwrap_or_else(|error| panic!("{error}"));
        let production = config.environment("production").unwrap();
        let Apps::Selected(selector) = &production.apps else { panic!("selected") };
        assert_eq!((selector.labels.as_deref(), selector.project.as_str()), (labels, "web"));
        assert_eq!(production.servers(), on.iter().copied().collect());
    }
}

#[test]
fn waves_are_numbers_and_parts() {
    let text = with(
        "[web-dev]",
        "[web-dev]\n    waves: [1, 25%, 100%]\n    on_failure: restore\n    wait_for_gates: 2h",
    );
    let config = read(&text).unwrap();
    let dev = config.environment("dev").unwrap();
    assert_eq!(dev.waves, [Wave::Count(1), Wave::Percent(25), Wave::Percent(100)]);
    assert!(dev.deploy.restore_on_failure);
    assert_eq!(dev.deploy.wait_for_gates, std::time::Duration::from_secs(7200));
    let staging = config.environment("staging").unwrap();
    assert!(staging.waves.is_empty() && !staging.deploy.restore_on_failure);
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
        ("an unknown gate", with("tested: {", "soaked: { in: staging, for: 30m }, tested: {")),
        ("a wrong type", with("    after: [dev]", "    after: dev")),
        ("a number for a name", with("[web-dev]", "[42]")),
        ("a list for a mapping", with("{ smoke: ./smoke.sh,", "{ smoke: [a],")),
        ("a key twice", with("project: example", "project: example\nproject: other")),
        ("a missing key", with("project: example\n", "")),
        ("an impossible time of a window", gates("windows: [{ allow: 'Mon-Thu 25:00-26:00' }]")),
        ("an impossible day of a window", gates("windows: [{ deny: '2026-02-30' }]")),
        ("a window without length", gates("windows: [{ allow: '09:00-09:00' }]")),
        ("a window that is both", gates("windows: [{ allow: Mon, deny: Tue }]")),
        ("a window that is neither", gates("windows: [{ timezone: UTC }]")),
        ("an unknown time zone", gates("windows: [{ allow: Mon, timezone: Europe/Kiew }]")),
        ("another unknown time zone", gates("windows: [{ allow: Mon, timezone: Here }]")),
        ("a condition that does not compile", gates("when: { own: 'release.branch = main' }")),
        ("a condition on an unknown name", gates("when: { own: 'relase.branch == \"main\"' }")),
        ("a condition with an unknown function", gates("when: { own: 'now.matches(\"a\")' }")),
        (
            "a condition on a statement",
            gates("attested: { type: 'https://example.com/v1', when: 'release.digest != \"\"' }"),
        ),
        (
            "an age without a time",
            gates("attested: { type: 'https://example.com/v1', max_age: 1h }"),
        ),
        ("a field that is none", gates("attested: { type: 'https://example.com/v1', time: a..b }")),
        ("an unknown role", gates("approvals: { role: promotor }")),
        ("more approvals than keys", gates("approvals: { role: promoter, count: 2 }")),
        ("no approvals", gates("approvals: { role: promoter, count: 0 }")),
        ("an unknown key of a gate in a list", gates("approvals: [{ rolle: promoter }]")),
        ("a gate on an unknown environment", gates("soak: { in: stagin, for: 30m }")),
        ("the same manifests as nowhere", gates("same_manifests: development")),
        ("no time to soak", gates("soak: { in: staging, for: 0s }")),
        ("an unknown order", gates("order: older")),
        ("an unknown gate for rollbacks", gates("on_rollback: { ask: [window] }")),
        ("a rollback that skips a veto", gates("on_rollback: { skip: [vetoed] }")),
        ("asked and skipped", gates("on_rollback: { ask: [soak], skip: [soak] }")),
        ("an unknown role with a power", format!("{RIGHT}powers: {{ veto: [ops] }}\n")),
        ("an unknown power", format!("{RIGHT}powers: {{ vetos: [promoter] }}\n")),
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
        (
            "a secret that is no token",
            with("argocd.example }", "argocd.example, token_variable: VERBATIM_KEY }"),
        ),
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
        (
            "a source twice, and beside it a source of its own",
            with(
                "[web-dev]",
                "[{ name: web-dev, source: 1, sources: [{ source: 2, set: { helm: { a: \"${digest}\" } } }, { source: 2, set: { helm: { b: \"${digest}\" } } }] }]",
            ),
        ),
        (
            "a source that pins nothing",
            with(
                "[web-dev]",
                "[{ name: web-dev, sources: [{ source: 2, set: { helm: { a: b } } }] }]",
            ),
        ),
        ("an application of two environments", with("[web-dev]", "[web-staging]")),
        (
            "applications of two environments by their labels",
            with("[web-dev]", "{ project: web, selector: 'team=web' }"),
        ),
        ("a whole project and a part of it", with("[web-dev]", "{ project: web }")),
        ("a whole project and one of its applications", with("[web-dev]", "{ project: team }")),
        (
            "one source by its name and by its place",
            with("[web-dev]", "[{ name: worker-staging, source: chart }]"),
        ),
        (
            "an application by two names of its server",
            with("[web-dev]", "[{ name: web-staging, server: other }]")
                .replace(
                    "https://argocd.example }",
                    "https://argocd.example }\n  other: { url: 'https://argocd.example:443/' }",
                )
                .replace(
                    "[web-staging, { name: worker-staging,",
                    "[{ name: web-staging, server: main }, { name: worker-staging, server: main,",
                )
                .replace("{ project: web,", "{ server: main, project: web,"),
        ),
        ("a selection of every project", selection("{ selector: 'team=web' }")),
        ("a selection of no project", selection("{ project: '' }")),
        ("an empty selector", selection("{ project: web, selector: '' }")),
        (
            "a selection on one server and on several",
            selection("{ project: web, server: main, servers: [main] }"),
        ),
        ("a selection on a server twice", selection("{ project: web, servers: [main, main] }")),
        ("a selection on an unknown server", selection("{ project: web, servers: [main, man] }")),
        ("no application", with("[web-dev]", "[]")),
        ("a wave of nobody", with("[web-dev]", "[web-dev]\n    waves: [0]")),
        ("a wave of too many", with("[web-dev]", "[web-dev]\n    waves: [101%]")),
        ("a wave that goes back", with("[web-dev]", "[web-dev]\n    waves: [1, 50%, 25%]")),
        ("an unknown end", with("[web-dev]", "[web-dev]\n    on_failure: undo")),
        (
            "pruned and accepted",
            with("[web-dev]", "[web-dev]\n    deploy: { prune: true, allow_unpruned: true }"),
        ),
        (
            "a pause that no promotion accepts",
            with("[web-dev]", "[web-dev]\n    deploy: { on_pause: accept }"),
        ),
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
        ("a policy that is not there", ruleless("{ file: nowhere.yaml }")),
        ("a policy that is nowhere", ruleless("{}")),
        ("a policy in two places", ruleless("{ file: rules.yaml, oci: 'registry.example/rules' }")),
        ("a policy by a tag", ruleless("{ oci: 'registry.example/rules:1' }")),
        ("a policy in no registry", ruleless("{ oci: 'Rules@sha256:12' }")),
        ("a git repository alone", ruleless("{ git: 'https://git.example/rules.git' }")),
        ("a file without a repository", ruleless("{ file: rules.yaml, path: rules.yaml }")),
        (
            "a git repository over plain HTTP",
            ruleless("{ git: 'http://git.example/rules.git', ref: main, path: rules.yaml }"),
        ),
        (
            "a git repository behind a command",
            ruleless("{ git: 'ext::sh -c id', ref: main, path: rules.yaml }"),
        ),
        (
            "a git repository with credentials",
            ruleless("{ git: 'https://me:secret@git.example/r.git', ref: main, path: rules.yaml }"),
        ),
        (
            "a short commit",
            ruleless("{ git: 'https://git.example/r.git', ref: 4f2a4f2, path: rules.yaml }"),
        ),
        (
            "names that are none",
            ruleless("{ git: 'https://git.example/r.git', ref: 'a:b', path: ../rules.yaml }"),
        ),
        (
            "rules beside a policy",
            format!("{RIGHT}powers: {{ veto: [promoter] }}\npolicy: {{ file: rules.yaml }}\n"),
        ),
        ("a key without a file", with("file: ci.pub, ", "")),
        ("a key in two places", with("file: ci.pub", "file: ci.pub, pem: x")),
        ("a key that is none", with("file: ci.pub", "pem: x")),
        (
            "a key for an unknown environment",
            with("file: ci.pub", "file: ci.pub, environments: [dve]"),
        ),
        ("a key for an unknown suite", with("file: ci.pub", "file: ci.pub, suites: [smok]")),
        ("a key for nothing", with("file: ci.pub", "file: ci.pub, projects: []")),
        ("a time that is none", with("file: ci.pub", "file: ci.pub, not_after: 2026-12-01")),
        (
            "a key that ends before it begins",
            with(
                "file: ci.pub",
                "file: ci.pub, not_before: 2026-12-01T00:00:00Z, not_after: 2026-11-01T00:00:00Z",
            ),
        ),
        ("a mistake in the policy", ruleless("{ file: bad-rules.yaml }")),
        ("a policy that pins nothing", ruleless("{ file: no-pins.yaml }")),
    ];
    let mut shown = String::new();
    for (name, text) in cases {
        let error = read(&text).map(drop).expect_err(name);
        writeln!(shown, "## {name}\n{error}\n").unwrap();
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn what_weakens_the_way_to_a_service_is_told() {
    let told = |old: &str, new: &str| read(&with(old, new)).unwrap().weaknesses();
    let server = "{ url: https://argocd.example }";
    assert_eq!(told(server, server), [""; 0]);
    for (server, want) in [
        ("{ url: https://argocd.example, insecure: true }", 1),
        ("{ url: http://argocd.example, plain_http: true }", 1),
        ("{ url: http://127.0.0.1:8080, insecure: true, plain_http: true }", 0),
    ] {
        assert_eq!(told("{ url: https://argocd.example }", server).len(), want, "{server}");
    }
    for (host, want) in [("registry.example", 1), ("localhost:5000", 0), ("127.0.0.1:5000", 0)] {
        let registries = format!("registries: {{ '{host}': {{ plain_http: true }} }}\nset:");
        assert_eq!(told("set:", &registries).len(), want, "{host}");
    }
}

#[test]
fn no_text_makes_the_reader_panic() {
    for end in 0..RIGHT.len() {
        let _ = read(&RIGHT[..end]);
        let _ = read(&format!("{}%{}", &RIGHT[..end], &RIGHT[end..]));
    }
}
