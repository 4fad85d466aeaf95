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

/// The file as it is read.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    version: u64,
    tokens: BTreeMap<String, SecretString>,
}

/// The file as it is written: the one place where tokens are serialised.
#[derive(Serialize)]
struct NewTokenFile<'a> {
    version: u64,
    tokens: BTreeMap<&'a str, &'a str>,
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
    pub fn get(&self, server: &ServerKey) -> Result<Option<SecretString>, Error> {
        let mut stored = self.read().map_err(|kind| self.error(kind))?;
        Ok(stored.tokens.remove(server.as_str()))
    }

    /// Stores `token` for `server`, and replaces an older one.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or written.
    pub fn put(&self, server: &ServerKey, token: SecretString) -> Result<(), Error> {
        self.change(|tokens| tokens.insert(server.as_str().to_owned(), token)).map(drop)
    }

    /// Removes the token for `server`, and returns whether there was one.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or written.
    pub fn remove(&self, server: &ServerKey) -> Result<bool, Error> {
        self.change(|tokens| tokens.remove(server.as_str())).map(|old| old.is_some())
    }

    /// Reads, changes and replaces the file, while a lock keeps other logins of this user out.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, SecretString>) -> T,
    ) -> Result<T, Error> {
        let attempt = || {
            let folder = self.path.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(folder).map_err(ErrorKind::Io)?;
            // The lock is a separate file: the store is replaced as a whole, and a lock on it would stay with the old
            // file.
            let lock = File::create(self.path.with_extension("lock")).map_err(ErrorKind::Io)?;
            lock.lock().map_err(ErrorKind::Io)?;
            let mut stored = self.read()?;
            let result = change(&mut stored.tokens);
            write(&self.path, folder, &stored.tokens).map_err(ErrorKind::Io)?;
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
fn write(path: &Path, folder: &Path, tokens: &BTreeMap<String, SecretString>) -> io::Result<()> {
    let tokens =
        tokens.iter().map(|(server, token)| (server.as_str(), token.expose_secret())).collect();
    // Temporary files have mode 0600, and keep it.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer_pretty(&mut file, &NewTokenFile { version: VERSION, tokens })?;
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
        token.map(|token| token.expose_secret().to_owned())
    }

    #[test]
    fn a_token_is_kept_replaced_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let store = TokenStore::at(folder.path().join("new").join("tokens.json"));
        let (one, two) = (ServerKey::new("https://one"), ServerKey::new("http://two:8080"));
        assert_eq!(get(&store, "https://one"), None);
        store.put(&one, "1".into()).unwrap();
        store.put(&two, "2".into()).unwrap();
        store.put(&one, "1b".into()).unwrap();
        assert_eq!(get(&store, "one:443"), Some("1b".into()));
        assert_eq!(get(&store, "two:8080"), Some("2".into()));
        assert!(store.remove(&one).unwrap());
        assert!(!store.remove(&one).unwrap());
        assert_eq!((get(&store, "one"), get(&store, "two:8080")), (None, Some("2".into())));
    }

    #[test]
    fn logins_at_the_same_time_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = TokenStore::at(folder.path().join("tokens.json"));
        std::thread::scope(|scope| {
            for n in 0..16 {
                let store = &store;
                scope.spawn(move || {
                    store.put(&ServerKey::new(&format!("s{n}")), n.to_string().into()).unwrap();
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
        store.put(&server, "t".into()).unwrap();
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
