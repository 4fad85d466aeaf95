//! A policy that needs no files beside it: the public keys and the trust root that it names by their files are written into
//! it. Everything
//! else, comments too, stays as it is. Must not read files by itself.

use std::io;
use std::ops::Range;
use std::path::Path;

use verbatim_oci::Digest;
use verbatim_record::KeyId;

use super::file::PolicyFile;
use super::identities;
use super::located::{Located, Place};
use super::policy::credential;
use super::problem::{Invalid, Problem};
use super::{check, yaml};

/// Writes the keys into a policy, and checks what can be checked without a project: its shape, and its keys. `read` gives
/// the text of a key file.
pub(crate) fn self_contained(
    path: &Path,
    text: &str,
    read: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<String, Invalid> {
    let invalid = |problems| Invalid::new(path, text, problems);
    let policy: PolicyFile = yaml(text).map_err(|problem| invalid(vec![problem]))?;
    let root = path.parent().unwrap_or(Path::new(""));
    let mut problems = Vec::new();
    check::version(&policy.version, &mut problems);
    let (mut splices, mut ids) = (Vec::new(), Vec::new());
    for key in &policy.keys {
        let credential = match credential(key, root, read) {
            Ok(credential) => credential,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        ids.push(credential.id());
        let (Some(file), Some(public)) = (&key.file, credential.key()) else { continue };
        match (entry(text, file), public.to_pem()) {
            (Some(range), Ok(pem)) => splices.push((range, as_entry("pem", pem.trim_end()))),
            _ => problems.push(unwritable(file.place)),
        }
    }
    let mut trusted = None;
    if let Some(written) = &policy.trust_root {
        match identities::trust_root(written, root, read) {
            Ok((trust_root, json)) => {
                trusted = Some(*trust_root.digest());
                if let Some(file) = &written.value.file {
                    match (entry(text, file), compact(&json)) {
                        (Some(range), Some(json)) => splices.push((range, as_entry("json", &json))),
                        _ => problems.push(unwritable(file.place)),
                    }
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(invalid(problems));
    }
    let mut contained = text.to_owned();
    splices.sort_by_key(|(range, _)| range.start);
    for (range, entry) in splices.iter().rev() {
        contained.replace_range(range.clone(), entry);
    }
    // The places are those of a parser that knows all of YAML; this looks whether they were understood.
    if !has_keys(&contained, &ids, trusted) {
        let trust_root = policy.trust_root.as_ref().and_then(|it| it.value.file.as_ref());
        let files = policy.keys.iter().filter_map(|key| key.file.as_ref()).chain(trust_root);
        return Err(invalid(files.map(|file| unwritable(file.place)).collect()));
    }
    Ok(contained)
}

fn unwritable(place: Place) -> Problem {
    Problem::new(place, "this file cannot be written in here").help(
        "write it yourself, in place of `file`: a key as `pem: \"-----BEGIN PUBLIC KEY-----\\n…\"`, a trust root as `json`",
    )
}

/// A mapping entry that reads alike in every style of YAML, as a text of JSON does.
fn as_entry(name: &str, text: &str) -> String {
    format!("{name}: {}", serde_json::Value::from(text))
}

/// The same JSON on one line.
fn compact(json: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(json).ok()?;
    Some(value.to_string())
}

/// Where `file: VALUE` stands.
fn entry(text: &str, file: &Located<String>) -> Option<Range<usize>> {
    let line = usize::try_from(file.place.line).ok()?.checked_sub(1)?;
    let column = usize::try_from(file.place.column).ok()?.checked_sub(1)?;
    let mut lines = text.split_inclusive('\n');
    let before: usize = lines.by_ref().take(line).map(str::len).sum();
    let line = lines.next()?;
    let at = line.char_indices().nth(column).map(|(at, _)| at)?;
    let value = &line[at..];
    let length = [format!("\"{}\"", file.value), format!("'{}'", file.value), file.value.clone()]
        .iter()
        .find(|spelling| value.starts_with(spelling.as_str()))
        .map(String::len)?;
    let start = line[..at].trim_end().strip_suffix(':')?.trim_end().strip_suffix("file")?.len();
    Some(before + start..before + at + length)
}

/// Whether it is a policy with these keys and this trust root, none of them in a file.
fn has_keys(text: &str, ids: &[KeyId], trusted: Option<Digest>) -> bool {
    let nowhere = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let Ok(policy) = yaml::<PolicyFile>(text) else { return false };
    let found = policy.keys.iter().map(|key| credential(key, Path::new(""), &nowhere));
    let root = policy.trust_root.map(|it| identities::trust_root(&it, Path::new(""), &nowhere));
    found.map(|key| key.ok().map(|key| key.id())).eq(ids.iter().cloned().map(Some))
        && root.map(|root| root.ok().map(|(root, _)| *root.digest())) == trusted.map(Some)
}

#[cfg(test)]
mod tests {
    use super::super::identities::tests::{ROOT, files};
    use super::super::tests::PUBLIC_KEY;
    use super::*;

    fn contained(text: &str) -> Result<String, String> {
        self_contained(Path::new("rules.yaml"), text, &files).map_err(|error| error.to_string())
    }

    const IDENTITY: &str = "version: 1\nkeys: [{ name: anna, roles: [a], identity: { issuer: https://accounts.google.com, subject: anna@example.com } }]\n";

    #[test]
    fn keys_are_written_in_and_all_else_stays() {
        let pem = as_entry("pem", PUBLIC_KEY.trim_end());
        let root = as_entry("json", &ROOT);
        for (text, want) in [
            (
                "version: 1\nkeys: [{ name: ci, file: ci.pub, roles: [promoter] }] # ours\n",
                format!("version: 1\nkeys: [{{ name: ci, {pem}, roles: [promoter] }}] # ours\n"),
            ),
            (
                "version: 1\nkeys:\n  # ours\n  - name: ci\n    file: \"ci.pub\"\n    roles: [promoter]\n",
                format!(
                    "version: 1\nkeys:\n  # ours\n  - name: ci\n    {pem}\n    roles: [promoter]\n"
                ),
            ),
            (
                "version: 1\nkeys:\n  - file:   'ci.pub'\n    name: ключ\n    roles: [a]\n",
                format!("version: 1\nkeys:\n  - {pem}\n    name: ключ\n    roles: [a]\n"),
            ),
            (
                "version: 1\nkeys: [{ name: ключ, file: ci.pub, roles: [a] }]\n",
                format!("version: 1\nkeys: [{{ name: ключ, {pem}, roles: [a] }}]\n"),
            ),
            ("version: 1\n", "version: 1\n".to_owned()),
            (
                "version: 1\ntrust_root: { file: indented.json } # pinned\n",
                format!("version: 1\ntrust_root: {{ {root} }} # pinned\n"),
            ),
            (IDENTITY, IDENTITY.to_owned()),
        ] {
            let got = contained(text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(got, want);
            assert_eq!(contained(&got).as_deref(), Ok(want.as_str()), "again, it stays");
        }
    }

    #[test]
    fn what_cannot_be_pushed_is_shown() {
        for (text, want) in [
            ("version: 2\n", "version 2 is not known"),
            ("version: 1\nkey: []\n", "unknown key `key`"),
            (
                "version: 1\nkeys: [{ name: ci, file: other.pub, roles: [a] }]\n",
                "not a usable public key",
            ),
            (
                "version: 1\nkeys: [{ name: ci, file: private.pem, roles: [a] }]\n",
                "not a usable public key",
            ),
            ("version: 1\nkeys: [{ name: ci, roles: [a] }]\n", "a key has a `file`"),
            (
                "version: 1\nkeys: [{ name: ci, \"file\": ci.pub, roles: [a] }]\n",
                "cannot be written in",
            ),
            ("version: 1\ntrust_root: { file: empty.json }\n", "not a usable trust root"),
            ("version: 1\ntrust_root: { \"file\": root.json }\n", "cannot be written in"),
            ("version: 1\nkeys: [{ name: ci, file: >-\n  ci.pub\n, roles: [a] }]\n", ""),
        ] {
            let error = contained(text).expect_err(text);
            assert!(error.contains(want), "{error}");
        }
    }
}
