//! Results as the text that a CI reads. Pure: where the text goes is the runner's business. Every function either
//! renders all values so that exactly these values come back out, or refuses.

/// Why results cannot be told to a CI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The name would be read as something else.
    #[error(
        "`{0}` is not a name for a variable: letters, digits and `_`, not beginning with a digit"
    )]
    Name(String),
    /// The value has something that the format cannot carry.
    #[error("the value of `{name}` has {what}, which {format} cannot carry")]
    Value {
        /// Name of the variable.
        name: String,
        /// What is in the value.
        what: &'static str,
        /// The format.
        format: &'static str,
    },
    /// The report is larger than the CI takes.
    #[error("the report has {size} {unit}, more than the {limit} that GitLab takes")]
    Limit {
        /// How much it is.
        size: usize,
        /// How much it may be.
        limit: usize,
        /// Of what.
        unit: &'static str,
    },
}

/// Size of a dotenv report that every GitLab takes, in bytes.
const DOTENV_MAX_BYTES: usize = 5 * 1024;

/// Number of variables in a dotenv report that every GitLab takes.
const DOTENV_MAX_VARIABLES: usize = 20;

/// Lines for the file `GITHUB_OUTPUT`. Values may have several lines.
/// <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#multiline-strings>
///
/// # Errors
/// A name that is none.
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

/// A line that the value does not have: a value with the delimiter in it could otherwise set outputs of its own.
fn delimiter(value: &str) -> String {
    let mut delimiter = "VERBATIM_EOF".to_owned();
    while value.contains(&delimiter) {
        delimiter.push('_');
    }
    delimiter
}

/// A dotenv report for GitLab: one `NAME=value` a line, without quotes (they would become part of the value), comments
/// or empty lines. <https://docs.gitlab.com/ci/variables/dotenv_variables/>
///
/// # Errors
/// A name that is none; a value with a line break, with blanks around it, or with a `$` (the runner may expand it); more
/// than 20 variables or 5 KiB.
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

/// Logging commands that set output variables of an Azure Pipelines step, one a line.
/// <https://learn.microsoft.com/en-us/azure/devops/pipelines/scripts/logging-commands>
///
/// # Errors
/// A name that is none.
pub fn azure_variables<'a>(
    values: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<String, OutputError> {
    let mut text = String::new();
    for (name, value) in values {
        check_name(name)?;
        // The agent decodes `%0A`, so a `%` of the value has to be written differently: as `%AZP25`, the agent's own
        // escape.
        let value = value.replace('%', "%AZP25").replace('\r', "%0D").replace('\n', "%0A");
        text.push_str(&format!("##vso[task.setvariable variable={name};isOutput=true]{value}\n"));
    }
    Ok(text)
}

/// `export NAME='value'` lines for a shell to source, for example `BASH_ENV` of CircleCI.
///
/// # Errors
/// A name that is none; a value with a NUL, which no environment can hold.
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

/// A message that GitHub shows on the page of the run. `level` is `notice`, `warning` or `error`.
/// <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#setting-an-error-message>
pub fn github_annotation(level: &str, title: &str, message: &str) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    format!("::{level} title={}::{}\n", property(title), data(message))
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

    #[test]
    fn an_annotation_is_one_line() {
        assert_eq!(
            github_annotation("error", "refused: a, b", "50%\nnot tested"),
            "::error title=refused%3A a%2C b::50%25%0Anot tested\n"
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
