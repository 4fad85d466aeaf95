//! What must never get into an image: private keys, under whatever name they lie in the context.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use verbatim_credentials::{ExposeSecret as _, SecretString};

/// Files of up to this size are searched for secrets; keys and the files that people copy them into are small.
const SEARCHED: u64 = 64 * 1024;
/// Shorter lines of a key are not looked for: they could be anything.
const SHORTEST: usize = 40;

/// What a build must not send. It fails if it would.
#[derive(Clone, Debug, Default)]
pub struct Withheld {
    /// Files, by whatever name the context has them: a link counts as the file.
    pub files: Vec<PathBuf>,
    /// Private keys in PEM. A small file that contains one, as a copy or in quotes, is not sent.
    pub keys: Vec<SecretString>,
}

/// The same, looked up once.
#[derive(Debug, Default)]
pub(super) struct WithheldFiles {
    /// Device and number of each file.
    numbers: Vec<(u64, u64)>,
    /// A line of each key that holds a part of the secret.
    lines: Vec<SecretString>,
}

impl WithheldFiles {
    /// Files that do not exist are ignored.
    pub(super) fn of(withheld: &Withheld) -> Self {
        let number = |file: &PathBuf| fs::metadata(file).ok().map(|it| (it.dev(), it.ino()));
        Self {
            numbers: withheld.files.iter().filter_map(number).collect(),
            lines: withheld.keys.iter().filter_map(secret_line).collect(),
        }
    }

    /// Whether this is one of the files.
    pub(super) fn is_file(&self, file: &Metadata) -> bool {
        self.numbers.contains(&(file.dev(), file.ino()))
    }

    /// Whether a file of this size may hold a key, so that [`Self::is_in`] has to be asked.
    pub(super) fn may_be_in(&self, size: u64) -> bool {
        !self.lines.is_empty() && size <= SEARCHED
    }

    /// Whether a key is in this content.
    pub(super) fn is_in(&self, content: &[u8]) -> bool {
        let is_in = |line: &SecretString| {
            let line = line.expose_secret().as_bytes();
            content.windows(line.len()).any(|part| part == line)
        };
        self.lines.iter().any(is_in)
    }
}

/// The longest line of a key, and of several the last: the first has little more than the name of the curve.
fn secret_line(pem: &SecretString) -> Option<SecretString> {
    // In a variable the ends of lines may be written out.
    let text = pem.expose_secret().replace("\\n", "\n");
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('-'));
    let line = lines.filter(|line| line.len() >= SHORTEST).max_by_key(|line| line.len())?;
    Some(SecretString::from(line.to_owned()))
}

/// Whether the configuration of a git clone holds what logs in at the remote, as the checkout of a CI leaves it there:
/// <https://git-scm.com/docs/git-config#Documentation/git-config.txt-httpextraHeader>.
pub(super) fn has_login(git_config: &Path) -> bool {
    let text = fs::read_to_string(git_config).unwrap_or_default().to_ascii_lowercase();
    let mut lines = text.lines().map(str::trim);
    lines.any(|line| line.starts_with("extraheader") && line.contains("authorization"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAAAAAAAAAAAAAAAA
BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB
CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC
-----END PRIVATE KEY-----
";

    #[test]
    fn a_key_is_found_in_whatever_holds_it() {
        let spellings = [PEM.to_owned(), PEM.replace('\n', "\\n"), PEM.replace('\n', "\r\n")];
        for given in &spellings {
            let keys = vec![SecretString::from(given.clone())];
            let withheld = WithheldFiles::of(&Withheld { files: Vec::new(), keys });
            for holds in &spellings {
                assert!(withheld.is_in(format!("KEY=\"{holds}\"").as_bytes()), "{given} {holds}");
            }
            let public = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n";
            assert!(!withheld.is_in(public.as_bytes()));
            assert!(withheld.may_be_in(300) && !withheld.may_be_in(SEARCHED + 1));
        }
        let short = Withheld { files: Vec::new(), keys: vec![SecretString::from("secret")] };
        assert!(!WithheldFiles::of(&short).may_be_in(1));
    }

    #[test]
    fn a_login_that_a_checkout_left_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        for (text, want) in [
            ("[core]\n\tbare = false\n", false),
            ("[http \"https://github.com/\"]\n\textraheader = AUTHORIZATION: basic eA==\n", true),
            ("[http]\n\textraHeader = X-Trace: 1\n", false),
        ] {
            fs::write(&config, text).unwrap();
            assert_eq!(has_login(&config), want, "{text}");
        }
        assert!(!has_login(&folder.path().join("none")));
    }
}
