//! Makes text of strangers safe to print: records that do not count are listed with what they claim.

const MAX_SHOWN: usize = 200;

/// [`escaped`], and cut if long: for text that nobody vouches for.
pub(crate) fn plain(text: &str) -> String {
    let mut shown: String = escaped(&text.chars().take(MAX_SHOWN).collect::<String>());
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// `text` with control and invisible characters escaped, so that no terminal obeys it.
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\'' | '\\' => shown.push(character),
            other => shown.extend(other.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_not_obeyed() {
        for (text, want) in [
            ("urn:verbatim:promotion:v1", "urn:verbatim:promotion:v1"),
            ("it's \"a\" \\ b ü", "it's \"a\" \\ b ü"),
            ("\u{1b}[2Jgone", "\\u{1b}[2Jgone"),
            ("a\nb\r", "a\\nb\\r"),
            ("\u{202e}txet", "\\u{202e}txet"),
        ] {
            assert_eq!(plain(text), want);
        }
        assert_eq!(plain(&"x".repeat(201)), format!("{}…", "x".repeat(200)));
        assert_eq!(plain(&"x".repeat(200)), "x".repeat(200));
    }
}
