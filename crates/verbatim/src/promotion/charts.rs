//! Charts, and whatever else an image is deployed with, stay as they are when a release goes back: only the image does. What
//! is deployed together then never was before, which is worth a word. Pure.

use std::collections::BTreeMap;

use verbatim_record::{PromotedApplication, Promotion};

use crate::promotion::plan::PlannedApp;

/// The revisions that the sources of each application had at a promotion, by its name.
pub(super) fn revisions(promotion: &Promotion) -> BTreeMap<String, Vec<String>> {
    let revisions = |application: &PromotedApplication| {
        application.revisions.iter().map(|source| source.revision.clone()).collect()
    };
    let applications = promotion.applications.iter();
    applications.map(|application| (application.name.clone(), revisions(application))).collect()
}

/// The applications whose sources are not as they were at the promotion that is gone back to, in words.
pub(super) fn stay(apps: &[PlannedApp], then: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let told = apps.iter().filter_map(|app| {
        let then = then.get(&app.plan.app.name).filter(|then| !then.is_empty())?;
        (*then != app.revisions).then(|| {
            let (now, then) = (app.revisions.join(", "), then.join(", "));
            format!(
                "{}: only the image goes back; its sources stay at {now}, they were at {then}",
                app.plan.app
            )
        })
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use verbatim_argocd::{AppPlan, AppRef};

    use super::*;

    fn app(name: &str, revision: &str) -> PlannedApp {
        let app = AppRef { name: name.to_owned(), namespace: None, project: None };
        let plan = AppPlan { app, sources: Vec::new(), changes: Vec::new() };
        PlannedApp { server: "main".to_owned(), revisions: vec![revision.to_owned()], plan }
    }

    #[test]
    fn sources_that_have_moved_are_told() {
        let then = BTreeMap::from([
            ("moved".to_owned(), vec!["a".to_owned()]),
            ("same".to_owned(), vec!["b".to_owned()]),
            ("unknown".to_owned(), Vec::new()),
        ]);
        let apps = [app("moved", "b"), app("same", "b"), app("unknown", "b"), app("new", "b")];
        assert_eq!(
            stay(&apps, &then),
            ["moved: only the image goes back; its sources stay at b, they were at a"]
        );
    }
}
