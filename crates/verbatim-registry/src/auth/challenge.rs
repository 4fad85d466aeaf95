//! `WWW-Authenticate`: which login a server asks for ([RFC 9110, section 11.6.1][rfc]). Pure.
//!
//! [rfc]: https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// One challenge: a scheme and its parameters, names in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) scheme: String,
    pub(crate) parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }
}

/// All challenges of an answer, in their order.
pub(crate) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(parse).collect()
}

/// Reads one header value. A comma separates parameters and also challenges: a word that is followed by `=` and a value
/// belongs to the challenge before it, any other word starts a challenge. Text that cannot be read ends the list,
/// because the rest is ambiguous.
fn parse(text: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = ChallengeReader(text);
    loop {
        rest.skip(|c| c == ',' || c.is_ascii_whitespace());
        let Some(word) = rest.token() else { return challenges };
        let mut ahead = rest;
        ahead.skip(|c| c.is_ascii_whitespace());
        if ahead.eat('=') {
            ahead.skip(|c| c.is_ascii_whitespace());
            if let (Some(value), Some(last)) = (ahead.value(), challenges.last_mut()) {
                last.parameters.push((word.to_ascii_lowercase(), value));
                rest = ahead;
                continue;
            }
            return challenges;
        }
        challenges.push(Challenge { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
        // `Negotiate YIIB…==` and `Basic abc=`: a token68, which no supported scheme has.
        let mut token68 = ahead;
        let is_token = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
        token68.skip(is_token);
        token68.skip(|c| c == '=');
        let is_whole = token68.0.is_empty() || token68.0.trim_start().starts_with(',');
        if token68.0.len() < ahead.0.len() && is_whole {
            rest = token68;
        }
    }
}

/// The rest of the header.
#[derive(Clone, Copy)]
struct ChallengeReader<'a>(&'a str);

impl<'a> ChallengeReader<'a> {
    fn skip(&mut self, what: impl Fn(char) -> bool) {
        self.0 = self.0.trim_start_matches(what);
    }

    fn eat(&mut self, c: char) -> bool {
        match self.0.strip_prefix(c) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn token(&mut self) -> Option<&'a str> {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let end = self.0.find(|c| !is_token(c)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    /// A token or a quoted string. Tokens may be URLs, because some registries omit the quotes.
    fn value(&mut self) -> Option<String> {
        if !self.eat('"') {
            let end = self.0.find(|c: char| c == ',' || c.is_ascii_whitespace());
            let (value, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
            self.0 = rest;
            return Some(value.to_owned());
        }
        let mut value = String::new();
        let mut chars = self.0.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return Some(value);
                }
                '\\' => value.push(chars.next()?.1),
                _ => value.push(c),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn challenges_are_read() {
        let check = |text: &str, want: &[(&str, &[(&str, &str)])]| {
            let got = parse(text);
            let got: Vec<(&str, Vec<(&str, &str)>)> = got
                .iter()
                .map(|one| {
                    let parameters = one.parameters.iter();
                    let parameters = parameters.map(|(n, v)| (n.as_str(), v.as_str())).collect();
                    (one.scheme.as_str(), parameters)
                })
                .collect();
            let want: Vec<_> = want.iter().map(|(s, p)| (*s, p.to_vec())).collect();
            assert_eq!(got, want, "{text}");
        };
        check("", &[]);
        check("Basic", &[("basic", &[])]);
        check(r#"Basic realm="a, b""#, &[("basic", &[("realm", "a, b")])]);
        check(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
            &[(
                "bearer",
                &[
                    ("realm", "https://auth.docker.io/token"),
                    ("service", "registry.docker.io"),
                    ("scope", "repository:a/b:pull,push"),
                ],
            )],
        );
        check(
            "BEARER Realm = https://h/t , service=s",
            &[("bearer", &[("realm", "https://h/t"), ("service", "s")])],
        );
        check(
            r#"Basic realm="x", Bearer realm="y",error="insufficient_scope""#,
            &[
                ("basic", &[("realm", "x")]),
                ("bearer", &[("realm", "y"), ("error", "insufficient_scope")]),
            ],
        );
        check("Negotiate, Basic realm=x", &[("negotiate", &[]), ("basic", &[("realm", "x")])]);
        check(
            "Negotiate YIIB/w==, Basic realm=x",
            &[("negotiate", &[]), ("basic", &[("realm", "x")])],
        );
        check(r#"Basic realm="say \"hi\"""#, &[("basic", &[("realm", r#"say "hi""#)])]);
        check(r#"Basic realm="open"#, &[("basic", &[])]);
        check("realm=x", &[]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            challenges in proptest::collection::vec(
                ("[a-z]{1,8}", proptest::collection::vec(("[a-z_]{1,8}", "[ -~é]{0,12}"), 1..4)),
                0..4,
            )
        ) {
            let quoted = |value: &str| value.replace('\\', r"\\").replace('"', "\\\"");
            let text: Vec<String> = challenges
                .iter()
                .map(|(scheme, parameters)| {
                    let parameters: Vec<String> = parameters
                        .iter()
                        .map(|(name, value)| format!("{name}=\"{}\"", quoted(value)))
                        .collect();
                    format!("{scheme} {}", parameters.join(", "))
                })
                .collect();
            let want: Vec<Challenge> = challenges
                .into_iter()
                .map(|(scheme, parameters)| Challenge { scheme, parameters })
                .collect();
            prop_assert_eq!(parse(&text.join(", ")), want);
        }

        #[test]
        fn no_input_panics(text in prop_oneof![".{0,80}", "[a-zA-Z=\", \\\\]{0,60}"]) {
            let _ = parse(&text);
        }
    }
}
