//! Runs the real binary in a folder of its own, with an environment that holds what the test gives and nothing else.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which lints do not take for tests")]

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// A configuration that is right; nothing listens where its services are.
const CONFIGURATION: &str = "\
version: 1
project: example
images:
  app: { repository: 127.0.0.1:9/team/app }
argocd:
  main: { url: http://127.0.0.1:9 }
set:
  helm: { image.tag: \"${app.tag}@${app.digest}\" }
environments:
  - name: dev
    apps: [web-dev]
    tests: { smoke: ./smoke.sh }
  - name: staging
    after: [dev]
    apps: [web-staging]
keys:
  - { name: ci, file: ci.pub, roles: [builder, tester, promoter] }
";

/// A folder to run in.
pub(crate) struct Folder {
    root: TempDir,
    variables: BTreeMap<String, String>,
    within: String,
}

pub(crate) struct Run {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().to_str().unwrap().to_owned();
        let variables = BTreeMap::from([
            ("PATH".to_owned(), std::env::var_os("PATH").unwrap().into_string().unwrap()),
            ("HOME".to_owned(), home),
            ("ARGOCD_AUTH_TOKEN".to_owned(), "token".to_owned()),
        ]);
        Self { root, variables, within: String::new() }
    }

    /// Sets a variable for every run.
    pub(crate) fn set(&mut self, variable: &str, value: &str) {
        self.variables.insert(variable.to_owned(), value.to_owned());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Writes a configuration that is right, and the key that it names.
    pub(crate) fn project(&self) {
        self.configure(str::to_owned);
    }

    /// Writes a configuration that is changed in one place.
    pub(crate) fn configure(&self, change: impl FnOnce(&str) -> String) {
        assert_eq!(self.run(&["key", "generate", "ci"]).code, 0);
        std::fs::write(self.path("verbatim.yaml"), change(CONFIGURATION)).unwrap();
    }

    /// The same folder, seen from below.
    pub(crate) fn within(&self, place: &str) -> Placed<'_> {
        Placed { folder: self, within: place.to_owned(), without: None }
    }

    /// The same folder, without a variable.
    pub(crate) fn without(&self, variable: &str) -> Placed<'_> {
        Placed { folder: self, within: self.within.clone(), without: Some(variable.to_owned()) }
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.within("").run(arguments)
    }
}

/// A folder with something about it changed.
pub(crate) struct Placed<'a> {
    folder: &'a Folder,
    within: String,
    without: Option<String>,
}

impl Placed<'_> {
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        let variables =
            self.folder.variables.iter().filter(|(name, _)| Some(*name) != self.without.as_ref());
        let output = Command::new(env!("CARGO_BIN_EXE_verbatim"))
            .args(arguments)
            .current_dir(self.folder.path(&self.within))
            .env_clear()
            .envs(variables)
            .output()
            .unwrap();
        let root = self.folder.root.path().to_str().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(root, "[folder]");
        Run {
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            code: output.status.code().unwrap_or(-1),
        }
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "exit {}", self.code)?;
        f.write_str(&self.stdout)?;
        f.write_str(&self.stderr)
    }
}
