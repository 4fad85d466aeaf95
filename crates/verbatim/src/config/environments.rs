//! Checks the environments of a file: their applications, what is written into them, their tests. Must not
//! look at rules, which may stand in another file.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use url::Url;
use verbatim_argocd::{SourceChoice, is_part_of_image};
use verbatim_record::EnvironmentId;

use super::check::{name, template};
use super::file::{
    AppFile, DeployFile, EnvironmentFile, FailureFile, File, PauseFile, SelectorFile, ServerFile,
    SetFile, SourceSetFile, TestFile,
};
use super::located::{Located, Place};
use super::model::{
    App, Apps, DeploySettings, Environment, PINNING, Selector, Set, SourceSet, Suite, Wave,
};
use super::problem::Problem;
use super::scalar::{Scalar, ScalarKind};
use super::secrets::is_secret;
use super::shapes::{ListOr, NameOr, WaveFile};

/// What of an image can stand in a value; `reference` is repository, tag and digest in one.
const IMAGE_VARIABLES: [&str; 8] =
    ["registry", "path", "name", "repository", "tag", "digest", "hex", "reference"];

const DEFAULT_TIMEOUT: Duration = Duration::from_mins(10);
/// A pod may crash once or twice while what it needs comes up.
const DEFAULT_STUCK_AFTER: Duration = Duration::from_mins(1);
/// Long enough for a crash at start to show, short enough for a pipeline.
const DEFAULT_SETTLE: Duration = Duration::from_secs(10);

/// Checks all environments; the result is complete only if no problem was added.
pub(super) fn check(file: &File, problems: &mut Vec<Problem>) -> Vec<Environment> {
    if file.environments.is_empty() {
        problems.push(Problem::new(file.project.place, "`environments` names no environment"));
    }
    let mut seen = BTreeSet::new();
    for environment in &file.environments {
        name("environment", &environment.name, problems);
        if !seen.insert(environment.name.value.as_str()) {
            let message = format!("the environment `{}` is given twice", environment.name.value);
            problems.push(Problem::new(environment.name.place, message));
        }
    }
    let scope = Scope::of(file);
    let default = file.set.as_ref().map(|written| set(written, &scope, problems));
    let mut checked = Vec::new();
    for (index, written) in file.environments.iter().enumerate() {
        let environment =
            environment(file, written, index == 0, &scope, default.as_ref(), problems);
        // What is wrong with an environment is told of it alone.
        if let Some(environment) = environment {
            shared(&checked, &environment, written.apps.place, &scope, problems);
            checked.push((environment, written.apps.place));
        }
    }
    checked.into_iter().map(|(environment, _)| environment).collect()
}

/// Two environments that write the same value of the same application would undo each other with every promotion, and the
/// gates of one would be a way around those of the other. Several environments may be on one application, each with values
/// of its own. Where labels decide, `environment::shared` looks at the applications that Argo CD has.
fn shared(
    earlier: &[(Environment, Place)],
    environment: &Environment,
    place: Place,
    scope: &Scope,
    problems: &mut Vec<Problem>,
) {
    for (other, other_place) in earlier {
        let whole = |selector: &Selector, app: &App| {
            let is_there = selector.servers.iter().any(|it| scope.is_one_server(it, &app.server));
            let is_whole =
                selector.labels.is_none() && app.project.as_ref() == Some(&selector.project);
            let namespace = &selector.template.namespace;
            is_there && is_whole && (namespace.is_none() || *namespace == app.namespace)
        };
        let mut pairs: Vec<(&App, &App)> = Vec::new();
        match (&other.apps, &environment.apps) {
            (Apps::Named(one), Apps::Named(two)) => {
                let is_same = |one: &App, two: &App| {
                    one.name == two.name
                        && one.namespace == two.namespace
                        && scope.is_one_server(&one.server, &two.server)
                };
                let all = one.iter().flat_map(|ours| two.iter().map(move |theirs| (ours, theirs)));
                pairs.extend(all.filter(|(ours, theirs)| is_same(ours, theirs)));
            }
            (Apps::Selected(one), Apps::Selected(two)) => {
                pairs.extend(overlaps(one, two, scope).then_some((&one.template, &two.template)));
            }
            (Apps::Named(apps), Apps::Selected(selector))
            | (Apps::Selected(selector), Apps::Named(apps)) => {
                let within = apps.iter().filter(|app| whole(selector, app));
                pairs.extend(within.map(|app| (app, &selector.template)));
            }
        }
        for (ours, theirs) in pairs {
            let Some(key) = ours.same_value(theirs) else { continue };
            let app = match ours.name.as_str() {
                "" => "the same applications of a project".to_owned(),
                name => format!("the application `{name}`"),
            };
            let message = format!(
                "`{}` (line {}) and `{}` both write `{key}` of {app}, so each would undo the other",
                other.name(),
                other_place.line,
                environment.name()
            );
            problems.push(
                Problem::new(place, message)
                    .help("give each environment an application, or values of its own"),
            );
        }
    }
}

/// Whether two selections are sure to have applications in common, if the smaller one has any.
fn overlaps(one: &Selector, other: &Selector, scope: &Scope) -> bool {
    let is_wider = one.labels.is_none() || other.labels.is_none();
    let is_on_both =
        |server: &String| other.servers.iter().any(|it| scope.is_one_server(it, server));
    let (ours, theirs) = (&one.template.namespace, &other.template.namespace);
    one.project == other.project
        && (is_wider || one.labels == other.labels)
        && (ours.is_none() || theirs.is_none() || ours == theirs)
        && one.servers.iter().any(is_on_both)
}

/// The names that values and applications may use.
struct Scope {
    images: Vec<String>,
    variables: Vec<String>,
    servers: Vec<String>,
    /// The address of each server; two names may have one.
    addresses: BTreeMap<String, String>,
}

impl Scope {
    fn is_one_server(&self, one: &str, other: &str) -> bool {
        let address = |name| self.addresses.get(name);
        one == other || (address(one).is_some() && address(one) == address(other))
    }

    fn of(file: &File) -> Self {
        let images: Vec<String> = file.images.keys().map(|name| name.value.clone()).collect();
        let mut variables: Vec<String> = images
            .iter()
            .flat_map(|image| {
                IMAGE_VARIABLES.iter().map(move |variable| format!("{image}.{variable}"))
            })
            .collect();
        if images.len() == 1 {
            variables.extend(IMAGE_VARIABLES.map(str::to_owned));
        }
        Self {
            images,
            variables,
            servers: file.argocd.keys().map(|name| name.value.clone()).collect(),
            addresses: file.argocd.iter().filter_map(address).collect(),
        }
    }
}

/// The address of a server, however it is spelt. What is wrong with one is told elsewhere.
fn address((name, written): (&Located<String>, &ServerFile)) -> Option<(String, String)> {
    let mut url = Url::parse(&written.url.value).ok()?;
    if let Some(root_path) = &written.root_path {
        url.set_path(root_path.trim_end_matches('/'));
    }
    Some((name.value.clone(), url.to_string()))
}

fn environment(
    file: &File,
    written: &EnvironmentFile,
    is_first: bool,
    scope: &Scope,
    default: Option<&Set>,
    problems: &mut Vec<Problem>,
) -> Option<Environment> {
    let own = written.set.as_ref().map(|written| set(written, scope, problems));
    let set = own.as_ref().or(default);
    let id = format!("{}/{}", file.project.value, written.name.value);
    let apps = apps(&written.apps, &id, set, scope, problems);
    let tests = written
        .tests
        .iter()
        .map(|(suite, written)| (suite.value.clone(), test(suite, &written.0, problems)))
        .collect();
    let settle = written
        .settle
        .map_or(if is_first { Duration::ZERO } else { DEFAULT_SETTLE }, |period| period.0);
    Some(Environment {
        id: EnvironmentId::new(&file.project.value, &written.name.value).ok()?,
        apps,
        url: written.url.as_ref().map(|url| url.value.clone()),
        tests,
        settle,
        timeout: written.timeout.map_or(DEFAULT_TIMEOUT, |period| period.0),
        stuck_after: written.stuck_after.map_or(DEFAULT_STUCK_AFTER, |period| period.0),
        deploy: DeploySettings {
            restore_on_failure: written.on_failure == Some(FailureFile::Restore),
            wait_for_gates: written.wait_for_gates.map_or(Duration::ZERO, |period| period.0),
            ..deploy(&file.deploy, &written.deploy, problems)
        },
        waves: waves(&written.waves, problems),
        is_first,
    })
}

/// The waves, each further than the one before, as far as that can be told without the applications.
fn waves(written: &[Located<WaveFile>], problems: &mut Vec<Problem>) -> Vec<Wave> {
    let (mut count, mut percent) = (0, 0);
    for Located { value: WaveFile(wave), place } in written {
        let is_further = match *wave {
            Wave::Count(wave) => wave > std::mem::replace(&mut count, wave),
            Wave::Percent(wave) => wave > std::mem::replace(&mut percent, wave),
        };
        if !is_further {
            let message = "a wave goes to more applications than the one before it";
            problems.push(Problem::new(*place, message).help("for example `[1, 25%, 100%]`"));
        }
    }
    written.iter().map(|wave| wave.value.0).collect()
}

/// How an environment is deployed: by its own word, else by the default of all.
fn deploy(default: &DeployFile, own: &DeployFile, problems: &mut Vec<Problem>) -> DeploySettings {
    let is = |field: fn(&DeployFile) -> Option<&Located<bool>>| {
        field(own).or_else(|| field(default)).is_some_and(|written| written.value)
    };
    for written in [own, default] {
        if let (Some(Located { value: true, .. }), Some(Located { value: true, place })) =
            (&written.prune, &written.allow_unpruned)
        {
            let problem = Problem::new(*place, "`prune` deletes what `allow_unpruned` accepts");
            let problem = problem.help("leave out one of them");
            // The default of all is looked at for each environment.
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    // Its own word for one of them takes the place of the default's for the other.
    let has_own = own.prune.is_some() || own.allow_unpruned.is_some();
    let leftovers = if has_own { own } else { default };
    let said = |written: &Option<Located<bool>>| written.as_ref().is_some_and(|it| it.value);
    DeploySettings {
        prune: said(&leftovers.prune),
        allow_unpruned: said(&leftovers.allow_unpruned),
        trust_owner: is(|written| written.trust_owner.as_ref()),
        allow_unknown_parameters: is(|written| written.allow_unknown_parameters.as_ref()),
        restore_on_failure: false,
        wait_for_gates: Duration::ZERO,
        terminate_foreign: is(|written| written.terminate_foreign.as_ref()),
        wait_for_window: own
            .wait_for_window
            .or(default.wait_for_window)
            .map_or(Duration::ZERO, |period| period.0),
        fail_on_pause: own.on_pause.or(default.on_pause) == Some(PauseFile::Fail),
    }
}

fn test(suite: &Located<String>, written: &TestFile, problems: &mut Vec<Problem>) -> Suite {
    if written.run.trim().is_empty() {
        problems
            .push(Problem::new(suite.place, format!("the suite `{}` has no command", suite.value)));
    }
    for Located { value, place } in &written.pass {
        if is_secret(value) {
            let problem = format!("`{value}` lets whoever has it act as this pipeline");
            let help = "a test needs a secret of its own, in a variable of another name";
            problems.push(Problem::new(*place, problem).help(help));
        }
    }
    Suite {
        run: written.run.clone(),
        timeout: written.timeout.map_or(DEFAULT_TIMEOUT, |period| period.0),
        env: written.env.clone(),
        pass: written.pass.iter().map(|name| name.value.clone()).collect(),
        files: BTreeMap::new(),
    }
}

fn apps(
    written: &Located<ListOr<Located<NameOr<AppFile>>, SelectorFile>>,
    environment: &str,
    set: Option<&Set>,
    scope: &Scope,
    problems: &mut Vec<Problem>,
) -> Apps {
    match &written.value {
        ListOr::Map(selector) => {
            let selector = select(selector, written.place, environment, set, scope, problems);
            Apps::Selected(Box::new(selector))
        }
        ListOr::List(list) => {
            if list.is_empty() {
                problems.push(Problem::new(
                    written.place,
                    "an environment needs at least one application",
                ));
            }
            let mut seen = BTreeSet::new();
            let mut apps = Vec::new();
            for Located { value: NameOr(written), place } in list {
                let app = app(written, *place, environment, set, scope, problems);
                if !seen.insert((app.server.clone(), app.namespace.clone(), app.name.clone())) {
                    problems.push(Problem::new(
                        *place,
                        format!("the application `{}` is given twice", app.name),
                    )
                    .help("what goes into several of its sources stands in `sources` of one entry"));
                }
                apps.push(app);
            }
            Apps::Named(apps)
        }
    }
}

fn app(
    written: &AppFile,
    place: Place,
    environment: &str,
    set: Option<&Set>,
    scope: &Scope,
    problems: &mut Vec<Problem>,
) -> App {
    if written.name.is_empty() || written.name.contains(['/', ' ']) {
        problems.push(
            Problem::new(place, format!("`{}` is not the name of an application", written.name))
                .help("its namespace goes into `namespace`"),
        );
    }
    let sets = sets(written, place, set, scope, problems);
    App {
        environment: environment.to_owned(),
        name: written.name.clone(),
        server: server(written.server.as_ref(), place, scope, problems),
        namespace: written.namespace.clone(),
        project: written.project.clone(),
        sets,
        url: written.url.as_ref().map(|url| url.value.clone()),
    }
}

/// What is written into the sources of an application: into each that is named, else into one.
fn sets(
    written: &AppFile,
    place: Place,
    default: Option<&Set>,
    scope: &Scope,
    problems: &mut Vec<Problem>,
) -> Vec<SourceSet> {
    if written.sources.is_empty() {
        let own = written.set.as_ref().map(|written| set(written, scope, problems));
        let source = written.source.as_ref().map(|it| choice(it, problems)).unwrap_or_default();
        let set = own.or_else(|| default.cloned());
        let set = set.unwrap_or_else(|| nothing_to_write(place, problems));
        return vec![SourceSet { source, set }];
    }
    if written.source.is_some() || written.set.is_some() {
        let message =
            "`sources` says what goes into each source, so `source` and `set` have no place here";
        let place = written.source.as_ref().map_or(place, |source| source.place);
        problems.push(Problem::new(place, message).help("move them into `sources`"));
    }
    let mut sets: Vec<SourceSet> = Vec::new();
    for SourceSetFile { source: named, set: written } in &written.sources {
        let source = choice(named, problems);
        if sets.iter().any(|other| other.source == source) {
            let message = format!("the source `{}` is given twice", named.value);
            problems.push(Problem::new(named.place, message).help("put its values into one `set`"));
        }
        sets.push(SourceSet { source, set: set(written, scope, problems) });
    }
    sets
}

fn select(
    written: &SelectorFile,
    place: Place,
    environment: &str,
    set: Option<&Set>,
    scope: &Scope,
    problems: &mut Vec<Problem>,
) -> Selector {
    let place = written.selector.as_ref().or(written.project.as_ref()).map_or(place, |it| it.place);
    if let Some(empty) = written.selector.as_ref().filter(|it| it.value.trim().is_empty()) {
        let problem = Problem::new(empty.place, "an empty selector selects nothing by its labels");
        problems.push(problem.help("leave it out for all applications of the project"));
    }
    let project = written.project.as_ref().map_or("", |project| project.value.trim());
    if project.is_empty() {
        let message =
            "whoever may label an application of any Argo CD project could bring it in here";
        let labels = written.selector.as_ref().map(|it| format!(", selector: '{}'", it.value));
        let line = format!("`apps: {{ project: NAME{} }}`", labels.unwrap_or_default());
        problems.push(Problem::new(place, message).help(format!("name the project: {line}")));
    }
    let servers = servers(written, place, scope, problems);
    let template = App {
        environment: environment.to_owned(),
        name: String::new(),
        server: String::new(),
        namespace: written.namespace.clone(),
        project: Some(project.to_owned()),
        sets: vec![SourceSet {
            source: SourceChoice::Auto,
            set: set.cloned().unwrap_or_else(|| nothing_to_write(place, problems)),
        }],
        url: None,
    };
    let labels = written.selector.as_ref().map(|labels| labels.value.clone());
    Selector { project: project.to_owned(), labels, servers, template }
}

/// The servers of a selection: those that are named, or the only one.
fn servers(
    written: &SelectorFile,
    place: Place,
    scope: &Scope,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    if let (Some(one), [_, ..]) = (&written.server, written.servers.as_slice()) {
        let problem = Problem::new(one.place, "`server` and `servers` both say where they are");
        problems.push(problem.help("leave out one of them"));
    }
    if written.servers.is_empty() {
        return vec![server(written.server.as_ref(), place, scope, problems)];
    }
    let mut servers = Vec::new();
    for name in &written.servers {
        if servers.contains(&name.value) {
            let message = format!("the server `{}` is given twice", name.value);
            problems.push(Problem::new(name.place, message));
        }
        servers.push(server(Some(name), place, scope, problems));
    }
    servers
}

fn nothing_to_write(place: Place, problems: &mut Vec<Problem>) -> Set {
    problems.push(
        Problem::new(place, "nothing is written into this application")
            .help("add `set` with Helm parameters or Kustomize images, at the top or here"),
    );
    Set::default()
}

/// The server an application lives on: the named one, or the only one.
fn server(
    written: Option<&Located<String>>,
    place: Place,
    scope: &Scope,
    problems: &mut Vec<Problem>,
) -> String {
    match (written, scope.servers.as_slice()) {
        (Some(name), servers) => {
            if !servers.contains(&name.value) {
                let problem =
                    Problem::new(name.place, format!("unknown Argo CD server `{}`", name.value));
                problems
                    .push(problem.did_you_mean(&name.value, servers.iter().map(String::as_str)));
            }
            return name.value.clone();
        }
        (None, [only]) => return only.clone(),
        (None, []) => problems.push(
            Problem::new(place, "no Argo CD server is given")
                .help("add `argocd: { main: { url: https://… } }`"),
        ),
        (None, several) => problems.push(
            Problem::new(place, "which Argo CD server does this live on?")
                .help(format!("add `server`, one of: {}", several.join(", "))),
        ),
    }
    String::new()
}

fn choice(written: &Located<String>, problems: &mut Vec<Problem>) -> SourceChoice {
    match written.value.parse::<usize>() {
        Ok(0) => {
            problems.push(Problem::new(written.place, "sources are counted from 1"));
            SourceChoice::Auto
        }
        Ok(position) => SourceChoice::Position(position),
        Err(_) => SourceChoice::Name(written.value.clone()),
    }
}

/// Values for an application. Each image they mention must be pinned by its digest somewhere among them.
fn set(written: &SetFile, scope: &Scope, problems: &mut Vec<Problem>) -> Set {
    let known: Vec<&str> = scope.variables.iter().map(String::as_str).collect();
    let mut mentioned = BTreeSet::new();
    let mut pinned = BTreeSet::new();
    let mut first = None;
    let mut typed = BTreeSet::new();
    let mut helm = BTreeMap::new();
    for (key, scalar) in &written.helm {
        let Scalar { text, kind } = &scalar.value;
        // `0x1f` and `1_000` are read as other digits than were written.
        let is_as_written = text.chars().count() as u64 == scalar.place.length;
        match (kind, is_part_of_image(&key.value)) {
            (ScalarKind::Text, _) => {}
            (_, false) => drop(typed.insert(key.value.clone())),
            (ScalarKind::Whole, true) if is_as_written => {}
            (_, true) => problems.push(
                Problem::new(scalar.place, "a part of an image is a text, and this is a number")
                    .help("put it in quotes"),
            ),
        }
        helm.insert(key.clone(), Located { value: text.clone(), place: scalar.place });
    }
    let mut read = |values: &BTreeMap<Located<String>, Located<String>>| {
        let mut checked = BTreeMap::new();
        for (key, text) in values {
            first.get_or_insert(key.place);
            let Some(template) = template(text, &known, problems) else { continue };
            for variable in template.variables() {
                let (image, field) =
                    variable.split_once('.').unwrap_or((&scope.images[0], variable));
                mentioned.insert(image.to_owned());
                if PINNING.contains(&field) {
                    pinned.insert(image.to_owned());
                }
            }
            checked.insert(key.value.clone(), template);
        }
        checked
    };
    let checked = Set { helm: read(&helm), typed, kustomize: read(&written.kustomize) };
    let Some(place) = first else { return checked };
    let unpinned = mentioned.difference(&pinned).cloned().collect::<Vec<_>>();
    if checked.helm.len() + checked.kustomize.len() < written.helm.len() + written.kustomize.len() {
        // A value that could not be read may be the one that pins.
    } else if mentioned.is_empty() {
        let message = "no value mentions an image: only a digest is ever deployed";
        problems.push(
            Problem::new(place, message).help("use `${digest}` or `${reference}` in a value"),
        );
    } else if let Some(image) = unpinned.first() {
        let message = format!("the image `{image}` is not pinned: only a digest is ever deployed");
        problems.push(
            Problem::new(place, message)
                .help(format!("use `${{{image}.digest}}` in one of the values")),
        );
    }
    checked
}
