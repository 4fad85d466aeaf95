//! The base images of a Dockerfile, as far as its text shows them.
//!
//! Pure, and for one purpose: the engine gets only the credentials of registries that this build needs. It does not
//! check the Dockerfile; the engine does.

use std::collections::{BTreeMap, BTreeSet};

use verbatim_oci::{Reference, Repository};

/// The repositories of the images that `text` names in `FROM`, `COPY --from=`, `RUN --mount=…,from=` and `# syntax=`,
/// without the stages of the file itself. Names that cannot be parsed are left out.
pub(crate) fn base_repositories(
    text: &str,
    build_args: &BTreeMap<String, String>,
) -> BTreeSet<Repository> {
    // An editor may have put a byte order mark there, which no builder counts.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (syntax, escape) = directives(text);
    let mut images: BTreeSet<String> = syntax.into_iter().collect();
    let mut variables: BTreeMap<String, String> = PLATFORM
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .chain(build_args.clone().into_iter().filter(|(name, _)| is_of_platform(name)))
        .collect();
    let mut stages: BTreeSet<String> = BTreeSet::new();
    let mut is_before_first_stage = true;
    for line in instructions(text, escape) {
        let mut words = line.split_whitespace();
        let instruction = words.next().unwrap_or_default().to_ascii_uppercase();
        let (flags, rest): (Vec<&str>, Vec<&str>) = words.partition(|word| word.starts_with("--"));
        match instruction.as_str() {
            "ARG" if is_before_first_stage => {
                for declaration in rest {
                    let (name, default) = match declaration.split_once('=') {
                        Some((name, default)) => (name, Some(expand(unquote(default), &variables))),
                        None => (declaration, None),
                    };
                    if let Some(value) = build_args.get(name).cloned().or(default) {
                        variables.insert(name.to_owned(), value);
                    }
                }
            }
            "FROM" => {
                is_before_first_stage = false;
                let image = rest.first().map(|image| expand(unquote(image), &variables));
                images.extend(image.filter(|image| !stages.contains(&image.to_lowercase())));
                if let [_, keyword, stage] = rest.as_slice()
                    && keyword.eq_ignore_ascii_case("as")
                {
                    stages.insert(stage.to_lowercase());
                }
            }
            "COPY" | "ADD" | "RUN" => {
                let sources = flags.iter().filter_map(|flag| {
                    flag.strip_prefix("--from=").or_else(|| {
                        let mount = flag.strip_prefix("--mount=")?;
                        mount.split(',').find_map(|option| option.strip_prefix("from="))
                    })
                });
                let is_image = |source: &&str| {
                    !stages.contains(&source.to_lowercase())
                        && source.parse::<usize>().is_err()
                        && !source.contains('$')
                };
                images.extend(sources.filter(is_image).map(str::to_owned));
            }
            _ => {}
        }
    }
    images
        .iter()
        .filter(|image| image.as_str() != "scratch")
        // A tag that is not known here is an empty one.
        .filter_map(|image| image.trim_end_matches([':', '@', '-', '.']).parse::<Reference>().ok())
        .map(|image| image.repository)
        .collect()
}

/// What BuildKit sets for a build. The values are only examples: they stand in tags and paths, and a login is for a host.
const PLATFORM: [(&str, &str); 8] = [
    ("BUILDPLATFORM", "linux/amd64"),
    ("BUILDOS", "linux"),
    ("BUILDARCH", "amd64"),
    ("BUILDVARIANT", ""),
    ("TARGETPLATFORM", "linux/amd64"),
    ("TARGETOS", "linux"),
    ("TARGETARCH", "amd64"),
    ("TARGETVARIANT", ""),
];

fn is_of_platform(name: &str) -> bool {
    PLATFORM.iter().any(|(known, _)| *known == name)
}

/// The parser directives: comments before everything else.
fn directives(text: &str) -> (Option<String>, char) {
    let mut syntax = None;
    let mut escape = '\\';
    for line in text.lines() {
        let Some((name, value)) = line.strip_prefix('#').and_then(|line| line.split_once('='))
        else {
            break;
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "syntax" => syntax = value.split_whitespace().next().map(str::to_owned),
            "escape" if value.trim() == "`" => escape = '`',
            "escape" | "check" => {}
            _ => break,
        }
    }
    (syntax, escape)
}

/// The instructions, continuation lines joined, comments and empty lines left out.
fn instructions(text: &str, escape: char) -> Vec<String> {
    let mut instructions = Vec::new();
    let mut current = String::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.strip_suffix(escape) {
            Some(begun) => {
                current.push_str(begun);
                current.push(' ');
            }
            None => {
                current.push_str(line);
                instructions.push(std::mem::take(&mut current));
            }
        }
    }
    if !current.is_empty() {
        instructions.push(current);
    }
    instructions
}

fn unquote(word: &str) -> &str {
    let stripped = |quote: char| word.strip_prefix(quote).and_then(|word| word.strip_suffix(quote));
    stripped('"').or_else(|| stripped('\'')).unwrap_or(word)
}

/// The most bytes of a value; what is longer names no image.
const LONGEST: usize = 4096;

/// Replaces `$name`, `${name}`, `${name:-else}` and `${name:+instead}`, where what comes after the sign may hold others.
fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        // Values that name each other double with every line.
        if expanded.len() > LONGEST {
            return String::new();
        }
        if let Some((inner, behind)) = braced(after) {
            expanded.push_str(&expand_braced(inner, variables));
            rest = behind;
        } else {
            let (name, behind) = named(after);
            expanded.push_str(variables.get(name).map_or("", String::as_str));
            rest = behind;
        }
    }
    expanded + rest
}

/// Defaults within defaults that are followed. Nobody writes more than two.
const DEEPEST: usize = 16;

/// What stands between the first brace and the one that closes it, and what comes after that.
fn braced(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('{')?;
    let mut open = 1_usize;
    for (at, c) in inner.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open > DEEPEST {
            return None;
        }
        if open == 0 {
            return Some((&inner[..at], &inner[at + 1..]));
        }
    }
    None
}

/// The name at the beginning of a text, and what comes after it.
fn named(text: &str) -> (&str, &str) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split_at(text.find(|c| !is_name(c)).unwrap_or(text.len()))
}

fn expand_braced(inner: &str, variables: &BTreeMap<String, String>) -> String {
    let (name, operation) = named(inner);
    let (set, operation) = match operation.strip_prefix(':') {
        Some(operation) => (variables.get(name).filter(|value| !value.is_empty()), operation),
        None => (variables.get(name), operation),
    };
    match (set, operation.strip_prefix('-'), operation.strip_prefix('+')) {
        (None, Some(default), _) => expand(default, variables),
        (Some(_), _, Some(instead)) => expand(instead, variables),
        (None, ..) => String::new(),
        (Some(value), ..) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, args: &[(&str, &str)], want: &[&str]) {
        let args = args.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let found: Vec<String> =
            base_repositories(text, &args).iter().map(ToString::to_string).collect();
        assert_eq!(found, want, "{text}");
    }

    #[test]
    fn values_do_not_grow_without_end() {
        let mut text = "ARG A=aaaaaaaaaaaaaaaa\n".to_owned();
        text.push_str(&"ARG A=$A$A$A$A\n".repeat(40));
        check(
            &format!("{text}FROM $A\nFROM example.com/$A\nFROM example.com/a\n"),
            &[],
            &["example.com/a"],
        );
    }

    #[test]
    fn images_are_found_and_stages_are_not() {
        check("FROM scratch\nCOPY . /\n", &[], &[]);
        check("from alpine:3.20\n", &[], &["docker.io/library/alpine"]);
        check(
            "# syntax=docker/dockerfile:1\nFROM --platform=$BUILDPLATFORM ghcr.io/a/b@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 AS Build\nFROM build\nCOPY --from=build /x /x\nCOPY --from=quay.io/c/d /y /y\nCOPY --from=0 /z /z\n",
            &[],
            &["docker.io/docker/dockerfile", "ghcr.io/a/b", "quay.io/c/d"],
        );
        check(
            "ARG REGISTRY=example.com\nARG IMAGE=\"${REGISTRY}/base\"\nFROM $IMAGE:1\nRUN --mount=type=bind,from=tools.example.com/t,target=/t true\n",
            &[],
            &["example.com/base", "tools.example.com/t"],
        );
        check(
            "ARG R=example.com\nFROM ${R}/base",
            &[("R", "localhost:5000")],
            &["localhost:5000/base"],
        );
        check("ARG R\nFROM ${R:-example.org}/base", &[], &["example.org/base"]);
        check("ARG R=x\nFROM ${R:+example.net}/base", &[], &["example.net/base"]);
        check(
            "# escape=`\nFROM `\n# comment\n  example.com/a `\n  AS b\n",
            &[],
            &["example.com/a"],
        );
        check("\u{feff}FROM example.com/a\n", &[], &["example.com/a"]);
        check("\u{feff}# syntax=example.com/s\nFROM scratch\n", &[], &["example.com/s"]);
        for tag in ["$TARGETARCH", "${TARGETOS}-$BUILDARCH", "v1-${TARGETVARIANT}", "$UNKNOWN"] {
            let text = format!("FROM --platform=$BUILDPLATFORM example.com/a:{tag}\n");
            check(&text, &[], &["example.com/a"]);
        }
        check("FROM example.com/$TARGETARCH/a\n", &[("TARGETARCH", "arm")], &["example.com/arm/a"]);
        let nested = "ARG D=example.com\nFROM ${REG:-$D}/a:${T:-${V:-1}}\n";
        check(nested, &[], &["example.com/a"]);
        check("ARG D=example.com\nFROM ${REG:-${NO-${D}}}/a\n", &[], &["example.com/a"]);
        check("ARG R=x\nARG D=example.com\nFROM ${R:+${D}}/a\n", &[], &["example.com/a"]);
        check("RUN echo \\\n FROM x", &[], &[]);
        check("FROM", &[], &[]);
        check("FROM ${", &[], &[]);
        check(&format!("FROM {}", "${A:-".repeat(100_000)), &[], &[]);
    }
}
