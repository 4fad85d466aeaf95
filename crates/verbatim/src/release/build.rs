//! Builds the image, pushes it, and signs how it was made. An image that exists with its record is not built again: a job
//! that is started twice must not make two images of one commit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_credentials::SecretString;
use verbatim_image::labels::{ImageOrigin, SourceDateEpoch};
use verbatim_image::template::{Template, TemplateError};
use verbatim_image::{BuildConfig, ExistingImage, PushConfig, PushOutcome, PushedImage, Withheld};
use verbatim_oci::{Descriptor, Digest, Reference};
use verbatim_record::{Build, BuildSource, Records, ReleaseImage, Statement};

use crate::config::Image;
use crate::project::git::{self, MAX_CHANGES, SourceState};
use crate::project::signer::RecordSigner;
use crate::project::{KEY, Project, clients, failures};
use crate::records::Registry;
use crate::records::attach::{self, RecordSubject};
use crate::release::compose::{ReleasePart, compose};
use crate::release::find::{build_variable, tag};
use crate::release::handoff::{hand_on, release_file};
use crate::release::inputs::{self, UncommittedInputs};
use crate::release::{Release, authors, builds, source};

/// A release that was built, or reused from the registry.
#[derive(Debug, Serialize)]
pub(crate) struct BuildResult {
    #[serde(serialize_with = "crate::release::result::release")]
    pub release: Release,
    /// How it came into the registry.
    pub how: PushOutcome,
    /// What it was built from.
    pub source: BuildSource,
    /// The digest of its build record.
    pub record: Digest,
}

/// Short: the release, and what became of it. With `{:#}` also its images in full and its record.
impl fmt::Display for BuildResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BuildSource { commit, head, dirty, foreign, .. } = &self.source;
        let how = match self.how {
            PushOutcome::Pushed => "built and pushed",
            PushOutcome::AlreadyThere => "built; the registry had it already",
            PushOutcome::Reused => "reused from the registry",
        };
        let limit = match (dirty, foreign) {
            (true, _) => " with local changes, for the first environment only",
            (false, true) => " of an untrusted pull request, for the first environment only",
            (false, false) => "",
        };
        let commit = commit.as_deref().unwrap_or("unknown");
        writeln!(f, "{}", self.release)?;
        if !f.alternate() {
            return write!(f, "  {how}, from commit {}{limit}", &commit[..commit.len().min(12)]);
        }
        for (name, image) in &self.release.images {
            writeln!(f, "  {name}  {}", image.reference())?;
        }
        writeln!(f, "  {how}, from commit {commit}{limit}")?;
        if let Some(head) = head {
            writeln!(f, "  which merges {head}")?;
        }
        write!(f, "  record {}", self.record)
    }
}

/// Builds, pushes, records, and leaves the release for the next stage. `anew` builds although the image is there, and
/// moves its tag.
pub(crate) async fn build(
    project: &Project,
    registry: &Registry,
    key: &RecordSigner,
    anew: bool,
    console: &Console,
) -> Result<BuildResult, Failure> {
    let mut state = git::state(project.folder()).await.map_err(source_failure)?;
    let inputs = inputs::look(project).await?;
    let unknown: BTreeSet<&String> = inputs.iter().flat_map(|inputs| &inputs.unknown).collect();
    state.unknown_inputs = unknown.into_iter().take(MAX_CHANGES).cloned().collect();
    if !state.unknown_inputs.is_empty() {
        let names = state.unknown_inputs.join(", ");
        console.warn(format!(
            "git ignores {names}, and the build sends it: this build can enter only the first environment; add it to \
             .dockerignore, or to `ignored_inputs` of the image"
        ));
    }
    if !state.changes.is_empty() {
        console.warn(format!(
            "the tree differs from its commit ({}): this build can enter only the first environment",
            state.changes.join(", ")
        ));
    }
    if project.ci.may_be_foreign() {
        console.warn(
            "this pull request may come from another repository: this build can enter only the first environment",
        );
    }
    console.plan_steps(project.config.images.values().flat_map(|image| {
        ["build the image", "push it", "attach its build record"]
            .map(|step| step_of(project, image, step))
    }));
    let source = source_of(project, &state)?;
    if project.ci.is_ci() && !source::is_vouched_for(&state, &project.ci) {
        console.warn(format!(
            "{} does not say that commit {} is checked out here, so the build record names no branch and no repository",
            project.ci.kind, state.commit
        ));
    }
    let (mut parts, mut how) = (Vec::new(), Vec::new());
    for (image, inputs) in project.config.images.values().zip(&inputs) {
        let tag = tag(image, &project.ci, &state)?;
        let reference = Reference::by_tag(image.repository.clone(), tag);
        let found = if anew || state.is_dirty() {
            None
        } else {
            recorded(project, registry, &reference, &state).await?
        };
        let (pushed, record) = match found {
            Some(found) => found,
            None => {
                let tree = (&state, &source, inputs);
                fresh(project, image, registry, &reference, tree, key, anew, console).await?
            }
        };
        how.push(pushed.how);
        let PushedImage { repository, tag, digest, .. } = pushed;
        let image_of = ReleaseImage { repository, tag: Some(tag), digest };
        parts.push(ReleasePart { name: image.name.clone(), image: image_of, record });
    }
    let (release, record) = compose(project, registry, key, parts, &source, console).await?;
    let result =
        BuildResult { release: release.clone(), how: most(&how), source: source.clone(), record };
    hand_on(project, &release_file(project, release, source, record), console)?;
    Ok(result)
}

/// A step, with the name of its image if there are several.
fn step_of(project: &Project, image: &Image, step: &str) -> String {
    match project.config.images.len() {
        1 => step.to_owned(),
        _ => format!("{}: {step}", image.name),
    }
}

/// What was done for any image was done.
fn most(how: &[PushOutcome]) -> PushOutcome {
    let by_work = [PushOutcome::Pushed, PushOutcome::AlreadyThere, PushOutcome::Reused];
    by_work.into_iter().find(|one| how.contains(one)).unwrap_or(PushOutcome::Reused)
}

/// The image of this commit under its tag, if a record that counts says that it was built from it.
async fn recorded(
    project: &Project,
    Registry { client, store }: &Registry,
    reference: &Reference,
    state: &SourceState,
) -> Result<Option<(PushedImage, Digest)>, Failure> {
    let existing = verbatim_image::existing(client, reference, &state.commit)
        .await
        .map_err(failures::image)?;
    let ExistingImage::SameRevision(pushed) = existing else { return Ok(None) };
    let ring = &project.config.policy.ring;
    let records = store
        .builds_so_far(ring, pushed.digest, Timestamp::now())
        .await
        .map_err(failures::registry)?;
    let is_of_commit = builds::source(&records)
        .is_some_and(|source| source.commit.as_ref() == Some(&state.commit));
    Ok(newest(&records).filter(|_| is_of_commit).map(|record| (pushed, record)))
}

fn newest(records: &Records) -> Option<Digest> {
    records.builds.last().map(verbatim_record::Verified::record)
}

/// Builds and pushes, then signs how.
#[expect(
    clippy::too_many_arguments,
    reason = "one call, and a struct for it would only name the same things twice"
)]
async fn fresh(
    project: &Project,
    image: &Image,
    Registry { client, store }: &Registry,
    reference: &Reference,
    (state, source, inputs): (&SourceState, &BuildSource, &UncommittedInputs),
    key: &RecordSigner,
    anew: bool,
    console: &Console,
) -> Result<(PushedImage, Digest), Failure> {
    let engine = clients::engine(project).await?;
    let keychain = clients::keychain(&project.variables);
    let withheld = withheld(project, key);
    let epoch = epoch(project)?;
    let config = build_config(project, image, reference, state, source).map_err(Failure::usage)?;
    let created = epoch.map_or(state.committed_at, SourceDateEpoch::time);
    let origin = ImageOrigin { created: Some(created), ..config.origin };
    let config = BuildConfig { epoch, origin, ..config };
    let config = BuildConfig { withheld, ..config };
    let started_at = Timestamp::now();
    console
        .step(&step_of(project, image, "build the image"), verbatim_console::StepState::UnderWay);
    let mut progress =
        verbatim_image::cli::EngineProgress::new(console, format!("building {reference}"));
    let built =
        verbatim_image::build(&engine, &keychain, &config, &mut |event| progress.show(event))
            .await
            .map_err(failures::image)?;
    drop(progress);
    console.step(&step_of(project, image, "build the image"), verbatim_console::StepState::Done);

    // A tag of a dirty tree or of an image that nobody has recorded is nobody's: it may move.
    let unrecorded = matches!(
        verbatim_image::existing(client, reference, &state.commit).await,
        Ok(ExistingImage::SameRevision(_))
    );
    let overwrite = anew || state.is_dirty() || unrecorded;
    let push = PushConfig {
        image: reference.clone(),
        overwrite,
        timeout: image.push_timeout,
        idle_timeout: image.idle_timeout,
    };
    console.step(&step_of(project, image, "push it"), verbatim_console::StepState::UnderWay);
    let mut progress =
        verbatim_image::cli::EngineProgress::new(console, format!("pushing {reference}"));
    let pushed =
        verbatim_image::push(&engine, client, &keychain, &push, &mut |event| progress.show(event))
            .await
            .map_err(failures::image)?;
    drop(progress);
    console.step(&step_of(project, image, "push it"), verbatim_console::StepState::Done);

    let build = Build {
        source: source.clone(),
        image: reference.to_string(),
        context: relative(project, image),
        dockerfile: image.dockerfile.clone().unwrap_or_else(|| "Dockerfile".to_owned()),
        target: image.target.clone(),
        platforms: image.platform.iter().map(ToString::to_string).collect(),
        build_args: image.args.keys().cloned().collect(),
        ignored_inputs: inputs.allowed.clone(),
        builder: built.builder.to_string(),
        builder_id: Build::builder_id(project.ci.kind.name()),
        versions: BTreeMap::from([
            ("verbatim".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("engine".to_owned(), built.engine.clone()),
        ]),
        run: project.run(),
        started_at,
        finished_at: Timestamp::now(),
    };
    let commits = authors::commits(project, &build.source).await;
    let provenance = build.provenance().with_commits(&commits);
    let statement = Statement::build(&pushed.repository.to_string(), &pushed.digest, provenance);
    let what = RecordSubject::Done("the build");
    let record = attach::signed(project, &statement, key, what).await?;
    let descriptor = Descriptor {
        digest: pushed.digest,
        size: pushed.size,
        ..Descriptor::of(&pushed.media_type, b"")
    };
    attach::attach(project, store, &record, &descriptor, &[], what, console).await?;
    console.step(
        &step_of(project, image, "attach its build record"),
        verbatim_console::StepState::Done,
    );
    Ok((pushed, record.digest()))
}

/// The private key that signs, and the one of this job if it is another: neither may get into an image.
fn withheld(project: &Project, key: &RecordSigner) -> Withheld {
    let files: Vec<PathBuf> = key.file().map(Path::to_owned).into_iter().collect();
    let in_files = files.iter().filter_map(|file| std::fs::read_to_string(file).ok());
    let in_variable = project.variables.get(KEY).cloned();
    // A copy in the tree has lines; the variable may have lost them.
    let keys = in_files.chain(in_variable).flat_map(|text| {
        let relined = verbatim_record::relined_keys(&text);
        relined.into_iter().chain([SecretString::from(text)])
    });
    let keys = keys.collect();
    Withheld { files, keys }
}

fn build_config(
    project: &Project,
    image: &Image,
    reference: &Reference,
    state: &SourceState,
    source: &BuildSource,
) -> Result<BuildConfig, TemplateError> {
    let render = |templates: &BTreeMap<String, Template>| {
        let pairs = templates.iter().map(|(key, template)| {
            Ok((key.clone(), template.render(|name| build_variable(name, &project.ci, state))?))
        });
        pairs.collect::<Result<BTreeMap<_, _>, TemplateError>>()
    };
    // As `git describe` has it: the commit alone would be a lie.
    let revision =
        if state.is_dirty() { format!("{}-dirty", state.commit) } else { state.commit.clone() };
    Ok(BuildConfig {
        withheld: Withheld::default(),
        left_out: vec![project.state_folder()],
        image: reference.clone(),
        context: image.context.clone(),
        dockerfile: image.dockerfile.as_ref().map(|file| image.context.join(file)),
        build_args: render(&image.args)?,
        labels: render(&image.labels)?,
        origin: ImageOrigin {
            revision: Some(revision),
            // A label is for people; nothing is decided by it.
            source: source.repository.clone().or_else(|| state.remote.clone()),
            created: None,
            version: reference.tag.as_ref().map(ToString::to_string),
        },
        epoch: None,
        target: image.target.clone(),
        platform: image.platform.clone(),
        network: None,
        pull: false,
        no_cache: false,
        cache_from: Vec::new(),
        builder: None,
        timeout: image.build_timeout,
        idle_timeout: image.idle_timeout,
    })
}

/// The time that the job sets for what it builds, if it does.
fn epoch(project: &Project) -> Result<Option<SourceDateEpoch>, Failure> {
    let set = project.variables.get(SourceDateEpoch::VARIABLE).filter(|text| !text.is_empty());
    set.map(|text| text.parse().map_err(Failure::usage)).transpose()
}

/// The source of a build, by the words of the CI.
fn source_of(project: &Project, state: &SourceState) -> Result<BuildSource, Failure> {
    source::source(state, &project.ci).map_err(|contradiction| {
        Failure::new(ExitStatus::No, contradiction)
            .context("what is built here is not what the CI says")
            .hint("check out the commit of this run as the CI does, and leave its clone as it is")
    })
}

/// The context as the configuration names it.
fn relative(project: &Project, image: &Image) -> String {
    let path = image.context.strip_prefix(&project.config.root).unwrap_or(&image.context);
    match path.as_os_str().is_empty() {
        true => ".".to_owned(),
        false => path.display().to_string(),
    }
}

/// What is wrong with the source tree.
pub(crate) fn source_failure(error: git::SourceError) -> Failure {
    use git::SourceError;
    let hint = match &error {
        SourceError::NoGit(_) => {
            "install git: the commit becomes part of the image's tag and record".to_owned()
        }
        SourceError::NotARepository(_) => "run this in a clone of the repository".to_owned(),
        SourceError::Owner(folder) => format!(
            "if you trust it: git config --global --add safe.directory '{}'",
            folder.display()
        ),
        SourceError::LeadsNowhere { .. } => {
            "in a container, mount the repository of the worktree or submodule under the same path; if it has moved, run there: git worktree repair"
                .to_owned()
        }
        SourceError::NoCommit => "commit first: a release is built from a commit".to_owned(),
        SourceError::Failed { message, .. } if message.contains("filter") => {
            "install the program of the filter where this runs, such as git-lfs".to_owned()
        }
        SourceError::Failed { .. } | SourceError::Index(_) => {
            "run `git status` here to see what is wrong".to_owned()
        }
        SourceError::Deadline { .. } => "check whether the file system answers".to_owned(),
    };
    Failure::usage(error).hint(hint)
}
