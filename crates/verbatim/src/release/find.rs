//! Which release a command means: the one that is named, else the one that an earlier stage left, else the one that was
//! built from this commit in this CI run. Never "the latest".

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use verbatim_ci::{CiContext, Numbering};
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::{Digest, Reference, Repository, Tag};
use verbatim_record::{Anchors, PromotedRelease};
use verbatim_registry::{Client, ResolvedManifest};

use crate::config::Image;
use crate::project::git::{self, SourceState};
use crate::project::{Project, failures};
use crate::records::store::Store;
use crate::release::handoff::{self, ReleaseFile};
use crate::release::named::{self, DigestDigits, Meaning};
use crate::release::{Named, Release, builds, compose};

/// A release that was found, with the manifest that was read and hashed.
#[derive(Clone, Debug)]
pub(crate) struct ResolvedRelease {
    pub release: Release,
    pub resolved: ResolvedManifest,
    /// What an earlier stage left, if the release comes from there or is the same.
    pub handed_on: Option<ReleaseFile>,
}

pub(crate) fn only_image(project: &Project) -> Result<&Image, Failure> {
    let mut images = project.config.images.values();
    match (images.next(), images.next()) {
        (Some(image), None) => Ok(image),
        _ => Err(Failure::usage("this needs a configuration with exactly one image")),
    }
}

/// The repository in which releases are found: that of the image; of several images, the one that their artifacts are in.
pub(crate) fn home(project: &Project) -> Result<&Repository, Failure> {
    let config = &project.config;
    let first = config.images.values().next().map(|image| &image.repository);
    let home = if config.images.len() > 1 { config.records.as_ref().or(first) } else { first };
    home.ok_or_else(|| Failure::usage("the configuration has no image"))
}

/// A release that was promoted, as one of this configuration; `None` if it has other images by now.
pub(crate) fn recorded(project: &Project, promoted: &PromotedRelease) -> Option<Release> {
    let repository = promoted.repository.parse().ok()?;
    let tag = promoted.tag.as_deref().and_then(|tag| tag.parse().ok());
    let image = match promoted.images.is_empty() {
        true => only_image(project).ok()?.name.clone(),
        false => project.config.project.clone(),
    };
    let images = promoted.images.clone();
    Some(Release { image, repository, tag, digest: promoted.digest, images })
}

/// Finds the release and reads its manifest.
pub(crate) async fn release(
    project: &Project,
    client: &Client,
    store: &Store,
    named: Option<&Named>,
    now: Timestamp,
    console: &Console,
) -> Result<ResolvedRelease, Failure> {
    let folder = project.state_folder();
    let handed_on = handoff::read(&folder).map_err(|error| {
        Failure::usage(error)
            .hint(format!("remove {} and name the release with --release", folder.display()))
    })?;
    let handed_on = handed_on.filter(|file| file.project == project.config.project);
    if let Some(named) = named {
        let mut found = by_name(project, client, store, named, handed_on, now).await?;
        if let Some(file) = &found.handed_on
            && let Err(why) = trusted(project, store, file, None, now).await?
        {
            console.warn(format!("{} is not used: {why}", folder.join("release.json").display()));
            found.handed_on = None;
        }
        // A tag that only the file tells is nobody's word, if the file is not.
        if found.release.tag.is_none() {
            found.release.tag = found.handed_on.as_ref().and_then(|file| file.release.tag.clone());
        }
        if !named.is_plain() {
            console.status(format!("`{named}` is {}", found.release));
        }
        return Ok(found);
    }
    let state = git::state(project.folder()).await;
    if let Some(file) = handed_on {
        match &state {
            // The file of an earlier build lies around on every laptop; it must not be promoted by accident.
            Ok(state) if file.source.commit.as_ref() != Some(&state.commit) => {
                let of = file.source.commit.as_deref().unwrap_or("another commit");
                console.warn(format!(
                    "{} is of {of}, this is {}: not used",
                    folder.join("release.json").display(),
                    state.commit
                ));
            }
            _ => {
                let commit = state.as_ref().ok().map(|state| state.commit.as_str());
                if let Err(why) = trusted(project, store, &file, commit, now).await? {
                    let path = folder.join("release.json");
                    return Err(Failure::new(
                        ExitStatus::No,
                        format!("{} names {}: {why}", path.display(), file.release.reference()),
                    )
                    .hint("an earlier step, a cache or an artifact may have changed it")
                    .hint("remove it, or name the release with --release"));
                }
                let reference =
                    Reference { digest: Some(file.release.digest), ..file.release.reference() };
                let resolved = client.resolve(&reference).await.map_err(failures::registry)?;
                let release = pinned(project, client, reference.tag, &resolved).await?;
                return Ok(ResolvedRelease { release, resolved, handed_on: Some(file) });
            }
        }
    }
    let state = state.map_err(|error| {
        no_release().hint(format!("verbatim cannot find it by the commit either: {error}"))
    })?;
    by_build_record(project, client, store, &state, now).await
}

/// Whether the file of an earlier stage can be believed, or why not: it is no more than a file. Its release has to be where
/// releases are, and, if any key is trusted, a builder has to vouch for it: for this commit, if it is known, and for this
/// repository. It fails if the records cannot be read.
async fn trusted(
    project: &Project,
    store: &Store,
    file: &ReleaseFile,
    commit: Option<&str>,
    now: Timestamp,
) -> Result<Result<(), String>, Failure> {
    let home = home(project)?;
    if file.release.repository != *home {
        return Ok(Err(format!("the releases of {} are in {home}", project.config.project)));
    }
    let ring = &project.config.policy.ring;
    if ring.is_empty() {
        return Ok(Ok(()));
    }
    let records = store.of_release(ring, file.release.digest, now).await;
    let records = records.map_err(failures::registry)?;
    let is_built = records.builds.iter().any(|record| {
        let source = record.predicate().source().unwrap_or_default();
        builds::is_in(record, home)
            && commit.is_none_or(|commit| source.commit.as_deref() == Some(commit))
    });
    Ok(match (is_built, commit) {
        (true, _) => Ok(()),
        (false, Some(commit)) => {
            Err(format!("no record that counts says that it was built from {commit}"))
        }
        (false, None) => Err("no build record of it counts".to_owned()),
    })
}

async fn by_name(
    project: &Project,
    client: &Client,
    store: &Store,
    named: &Named,
    handed_on: Option<ReleaseFile>,
    now: Timestamp,
) -> Result<ResolvedRelease, Failure> {
    let home = home(project)?;
    let reference = match named.clone().in_repository(home) {
        Named::Digest(digest) => Reference::by_digest(home.clone(), digest),
        Named::Digits(digits) => {
            by_digits(project, client, store, &digits, handed_on.as_ref(), now).await?
        }
        Named::Word(tag) => Reference::by_tag(home.clone(), tag),
        Named::Pinned(tag, digest) => Reference::by_tag(home.clone(), tag).pinned(digest),
        Named::Reference(reference) if reference.repository == *home => reference,
        Named::Reference(reference) => {
            let failure = match only_image(project) {
                Ok(image) => format!("{reference} is not of the image `{}`", image.name),
                Err(_) => format!("{reference} is no release of {}", project.config.project),
            };
            return Err(Failure::usage(failure).hint(format!("its repository is {home}")));
        }
    };
    // A tag is turned into a digest here, once, and never again.
    let resolved = client.resolve(&reference).await.map_err(|error| {
        let is_word = matches!(named, Named::Word(_)) && error.is_not_found();
        let failure = failures::registry(error);
        let names: Vec<&str> = project.config.environment_names().collect();
        match is_word {
            true => failure.hint(format!(
                "`{named}` is no tag in {home} and no environment; the environments: {}",
                names.join(", ")
            )),
            false => failure,
        }
    })?;
    if let (Some(tag), Some(digest)) = (&reference.tag, reference.digest) {
        check_tag(project, client, store, home, tag, digest, now).await?;
    }
    let digest = resolved.digest();
    let handed_on = handed_on.filter(|file| file.release.digest == digest);
    let release = pinned(project, client, reference.tag, &resolved).await?;
    Ok(ResolvedRelease { release, resolved, handed_on })
}

/// The release whose digest begins with these digits, or whose tag they are: one, or nothing is chosen.
async fn by_digits(
    project: &Project,
    client: &Client,
    store: &Store,
    digits: &DigestDigits,
    handed_on: Option<&ReleaseFile>,
    now: Timestamp,
) -> Result<Reference, Failure> {
    let home = home(project)?;
    let mut known = known_releases(project, store, now).await?;
    known.extend(handed_on.map(|file| file.release.digest));
    let tag = digits.as_tag();
    let tagged = match &tag {
        Some(tag) => tagged(client, home, tag).await?,
        None => None,
    };
    match (named::meaning(digits, known, tagged), tag) {
        (Meaning::Digest(digest), _) => Ok(Reference::by_digest(home.clone(), digest)),
        (Meaning::Tag, Some(tag)) => Ok(Reference::by_tag(home.clone(), tag)),
        (Meaning::Several(all), _) => {
            let candidate = |digest: &Digest| match tagged == Some(*digest) {
                true => format!("it may be {digest}, by its tag"),
                false => format!("it may be {digest}"),
            };
            let failure =
                Failure::usage(format!("`{digits}` names {} releases", all.len()));
            Err(all.iter().map(candidate).fold(failure, Failure::hint))
        }
        (Meaning::Tag | Meaning::Nothing, _) => Err(Failure::new(
            ExitStatus::Refused,
            format!(
                "no release begins with `{digits}`, of those that the ledgers of {} or an earlier stage name",
                project.config.project
            ),
        )
        .hint(format!("name it by its tag or by its whole digest; the tags: verbatim registry tags {home}"))),
    }
}

/// The releases that records in the ledgers of the project are about. A registry cannot be asked what begins with some
/// digits, and its tags may be many thousands.
async fn known_releases(
    project: &Project,
    store: &Store,
    now: Timestamp,
) -> Result<BTreeSet<Digest>, Failure> {
    let ring = &project.config.policy.ring;
    let mut known = BTreeSet::new();
    for environment in &project.config.environments {
        let ledger = store.of_environment(ring, &environment.id, Anchors::NONE, now).await;
        let ledger = match ledger {
            Err(error) if error.is_no_repository() => continue,
            ledger => ledger.map_err(failures::registry)?,
        };
        known.extend(ledger.releases());
    }
    Ok(known)
}

/// What a tag names now; `None` if nothing.
pub(crate) async fn tagged(
    client: &Client,
    home: &Repository,
    tag: &Tag,
) -> Result<Option<Digest>, Failure> {
    match client.resolve(&Reference::by_tag(home.clone(), tag.clone())).await {
        Ok(resolved) => Ok(Some(resolved.digest())),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(failures::registry(error)),
    }
}

/// Refuses a tag and a digest that do not belong together: whoever wrote them meant one of two releases.
async fn check_tag(
    project: &Project,
    client: &Client,
    store: &Store,
    home: &Repository,
    tag: &Tag,
    digest: Digest,
    now: Timestamp,
) -> Result<(), Failure> {
    let named = tagged(client, home, tag).await?;
    if named == Some(digest) {
        return Ok(());
    }
    let ring = &project.config.policy.ring;
    let records = store.of_release(ring, digest, now).await.map_err(failures::registry)?;
    if builds::tags(&records, home).contains(tag) {
        return Ok(());
    }
    let names = match named {
        Some(other) => format!("the tag `{}` names {other}", tag.as_str()),
        None => format!("there is no tag `{}` in {home}", tag.as_str()),
    };
    Err(Failure::new(
        ExitStatus::No,
        format!("{names}, and no record that counts says that {digest} had it"),
    )
    .hint(format!("to mean the digest whatever its tag is: --release {digest}")))
}

/// The release that a manifest is: an image, or the artifact that names several.
async fn pinned(
    project: &Project,
    client: &Client,
    tag: Option<Tag>,
    resolved: &ResolvedManifest,
) -> Result<Release, Failure> {
    let repository = resolved.reference.repository.clone();
    let (image, images) = match only_image(project) {
        Ok(image) => (image.name.clone(), BTreeMap::new()),
        Err(_) => {
            let document = compose::read(client, resolved).await?;
            compose::check(project, &document).map_err(|why| {
                Failure::usage(format!(
                    "{} is no release of this project: {why}",
                    resolved.reference
                ))
            })?;
            (project.config.project.clone(), document.images)
        }
    };
    Ok(Release { image, repository, tag, digest: resolved.digest(), images })
}

/// The image under the tag that the build of this commit in this run has pushed; its build record must say so, because
/// anybody who may push can move a tag.
async fn by_build_record(
    project: &Project,
    client: &Client,
    store: &Store,
    state: &SourceState,
    now: Timestamp,
) -> Result<ResolvedRelease, Failure> {
    if project.ci.numbering == Numbering::Job && project.config.images.values().any(uses_build) {
        return Err(no_release()
            .hint(format!("on {} every job has another build number, so the tag of the build job is not known here", project.ci.kind)));
    }
    let tag = release_tag(project, state)?;
    let reference = Reference::by_tag(home(project)?.clone(), tag.clone());
    if client.head(&reference).await.map_err(failures::registry)?.is_none() {
        return Err(
            no_release().hint(format!("there is no {reference} either: was this commit built?"))
        );
    }
    let resolved = client.resolve(&reference).await.map_err(failures::registry)?;
    let digest = resolved.digest();
    let records = store
        .of_release(&project.config.policy.ring, digest, now)
        .await
        .map_err(failures::registry)?;
    let built_from_this = records.builds.iter().any(|record| {
        let source = record.predicate().source().unwrap_or_default();
        source.commit.as_ref() == Some(&state.commit)
    });
    if !built_from_this {
        return Err(Failure::new(
            ExitStatus::No,
            format!(
                "{reference} is there, and no record that counts says it was built from {}",
                state.commit
            ),
        )
        .hint("name the release with --release if it is the right one"));
    }
    let release = pinned(project, client, Some(tag), &resolved).await?;
    Ok(ResolvedRelease { release, resolved, handed_on: None })
}

fn no_release() -> Failure {
    Failure::usage("no release is named, and no earlier stage left one")
        .hint("name it with --release or VERBATIM_RELEASE, or run `verbatim build` first")
}

fn uses_build(image: &Image) -> bool {
    image.tag.variables().any(|name| name == "build")
}

/// The tag of a release built from this state in this CI run: that of the image, or, of several images, one that is made
/// from the first one's.
pub(crate) fn release_tag(project: &Project, state: &SourceState) -> Result<Tag, Failure> {
    let mut images = project.config.images.values();
    let first = images.next().ok_or_else(|| Failure::usage("the configuration has no image"))?;
    let first_tag = tag(first, &project.ci, state)?;
    match images.next() {
        None => Ok(first_tag),
        Some(_) => compose::tag(&first_tag),
    }
}

/// The tag of an image built from this state in this CI run. Outside of a CI the build is called `local`, and changes
/// that are not committed are told at the end.
pub(crate) fn tag(image: &Image, ci: &CiContext, state: &SourceState) -> Result<Tag, Failure> {
    let tag =
        image.tag.render_tag(|name| build_variable(name, ci, state)).map_err(Failure::usage)?;
    match state.is_dirty() {
        false => Ok(tag),
        true => format!("{tag}-dirty").parse().map_err(Failure::usage),
    }
}

/// A variable of tags, build arguments and labels.
pub(crate) fn build_variable(name: &str, ci: &CiContext, state: &SourceState) -> Option<String> {
    let branch = || state.branch.clone().or_else(|| ci.branch.clone());
    Some(match name {
        "build" => ci.build.clone().unwrap_or_else(|| "local".to_owned()),
        "commit" => state.commit.clone(),
        "short_commit" => state.commit.chars().take(12).collect(),
        // What a branch may have in its name and a tag may not becomes a dash.
        "branch" => branch()
            .unwrap_or_else(|| "detached".to_owned())
            .replace(|c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c), "-"),
        // As GitLab has it in CI_COMMIT_REF_SLUG: good as a host name, as a label and in a tag.
        "branch_slug" => slug(&branch().unwrap_or_else(|| "detached".to_owned())),
        _ => return None,
    })
}

/// A name in small letters, digits and dashes, of 63 characters at most, without a dash at its ends.
fn slug(name: &str) -> String {
    let plain: String = name
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(63)
        .collect();
    match plain.trim_matches('-') {
        "" => "branch".to_owned(),
        slug => slug.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    fn image(tag: &str) -> Image {
        let text = format!(
            "version: 1\nproject: p\nimages: {{ app: {{ repository: r.example/app, tag: '{tag}' }} }}\n\
             argocd: {{ main: {{ url: https://a.example }} }}\nset: {{ helm: {{ t: '${{digest}}' }} }}\n\
             environments: [{{ name: dev, apps: [web] }}]\n"
        );
        let read = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
        config::parse(Path::new("verbatim.yaml"), &text, &read).unwrap().images["app"].clone()
    }

    #[test]
    fn branches_become_slugs() {
        let long = "feature/".to_owned() + &"x".repeat(80);
        for (branch, want) in [
            ("main", "main"),
            ("feature/ABC-12_x", "feature-abc-12-x"),
            ("dependabot/npm_and_yarn/lodash-4.17.21", "dependabot-npm-and-yarn-lodash-4-17-21"),
            ("-x-", "x"),
            ("ü/é", "branch"),
            (long.as_str(), &format!("feature-{}", "x".repeat(55))),
        ] {
            assert_eq!(slug(branch), want, "{branch}");
        }
    }

    #[test]
    fn tags_tell_build_and_commit() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let in_ci = CiContext { build: Some("42".to_owned()), ..CiContext::default() };
        let laptop = CiContext::default();
        let clean = SourceState {
            commit: commit.to_owned(),
            changes: Vec::new(),
            unknown_inputs: Vec::new(),
            branch: Some("feature/a b".to_owned()),
            remote: None,
            committed_at: Timestamp::UNIX_EPOCH,
        };
        let dirty = SourceState { changes: vec!["a".to_owned()], ..clean.clone() };
        let cases = [
            ("${build}.${commit}", &in_ci, &clean, Some(format!("42.{commit}"))),
            ("${build}.${commit}", &laptop, &clean, Some(format!("local.{commit}"))),
            ("${build}.${commit}", &laptop, &dirty, Some(format!("local.{commit}-dirty"))),
            (
                "${branch}-${short_commit}",
                &in_ci,
                &clean,
                Some("feature-a-b-0123456789ab".to_owned()),
            ),
            ("-${build}", &in_ci, &clean, None),
        ];
        for (template, ci, state, want) in cases {
            let got = tag(&image(template), ci, state).ok().map(|tag| tag.to_string());
            assert_eq!(got, want, "{template}");
        }
    }
}
