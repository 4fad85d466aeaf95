//! The command line as a person or a pipeline meets it: what is printed where, and the exit status. Everything here ends
//! before any service is asked, or with a service that is not there.

mod support;

use support::Folder;

#[test]
fn the_version() {
    let folder = Folder::new();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(folder.run(&["--version"]).stdout, format!("verbatim {version}\n"));
    assert_eq!(folder.run(&["version"]).stdout, format!("verbatim {version}\n"));
    let json: serde_json::Value =
        serde_json::from_str(&folder.run(&["version", "--format", "json"]).stdout).unwrap();
    assert_eq!(json, serde_json::json!({ "schema_version": 1, "version": version }));
}

/// What is wrong with the command line or the configuration is told on stderr, and ends with 2.
#[test]
fn what_is_wrong_is_told() {
    type Prepare = fn(&Folder);
    let cases: [(&str, &[&str], Prepare); 13] = [
        ("no configuration", &["status"], |_| {}),
        ("a mistake in the configuration", &["status"], |folder| {
            folder.configure(|text| text.replace("after: [dev]", "after: [dve]"));
        }),
        ("an unknown command", &["promot", "dev"], |_| {}),
        ("no environment", &["promote"], |_| {}),
        ("an unknown environment", &["promote", "prod"], Folder::project),
        ("no key", &["promote", "dev"], Folder::project),
        ("no key to build", &["build"], Folder::project),
        ("a key that is none", &["promote", "dev", "--key", "verbatim.yaml"], Folder::project),
        ("a foreign key", &["promote", "dev", "--key", "other.pem"], |folder| {
            folder.project();
            folder.run(&["key", "generate", "other"]);
        }),
        ("a key without the role", &["promote", "dev", "--key", "ci.pem"], |folder| {
            folder.configure(|text| text.replace("[builder, tester, promoter]", "[builder]"));
        }),
        ("a malformed reference", &["promote", "dev", "--release", "a b"], Folder::project),
        (
            "another repository",
            &["promote", "dev", "--key", "ci.pem", "--release", "other.example/x:1"],
            Folder::project,
        ),
        (
            "an unknown suite",
            &["test", "dev", "--key", "ci.pem", "--suite", "load", "--release", RELEASE],
            |folder| {
                folder.project();
            },
        ),
    ];
    let mut shown = String::new();
    for (name, arguments, prepare) in cases {
        let folder = Folder::new();
        prepare(&folder);
        let run = folder.run(arguments);
        shown.push_str(&format!("## {name}: {}\n{run}\n", arguments.join(" ")));
    }
    // The id of a key that was made a moment ago.
    insta::with_settings!({ filters => [(r"[A-Za-z0-9+/]{43}=", "[key]")] }, {
        insta::assert_snapshot!(shown);
    });
}

/// Nothing listens at port 9 of this machine.
const RELEASE: &str =
    "127.0.0.1:9/team/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn a_service_that_is_not_there_ends_with_3() {
    let folder = Folder::new();
    folder.project();
    let run = folder.run(&["promote", "dev", "--key", "ci.pem", "--release", RELEASE]);
    assert_eq!(run.code, 3, "{run}");
    assert!(run.stderr.contains("127.0.0.1:9"), "{run}");
    assert_eq!(run.stdout, "");
}

#[test]
fn with_json_a_failure_is_a_document_on_stdout() {
    let folder = Folder::new();
    let run = folder.run(&["status", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(json["error"]["status"], 2);
    assert_eq!(json["error"]["kind"], "usage");
    assert_eq!(json["schema_version"], 1);
}

#[test]
fn without_a_token_nothing_is_asked() {
    let mut folder = Folder::new();
    folder.project();
    let run = folder.without("ARGOCD_AUTH_TOKEN").run(&["status"]);
    assert_eq!(run.code, 2, "{run}");
    assert!(run.stderr.contains("no token for Argo CD `main`"), "{run}");
    // A token that is for another server is not sent to this one, and both ways of naming a server say so.
    folder.set("ARGOCD_SERVER", "127.0.0.1:1");
    let run = folder.run(&["status"]);
    assert_eq!(run.code, 2, "{run}");
    assert!(run.stderr.contains("is for ARGOCD_SERVER, which is another one"), "{run}");
    let run = folder.run(&["argocd", "list", "--server", "127.0.0.1:2"]);
    assert_eq!(run.code, 7, "{run}");
    assert!(!run.stderr.contains("set ARGOCD_AUTH_TOKEN"), "{run}");
    assert!(run.stderr.contains("is for ARGOCD_SERVER, which is another one"), "{run}");
}

#[test]
fn keys_are_made_once_and_kept_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let made = folder.run(&["key", "generate", "keys/ci"]);
    assert_eq!(made.code, 0, "{made}");
    let mode = std::fs::metadata(folder.path("keys/ci.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let public = std::fs::read_to_string(folder.path("keys/ci.pub")).unwrap();
    assert_eq!(folder.run(&["key", "public", "--key", "keys/ci.pem"]).stdout, public);
    let again = folder.run(&["key", "generate", "keys/ci"]);
    assert_eq!(again.code, 2, "{again}");
    assert!(again.stderr.contains("keys/ci.pub is there already"), "{again}");
    assert_eq!(std::fs::read_to_string(folder.path("keys/ci.pub")).unwrap(), public);
    // A private key alone is not overwritten either, and nothing is left beside it.
    std::fs::write(folder.path("old.pem"), "precious").unwrap();
    assert_eq!(folder.run(&["key", "generate", "old"]).code, 2);
    assert_eq!(std::fs::read_to_string(folder.path("old.pem")).unwrap(), "precious");
    assert!(!folder.path("old.pub").exists());
}

#[test]
fn a_private_key_that_git_would_take_is_told() {
    let folder = Folder::new();
    let git = |arguments: &[&str]| {
        let status = needs::Program::Git
            .command()
            .args(arguments)
            .current_dir(folder.path(""))
            .status()
            .unwrap();
        assert!(status.success(), "{arguments:?}");
    };
    assert!(!folder.run(&["key", "generate", "one"]).stderr.contains("git"));
    git(&["init", "--quiet"]);
    let made = folder.run(&["key", "generate", "keys/ci"]);
    assert!(made.stderr.contains("git does not ignore keys/ci.pem"), "{made}");
    let entry = "  - { name: ci, file: keys/ci.pub, roles: [builder, tester, promoter] }";
    assert!(made.stdout.contains(entry), "{made}");
    std::fs::write(folder.path(".gitignore"), "*.pem\n").unwrap();
    let made = folder.run(&["key", "generate", "keys/other"]);
    assert_eq!(made.stderr, "", "{made}");
}

#[test]
fn the_configuration_is_found_from_below() {
    let folder = Folder::new();
    folder.project();
    std::fs::create_dir_all(folder.path("src/deep")).unwrap();
    let from = |place: &str| folder.within(place).run(&["ci", "travis"]);
    assert_eq!(from("").code, 0);
    assert_eq!(from("src/deep").stdout, from("").stdout);
    // Another repository begins here.
    std::fs::create_dir(folder.path("src/.git")).unwrap();
    assert_eq!(from("src/deep").code, 2);
}

#[test]
fn completions_are_scripts_of_the_shell() {
    let folder = Folder::new();
    for (shell, mark) in [
        ("bash", "complete -F _verbatim"),
        ("zsh", "#compdef verbatim"),
        ("fish", "complete -c verbatim"),
    ] {
        let run = folder.run(&["completions", shell]);
        assert!(run.code == 0 && run.stdout.contains(mark), "{shell}: {run}");
    }
}

#[test]
fn the_schema_accepts_what_the_reader_accepts() {
    let folder = Folder::new();
    let schema: serde_json::Value = serde_json::from_str(&folder.run(&["schema"]).stdout).unwrap();
    assert_eq!(schema["title"], "verbatim.yaml");
    assert_eq!(schema["additionalProperties"], false);
    let required: Vec<&str> =
        schema["required"].as_array().unwrap().iter().filter_map(|name| name.as_str()).collect();
    assert_eq!(required, ["version", "project", "images", "environments"]);
}

#[test]
fn a_record_that_is_none_is_not_attached() {
    let folder = Folder::new();
    folder.project();
    let run = folder.run(&["record", "attach", "verbatim.yaml"]);
    assert_eq!(run.code, 2, "{run}");
    assert!(run.stderr.contains("verbatim.yaml holds no record"), "{run}");
}

#[test]
fn a_role_that_is_spelt_wrongly_is_told() {
    let folder = Folder::new();
    folder.configure(|text| text.replace("roles: [builder,", "roles: [bilder,"));
    let run = folder.run(&["policy", "check"]);
    assert_eq!(run.code, 0, "{run}");
    for want in [
        "no key has the role `builder`",
        "the role `bilder` of the key `ci`; did you mean `builder`?",
    ] {
        assert!(run.stdout.contains(want), "{run}");
    }
    let right = Folder::new();
    right.project();
    let run = right.run(&["policy", "check"]);
    assert!(!run.stdout.contains("did you mean") && !run.stdout.contains("`builder`"), "{run}");
}

#[test]
fn a_token_for_another_server_is_not_called_missing() {
    let mut folder = Folder::new();
    folder.project();
    folder.set("ARGOCD_SERVER", "another.example.com");
    let run = folder.run(&["status"]);
    assert!(run.stderr.contains("is for ARGOCD_SERVER, which is another one"), "{run}");
}
