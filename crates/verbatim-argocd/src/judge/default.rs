//! Judges what an application would run without its overrides. Pure.

use crate::judge::owner::{AppOwner, OwnerEffect};
use crate::judge::preflight::Inquiry;
use crate::model::AppDetails;
use crate::overrides::values::{KustomizeImage, OverrideKey, ValueChange};

/// A value that pins an image, and what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedValue {
    /// Which value, with its source if that is one of several.
    pub name: String,
    /// Whether the application overrides it now.
    pub is_overridden: bool,
    /// What git says in its place: nothing, if it names none; or why that is not known.
    pub git: Result<Option<String>, String>,
    /// The owner that takes the override away, or may do so.
    pub removed_by: Option<String>,
}

impl PinnedValue {
    /// Whether what git says runs now, or would run without anybody meaning it.
    pub fn is_at_risk(&self) -> bool {
        !self.is_overridden || self.removed_by.is_some()
    }
}

/// The values of some changes, by what the source offers and by who owns the application.
pub(crate) fn pinned<'a>(
    changes: impl IntoIterator<Item = &'a ValueChange>,
    details: &Result<AppDetails, String>,
    owner: Option<&AppOwner>,
) -> Vec<PinnedValue> {
    let removed_by = owner.and_then(|owner| {
        let certainty = match &owner.effect {
            Inquiry::Is(OwnerEffect::Reverts | OwnerEffect::RevertsLater) => "removes",
            Inquiry::Unknown(_) if owner.is_certain => "may remove",
            _ => return None,
        };
        Some(format!("{} {} {certainty} it", owner.kind, owner.name))
    });
    let value = |change: &ValueChange| PinnedValue {
        name: change.name(),
        is_overridden: change.old.is_some(),
        git: match details {
            Ok(details) => git(change, details),
            Err(why) => Err(why.clone()),
        },
        removed_by: removed_by.clone(),
    };
    changes.into_iter().map(value).collect()
}

fn git(change: &ValueChange, details: &AppDetails) -> Result<Option<String>, String> {
    let found = match &change.key {
        OverrideKey::Helm(name) => {
            let parameters = details.helm.iter().flat_map(|helm| &helm.parameters);
            parameters
                .filter(|known| known.name == *name)
                .map(|known| known.value.clone())
                .next()
                .filter(|value| !value.is_empty())
        }
        // The server builds with the override, if there is one (`populateKustomizeAppDetails` in
        // reposerver/repository/repository.go of Argo CD).
        OverrideKey::Kustomize(_) if change.old.is_some() => {
            return Err("Argo CD builds with the override".to_owned());
        }
        OverrideKey::Kustomize(name) => {
            let mut images = details.kustomize.iter().flat_map(|kustomize| &kustomize.images);
            let is_it = |image: &&String| {
                image.parse::<KustomizeImage>().is_ok_and(|image| image.name() == name)
            };
            images.find(is_it).cloned()
        }
        _ => None,
    };
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::SourceAt;

    fn change(key: OverrideKey, old: Option<Value>) -> ValueChange {
        ValueChange { source: SourceAt::Single, key, old, new: json!("x") }
    }

    fn owner(effect: Inquiry<OwnerEffect>, is_certain: bool) -> AppOwner {
        AppOwner {
            kind: "ApplicationSet",
            name: "s".into(),
            is_certain,
            effect,
            keeps_claim: Inquiry::NotAsked,
            exemption: String::new(),
        }
    }

    #[test]
    fn what_git_says_is_found_by_the_kind_of_source() {
        let details: AppDetails = serde_json::from_value(json!({
            "helm": { "parameters": [{ "name": "image.tag", "value": "latest" }, { "name": "empty" }] },
            "kustomize": { "images": ["r.example:5000/web:2", "redis:7"] },
        }))
        .unwrap();
        let helm = |name: &str| OverrideKey::Helm(name.into());
        let kustomize = |name: &str| OverrideKey::Kustomize(name.into());
        let cases = [
            (helm("image.tag"), None, Ok(Some("latest"))),
            (helm("image.tag"), Some(json!({})), Ok(Some("latest"))),
            (helm("empty"), None, Ok(None)),
            (helm("other"), None, Ok(None)),
            (kustomize("r.example:5000/web"), None, Ok(Some("r.example:5000/web:2"))),
            (kustomize("web"), None, Ok(None)),
            (kustomize("redis"), Some(json!("redis=x")), Err(())),
        ];
        for (key, old, want) in cases {
            let change = change(key, old);
            let got = git(&change, &details).map_err(drop);
            assert_eq!(got, want.map(|it: Option<&str>| it.map(str::to_owned)), "{change:?}");
        }
    }

    #[test]
    fn a_value_is_at_risk_if_it_is_not_there_or_will_not_last() {
        use OwnerEffect::{None as Nothing, Reverts, RevertsLater};
        let there = || Some(json!({ "name": "image.tag", "value": "1" }));
        let cases = [
            (None, None, true),
            (there(), None, false),
            (there(), Some(owner(Inquiry::Is(Nothing), true)), false),
            (there(), Some(owner(Inquiry::Is(Reverts), true)), true),
            (there(), Some(owner(Inquiry::Is(RevertsLater), true)), true),
            (there(), Some(owner(Inquiry::Unknown("403".into()), true)), true),
            (there(), Some(owner(Inquiry::Unknown("403".into()), false)), false),
        ];
        for (old, owner, want) in cases {
            let changes = [change(OverrideKey::Helm("image.tag".into()), old)];
            let got = pinned(&changes, &Err("403".into()), owner.as_ref());
            assert_eq!(got[0].is_at_risk(), want, "{got:?}");
        }
    }
}
