//! Values that are secrets by their names. They stay out of claims, where they would be read for longer than they are in
//! force, and out of what is printed. A hash would not hide a short password, so nothing of them is kept: then only the run
//! that replaced one can put it back. Pure.

use serde_json::{Value, json};

use crate::overrides::key::{OverrideKey, SourceField};

/// Words of names that mean a secret, in lower case and without marks between them.
const WORDS: [&str; 8] =
    ["password", "passwd", "passphrase", "secret", "token", "credential", "apikey", "privatekey"];

/// Last parts of names that name an image, whatever stands before them: that of a chart's `tokenServer` is no secret, and a
/// claim has to tell whether it still stands.
const OF_IMAGES: [&str; 7] =
    ["image", "registry", "repository", "tag", "digest", "version", "pullpolicy"];

/// What is printed in the place of a secret.
pub(crate) const HIDDEN: &str = "(hidden)";

/// Whether a name says that its value is a secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let plain = |text: &str| -> String {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let last = name.rsplit(['.', '/']).next().unwrap_or(name);
    let name = plain(name);
    !OF_IMAGES.contains(&plain(last).as_str()) && WORDS.iter().any(|word| name.contains(word))
}

/// Whether a stored element is a secret: by its key, or, if it is a document of values, by the keys in it.
pub(crate) fn is_secret(key: &OverrideKey, element: &Value) -> bool {
    match key {
        OverrideKey::Helm(name)
        | OverrideKey::PluginEnv(name)
        | OverrideKey::PluginParameter(name) => is_secret_name(name),
        OverrideKey::Field(SourceField::HelmValues) => {
            let keys = element.as_str().unwrap_or_default().lines();
            let mut keys = keys.filter_map(|line| line.split_once(':')).map(|(key, _)| key);
            keys.any(is_secret_name)
        }
        OverrideKey::Field(SourceField::HelmValuesObject) => has_secret(element),
        _ => false,
    }
}

fn has_secret(value: &Value) -> bool {
    match value {
        Value::Object(members) => {
            members.iter().any(|(name, member)| is_secret_name(name) || has_secret(member))
        }
        Value::Array(list) => list.iter().any(has_secret),
        _ => false,
    }
}

/// What a claim has in the place of a secret.
pub(crate) fn in_its_place(key: &OverrideKey, element: &Value) -> Value {
    match is_secret(key, element) {
        true => json!({ "hidden": true }),
        false => element.clone(),
    }
}

/// Whether this stands in the place of a secret. Argo CD stores no such element.
pub(crate) fn is_hidden(element: &Value) -> bool {
    *element == json!({ "hidden": true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        let text = |text: &str| json!(text);
        let cases = [
            (OverrideKey::Helm("db.password".into()), text("x"), true),
            (OverrideKey::Helm("auth.apiKey".into()), text("x"), true),
            (OverrideKey::Helm("api_key".into()), text("x"), true),
            (OverrideKey::PluginEnv("GITHUB_TOKEN".into()), text("x"), true),
            (OverrideKey::Helm("image.tag".into()), text("password"), false),
            (OverrideKey::Helm("tokenServer.image.tag".into()), text("1"), false),
            (OverrideKey::Helm("tokenServer.image.pullSecret".into()), text("x"), true),
            (OverrideKey::Kustomize("secret".into()), text("secret:1"), false),
            (OverrideKey::Field(SourceField::HelmValues), text("a: 1\ndb:\n  password: x"), true),
            (OverrideKey::Field(SourceField::HelmValues), text("a: password"), false),
            (
                OverrideKey::Field(SourceField::HelmValuesObject),
                json!({ "a": [{ "clientSecret": "x" }] }),
                true,
            ),
            (OverrideKey::Field(SourceField::HelmValuesObject), json!({ "a": 1 }), false),
        ];
        for (key, element, want) in cases {
            assert_eq!(is_secret(&key, &element), want, "{key} {element}");
            assert_eq!(is_hidden(&in_its_place(&key, &element)), want, "{key} {element}");
        }
    }
}
