//! `Link`: where the next page of a listing is ([RFC 8288][rfc]). Pure.
//!
//! [rfc]: https://www.rfc-editor.org/rfc/rfc8288#section-3

use http::HeaderMap;
use http::header::LINK;
use url::Url;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NextPage {
    /// This was the last page.
    End,
    Page(Url),
    /// Not at a URL of this registry. The request, with its login, is not sent to other servers.
    Elsewhere(String),
}

/// Where the listing continues after the page `current`.
pub(crate) fn next(headers: &HeaderMap, current: &Url) -> NextPage {
    let values = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    let Some(target) = values.filter_map(next_target).next() else { return NextPage::End };
    match current.join(target) {
        Ok(url) if url.origin() == current.origin() => NextPage::Page(url),
        _ => NextPage::Elsewhere(target.to_owned()),
    }
}

/// The target of the first link in `text` that has the relation `next`.
fn next_target(text: &str) -> Option<&str> {
    let mut rest = text;
    loop {
        let (target, after) = rest.split_once('<')?.1.split_once('>')?;
        let (parameters, following) = split_at_comma(after);
        if parameters.split(';').any(is_next) {
            return Some(target);
        }
        rest = following;
    }
}

fn is_next(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, value)| {
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("rel")
            && value.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case("next"))
    })
}

/// Splits where the next link begins: at a comma that is not quoted.
fn split_at_comma(text: &str) -> (&str, &str) {
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[&str]) -> NextPage {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(LINK, value.parse().unwrap());
        }
        next(&headers, &"https://h/v2/a/tags/list?n=10".parse().unwrap())
    }

    #[test]
    fn the_next_page_is_found() {
        let page = |url: &str| NextPage::Page(url.parse().unwrap());
        let cases = [
            (vec![], NextPage::End),
            (
                vec!["</v2/a/tags/list?last=b&n=10>; rel=\"next\""],
                page("https://h/v2/a/tags/list?last=b&n=10"),
            ),
            (vec!["<https://h/x>;rel=next"], page("https://h/x")),
            (
                vec!["<?next_page=abc>; REL=\"last next\""],
                page("https://h/v2/a/tags/list?next_page=abc"),
            ),
            (vec!["</x>; rel=prev, </y>; title=\"a, b\"; rel=next"], page("https://h/y")),
            (vec!["</x>; rel=prev", "</y>; rel=next"], page("https://h/y")),
            (vec!["</x>; rel=prev"], NextPage::End),
            (vec!["</x>; rel=\"nextish\""], NextPage::End),
            (vec!["nonsense"], NextPage::End),
            (vec!["<https://evil/x>; rel=next"], NextPage::Elsewhere("https://evil/x".into())),
            (vec!["<http://h/x>; rel=next"], NextPage::Elsewhere("http://h/x".into())),
            (vec!["<https://h:444/x>; rel=next"], NextPage::Elsewhere("https://h:444/x".into())),
        ];
        for (values, want) in cases {
            assert_eq!(of(&values), want, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "[ -~]{0,60}") {
            let _ = of(&[&text]);
        }

        #[test]
        fn never_another_server(target in "[ -=?-~]{0,30}") {
            if let NextPage::Page(url) = of(&[&format!("<{target}>; rel=next")]) {
                prop_assert_eq!(url.origin().ascii_serialization(), "https://h");
            }
        }
    }
}
