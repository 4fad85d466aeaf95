//! PEM blocks as they come out of the stores of secrets, which lose and change line breaks. Knows no kind of key.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use p256::elliptic_curve::zeroize::Zeroizing;
use secrecy::SecretString;

use super::key::KeyError;

/// Base64 with padding or without.
const ANY_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
pub(super) const ANY_STANDARD: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, ANY_PADDING);
pub(super) const ANY_URL_SAFE: GeneralPurpose =
    GeneralPurpose::new(&alphabet::URL_SAFE, ANY_PADDING);

/// Longest label that is read; the longest in use has 30 letters. What is longer is a part of the key, which no message
/// may show.
const LONGEST_LABEL: usize = 40;

/// Characters in a line, RFC 7468.
const COLUMNS: usize = 64;

/// Labels with blanks, for texts that lost them.
const LABELS: [&str; 8] = [
    "PRIVATE KEY",
    "PUBLIC KEY",
    "EC PARAMETERS",
    "EC PRIVATE KEY",
    "RSA PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
    "ENCRYPTED SIGSTORE PRIVATE KEY",
    "ENCRYPTED COSIGN PRIVATE KEY",
];

/// One block.
pub(super) struct Block {
    /// What stands after `BEGIN`.
    pub label: String,
    /// Whether openssl encrypted it in the old way, which a header says.
    pub is_encrypted: bool,
    body: Zeroizing<String>,
}

impl Block {
    /// The block with the line breaks that it should have.
    ///
    /// # Errors
    /// If its content is no base64; the message names what is wrong, and shows nothing of the key.
    pub(super) fn pem(&self) -> Result<Zeroizing<String>, KeyError> {
        let Self { label, body, .. } = self;
        let wrong = |what: String| KeyError::Body { label: label.clone(), what };
        let body = body.trim_end_matches('=');
        if let Some(other) = body.chars().find(|c| !c.is_ascii_alphanumeric() && !"+/".contains(*c))
        {
            return Err(wrong(format!("`{}` in it is no base64", other.escape_default())));
        }
        let padding = match body.len() % 4 {
            _ if body.is_empty() => return Err(wrong("there is nothing in it".to_owned())),
            0 => "",
            2 => "==",
            3 => "=",
            _ => return Err(wrong("characters are missing in it".to_owned())),
        };
        // As large as it becomes: a text that moves leaves a copy in memory.
        let size = (body.len() + 4) * 2 + 4 * LONGEST_LABEL;
        let mut pem = Zeroizing::new(String::with_capacity(size));
        pem.push_str(&format!("-----BEGIN {label}-----"));
        for (at, c) in body.chars().chain(padding.chars()).enumerate() {
            if at % COLUMNS == 0 {
                pem.push('\n');
            }
            pem.push(c);
        }
        pem.push_str(&format!("\n-----END {label}-----\n"));
        Ok(pem)
    }
}

/// The blocks of a text, in order; never none.
///
/// Line breaks may be absent, doubled, blanks, `\n` in letters or `%0A`; there may be quotes, a byte order mark, or base64
/// around the whole.
///
/// # Errors
/// If there is no block, or its boundaries are damaged; the message names what is wrong.
pub(super) fn blocks(text: &str) -> Result<Vec<Block>, KeyError> {
    let plain = plain(text);
    if plain.contains("-BEGIN") {
        return blocks_in(&plain);
    }
    let decoded = decoded(&plain).ok_or(KeyError::NotPem)?;
    match std::str::from_utf8(&decoded) {
        Ok(inner) if inner.contains("BEGIN") => blocks_in(&self::plain(inner)),
        // A sequence in DER, as every key is.
        _ if decoded.first() == Some(&0x30) => Err(KeyError::NoBoundaries),
        _ => Err(KeyError::NotPem),
    }
}

/// The blocks of a text, each with the line breaks of a file: for whoever looks for a key in files. Damaged blocks are left
/// out.
pub fn relined_keys(text: &str) -> Vec<SecretString> {
    let blocks = blocks(text).unwrap_or_default();
    let pem = blocks.iter().filter_map(|block| block.pem().ok());
    pem.map(|pem| SecretString::from(pem.as_str())).collect()
}

fn blocks_in(mut rest: &str) -> Result<Vec<Block>, KeyError> {
    let mut blocks = Vec::new();
    while let Some((_, begin)) = rest.split_once("-BEGIN") {
        let (written, after) = begin.split_once('-').ok_or(KeyError::Boundary)?;
        let label = label(written)?;
        let cut = || KeyError::Cut { label: label.clone() };
        let (body, end) = after.split_once("-END").ok_or_else(cut)?;
        if body.contains("-BEGIN") {
            return Err(cut());
        }
        let is_encrypted = body.contains("ENCRYPTED") && body.contains(':');
        let ignored = |c: &char| !c.is_whitespace() && !"\"',-".contains(*c);
        let body = Zeroizing::new(body.chars().filter(ignored).collect());
        blocks.push(Block { label, is_encrypted, body });
        rest = end;
    }
    match blocks.is_empty() {
        true => Err(KeyError::NotPem),
        false => Ok(blocks),
    }
}

/// The label with single blanks.
fn label(written: &str) -> Result<String, KeyError> {
    let words = written.split_whitespace().collect::<Vec<_>>();
    let (label, letters) = (words.join(" "), words.concat());
    let is_word = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == ' ';
    if label.is_empty() || label.len() > LONGEST_LABEL || !label.chars().all(is_word) {
        return Err(KeyError::Boundary);
    }
    let known = LABELS.into_iter().find(|known| known.replace(' ', "") == letters);
    Ok(known.map_or(label, ToOwned::to_owned))
}

/// The text with line breaks for whatever a store of secrets makes of them, and with plain dashes. No PEM holds a backslash
/// or a percent sign.
fn plain(text: &str) -> Zeroizing<String> {
    let mut plain = Zeroizing::new(String::with_capacity(text.len()));
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                let mut ahead = rest.clone();
                if let Some('n' | 'r' | 't') = ahead.next() {
                    plain.push('\n');
                    rest = ahead;
                }
            }
            '%' => {
                let mut ahead = rest.clone();
                match (ahead.next(), ahead.next()) {
                    (Some('0'), Some('A' | 'a' | 'D' | 'd' | '9')) | (Some('2'), Some('0')) => {
                        plain.push('\n');
                        rest = ahead;
                    }
                    _ => plain.push(c),
                }
            }
            // A byte order mark, and blanks without width.
            '\u{feff}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\0' => {}
            // As word processors write them.
            '\u{2010}'..='\u{2015}' | '\u{2212}' => plain.push('-'),
            c => plain.push(c),
        }
    }
    plain
}

/// A text that is base64 as a whole, perhaps in quotes or behind `base64:`.
fn decoded(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let ignored = |c: &char| !c.is_whitespace() && !"\"'".contains(*c);
    let text = Zeroizing::new(text.chars().filter(ignored).collect::<String>());
    let text = text.rsplit([':', ',']).next().filter(|text| !text.is_empty())?;
    let decoded = ANY_STANDARD.decode(text).or_else(|_| ANY_URL_SAFE.decode(text));
    decoded.ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::keys::key::{SigningKey, VerifyingKey};

    const PKCS8: &str = include_str!("../../tests/keys/pkcs8.pem");
    const SEC1: &str = include_str!("../../tests/keys/sec1.pem");
    const PUBLIC: &str = include_str!("../../tests/keys/public.pem");
    const COSIGN: &str = include_str!("../../tests/keys/cosign.key");

    /// What stores of secrets, editors and shells make of a file.
    fn spellings(file: &str) -> Vec<(&'static str, String)> {
        let lines: Vec<&str> = file.trim().lines().collect();
        // A second block has a beginning of its own, which is no body.
        let body = |between: &str| {
            let lines = lines.iter().map(|line| match line.starts_with('-') {
                true => format!("\n{line}\n"),
                false => format!("{line}{between}"),
            });
            lines.collect::<String>()
        };
        let quoted = lines.iter().map(|line| format!("\"{line}\"")).collect::<Vec<_>>();
        vec![
            ("as made", file.to_owned()),
            ("nothing after it", file.trim().to_owned()),
            ("CRLF", file.replace('\n', "\r\n")),
            ("CR", file.replace('\n', "\r")),
            ("`\\n`", file.replace('\n', "\\n")),
            ("`\\r\\n`", file.replace('\n', "\\r\\n")),
            ("`\\\\n`", file.replace('\n', "\\\\n")),
            ("`\\n` and a line break", file.replace('\n', "\\n\n")),
            ("`%0A`", file.replace('\n', "%0A")),
            ("blanks", lines.join(" ")),
            ("tabs", lines.join("\t")),
            ("joined", lines.concat()),
            ("empty lines", lines.join("\n\n")),
            ("indented", lines.join("\n    ")),
            ("a line for each word", file.replace(' ', "\n")),
            ("no blanks at all", file.split_whitespace().collect()),
            ("in double quotes", format!("\"{}\"", file.trim())),
            ("in single quotes", format!("'{file}'")),
            ("in JSON", format!("\"{}\"", file.replace('\n', "\\n").replace('/', "\\/"))),
            ("a list of lines in JSON", format!("[{}]", quoted.join(","))),
            ("one long line", body("")),
            ("lines with blanks at their ends", body(" \n")),
            ("a byte order mark", format!("\u{feff}{file}")),
            ("blanks without width", file.replace('\n', "\u{200b}\n")),
            ("no-break spaces", file.replace(' ', "\u{a0}")),
            ("other dashes", file.replace('-', "\u{2013}")),
            ("no padding", file.replace('=', "")),
            ("base64 of it", STANDARD.encode(file)),
            ("base64 of it on a line each", {
                let text = STANDARD.encode(file);
                let (first, second) = text.split_at(76);
                format!("{first}\n{second}\n")
            }),
            ("base64 for URLs", URL_SAFE_NO_PAD.encode(file)),
            ("base64 in quotes", format!("\"{}\"", STANDARD.encode(file))),
            ("base64 with a prefix", format!("base64:{}", STANDARD.encode(file))),
            ("base64 of CRLF", STANDARD.encode(file.replace('\n', "\r\n"))),
            ("base64 of `\\n`", STANDARD.encode(file.replace('\n', "\\n"))),
        ]
    }

    #[test]
    fn a_key_is_read_whatever_became_of_its_lines() {
        let public = VerifyingKey::from_pem(PUBLIC).unwrap();
        let password = SecretString::from("correct horse");
        for file in [PKCS8, SEC1] {
            for (how, text) in spellings(file) {
                let key = SigningKey::from_pem(&text).map(|key| key.verifying_key());
                assert_eq!(key, Ok(public), "{how}: {text}");
                let relined = relined_keys(&text);
                let lines = relined.iter().map(|pem| pem.expose_secret());
                assert!(file.ends_with(lines.collect::<String>().as_str()), "{how}");
            }
        }
        for (how, text) in spellings(PUBLIC) {
            assert_eq!(VerifyingKey::from_pem(&text), Ok(public), "{how}: {text}");
        }
        // To open one takes a second each.
        for (how, text) in spellings(COSIGN) {
            let blocks = blocks(&text).unwrap_or_else(|error| panic!("{how}: {error}"));
            let [block] = blocks.as_slice() else { panic!("{how}") };
            let body = |pem: &str| pem.split_whitespace().collect::<String>();
            assert_eq!(body(&block.pem().unwrap()), body(COSIGN), "{how}");
        }
        let joined = COSIGN.replace('\n', " ");
        let opened = SigningKey::from_pem_with(&joined, Some(&password));
        assert_eq!(opened.map(|key| key.verifying_key()), Ok(public));
    }

    #[test]
    fn what_cannot_be_read_is_explained_and_not_shown() {
        let body: String = PKCS8.lines().filter(|line| !line.starts_with('-')).collect();
        let begin = "-----BEGIN PRIVATE KEY-----";
        let cut = KeyError::Cut { label: "PRIVATE KEY".to_owned() };
        let wrong =
            |what: &str| KeyError::Body { label: "PRIVATE KEY".to_owned(), what: what.to_owned() };
        let whole = |body: &str| format!("{begin}\n{body}\n-----END PRIVATE KEY-----\n");
        for (text, want) in [
            (String::new(), KeyError::NotPem),
            ("/run/secrets/key".to_owned(), KeyError::NotPem),
            ("$VERBATIM_KEY".to_owned(), KeyError::NotPem),
            ("***".to_owned(), KeyError::NotPem),
            // The first line alone, as a reader of variables leaves it.
            (begin.to_owned(), cut.clone()),
            (format!("{begin}\n{body}"), cut.clone()),
            (format!("{begin}\n{begin}\n{body}\n-----END PRIVATE KEY-----"), cut),
            (body.clone(), KeyError::NoBoundaries),
            (format!("-----BEGIN PRIVATE KEY\n{body}\n-----END PRIVATE KEY"), KeyError::Boundary),
            (format!("-----BEGIN {body}-----"), KeyError::Boundary),
            (whole(""), wrong("there is nothing in it")),
            (whole(&body[3..]), wrong("characters are missing in it")),
            (whole(&format!("{body}…")), wrong("`\\u{2026}` in it is no base64")),
            (whole("$KEY"), wrong("`$` in it is no base64")),
            // Half of it: the boundaries are there.
            (whole(&body[..64]), KeyError::NotP256),
        ] {
            let error = SigningKey::from_pem(&text).unwrap_err();
            assert_eq!(error, want, "{text}");
            assert!(!error.to_string().contains(&body[8..16]), "{error}");
        }
    }
}
