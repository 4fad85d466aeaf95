//! What the applications of an environment go back to when nobody but Argo CD can be asked: which of what they were deployed
//! with before belongs together. Pure: told by Argo CD's history and by the claims on the applications alone.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use verbatim_oci::Digest;

use super::choose::Goal;
use super::pinned::{Pins, Values};

/// The last write to an application, by its claim.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LastWrite {
    pub at: Timestamp,
    /// The release that was written.
    pub release: String,
    /// What stood there before, if that pinned images.
    pub before: Option<Values>,
    /// Whether what was written still stands there.
    pub stands: bool,
}

/// What is known of an application.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    pub app: String,
    /// The images that its values are made from.
    pub carries: BTreeSet<String>,
    /// What stands there, if that pins images.
    pub now: Option<Values>,
    /// What it was deployed with before, newest first.
    pub past: Vec<Values>,
    pub last: Option<LastWrite>,
}

/// Why there is nothing to go back to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoPast {
    /// No earlier deployment pinned images, or not so many did.
    #[error(
        "Argo CD knows {found} earlier deployments of {app} that pinned one release, and --steps {wanted} goes further back"
    )]
    TooFar { app: String, found: usize, wanted: usize },
    /// The applications were not deployed with it all.
    #[error("{app} was never deployed with {digest}, as far as its history goes")]
    Never {
        app: String,
        /// The digest of the release.
        digest: Digest,
    },
    /// Which deployments of one application belong to which of another cannot be told.
    #[error(
        "the applications carry different images, and which of the earlier ones belong together Argo CD does not tell; the last promotion can be undone, with --steps 1"
    )]
    Apart,
    /// The parts of the release are not there.
    #[error(
        "neither what stands there nor what stood there before the last promotion makes {digest}; the last promotion can be undone, with --steps 1"
    )]
    NoParts {
        /// The digest of the release.
        digest: Digest,
    },
    /// As before, and what the last promotion wrote is not known either.
    #[error(
        "the applications carry different images, and none of them has a claim that tells what was there before"
    )]
    Unclaimed,
    #[error("{app} pinned no image before the last promotion")]
    First { app: String },
    /// Two applications would have two images of one name.
    #[error("the applications would not have the same `{image}`")]
    Mixed {
        /// The name of the image.
        image: String,
    },
}

impl Known {
    /// All values that it is known to have had, those that stand there first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Values> {
        let before = self.last.iter().filter_map(|last| last.before.as_ref());
        self.now.iter().chain(&self.past).chain(before)
    }

    /// The values with which it has its part of some images.
    pub(super) fn with(&self, images: &Pins) -> Option<&Values> {
        let part: BTreeMap<&str, Digest> =
            digests(images).into_iter().filter(|(name, _)| self.carries.contains(*name)).collect();
        self.all().find(|values| digests(&values.pins) == part)
    }
}

/// The images to go back to. Where every application carries all images, its history has whole releases. Where each
/// carries some of them, the claims tell what the last promotion has changed, and what it has not touched stays.
/// `digest_of` gives the digest of the release that some images are.
pub(super) fn go_back(
    known: &[Known],
    goal: Goal,
    digest_of: &dyn Fn(&Pins) -> Digest,
) -> Result<Pins, NoPast> {
    let all: BTreeSet<&String> = known.iter().flat_map(|it| &it.carries).collect();
    let is_whole = known.iter().all(|it| it.carries.len() == all.len());
    let images = match (goal, is_whole) {
        (Goal::Release(digest), true) => named(known, digest, digest_of)?,
        (Goal::Steps(wanted), true) => earlier(known, wanted)?,
        (Goal::Release(digest), false) => claimed(known, digest, digest_of)?,
        (Goal::Steps(1), false) => undone(known)?,
        (Goal::Steps(_), false) => return Err(NoPast::Apart),
    };
    match known.iter().find(|it| it.with(&images).is_none()) {
        Some(it) => Err(NoPast::Never { app: it.app.clone(), digest: digest_of(&images) }),
        None => Ok(images),
    }
}

/// The release of the last promotion, as its claims name it, if all that it has written still stands.
pub(super) fn standing(known: &[Known]) -> Option<&str> {
    let release = last_release(known)?;
    let mut written = known.iter().filter_map(|it| it.last.as_ref());
    written.all(|last| last.release != release || last.stands).then_some(release)
}

fn last_release(known: &[Known]) -> Option<&str> {
    let last = known.iter().filter_map(|it| it.last.as_ref()).max_by_key(|last| last.at)?;
    Some(&last.release)
}

/// The release that is named.
fn named(
    known: &[Known],
    digest: Digest,
    digest_of: &dyn Fn(&Pins) -> Digest,
) -> Result<Pins, NoPast> {
    let app = known.first().map(|it| it.app.clone()).unwrap_or_default();
    let mut images = known.first().into_iter().flat_map(Known::all).map(|values| &values.pins);
    let images = images.find(|images| digest_of(images) == digest);
    images.cloned().ok_or(NoPast::Never { app, digest })
}

/// The images that make the release that is named, as far as the claims tell: what stands there, or what stood there before
/// the last promotion.
fn claimed(
    known: &[Known],
    digest: Digest,
    digest_of: &dyn Fn(&Pins) -> Digest,
) -> Result<Pins, NoPast> {
    let mut found = [standing_images(known), undone(known)].into_iter().flatten();
    found.find(|images| digest_of(images) == digest).ok_or(NoPast::NoParts { digest })
}

/// So many releases before, by the history of the first application.
fn earlier(known: &[Known], wanted: usize) -> Result<Pins, NoPast> {
    let first = known.first();
    let now = first.and_then(|it| it.now.as_ref()).map(|values| digests(&values.pins));
    let mut told: Vec<&Pins> = Vec::new();
    for Values { pins, .. } in first.into_iter().flat_map(|it| &it.past) {
        let is_told = told.iter().any(|other| digests(other) == digests(pins));
        if !is_told && Some(digests(pins)) != now {
            told.push(pins);
        }
    }
    let found = told.len();
    let app = first.map(|it| it.app.clone()).unwrap_or_default();
    let images = wanted.checked_sub(1).and_then(|index| told.get(index));
    images.map(|images| (*images).clone()).ok_or(NoPast::TooFar { app, found, wanted })
}

fn standing_images(known: &[Known]) -> Result<Pins, NoPast> {
    joined(known, |it| it.now.as_ref())
}

/// What was there before the last promotion.
fn undone(known: &[Known]) -> Result<Pins, NoPast> {
    let release = last_release(known).ok_or(NoPast::Unclaimed)?;
    joined(known, |it| match &it.last {
        Some(last) if last.release == release => last.before.as_ref(),
        _ => it.now.as_ref(),
    })
}

/// The images of all applications together, by the values that `of` takes of each.
fn joined<'a>(
    known: &'a [Known],
    of: impl Fn(&'a Known) -> Option<&'a Values>,
) -> Result<Pins, NoPast> {
    let mut images = Pins::new();
    for it in known {
        let values = of(it).ok_or_else(|| NoPast::First { app: it.app.clone() })?;
        for (name, pin) in &values.pins {
            match images.get(name) {
                Some(other) if other.digest != pin.digest => {
                    return Err(NoPast::Mixed { image: name.clone() });
                }
                _ => drop(images.insert(name.clone(), pin.clone())),
            }
        }
    }
    Ok(images)
}

fn digests(images: &Pins) -> BTreeMap<&str, Digest> {
    images.iter().map(|(name, pin)| (name.as_str(), pin.digest)).collect()
}

#[cfg(test)]
mod tests {
    use verbatim_argocd::PastValues;

    use super::super::pinned::Pin;
    use super::*;

    /// `app1 web2`: the first image `app`, the second image `web`.
    fn pins(text: &str) -> Pins {
        let pin = |word: &str| {
            let (name, _) = word.split_at(word.len() - 1);
            (name.to_owned(), Pin { digest: Digest::of(word.as_bytes()), tag: None })
        };
        text.split_whitespace().map(pin).collect()
    }

    fn values(text: &str) -> Values {
        let past = PastValues { id: 1, deployed_at: None, values: Vec::new() };
        Values { past, pins: pins(text) }
    }

    /// An application: what stands there, what it had before, and its last write, `release: what stood there before`.
    fn known(app: &str, now: &str, past: &[&str], last: Option<(i64, &str, &str)>) -> Known {
        let some = |text: &str| (!text.is_empty()).then(|| values(text));
        let texts = std::iter::once(now).chain(past.iter().copied());
        Known {
            app: app.to_owned(),
            carries: texts.flat_map(|text| pins(text).into_keys()).collect(),
            now: some(now),
            past: past.iter().map(|text| values(text)).collect(),
            last: last.map(|(second, release, before)| LastWrite {
                at: Timestamp::from_second(second).unwrap(),
                release: release.to_owned(),
                before: some(before),
                stands: true,
            }),
        }
    }

    /// The digest of a release, as good as any for a test.
    fn digest_of(images: &Pins) -> Digest {
        Digest::of(format!("{:?}", digests(images)).as_bytes())
    }

    #[test]
    fn one_goes_back_to_what_belongs_together() {
        use Goal::{Release, Steps};
        let check = |known: &[Known], goal: Goal, want: Result<&str, &str>| {
            let got = go_back(known, goal, &digest_of).map_err(|why| why.to_string());
            let got = got.as_ref().map(digests).map_err(String::as_str);
            let want = want.map(pins);
            match (&got, &want) {
                (Ok(got), Ok(want)) => assert_eq!(*got, digests(want), "{known:?} {goal:?}"),
                (Err(got), Err(want)) => assert!(got.contains(want), "{got}, want {want}"),
                _ => panic!("{got:?}, want {want:?}: {known:?} {goal:?}"),
            }
        };
        let of = |images: &str| Release(digest_of(&pins(images)));
        // One image, or several in every application: the history has whole releases.
        let one = [known("a", "app3", &["app2", "app1"], None)];
        check(&one, Steps(1), Ok("app2"));
        check(&one, Steps(2), Ok("app1"));
        check(
            &one,
            Steps(3),
            Err(
                "knows 2 earlier deployments of a that pinned one release, and --steps 3 goes further back",
            ),
        );
        check(&one, of("app1"), Ok("app1"));
        check(&one, of("app3"), Ok("app3"));
        check(&one, of("app9"), Err("a was never deployed with sha256:"));
        let both =
            |now: &str, past: &[&str]| [known("a", now, past, None), known("b", now, past, None)];
        check(&both("app2 web2", &["app2 web1", "app1 web1"]), Steps(1), Ok("app2 web1"));
        check(&both("app2 web2", &["app2 web1", "app1 web1"]), of("app1 web1"), Ok("app1 web1"));
        let late = [known("a", "app2", &["app1"], None), known("b", "app2", &["app0"], None)];
        check(&late, Steps(1), Err("b was never deployed with sha256:"));
        // The override is gone: all that was pinned is in the past.
        check(&[known("a", "", &["app2", "app1"], None)], Steps(1), Ok("app2"));

        // Each application has its own: the last promotion is undone, and what it did not touch stays.
        let parts =
            |web: Known| [known("a", "app2", &["app1", "app0"], Some((9, "r2", "app1"))), web];
        let moved = known("b", "web2", &["web1"], Some((8, "r2", "web1")));
        check(&parts(moved.clone()), Steps(1), Ok("app1 web1"));
        let untouched = known("b", "web1", &["web0"], Some((3, "r1", "web0")));
        check(&parts(untouched), Steps(1), Ok("app1 web1"));
        let unclaimed = known("b", "web1", &["web0"], None);
        check(&parts(unclaimed), Steps(1), Ok("app1 web1"));
        let first = known("b", "web2", &[], Some((9, "r2", "")));
        check(&parts(first), Steps(1), Err("b pinned no image before the last promotion"));
        check(
            &parts(moved.clone()),
            Steps(2),
            Err("the last promotion can be undone, with --steps 1"),
        );
        // A release that is named is found where the claims tell what belongs together.
        check(&parts(moved.clone()), of("app1 web1"), Ok("app1 web1"));
        check(&parts(moved.clone()), of("app2 web2"), Ok("app2 web2"));
        check(&parts(moved.clone()), of("app0 web2"), Err("makes sha256:"));
        check(&parts(moved.clone()), of("app1"), Err("makes sha256:"));
        let strangers = [known("a", "app2", &["app1"], None), known("b", "web2", &["web1"], None)];
        check(&strangers, Steps(1), Err("none of them has a claim"));
        let mixed = [
            known("a", "app2 web2", &["app1 web1"], Some((9, "r2", "app1 web1"))),
            known("b", "web2", &["web1"], Some((3, "r1", "web1"))),
        ];
        check(&mixed, Steps(1), Err("would not have the same `web`"));
        check(&mixed, of("app1 web1"), Err("makes sha256:"));

        assert_eq!(standing(&parts(moved.clone())), Some("r2"));
        let mut changed = parts(moved);
        changed[1].last.as_mut().unwrap().stands = false;
        assert_eq!(standing(&changed), None);
        assert_eq!(standing(&strangers), None);
    }
}
