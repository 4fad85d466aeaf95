//! verbatim's store of Argo CD tokens, written by a login: one JSON file that only its owner can read.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::ServerKey;
use crate::permissions::check_private;
use crate::{CredentialEnvironment, Error, ErrorKind};

/// The version of the file that is written, and the only one that is read.
const VERSION: u64 = 1;

/// The file with the tokens from logins.
#[derive(Clone, Debug)]
pub struct TokenStore {
    path: PathBuf,
}

/// How a CI job logged in without a stored secret, so that it can do so again when the session ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobLogin {
    /// The Dex connector that takes the identity token of the job.
    pub connector: String,
    /// The variable that may hold that token.
    pub variable: String,
    /// The audience that GitHub is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
}

/// The token for one server.
#[derive(Clone, Debug)]
pub struct StoredToken {
    /// The token.
    pub token: SecretString,
    /// How a job got it, if it did.
    pub job: Option<JobLogin>,
}

/// The file as it is read.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    version: u64,
    tokens: BTreeMap<String, SecretString>,
    #[serde(default)]
    jobs: BTreeMap<String, JobLogin>,
}

/// The file as it is written: the one place where tokens are serialised.
#[derive(Serialize)]
struct NewTokenFile<'a> {
    version: u64,
    tokens: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    jobs: &'a BTreeMap<String, JobLogin>,
}

impl TokenStore {
    /// The store in this file, which need not exist yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The store of this user: `verbatim/argocd-tokens.json` below the folder of configurations. `None` without such a
    /// folder.
    pub fn from_environment(environment: &CredentialEnvironment) -> Option<Self> {
        Some(Self::at(environment.config_home()?.join("verbatim").join("argocd-tokens.json")))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The token for `server`, if there is one.
    ///
    /// # Errors
    ///
    /// If the file exists and cannot be read, is malformed, or can be read by other users.
    pub fn get(&self, server: &ServerKey) -> Result<Option<StoredToken>, Error> {
        let mut stored = self.read().map_err(|kind| self.error(kind))?;
        let job = stored.jobs.remove(server.as_str());
        Ok(stored.tokens.remove(server.as_str()).map(|token| StoredToken { token, job }))
    }

    /// Stores `token` for `server`, and replaces an older one.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or written.
    pub fn put(&self, server: &ServerKey, new: StoredToken) -> Result<(), Error> {
        let name = server.as_str().to_owned();
        self.change(|stored| {
            match new.job {
                Some(job) => stored.jobs.insert(name.clone(), job),
                None => stored.jobs.remove(&name),
            };
            stored.tokens.insert(name, new.token);
        })
    }

    /// Removes the token for `server`, and returns whether there was one.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or written.
    pub fn remove(&self, server: &ServerKey) -> Result<bool, Error> {
        self.change(|stored| {
            stored.jobs.remove(server.as_str());
            stored.tokens.remove(server.as_str()).is_some()
        })
    }

    /// Reads, changes and replaces the file, while a lock keeps other logins of this user out.
    fn change<T>(&self, change: impl FnOnce(&mut TokenFile) -> T) -> Result<T, Error> {
        let attempt = || {
            let folder = self.path.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(folder).map_err(ErrorKind::Io)?;
            // The lock is a separate file: the store is replaced as a whole, and a lock on it would stay with the old
            // file.
            let lock = File::create(self.path.with_extension("lock")).map_err(ErrorKind::Io)?;
            lock.lock().map_err(ErrorKind::Io)?;
            let mut stored = self.read()?;
            let result = change(&mut stored);
            write(&self.path, folder, &stored).map_err(ErrorKind::Io)?;
            Ok(result)
        };
        attempt().map_err(|kind| self.error(kind))
    }

    fn read(&self) -> Result<TokenFile, ErrorKind> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(TokenFile::default());
            }
            Err(error) => return Err(ErrorKind::Io(error)),
        };
        check_private(&fs::metadata(&self.path).map_err(ErrorKind::Io)?)?;
        let stored: TokenFile = serde_json::from_slice(&text)?;
        if stored.version != VERSION {
            return Err(ErrorKind::Version(stored.version));
        }
        Ok(stored)
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error::new(self.path.display(), kind)
    }
}

/// Replaces the file atomically, so a killed login leaves the old one.
fn write(path: &Path, folder: &Path, stored: &TokenFile) -> io::Result<()> {
    let tokens = &stored.tokens;
    let tokens =
        tokens.iter().map(|(server, token)| (server.as_str(), token.expose_secret())).collect();
    // Temporary files have mode 0600, and keep it.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer_pretty(
        &mut file,
        &NewTokenFile { version: VERSION, tokens, jobs: &stored.jobs },
    )?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn get(store: &TokenStore, server: &str) -> Option<String> {
        let token = store.get(&ServerKey::new(server)).unwrap();
        token.map(|stored| stored.token.expose_secret().to_owned())
    }

    fn token(text: &str) -> StoredToken {
        StoredToken { token: text.into(), job: None }
    }

    #[test]
    fn a_token_is_kept_replaced_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let store = TokenStore::at(folder.path().join("new").join("tokens.json"));
        let (one, two) = (ServerKey::new("https://one"), ServerKey::new("http://two:8080"));
        assert_eq!(get(&store, "https://one"), None);
        store.put(&one, token("1")).unwrap();
        store.put(&two, token("2")).unwrap();
        store.put(&one, token("1b")).unwrap();
        assert_eq!(get(&store, "one:443"), Some("1b".into()));
        assert_eq!(get(&store, "two:8080"), Some("2".into()));
        assert!(store.remove(&one).unwrap());
        assert!(!store.remove(&one).unwrap());
        assert_eq!((get(&store, "one"), get(&store, "two:8080")), (None, Some("2".into())));
    }

    #[test]
    fn how_a_job_logged_in_is_kept_until_another_login() {
        let folder = tempfile::tempdir().unwrap();
        let store = TokenStore::at(folder.path().join("tokens.json"));
        let server = ServerKey::new("s");
        let job = JobLogin {
            connector: "ci".into(),
            variable: "GITLAB_OIDC_TOKEN".into(),
            audience: None,
        };
        store.put(&server, StoredToken { job: Some(job.clone()), ..token("1") }).unwrap();
        assert_eq!(store.get(&server).unwrap().unwrap().job, Some(job));
        store.put(&server, token("2")).unwrap();
        assert_eq!(store.get(&server).unwrap().unwrap().job, None);
    }

    #[test]
    fn logins_at_the_same_time_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = TokenStore::at(folder.path().join("tokens.json"));
        std::thread::scope(|scope| {
            for n in 0..16 {
                let store = &store;
                scope.spawn(move || {
                    store.put(&ServerKey::new(&format!("s{n}")), token(&n.to_string())).unwrap();
                });
            }
        });
        for n in 0..16 {
            assert_eq!(get(&store, &format!("s{n}")), Some(n.to_string()));
        }
    }

    #[test]
    fn the_file_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = TokenStore::at(folder.path().join("tokens.json"));
        let server = ServerKey::new("s");
        store.put(&server, token("t")).unwrap();
        let mode = fs::metadata(store.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::set_permissions(store.path(), fs::Permissions::from_mode(0o640)).unwrap();
        let error = store.get(&server).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Permissions(0o640)));
        assert_eq!(error.place(), store.path().display().to_string());
    }

    #[test]
    fn files_of_another_kind_are_refused() {
        let check = |text: &str, want: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("tokens.json");
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let error = TokenStore::at(path).get(&ServerKey::new("s")).unwrap_err();
            assert_eq!(error.kind().to_string(), want);
        };
        check("{", "not JSON at line 1, column 1");
        check(r#"{"version":2,"tokens":{}}"#, "version 2 of this file is not supported");
        check(r#"{"version":1,"tokens":{},"x":1}"#, "unexpected value at line 1, column 28");
    }
}
