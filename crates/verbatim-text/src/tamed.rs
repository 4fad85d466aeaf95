//! What is obeyed by those who read it, and how it is written so that it is not.
//!
//! Terminals obey control characters, and text that runs from right to left can show the opposite of what it says. CI systems
//! obey certain lines, whoever wrote them. Our own colours pass.

/// `text` as it may be printed, with our colours or without.
pub fn tamed(text: &str, colours: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if let Some(colour) = colour(rest) {
            if colours {
                out.push_str(colour);
            }
            rest = &rest[colour.len()..];
            continue;
        }
        push(&mut out, character, matches!(character, '\n' | '\t'));
        rest = &rest[character.len_utf8()..];
    }
    without_commands(&out)
}

/// `text` of somebody else on one line.
pub fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.trim_end().chars().for_each(|character| push(&mut out, character, false));
    out
}

/// `text` of somebody else in JSON: the same value, without a character that anybody obeys.
pub fn tamed_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut last = ' ';
    for character in json.chars() {
        // All of these only stand inside of strings. `##` begins a command on Azure, GitHub and TeamCity.
        if character != '\n' && is_obeyed(character) || character == '#' && last == '#' {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(character);
        }
        last = character;
    }
    out
}

fn push(out: &mut String, character: char, is_wanted: bool) {
    match is_obeyed(character) && !is_wanted {
        true => out.extend(character.escape_debug()),
        false => out.push(character),
    }
}

/// A colour at the begin of a text, as ECMA-48 writes it: "select graphic rendition".
fn colour(text: &str) -> Option<&str> {
    let numbers = text.strip_prefix("\u{1b}[")?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    numbers[end..].starts_with('m').then(|| &text[..2 + end + 1])
}

/// Control characters, and those of Unicode's category `Cf` and the line separators: nobody sees them, and much obeys them.
fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0001}'..='\u{e007f}'
        )
}

/// Takes from lines what CI systems obey: `##vso[` and `##[` (Azure, GitHub), `##teamcity[`, and `::` at the begin of a line
/// (GitHub). What GitLab and Travis obey has control characters.
fn without_commands(text: &str) -> String {
    let mut broken = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    let mut last = ' ';
    while let Some(character) = characters.next() {
        let begins = |next: &char| *next == '[' || next.is_ascii_alphabetic();
        if character == '#' && last == '#' && characters.peek().is_some_and(begins) {
            broken.push(' ');
        }
        broken.push(character);
        last = character;
    }
    let mut out = String::with_capacity(broken.len());
    for line in broken.split_inclusive('\n') {
        let begin = line.len() - line.trim_start().len();
        match line[begin..].strip_prefix("::") {
            Some(rest) => out.extend([&line[..begin], ": :", rest]),
            None => out.push_str(line),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_tamed_stays_so(text in any::<String>(), commands in "(##vso\\[|::|#\\[|\\n| |\\x1b\\[1m|\\r){0,12}") {
            let once = tamed(&(text + &commands), false);
            prop_assert_eq!(&tamed(&once, false), &once);
            prop_assert!(once.chars().all(|c| !is_obeyed(c) || c == '\n' || c == '\t'));
            prop_assert!(!once.contains("##vso[") && once.lines().all(|line| !line.trim_start().starts_with("::")));
        }
    }

    #[test]
    fn nothing_that_others_write_is_obeyed() {
        let cases = [
            ("plain ü ✓ 日本\n\tnext", "plain ü ✓ 日本\n\tnext"),
            ("\u{1b}[2Jgone\r\u{7}", "\\u{1b}[2Jgone\\r\\u{7}"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("\u{9b}31m \u{202e}txet\u{feff}", "\\u{9b}31m \\u{202e}txet\\u{feff}"),
            ("a ##vso[task.complete]", "a # #vso[task.complete]"),
            ("###[error]x", "## #[error]x"),
            ("### A heading", "### A heading"),
            ("x\n  ::error ::y\nz::w", "x\n  : :error ::y\nz::w"),
            ("section_start:1:x\r\u{1b}[0K", "section_start:1:x\\r\\u{1b}[0K"),
        ];
        for (text, want) in cases {
            assert_eq!(tamed(text, true), want, "{text:?}");
        }
        let red = "\u{1b}[1;31m::x\u{1b}[0m";
        assert_eq!(tamed(red, false), ": :x");
        assert_eq!(tamed(red, true), red);
    }

    #[test]
    fn one_line_stays_one() {
        assert_eq!(one_line("a\nb\r\n\u{1b}[1mc\n"), "a\\nb\\r\\n\\u{1b}[1mc");
    }

    #[test]
    fn json_keeps_its_values() {
        let value = serde_json::json!({ "a": "##vso[x]\u{202e}\u{e0041}\u{7f}\n# #", "##": 1 });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let tamed = tamed_json(&text);
        assert!(!tamed.contains("##") && !tamed.contains(['\u{202e}', '\u{e0041}', '\u{7f}']));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&tamed).unwrap(), value);
    }
}
