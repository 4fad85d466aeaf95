//! What an application of an environment is to hold for a release. Pure.

use verbatim_argocd::KustomizeImageError;
use verbatim_argocd::{AppRef, KustomizeImage, OverrideValues};
use verbatim_image::template::TemplateError;

use crate::config::{App, Set};
use crate::environment::applications::reference;
use crate::release::Release;

/// One application and what it is to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The name of its server in the configuration.
    pub server: String,
    pub app: AppRef,
    pub values: OverrideValues,
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
pub(crate) fn target(app: &App, release: &Release) -> Result<Target, TargetError> {
    let values = app.values(|set| values(set, release))?;
    Ok(Target { server: app.server.clone(), app: reference(app), values })
}

/// The values of one source.
fn values(set: &Set, release: &Release) -> Result<OverrideValues, TargetError> {
    let Set { helm, typed, kustomize } = set;
    let mut values = OverrideValues { typed: typed.clone(), ..OverrideValues::default() };
    for (name, template) in helm {
        values.helm.insert(name.clone(), template.render(|variable| release.variable(variable))?);
    }
    for (name, template) in kustomize {
        let reference = template.render(|variable| release.variable(variable))?;
        values.kustomize.push(format!("{name}={reference}").parse::<KustomizeImage>()?);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {

    use verbatim_argocd::SourceChoice;
    use verbatim_oci::Digest;

    use super::*;
    use crate::config::SourceSet;

    fn app(helm: &[(&str, &str)], kustomize: &[(&str, &str)]) -> App {
        let app = App::sample("web", helm);
        let image = |(key, text): &(&str, &str)| ((*key).to_owned(), text.parse().unwrap());
        let set = app.sets[0].set.clone();
        let set = Set { kustomize: kustomize.iter().map(image).collect(), ..set };
        let sets = vec![SourceSet { source: SourceChoice::Position(2), set }];
        App { project: Some("team".to_owned()), sets, ..app }
    }

    #[test]
    fn values_are_filled_in() {
        let digest = Digest::of(b"x");
        let helm =
            [("image.repository", "${repository}"), ("image.tag", "${app.tag}@${app.digest}")];
        let target = target(
            &app(&helm, &[("web", "${reference}")]),
            &Release::sample("registry.example/team/web:7.abc"),
        )
        .unwrap();
        assert_eq!(target.app.project.as_deref(), Some("team"));
        assert_eq!(target.values.source, SourceChoice::Position(2));
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
            target(
                &app(&[("a", "${other.digest}")], &[]),
                &Release::sample("registry.example/team/web:7.abc")
            ),
            Err(TargetError::Template(_))
        ));
        assert!(matches!(
            target(
                &app(&[], &[("a b", "${digest}")]),
                &Release::sample("registry.example/team/web:7.abc")
            ),
            Err(TargetError::Kustomize(_))
        ));
    }
}
