//! What a release holds beside the binary: pages of the manual, completions, the installer.

use anyhow::Result;
use clap_complete::Shell;

/// The script that installs a release; it has a place for the key.
const INSTALLER: &str = include_str!("install.sh");

/// The line of the script in whose place the key goes.
const KEY_LINE: &str = "@RELEASE_KEY@\n";

/// The place of the version.
const VERSION_PLACE: &str = "@VERSION@";

/// The installer of a release whose sums are signed with this key.
pub(super) fn installer(version: &str, public_pem: &str) -> String {
    INSTALLER.replacen(KEY_LINE, public_pem, 1).replacen(VERSION_PLACE, version, 1)
}

/// Pages of the manual and completions, by their names.
pub(super) fn all(time: u64) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    manual(verbatim::cli::command(), "verbatim", &date(time), &mut files)?;
    for (shell, name) in [
        (Shell::Bash, "completions/verbatim.bash"),
        (Shell::Fish, "completions/verbatim.fish"),
        (Shell::Zsh, "completions/_verbatim"),
    ] {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut verbatim::cli::command(), "verbatim", &mut text);
        files.push((name.to_owned(), text));
    }
    Ok(files)
}

/// One page for each command, as `git-commit(1)`.
fn manual(
    command: clap::Command,
    name: &str,
    date: &str,
    files: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    let mut command = command.display_name(name.to_owned());
    command.build();
    for sub in
        command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
    {
        manual(sub.clone(), &format!("{name}-{}", sub.get_name()), date, files)?;
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(command).title(name).date(date).render(&mut text)?;
    files.push((format!("man/man1/{name}.1"), text));
    Ok(())
}

fn date(time: u64) -> String {
    let time = i64::try_from(time).ok().and_then(|time| jiff::Timestamp::from_second(time).ok());
    time.map_or_else(String::new, |time| time.strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let files = all(1_700_000_000).unwrap();
        let text = |name: &str| {
            let found = files.iter().find(|(it, _)| it == name);
            String::from_utf8(found.unwrap_or_else(|| panic!("no {name}")).1.clone()).unwrap()
        };
        assert!(text("man/man1/verbatim.1").contains("2023-11-14"));
        assert!(
            text("man/man1/verbatim-registry-resolve.1").contains(".TH verbatim-registry-resolve")
        );
        assert!(text("completions/verbatim.bash").contains("promote"));
    }

    #[test]
    fn the_installer_has_the_key() {
        let script =
            installer("1.2.3", "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----\n");
        assert!(script.contains("\nabc\n") && !script.contains(KEY_LINE.trim()));
        assert!(script.contains("VERSION=${VERSION:-1.2.3}"));
    }
}
