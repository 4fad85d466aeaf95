//! Results as text for a CI. The runner decides where the text goes. Every function either renders all values so that
//! exactly these values come back out, or refuses.

/// Why results cannot be handed to a CI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The CI would read the name as something else.
    #[error("`{0}` is not a variable name: letters, digits and `_`, not beginning with a digit")]
    Name(String),
    /// The format cannot carry the value.
    #[error("the value of `{name}` has {what}, which {format} cannot carry")]
    Value {
        /// Name of the variable.
        name: String,
        /// What it cannot carry.
        what: &'static str,
        /// The format, for people.
        format: &'static str,
    },
    /// The report is larger than the CI takes.
    #[error("the report has {size} {unit}, more than the {limit} that GitLab takes")]
    Limit {
        /// The size of the report.
        size: usize,
        /// The largest size.
        limit: usize,
        /// The unit of both.
        unit: &'static str,
    },
}

/// In bytes; every GitLab takes this much.
const DOTENV_MAX_BYTES: usize = 5 * 1024;

/// Every GitLab takes this many.
const DOTENV_MAX_VARIABLES: usize = 20;

/// Lines for the file `GITHUB_OUTPUT`. Values may have several lines.
/// <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#multiline-strings>
///
/// # Errors
/// If a name is not a variable name.
pub fn github_outputs<'a>(
    values: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<String, OutputError> {
    let mut text = String::new();
    for (name, value) in values {
        check_name(name)?;
        let delimiter = delimiter(value);
        text.push_str(&format!("{name}<<{delimiter}\n{value}\n{delimiter}\n"));
    }
    Ok(text)
}

/// A line that the value does not have: otherwise a value could end itself and set further outputs.
fn delimiter(value: &str) -> String {
    let mut delimiter = "VERBATIM_EOF".to_owned();
    while value.contains(&delimiter) {
        delimiter.push('_');
    }
    delimiter
}

/// A dotenv report for GitLab: one `NAME=value` for each line, without quotes (GitLab keeps them as part of the value),
/// comments or empty lines. <https://docs.gitlab.com/ci/variables/dotenv_variables/>
///
/// # Errors
/// If a name is not a variable name; if a value has a line break, blanks around it, or a `$` (the runner may expand it); if
/// there are more than 20 variables or 5 KiB.
pub fn dotenv<'a>(
    values: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<String, OutputError> {
    let mut text = String::new();
    let mut count = 0;
    for (name, value) in values {
        check_name(name)?;
        let refuse = |what| {
            let name = name.to_owned();
            Err(OutputError::Value { name, what, format: "a dotenv report" })
        };
        if value.contains(['\n', '\r', '\0']) {
            return refuse("a line break");
        }
        if value.trim() != value {
            return refuse("blanks around it");
        }
        if value.contains('$') {
            return refuse("a `$`");
        }
        text.push_str(&format!("{name}={value}\n"));
        count += 1;
    }
    for (size, limit, unit) in
        [(count, DOTENV_MAX_VARIABLES, "variables"), (text.len(), DOTENV_MAX_BYTES, "bytes")]
    {
        if size > limit {
            return Err(OutputError::Limit { size, limit, unit });
        }
    }
    Ok(text)
}

/// Logging commands that set output variables of an Azure Pipelines step, one for each line.
/// <https://learn.microsoft.com/en-us/azure/devops/pipelines/scripts/logging-commands>
///
/// # Errors
/// If a name is not a variable name.
pub fn azure_variables<'a>(
    values: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<String, OutputError> {
    let mut text = String::new();
    for (name, value) in values {
        check_name(name)?;
        // The agent decodes `%0A`, so a `%` in the value becomes `%AZP25`, the agent's own escape.
        let value = value.replace('%', "%AZP25").replace('\r', "%0D").replace('\n', "%0A");
        text.push_str(&format!("##vso[task.setvariable variable={name};isOutput=true]{value}\n"));
    }
    Ok(text)
}

/// `export NAME='value'` lines for a shell to source, for example `BASH_ENV` of CircleCI.
///
/// # Errors
/// If a name is not a variable name, or a value has a NUL, which no environment can hold.
pub fn shell_exports<'a>(
    values: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<String, OutputError> {
    let mut text = String::new();
    for (name, value) in values {
        check_name(name)?;
        if value.contains('\0') {
            let name = name.to_owned();
            return Err(OutputError::Value { name, what: "a NUL", format: "a shell" });
        }
        // Inside single quotes only the quote itself is special (POSIX, Shell Command Language, 2.2.2).
        text.push_str(&format!("export {name}='{}'\n", value.replace('\'', r"'\''")));
    }
    Ok(text)
}

fn check_name(name: &str) -> Result<(), OutputError> {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    let fits = name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit());
    if fits { Ok(()) } else { Err(OutputError::Name(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_in_every_format() {
        let values = [("release", DIGEST)];
        assert_eq!(
            github_outputs(values).unwrap(),
            format!("release<<VERBATIM_EOF\n{DIGEST}\nVERBATIM_EOF\n")
        );
        assert_eq!(dotenv(values).unwrap(), format!("release={DIGEST}\n"));
        assert_eq!(
            azure_variables(values).unwrap(),
            format!("##vso[task.setvariable variable=release;isOutput=true]{DIGEST}\n")
        );
        assert_eq!(shell_exports(values).unwrap(), format!("export release='{DIGEST}'\n"));
    }

    #[test]
    fn names_cannot_smuggle_anything() {
        for name in ["", "1a", "a b", "a=b", "a\nb", "a;b", "a]b", "a<<b", "ä", "a-b"] {
            let want = Err(OutputError::Name(name.to_owned()));
            assert_eq!(github_outputs([(name, "x")]), want);
            assert_eq!(dotenv([(name, "x")]), want);
            assert_eq!(azure_variables([(name, "x")]), want);
            assert_eq!(shell_exports([(name, "x")]), want);
        }
    }

    #[test]
    fn dotenv_refuses_what_would_arrive_changed() {
        for value in ["a\nb", "a\rb", " a", "a ", "$HOME", "a${b}"] {
            assert!(matches!(dotenv([("a", value)]), Err(OutputError::Value { .. })), "{value:?}");
        }
        for value in ["", "a b", "'a'", "a=b#c", "https://example.com/?a=b&c=d"] {
            assert_eq!(dotenv([("a", value)]).unwrap(), format!("a={value}\n"));
        }
    }

    #[test]
    fn dotenv_keeps_to_the_limits() {
        let names: Vec<String> = (0..21).map(|number| format!("n{number}")).collect();
        let values = |count| names.iter().take(count).map(|name| (name.as_str(), "x"));
        assert!(dotenv(values(20)).is_ok());
        assert_eq!(
            dotenv(values(21)),
            Err(OutputError::Limit { size: 21, limit: 20, unit: "variables" })
        );
        assert!(dotenv([("a", "x".repeat(5_117).as_str())]).is_ok());
        assert!(dotenv([("a", "x".repeat(5_118).as_str())]).is_err());
    }

    #[test]
    fn azure_escapes_what_ends_a_command() {
        let got = azure_variables([("a", "100%\r\n##vso[task.complete]")]).unwrap();
        assert_eq!(
            got,
            "##vso[task.setvariable variable=a;isOutput=true]100%AZP25%0D%0A##vso[task.complete]\n"
        );
    }

    /// Reads the file as the runner of GitHub does: name and delimiter, then lines up to the delimiter.
    fn read_github(text: &str) -> Vec<(String, String)> {
        let mut values = Vec::new();
        let mut lines = text.split('\n');
        while let Some((name, delimiter)) = lines.next().and_then(|line| line.split_once("<<")) {
            let value: Vec<&str> = lines.by_ref().take_while(|line| *line != delimiter).collect();
            values.push((name.to_owned(), value.join("\n")));
        }
        values
    }

    proptest! {
        #[test]
        fn github_reads_back_what_was_written(value in "(?s).{0,40}|(a|\n|VERBATIM_EOF|_|b<<c){0,12}", more in "[a-z]{0,9}") {
            let text = github_outputs([("a", value.as_str()), ("b", more.as_str())]).unwrap();
            prop_assert_eq!(read_github(&text), vec![("a".to_owned(), value), ("b".to_owned(), more)]);
        }
    }

    /// A real shell reads the exports back.
    #[test]
    fn a_shell_reads_back_what_was_written() {
        let value = "it's \"$HOME\" `id` \\ \n* \u{1F980}";
        let script = format!("{}printf %s \"$a\"", shell_exports([("a", value)]).unwrap());
        let out = needs::Program::Sh.command().arg("-c").arg(script).output().unwrap();
        assert_eq!(String::from_utf8(out.stdout).unwrap(), value);
    }
}
