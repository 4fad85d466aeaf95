//! What a promotion would write: values for each application, and the plan that is shown, hashed and executed. Pure.

use std::fmt;

use serde::Serialize;
use verbatim_argocd::values::{KustomizeImageError, shown};
use verbatim_argocd::{AppRef, KustomizeImage, Override};
use verbatim_console::Table;
use verbatim_image::template::TemplateError;
use verbatim_oci::Digest;
use verbatim_record::EnvironmentId;

use crate::config::{App, Set, SourceChoice};
use crate::release::Release;

/// One application and what it is to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The name of its server in the configuration.
    pub server: String,
    /// The application.
    pub app: AppRef,
    /// The values.
    pub values: Override,
}

/// Why the values of an application cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    /// A variable has no value.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A value is not what Kustomize takes.
    #[error(transparent)]
    Kustomize(#[from] KustomizeImageError),
}

/// The values of one application for a release.
///
/// # Errors
/// A template that cannot be filled in, or an image that Kustomize would not take.
pub(crate) fn target(app: &App, release: &Release) -> Result<Target, TargetError> {
    let Set { helm, kustomize } = &app.set;
    let mut values = Override {
        source: match &app.source {
            None => verbatim_argocd::SourceChoice::Auto,
            Some(SourceChoice::Name(name)) => verbatim_argocd::SourceChoice::Name(name.clone()),
            Some(SourceChoice::Position(position)) => {
                verbatim_argocd::SourceChoice::Position(*position)
            }
        },
        ..Override::default()
    };
    for (name, template) in helm {
        values.helm.insert(name.clone(), template.render(|variable| release.variable(variable))?);
    }
    for (name, template) in kustomize {
        let reference = template.render(|variable| release.variable(variable))?;
        values.kustomize.push(format!("{name}={reference}").parse::<KustomizeImage>()?);
    }
    let reference = AppRef {
        name: app.name.clone(),
        namespace: app.namespace.clone(),
        project: app.project.clone(),
    };
    Ok(Target { server: app.server.clone(), app: reference, values })
}

/// What would be written, with the state of the world it was made from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Plan {
    /// Where.
    pub environment: EnvironmentId,
    /// What.
    pub release: Release,
    /// The hash of the rules that were in force.
    pub policy: Digest,
    /// The applications, in the order of the configuration.
    pub apps: Vec<PlannedApp>,
}

/// What would be written to one application.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct PlannedApp {
    /// The name of its server in the configuration.
    pub server: String,
    /// The values, old and new.
    pub plan: verbatim_argocd::Plan,
}

impl Plan {
    /// The hash of what the plan says; part of the promotion record.
    pub(crate) fn hash(&self) -> Digest {
        // Through a value: its maps are sorted, so the same plan has the same bytes.
        let value = serde_json::to_value(self).unwrap_or_default();
        Digest::of(value.to_string().as_bytes())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} → {}", self.release, self.environment)?;
        let mut table = Table::new(["APPLICATION", "VALUE", "OLD", "NEW"]);
        for PlannedApp { plan, .. } in &self.apps {
            for change in &plan.changes {
                let (old, new) = match change.is_noop() {
                    true => ("(the same)".to_owned(), shown(Some(&change.new))),
                    false => (shown(change.old.as_ref()), shown(Some(&change.new))),
                };
                table.row([plan.app.to_string(), change.key.to_string(), old, new]);
            }
        }
        write!(f, "{table}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn release() -> Release {
        Release {
            image: "app".to_owned(),
            repository: "registry.example/team/web".parse().unwrap(),
            tag: Some("7.abc".parse().unwrap()),
            digest: Digest::of(b"x"),
        }
    }

    fn app(helm: &[(&str, &str)], kustomize: &[(&str, &str)]) -> App {
        let templates = |values: &[(&str, &str)]| {
            values
                .iter()
                .map(|(key, text)| ((*key).to_owned(), text.parse().unwrap()))
                .collect::<BTreeMap<_, _>>()
        };
        App {
            name: "web".to_owned(),
            server: "main".to_owned(),
            namespace: None,
            project: Some("team".to_owned()),
            source: Some(SourceChoice::Position(2)),
            set: Set { helm: templates(helm), kustomize: templates(kustomize) },
            url: None,
        }
    }

    #[test]
    fn values_are_filled_in() {
        let digest = Digest::of(b"x");
        let helm =
            [("image.repository", "${repository}"), ("image.tag", "${app.tag}@${app.digest}")];
        let target = target(&app(&helm, &[("web", "${reference}")]), &release()).unwrap();
        assert_eq!(target.app.project.as_deref(), Some("team"));
        assert_eq!(target.values.source, verbatim_argocd::SourceChoice::Position(2));
        assert_eq!(target.values.helm["image.repository"], "registry.example/team/web");
        assert_eq!(target.values.helm["image.tag"], format!("7.abc@{digest}"));
        assert_eq!(
            target.values.kustomize[0].to_string(),
            format!("web=registry.example/team/web:7.abc@{digest}")
        );
        assert_eq!(target.values.digests(), [digest]);
    }

    #[test]
    fn values_that_cannot_be_made_are_errors() {
        assert!(matches!(
            target(&app(&[("a", "${other.digest}")], &[]), &release()),
            Err(TargetError::Template(_))
        ));
        assert!(matches!(
            target(&app(&[], &[("a b", "${digest}")]), &release()),
            Err(TargetError::Kustomize(_))
        ));
    }
}
