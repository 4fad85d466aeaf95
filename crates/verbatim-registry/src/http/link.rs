//! `Link`: where the next page of a listing is ([RFC 8288][rfc]). Pure.
//!
//! [rfc]: https://www.rfc-editor.org/rfc/rfc8288#section-3

use std::collections::BTreeSet;

use http::HeaderMap;
use http::header::LINK;
use url::Url;

use crate::http::endpoint;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NextPage {
    /// This was the last page.
    End,
    Page(Url),
    /// Not at a URL of this registry. The request, with its login, is not sent to other servers.
    Elsewhere(String),
}

/// The pages of one listing. Some registries link from the last page to itself or to the first one: a page that was read
/// before ends the listing.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    read: BTreeSet<Url>,
}

impl Pages {
    /// Where the listing continues after the page `current`.
    pub(crate) fn next(&mut self, headers: &HeaderMap, current: &Url) -> NextPage {
        self.read.insert(current.clone());
        match next(headers, current) {
            NextPage::Page(url) if self.read.contains(&url) => NextPage::End,
            found => found,
        }
    }
}

/// Where the listing continues after the page `current`.
pub(crate) fn next(headers: &HeaderMap, current: &Url) -> NextPage {
    let values = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    let Some(target) = values.filter_map(next_target).next() else { return NextPage::End };
    match current.join(target).map(|url| endpoint::behind_tls(current, url)) {
        Ok(url) if url.origin() == current.origin() => NextPage::Page(url),
        _ => NextPage::Elsewhere(target.to_owned()),
    }
}

/// The target of the first link in `text` that leads to the next page. Some registries leave out the relation or the
/// brackets; taken for no link, that would make a part of a listing look like all of it.
fn next_target(text: &str) -> Option<&str> {
    let mut rest = text;
    loop {
        let (target, after) = match rest.split_once('<') {
            Some((_, link)) => link.split_once('>').or_else(|| link.split_once(';'))?,
            None => return bare_target(rest),
        };
        let (parameters, following) = split_at_comma(after);
        if leads_on(parameters) {
            return Some(target);
        }
        rest = following;
    }
}

/// The target of a link without brackets: what looks like a part of a URL.
fn bare_target(text: &str) -> Option<&str> {
    let (target, parameters) = text.split_once(';').unwrap_or((text, ""));
    let target = target.trim();
    (target.contains(['/', '?']) && leads_on(parameters)).then_some(target)
}

/// Whether the parameters of a link say `next`, or do not say where it leads.
fn leads_on(parameters: &str) -> bool {
    let mut relations = parameters.split(';').filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("rel").then(|| value.trim().trim_matches(['"', '\'']))
    });
    let is_next = |relation: &str| {
        relation.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case("next"))
    };
    relations.next().is_none_or(|first| is_next(first) || relations.any(is_next))
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
            (vec!["<http://h/x>; rel=next"], page("https://h/x")),
            (vec!["<http://h:80/x>; rel=next"], page("https://h/x")),
            (vec!["<http://h:5000/x>; rel=next"], NextPage::Elsewhere("http://h:5000/x".into())),
            (vec!["</x?last=b>"], page("https://h/x?last=b")),
            (vec!["</x>; rel='next'"], page("https://h/x")),
            (vec!["</x>; title=\"b\""], page("https://h/x")),
            (vec!["/x?last=b; rel=\"next\""], page("https://h/x?last=b")),
            (vec!["/x?last=b"], page("https://h/x?last=b")),
            (vec!["?last=b;rel=next"], page("https://h/v2/a/tags/list?last=b")),
            (vec!["</x; rel=next"], page("https://h/x")),
            (vec!["/x; rel=prev"], NextPage::End),
            (vec!["https://evil/x; rel=next"], NextPage::Elsewhere("https://evil/x".into())),
            (vec![""], NextPage::End),
            (vec!["<https://h:444/x>; rel=next"], NextPage::Elsewhere("https://h:444/x".into())),
        ];
        for (values, want) in cases {
            assert_eq!(of(&values), want, "{values:?}");
        }
    }

    #[test]
    fn a_page_that_was_read_ends_the_listing() {
        let headers = |target: &str| {
            HeaderMap::from_iter([(LINK, format!("<{target}>; rel=next").parse().unwrap())])
        };
        let url = |query: &str| -> Url { format!("https://h/l?{query}").parse().unwrap() };
        let mut pages = Pages::default();
        assert_eq!(pages.next(&headers("/l?a"), &url("n")), NextPage::Page(url("a")));
        assert_eq!(pages.next(&headers("/l?b"), &url("a")), NextPage::Page(url("b")));
        for read in ["/l?b", "?a", "https://h/l?n"] {
            assert_eq!(pages.next(&headers(read), &url("b")), NextPage::End, "{read}");
        }
        assert_eq!(pages.next(&headers("/l?c"), &url("b")), NextPage::Page(url("c")));
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
