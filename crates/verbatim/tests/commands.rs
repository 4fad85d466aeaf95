//! The command line as a person or a pipeline meets it: what is printed where, and the exit status. Everything here ends
//! before any service is asked, or with a service that is not there.

mod support;

use support::Folder;

#[test]
fn the_version() {
    let folder = Folder::new();
    let version = env!("CARGO_PKG_VERSION");
    // Only `cargo xtask dist` knows for which commit it builds.
    let target = env!("VERBATIM_TARGET");
    let text = format!("verbatim {version} (no release, {target})\n");
    assert_eq!(folder.run(&["--version"]).stdout, text);
    assert_eq!(folder.run(&["version"]).stdout, text);
    let json: serde_json::Value =
        serde_json::from_str(&folder.run(&["version", "--format", "json"]).stdout).unwrap();
    let want = serde_json::json!({
        "schema_version": 1, "version": version, "commit": null, "target": target,
    });
    assert_eq!(json, want);
}

/// A command in a folder that was prepared for it: all that it prints, and its status.
fn shown(arguments: &[&str], prepare: impl FnOnce(&Folder)) -> String {
    let folder = Folder::new();
    prepare(&folder);
    folder.run(arguments).to_string()
}

/// What is wrong with the command line or the configuration stands on stderr, and ends with 2.
#[test]
fn what_is_wrong_ends_with_2() {
    let project = |folder: &Folder| folder.project();
    insta::assert_snapshot!(shown(&["status"], |_| {}), @r"
    exit 2
    error: no verbatim.yaml in [folder] or above it
    hint: name a file with --config or VERBATIM_CONFIG
    hint: or write one: verbatim init dev=APP, where APP is an application in Argo CD
    ");
    let mistake = |folder: &Folder| {
        folder.configure(|text| text.replace("after: [dev]", "after: [dve]"));
    };
    insta::assert_snapshot!(shown(&["status"], mistake), @r"
    exit 2
    error: verbatim.yaml is not valid
      --> verbatim.yaml:14:13
       |
    14 |     after: [dve]
       |             ^^^ unknown environment `dve`
       = help: did you mean `dev`?
    ");
    insta::assert_snapshot!(shown(&["promot", "dev"], |_| {}), @r"
    exit 2
    error: unrecognized subcommand 'promot'

      tip: a similar subcommand exists: 'promote'

    Usage: verbatim [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(shown(&["promote"], |_| {}), @r"
    exit 2
    error: the following required arguments were not provided:
      <ENV>

    Usage: verbatim promote <ENV>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(shown(&["promote", "prod"], project), @r"
    exit 2
    error: no environment `prod` in verbatim.yaml
    hint: known environments: dev, staging
    ");
    insta::assert_snapshot!(shown(&["promote", "dev", "--release", "a b"], project), @r"
    exit 2
    error: invalid value 'a b' for '--release <REF>': neither a tag, nor an environment, nor a digest: ` ` is not allowed in a tag, only letters, digits, `_`, `.` and `-` are

    For more information, try '--help'.
    ");
    let elsewhere = ["promote", "dev", "--key", "ci.pem", "--release", "other.example/x:1"];
    insta::assert_snapshot!(shown(&elsewhere, project), @r"
    exit 2
    error: other.example/x:1 is not of the image `app`
    hint: its repository is 127.0.0.1:9/team/app
    ");
    let unknown = ["test", "dev", "--key", "ci.pem", "--suite", "load", "--release", RELEASE];
    insta::assert_snapshot!(shown(&unknown, project), @r"
    exit 2
    error: example/dev has no suite `load`
    hint: known suites: smoke
    ");
    insta::assert_snapshot!(shown(&["record", "attach", "verbatim.yaml"], project), @r"
    exit 2
    error: verbatim.yaml holds no record
      caused by: it is not a Sigstore bundle: expected value at line 1 column 1
    ");
}

/// A key that is missing, or whose records would not count, is found before anything is done.
#[test]
fn a_key_that_does_not_serve_ends_with_2() {
    let project = |folder: &Folder| folder.project();
    insta::assert_snapshot!(shown(&["promote", "dev"], project), @r"
    exit 2
    error: no key to sign the record with
    hint: name a file with --key or VERBATIM_KEY_FILE, or put the key into VERBATIM_KEY
    hint: or name a signing command with --signer or VERBATIM_SIGNER
    hint: to make one: verbatim key generate
    ");
    insta::assert_snapshot!(shown(&["build"], project), @r"
    exit 2
    error: no key to sign the record with
    hint: name a file with --key or VERBATIM_KEY_FILE, or put the key into VERBATIM_KEY
    hint: or name a signing command with --signer or VERBATIM_SIGNER
    hint: to make one: verbatim key generate
    ");
    insta::assert_snapshot!(shown(&["promote", "dev", "--key", "verbatim.yaml"], project), @r"
    exit 2
    error: cannot use the key in verbatim.yaml
      caused by: no PEM block (`-----BEGIN … KEY-----`)
    ");
    let foreign = |folder: &Folder| {
        folder.project();
        folder.run(&["key", "generate", "other"]);
    };
    // The id of a key that was made a moment ago.
    insta::with_settings!({ filters => [(r"[A-Za-z0-9+/]{43}=", "[key]")] }, {
        insta::assert_snapshot!(shown(&["promote", "dev", "--key", "other.pem"], foreign), @r"
        exit 2
        error: the signing key [key] is not among `keys`: its records would not count
        hint: add its public key to `keys`; `verbatim key public` prints it
        ");
    });
    let builder = |folder: &Folder| {
        folder.configure(|text| text.replace("[builder, tester, promoter]", "[builder]"));
    };
    insta::assert_snapshot!(shown(&["promote", "dev", "--key", "ci.pem"], builder), @r"
    exit 2
    error: the signing key `ci` does not have the role `promoter`: this record would not count
    hint: add `promoter` to its `roles`, or use another key
    ");
    let lock = ["lock", "dev", "--reason", "incident", "--key", "ci.pem"];
    insta::assert_snapshot!(shown(&lock, builder), @r"
    exit 2
    error: the locks of the signing key would not count
    hint: it needs one of the roles `promoter`
    ");
}

/// Nothing listens at port 9 of this machine.
const RELEASE: &str =
    "127.0.0.1:9/team/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn a_service_that_is_not_there_ends_with_3() {
    let promote = ["promote", "dev", "--key", "ci.pem", "--release", RELEASE];
    insta::assert_snapshot!(shown(&promote, Folder::project), @r"
    exit 3
    error: cannot read 127.0.0.1:9/team/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 (http://127.0.0.1:9/v2/team/app/manifests/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855)
      caused by: no answer
      caused by: Connection refused (os error 111)
    hint: check that 127.0.0.1:9 is the right registry and that it is up; HTTPS_PROXY and NO_PROXY apply
    ");
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
    insta::assert_snapshot!(folder.without("ARGOCD_AUTH_TOKEN").run(&["status"]), @r"
    exit 2
    ENVIRONMENT  TAG  DIGEST  COMMIT  SINCE  STATE
    dev          -    -       -       -      unknown: no token for Argo CD `main` at http://127.0.0.1:9/
    staging      -    -       -       -      unknown: no token for Argo CD `main` at http://127.0.0.1:9/
    warning: dev, staging: no token for Argo CD `main` at http://127.0.0.1:9/
    hint: put one into ARGOCD_AUTH_TOKEN, or name another variable as its `token_variable`
    hint: or log in once: verbatim argocd login --server http://127.0.0.1:9/
    ");
    // A token that is for another server is not sent to this one, and both ways of naming a server say so.
    folder.set("ARGOCD_SERVER", "127.0.0.1:1");
    insta::assert_snapshot!(folder.run(&["status"]), @r"
    exit 2
    ENVIRONMENT  TAG  DIGEST  COMMIT  SINCE  STATE
    dev          -    -       -       -      unknown: no token for Argo CD `main` at http://127.0.0.1:9/: the one in ARGOCD_AUTH_TOKEN is for ARGOCD_SERVER, a different server
    staging      -    -       -       -      unknown: no token for Argo CD `main` at http://127.0.0.1:9/: the one in ARGOCD_AUTH_TOKEN is for ARGOCD_SERVER, a different server
    warning: dev, staging: no token for Argo CD `main` at http://127.0.0.1:9/: the one in ARGOCD_AUTH_TOKEN is for ARGOCD_SERVER, a different server
    hint: remove ARGOCD_SERVER, or name another variable as `token_variable` of this server
    ");
    insta::assert_snapshot!(folder.run(&["argocd", "list", "--server", "127.0.0.1:2"]), @r"
    exit 7
    error: no token for https://127.0.0.1:2/
    hint: the one in ARGOCD_AUTH_TOKEN is for ARGOCD_SERVER, which is another one: name this one there, use --auth-token, or run `verbatim argocd login`
    ");
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
    // Written down with other line breaks it is the same key.
    let pem = std::fs::read_to_string(folder.path("keys/ci.pem")).unwrap();
    for text in [pem.replace('\n', "\\n"), pem.replace('\n', " "), format!("\u{feff}\"{pem}\"")] {
        std::fs::write(folder.path("keys/changed.pem"), text).unwrap();
        assert_eq!(folder.run(&["key", "public", "--key", "keys/changed.pem"]).stdout, public);
    }
    let again = folder.run(&["key", "generate", "keys/ci"]);
    assert_eq!(again.code, 2, "{again}");
    assert!(again.stderr.contains("keys/ci.pub already exists"), "{again}");
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
    insta::with_settings!({ filters => [(r"[A-Za-z0-9+/]{43}=", "[key]")] }, {
        insta::assert_snapshot!(made, @r"
        exit 0
        private key  keys/ci.pem  (secret: never commit it)
        public key   keys/ci.pub
        id           [key]

        for verbatim.yaml, with the roles that it is to have:
        keys:
          - { name: ci, file: keys/ci.pub, roles: [builder, tester, promoter] }
        warning: git does not ignore keys/ci.pem: `git add .` would take it
        hint: keep it elsewhere, or: echo 'keys/ci.pem' >> .gitignore
        ");
    });
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
fn a_role_that_is_spelt_wrongly_is_found() {
    let check = ["policy", "check"];
    let wrong = |folder: &Folder| {
        folder.configure(|text| text.replace("roles: [builder,", "roles: [bilder,"));
    };
    // The policy holds a key that was made a moment ago.
    insta::with_settings!({ filters => [("[0-9a-f]{64}", "[digest]")] }, {
    insta::assert_snapshot!(shown(&check, wrong), @r"
    exit 0
    ENVIRONMENT      GATES                                SKIPPED BY ROLLBACKS
    example/dev      locked, vetoed
    example/staging  locked, vetoed, after, clean_source

    warning: no key has the role `builder`: no build counts, so nothing can be promoted
    warning: nothing asks for the role `bilder` of the key `ci`; did you mean `builder`?
    warning: no key may override a gate: if the policy locks everybody out, only a new policy helps; the role is `break-glass`
    policy sha256:[digest]
    ");
    insta::assert_snapshot!(shown(&check, Folder::project), @r"
    exit 0
    ENVIRONMENT      GATES                                SKIPPED BY ROLLBACKS
    example/dev      locked, vetoed
    example/staging  locked, vetoed, after, clean_source

    warning: no key may override a gate: if the policy locks everybody out, only a new policy helps; the role is `break-glass`
    warning: only the signer of a veto or a lock can lift it: no key has a role with the power to lift
    policy sha256:[digest]
    ");
    });
}

/// CI systems set a variable to nothing where a secret or an output is absent.
#[test]
fn empty_variables_are_none() {
    let mut folder = Folder::new();
    folder.project();
    let lines = [["policy", "check"], ["registry", "resolve"], ["argocd", "list"]];
    let unset = lines.map(|arguments| folder.run(&arguments).to_string());
    let names = [
        "VERBATIM_CONFIG",
        "VERBATIM_FORMAT",
        "VERBATIM_KEY_FILE",
        "VERBATIM_PLAIN_HTTP",
        "VERBATIM_REGISTRY_CA",
        "VERBATIM_RELEASE",
        "VERBATIM_SIGNER",
        "VERBATIM_TRUST_REALM",
        "ARGOCD_SERVER",
        "ARGOCD_OPTS",
        "SOURCE_DATE_EPOCH",
    ];
    names.iter().for_each(|name| folder.set(name, ""));
    for (arguments, unset) in lines.iter().zip(&unset) {
        assert_eq!(&folder.run(arguments).to_string(), unset, "{arguments:?}");
    }
    assert!(unset[0].starts_with("exit 0"), "{}", unset[0]);
    // Whoever names the policy of a job does not mean that of the checkout.
    folder.set("VERBATIM_POLICY", "");
    assert_eq!(folder.run(&["policy", "check"]).code, 2);
}

#[test]
fn a_wrong_command_line_is_told_in_json() {
    let mut folder = Folder::new();
    for (arguments, format) in [
        (["promot", "dev", "--format", "json"], "human"),
        (["promot", "dev", "--color", "never"], "json"),
    ] {
        folder.set("VERBATIM_FORMAT", format);
        let run = folder.run(&arguments);
        assert_eq!(run.code, 2, "{run}");
        let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        let want = serde_json::json!({
            "schema_version": 1,
            "error": {
                "status": 2,
                "kind": "usage",
                "message": "unrecognized subcommand 'promot'",
                "causes": [],
                "hints": ["similar: promote", "--help shows how the command is used"],
                "steps": [],
            },
        });
        assert_eq!(json, want, "{arguments:?}");
    }
}
