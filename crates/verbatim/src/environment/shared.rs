//! Whether an application of an environment is part of another environment that writes the same value of it. Labels and
//! selections are known to Argo CD alone, so the configuration cannot tell. Asks a server for
//! one name where that is needed, and nothing else.

use std::collections::BTreeMap;

use verbatim_console::Failure;

use super::applications::{ObservedApp, Servers};
use crate::config::{App, Apps, Config, Environment};

/// Refuses an environment one of whose applications another environment writes the same value of: the gates of the one
/// would be a way around those of the other.
pub(crate) async fn check(
    config: &Config,
    environment: &Environment,
    seen: &[ObservedApp],
    servers: &Servers,
) -> Result<(), Failure> {
    let own = own_namespaces(config, environment, seen, servers).await;
    let others = config.environments.iter().filter(|other| other.id != environment.id);
    for (other, seen) in others.flat_map(|other| seen.iter().map(move |seen| (other, seen))) {
        let Some(key) = entries(config, other, seen, &own).find_map(|it| seen.app.same_value(it))
        else {
            continue;
        };
        let message = format!(
            "`{}` and `{}` both write `{key}` of the application `{}`, so each would undo the other",
            environment.name(),
            other.name(),
            seen.app.name
        );
        return Err(Failure::usage(message)
            .hint("give each environment an application, or values of its own; a label may bring it into both"));
    }
    Ok(())
}

/// The namespace of Argo CD itself, by the address of the server: applications there are named without one, or with it. It is
/// asked for where somebody names one so and somebody else names one of its name the other way.
async fn own_namespaces(
    config: &Config,
    environment: &Environment,
    seen: &[ObservedApp],
    servers: &Servers,
) -> BTreeMap<String, String> {
    let others = config.environments.iter().filter(|other| other.id != environment.id);
    let named: Vec<&App> = others
        .filter_map(|other| match &other.apps {
            Apps::Named(apps) => Some(apps),
            Apps::Selected(_) => None,
        })
        .flatten()
        .collect();
    let mut own = BTreeMap::new();
    for seen in seen {
        let is_asked = named.iter().any(|other| {
            other.name == seen.app.name && other.namespace.is_none() != seen.app.namespace.is_none()
        });
        if is_asked
            && !own.contains_key(&seen.server_url)
            && let Ok(client) = servers.get(&seen.app.server)
            && let Ok(namespace) = client.own_namespace().await
        {
            own.insert(seen.server_url.clone(), namespace);
        }
    }
    own
}

/// The entries of an environment that mean an application.
fn entries<'a>(
    config: &'a Config,
    environment: &'a Environment,
    seen: &'a ObservedApp,
    own: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = &'a App> {
    let lives_in = seen.application.as_ref().ok().map(|it| it.metadata.namespace.as_str());
    let own = own.get(&seen.server_url).map(String::as_str);
    let is_on = |server: &String| {
        config.servers.get(server).is_some_and(|server| server.url.as_str() == seen.server_url)
    };
    let (named, selected) = match &environment.apps {
        Apps::Named(apps) => (apps.as_slice(), None),
        Apps::Selected(selector) => (&[][..], Some(selector)),
    };
    let named = named.iter().filter(move |app| {
        let is_there =
            is_same_namespace(app.namespace.as_deref(), seen.app.namespace.as_deref(), own)
                || (app.namespace.is_some() && app.namespace.as_deref() == lives_in);
        app.name == seen.app.name && is_on(&app.server) && is_there
    });
    let selected = selected.filter(move |selector| {
        let Ok(application) = &seen.application else { return false };
        let namespace = selector.template.namespace.as_deref();
        application.spec.project == selector.project
            && selector.servers.iter().any(is_on)
            && (namespace.is_none() || namespace == lives_in)
            && selector.labels.as_ref().is_none_or(|it| matches(it, &application.metadata.labels))
    });
    named.chain(selected.map(|selector| &selector.template))
}

/// Whether two mean one namespace; none is that of Argo CD. If nobody knows which that is, they may.
fn is_same_namespace(one: Option<&str>, other: Option<&str>, own: Option<&str>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => one == other,
        (Some(named), None) | (None, Some(named)) => own.is_none_or(|own| own == named),
    }
}

/// Whether labels are what a selector asks for, as Kubernetes reads it
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>). A part that is none of
/// its forms selects everything here: whoever could be meant is.
fn matches(selector: &str, labels: &BTreeMap<String, String>) -> bool {
    requirements(selector).all(|part| {
        let value = |key: &str| labels.get(key.trim()).map(String::as_str);
        if let Some((key, values)) = set(part, " notin ") {
            return value(key).is_none_or(|value| !values.contains(&value));
        }
        if let Some((key, values)) = set(part, " in ") {
            return value(key).is_some_and(|value| values.contains(&value));
        }
        if let Some((key, wanted)) = part.split_once("!=") {
            return value(key) != Some(wanted.trim());
        }
        if let Some((key, wanted)) = part.split_once("==").or_else(|| part.split_once('=')) {
            return value(key) == Some(wanted.trim());
        }
        match part.strip_prefix('!') {
            Some(key) => value(key).is_none(),
            None if part.contains(|c: char| c.is_whitespace() || "()<>".contains(c)) => true,
            None => value(part).is_some(),
        }
    })
}

/// The parts between the commas that stand in no parentheses.
fn requirements(selector: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let parts = selector.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

/// `key in (a, b)`, with the word between them.
fn set<'a>(part: &'a str, word: &str) -> Option<(&'a str, Vec<&'a str>)> {
    let (key, values) = part.split_once(word)?;
    let values = values.trim().strip_prefix('(')?.strip_suffix(')')?;
    Some((key, values.split(',').map(str::trim).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_of_argo_cd_has_two_names() {
        for (one, other, own, want) in [
            (None, None, None, true),
            (Some("team"), Some("team"), Some("argocd"), true),
            (Some("team"), Some("other"), None, false),
            (None, Some("argocd"), Some("argocd"), true),
            (Some("team"), None, Some("argocd"), false),
            // Nobody knows.
            (None, Some("team"), None, true),
        ] {
            assert_eq!(is_same_namespace(one, other, own), want, "{one:?} {other:?} {own:?}");
        }
    }

    #[test]
    fn selectors_are_read_as_kubernetes_reads_them() {
        let labels = [("team", "web"), ("stage", "production")];
        let labels: BTreeMap<String, String> =
            labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        for (selector, want) in [
            ("team=web", true),
            ("team==web, stage = production", true),
            ("team=web,stage=dev", false),
            ("team!=web", false),
            ("other!=web", true),
            ("team in (api, web),stage", true),
            ("team in (api)", false),
            ("other in (api)", false),
            ("team notin (api, db)", true),
            ("team notin (api, web)", false),
            ("other notin (web)", true),
            ("team", true),
            ("other", false),
            ("!other", true),
            ("!team", false),
            // Not known here, so it may be meant.
            ("team > 3", true),
        ] {
            assert_eq!(matches(selector, &labels), want, "{selector}");
        }
    }
}
