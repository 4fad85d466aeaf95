//! Reads the messages of a build: the stream of the classic builder, and that of BuildKit.
//!
//! Pure: messages in, events out. Engines report failures inside an answer whose status is 200, in words for people;
//! only [`classify`] interprets them.

use std::collections::{BTreeMap, VecDeque};

use bollard::moby::buildkit::v1::StatusResponse;
use bollard::models::{BuildInfo, BuildInfoAux, ImageId};

use super::EngineEvent;
use crate::error::ErrorKind;

/// How many last lines of a step are kept for its failure.
const TAIL: usize = 20;

/// The state of a build, as read from its messages.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    image: Option<String>,
    /// The classic builder runs one step at a time.
    step: StepLog,
    /// BuildKit runs many at a time, each under a digest.
    vertices: BTreeMap<String, StepLog>,
    /// The BuildKit step that failed first.
    failed: Option<String>,
    /// The name of the step that began last.
    last: Option<String>,
}

#[derive(Debug, Default)]
struct StepLog {
    name: String,
    announced: bool,
    tail: VecDeque<String>,
    /// The beginning of an incomplete line.
    begun: String,
}

impl StepLog {
    /// Takes printed text, and returns the lines that it completes.
    fn print(&mut self, text: &str) -> Vec<String> {
        self.begun.push_str(text);
        let Some((complete, begun)) = self.begun.rsplit_once('\n') else { return Vec::new() };
        let lines = complete.split('\n').map(visible_line).collect();
        self.begun = begun.to_owned();
        lines
    }

    /// Keeps a line for the failure of the step.
    fn output(&mut self, line: String) -> EngineEvent {
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line.clone());
        EngineEvent::Output(line)
    }

    fn begin(&mut self, name: String) {
        *self = Self { name, announced: true, ..Self::default() };
    }

    fn last_lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.tail.iter().cloned().collect();
        if !self.begun.trim().is_empty() {
            lines.push(visible_line(&self.begun));
        }
        lines
    }
}

/// The visible part of a line with carriage returns.
fn visible_line(line: &str) -> String {
    let line = line.trim_end();
    line.rsplit('\r').next().unwrap_or(line).to_owned()
}

impl Transcript {
    /// The image that was built, as the engine names it: `sha256:` and 64 digits.
    pub(crate) fn image(&self) -> Option<&str> {
        self.image.as_deref()
    }

    /// The step that began last.
    pub(crate) fn last_step(&self) -> Option<&str> {
        self.last.as_deref()
    }

    pub(crate) fn read(&mut self, message: BuildInfo) -> Vec<EngineEvent> {
        let events = self.events(message);
        let step = |event: &EngineEvent| match event {
            EngineEvent::Step(name) => Some(name.clone()),
            _ => None,
        };
        self.last = events.iter().rev().find_map(step).or(self.last.take());
        events
    }

    fn events(&mut self, message: BuildInfo) -> Vec<EngineEvent> {
        let mut events = Vec::new();
        match message.aux {
            Some(BuildInfoAux::Default(ImageId { id: Some(id) })) => self.image = Some(id),
            Some(BuildInfoAux::Default(_)) | None => {}
            Some(BuildInfoAux::BuildKit(status)) => self.read_buildkit(status, &mut events),
        }
        if let Some(text) = message.stream {
            self.read_classic(&text, &mut events);
        }
        // A message with an error is not progress, even with a status.
        if let (Some(status), None) = (message.status, &message.error_detail) {
            let id = message.id.unwrap_or_default();
            events.push(EngineEvent::layer(id, status, message.progress_detail));
        }
        events
    }

    fn read_classic(&mut self, text: &str, events: &mut Vec<EngineEvent>) {
        for line in self.step.print(text) {
            // The classic builder colours stderr.
            let line = line.replace("\u{1b}[91m", "").replace("\u{1b}[0m", "");
            if let Some(name) = classic_step(&line) {
                self.step.begin(name.clone());
                events.push(EngineEvent::Step(name));
            } else if line == " ---> Using cache" {
                events.push(EngineEvent::Cached(self.step.name.clone()));
            } else if let Some(warning) = line.strip_prefix("[Warning] ") {
                events.push(EngineEvent::Warning(warning.to_owned()));
            } else if !is_classic_noise(&line) {
                events.push(self.step.output(line));
            }
        }
    }

    fn read_buildkit(&mut self, status: StatusResponse, events: &mut Vec<EngineEvent>) {
        for vertex in status.vertexes {
            let step = self.vertices.entry(vertex.digest.clone()).or_default();
            step.name = vertex.name;
            if vertex.started.is_some() && !step.announced {
                step.announced = true;
                events.push(EngineEvent::Step(step.name.clone()));
                if vertex.cached {
                    events.push(EngineEvent::Cached(step.name.clone()));
                }
            }
            // The other steps are cancelled when one fails.
            let is_cause = !vertex.error.is_empty() && !vertex.error.contains("context canceled");
            if is_cause && self.failed.is_none() {
                self.failed = Some(vertex.digest);
            }
        }
        for status in status.statuses {
            let bytes = |value: i64| u64::try_from(value).ok().filter(|&value| value > 0);
            events.push(EngineEvent::Layer {
                status: if status.name.is_empty() { status.id.clone() } else { status.name },
                id: status.id,
                current: bytes(status.current),
                total: bytes(status.total),
            });
        }
        for log in status.logs {
            let step = self.vertices.entry(log.vertex).or_default();
            let lines = step.print(&String::from_utf8_lossy(&log.msg));
            events.extend(lines.into_iter().map(|line| step.output(line)));
        }
        for warning in status.warnings {
            events.push(EngineEvent::Warning(String::from_utf8_lossy(&warning.short).into_owned()));
        }
    }

    /// The error of a build that the engine ended with this message.
    pub(crate) fn failure(&self, message: &str) -> ErrorKind {
        let message = message.trim().to_owned();
        let step = match &self.failed {
            Some(digest) => self.vertices.get(digest),
            None => Some(&self.step).filter(|step| step.announced),
        };
        let name = step.map(|step| step.name.clone());
        match classify(&message, name.as_deref()) {
            FailureClass::Dockerfile => ErrorKind::Dockerfile { message },
            FailureClass::Refused => ErrorKind::RegistryRefused { message },
            FailureClass::Unreachable => ErrorKind::RegistryUnreachable { message },
            FailureClass::Engine => ErrorKind::Failed { message },
            FailureClass::Step => ErrorKind::Step {
                step: name,
                message,
                output: step.map(StepLog::last_lines).unwrap_or_default(),
            },
        }
    }
}

/// `Step 2/3 : COPY . /` as `[2/3] COPY . /`, which is BuildKit's way to write it.
fn classic_step(line: &str) -> Option<String> {
    let (numbers, text) = line.strip_prefix("Step ")?.split_once(" : ")?;
    let (number, total) = numbers.split_once('/')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (is_number(number) && is_number(total)).then(|| format!("[{number}/{total}] {text}"))
}

/// Lines of the classic builder about its own containers.
fn is_classic_noise(line: &str) -> bool {
    line.trim().is_empty()
        || line.starts_with(" --->")
        || line.starts_with("Removing intermediate container ")
        || line.starts_with("Successfully built ")
        || line.starts_with("Successfully tagged ")
}

/// The kind of a failure, from the engine's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureClass {
    /// The Dockerfile cannot be parsed.
    Dockerfile,
    Refused,
    /// The engine cannot reach a registry.
    Unreachable,
    Engine,
    Step,
}

/// Interprets an engine's words. There is no code for it in the API: `errorDetail.code` is the exit status of a
/// command or nothing.
///
/// Sources of the words: moby `builder/dockerfile/dispatchers.go` ("returned a non-zero code"), buildkit
/// `executor` ("did not complete successfully", before 0.9 "executor failed running"), moby
/// `builder/dockerfile/builder.go` and buildkit `frontend/dockerfile/parser` ("dockerfile parse error"), moby
/// `distribution/errors.go` and distribution's error codes ("pull access denied", "unauthorized", "denied"), moby
/// `registry/auth.go` ("no basic auth credentials"), Go's `net` and `net/http`.
pub(crate) fn classify(message: &str, step: Option<&str>) -> FailureClass {
    let message = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&[
        "returned a non-zero code",
        "did not complete successfully: exit code",
        "executor failed running",
    ]) {
        return FailureClass::Step;
    }
    if says(WRONG_BUILD) {
        return FailureClass::Dockerfile;
    }
    if says(&["no space left on device", "disk quota exceeded", "read-only file system"]) {
        return FailureClass::Engine;
    }
    // Only a step that pulls refers to a registry; a download in another step may fail with the same words.
    let pulls = step.is_none_or(|step| {
        step.contains("FROM ")
            || step.contains("load metadata for")
            || step.contains("resolve image config")
    });
    // The engine shortens the usual words of a registry to their code.
    let is_code = ["denied", "unsupported"].into_iter().any(|code| {
        let rest = message.trim().strip_suffix(code);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with(": "))
    });
    let is_refusal = is_code || says(REFUSED) || http_status(&message).is_some_and(is_refusal);
    if pulls && is_refusal {
        FailureClass::Refused
    } else if pulls && says(UNREACHABLE) {
        FailureClass::Unreachable
    } else if step.is_some() {
        FailureClass::Step
    } else {
        FailureClass::Engine
    }
}

/// The status of a registry that an engine repeats where the answer has no code: moby's `distribution` and `registry`
/// ("error parsing HTTP 413 response body", "received unexpected HTTP status: 413 …"), containerd's `remotes/docker`
/// ("unexpected status from PUT request to https://…: 413 …").
fn http_status(message: &str) -> Option<u16> {
    let begun = ["error parsing http ", "unexpected http status", "unexpected status"];
    let (_, rest) = begun.iter().find_map(|words| message.split_once(words))?;
    let numbers = rest.split(|c: char| c.is_whitespace() || c == ',' || c == '"');
    let is_status = |status: &u16| (100..600).contains(status);
    let mut statuses = numbers.filter(|word| word.len() == 3).filter_map(|word| word.parse().ok());
    statuses.find(is_status)
}

/// Whether asking again gives the same answer. The others mean "later".
fn is_refusal(status: u16) -> bool {
    (400..500).contains(&status) && ![408, 425, 429].contains(&status)
}

/// What only another Dockerfile, or another option, mends. The words are those of buildkit's `frontend/dockerfile`
/// (`instructions`, `shell`, `dockerfile2llb`), of moby's `builder/dockerfile`, and of the references of both.
const WRONG_BUILD: &[&str] = &[
    "dockerfile parse error",
    "unknown instruction",
    "target stage",
    "failed to reach build target",
    "no build stage in current context",
    "no build stage in the dockerfile",
    "dockerfile contains no stages",
    "file with no instructions",
    "dockerfile) cannot be empty",
    "dockerfile cannot be empty",
    "failed to parse stage name",
    "invalid reference format",
    "should not be blank",
    "circular dependency detected on stage",
    "invalid name for build stage",
    "invalid from flag value",
    "in substitution",
    "missing '}'",
    "unexpected eof while looking for matching",
    "unknown flag:",
    "failed to parse platform",
    "unknown operating system or architecture",
    "unsupported mount type",
];

const REFUSED: &[&str] = &[
    "tag invalid",
    "immutable",
    "manifest invalid",
    "name invalid",
    "invalid repository name",
    "digest invalid",
    "size invalid",
    "operation is unsupported",
    "request entity too large",
    "precondition",
    "storage quota",
    "unauthorized",
    "no basic auth credentials",
    "denied:",
    "access denied",
    "access forbidden",
    "authentication required",
    "incorrect username or password",
    "status: 401",
    "status: 403",
    "401 unauthorized",
    "403 forbidden",
    "manifest unknown",
    "manifest for ",
    "name unknown",
    "name_unknown",
    "not found: manifest",
    "repository does not exist",
];

const UNREACHABLE: &[&str] = &[
    "connection refused",
    "connection reset",
    "no such host",
    "i/o timeout",
    "tls handshake timeout",
    "context deadline exceeded",
    "client.timeout",
    "network is unreachable",
    "no route to host",
    "server gave http response to https client",
    "certificate signed by unknown authority",
    "x509:",
    "unexpected eof",
    ": eof",
    "toomanyrequests",
    "too many requests",
    "500 internal server error",
    "502 bad gateway",
    "503 service unavailable",
    "504 gateway timeout",
    "unexpected status",
    "unknown: unknown error",
    "received unexpected http status",
    "error parsing http",
];

#[cfg(test)]
mod tests {
    use bollard::moby::buildkit::v1::{Vertex, VertexLog};

    use super::*;

    fn stream(text: &str) -> BuildInfo {
        BuildInfo { stream: Some(text.to_owned()), ..BuildInfo::default() }
    }

    #[test]
    fn the_classic_builder_is_understood() {
        let mut transcript = Transcript::default();
        let messages = [
            stream("Step 1/2 : FROM scratch\n"),
            stream(" ---> \n"),
            stream("Step 2/2 : RUN make\n"),
            stream(" ---> Using cache\n"),
            stream("one\ntw"),
            stream("o\n10%\r20%\n[Warning] old\n\u{1b}[91mred\n\u{1b}[0m"),
            stream("\u{1b}[0mRemoving intermediate container 1\n"),
            BuildInfo {
                aux: Some(BuildInfoAux::Default(ImageId { id: Some("sha256:1".to_owned()) })),
                ..BuildInfo::default()
            },
            stream("Successfully built 1\n"),
        ];
        let events: Vec<EngineEvent> =
            messages.into_iter().flat_map(|message| transcript.read(message)).collect();
        let text = |text: &str| text.to_owned();
        assert_eq!(
            events,
            [
                EngineEvent::Step(text("[1/2] FROM scratch")),
                EngineEvent::Step(text("[2/2] RUN make")),
                EngineEvent::Cached(text("[2/2] RUN make")),
                EngineEvent::Output(text("one")),
                EngineEvent::Output(text("two")),
                EngineEvent::Output(text("20%")),
                EngineEvent::Warning(text("old")),
                EngineEvent::Output(text("red")),
            ]
        );
        assert_eq!(transcript.image(), Some("sha256:1"));
        assert_eq!(transcript.last_step(), Some("[2/2] RUN make"));
    }

    #[test]
    fn a_failing_step_shows_its_last_lines() {
        let mut transcript = Transcript::default();
        transcript.read(stream("Step 1/1 : RUN make\n"));
        for n in 0..30 {
            transcript.read(stream(&format!("line {n}\n")));
        }
        transcript.read(stream("no end"));
        let kind = transcript.failure("The command '/bin/sh -c make' returned a non-zero code: 2");
        let ErrorKind::Step { step, output, .. } = kind else { panic!("{kind:?}") };
        assert_eq!(step.as_deref(), Some("[1/1] RUN make"));
        assert_eq!(output.len(), TAIL + 1);
        assert_eq!((output[0].as_str(), output[TAIL].as_str()), ("line 10", "no end"));
    }

    #[test]
    fn buildkit_is_understood() {
        let mut transcript = Transcript::default();
        let vertex = |digest: &str, name: &str, error: &str| Vertex {
            digest: digest.to_owned(),
            name: name.to_owned(),
            started: Some(Default::default()),
            error: error.to_owned(),
            ..Vertex::default()
        };
        let log = |digest: &str, text: &str| VertexLog {
            vertex: digest.to_owned(),
            msg: text.as_bytes().to_vec(),
            ..VertexLog::default()
        };
        let status = |vertexes: Vec<Vertex>, logs: Vec<VertexLog>| BuildInfo {
            aux: Some(BuildInfoAux::BuildKit(StatusResponse {
                vertexes,
                logs,
                ..StatusResponse::default()
            })),
            ..BuildInfo::default()
        };
        let mut events = transcript.read(status(
            vec![vertex("a", "[1/2] RUN a", ""), vertex("b", "[2/2] RUN b", "")],
            vec![log("b", "hello\nwor"), log("a", "x\n"), log("b", "ld\n")],
        ));
        events.extend(transcript.read(status(
            vec![vertex("a", "[1/2] RUN a", "context canceled"), vertex("b", "[2/2] RUN b", "bad")],
            vec![],
        )));
        let text = |text: &str| text.to_owned();
        assert_eq!(
            events,
            [
                EngineEvent::Step(text("[1/2] RUN a")),
                EngineEvent::Step(text("[2/2] RUN b")),
                EngineEvent::Output(text("hello")),
                EngineEvent::Output(text("x")),
                EngineEvent::Output(text("world")),
            ]
        );
        let kind = transcript.failure("executor failed running [/bin/sh -c b]: exit code: 1");
        let ErrorKind::Step { step, output, .. } = kind else { panic!("{kind:?}") };
        assert_eq!(step.as_deref(), Some("[2/2] RUN b"));
        assert_eq!(output, ["hello", "world"]);
    }

    #[test]
    fn words_of_engines() {
        let cases = [
            (
                "The command '/bin/sh -c curl x: unauthorized' returned a non-zero code: 1",
                Some("[1/1] RUN x"),
                FailureClass::Step,
            ),
            (
                "process \"/bin/sh -c false\" did not complete successfully: exit code: 1",
                Some("RUN"),
                FailureClass::Step,
            ),
            (
                "COPY failed: file not found in build context or excluded by .dockerignore: stat nope: file does not exist",
                Some("[2/2] COPY nope /"),
                FailureClass::Step,
            ),
            (
                "dockerfile parse error line 2: unknown instruction: FOO",
                None,
                FailureClass::Dockerfile,
            ),
            (
                "failed to solve with frontend dockerfile.v0: failed to create LLB definition: dockerfile parse error line 2: unknown instruction: FOO",
                None,
                FailureClass::Dockerfile,
            ),
            (
                "pull access denied for x, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
                Some("[1/2] FROM x"),
                FailureClass::Refused,
            ),
            (
                "manifest for localhost:5000/x:1 not found: manifest unknown: manifest unknown",
                Some("[1/2] FROM localhost:5000/x:1"),
                FailureClass::Refused,
            ),
            (
                "Get \"http://localhost:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
                Some("[1/1] FROM localhost:1/x"),
                FailureClass::Unreachable,
            ),
            (
                "ADD failed: Get \"http://localhost:1/x\": dial tcp 127.0.0.1:1: connect: connection refused",
                Some("[2/2] ADD http://localhost:1/x /"),
                FailureClass::Step,
            ),
            ("no basic auth credentials", None, FailureClass::Refused),
            ("unauthorized: authentication required", None, FailureClass::Refused),
            (
                "Error processing tar file(exit status 1): write /big: no space left on device",
                Some("[2/2] COPY . /"),
                FailureClass::Engine,
            ),
            ("something else", None, FailureClass::Engine),
            // A push, whose step is none.
            ("denied", None, FailureClass::Refused),
            ("unsupported", None, FailureClass::Refused),
            ("open /x: permission denied", None, FailureClass::Engine),
            (
                "tag invalid: The image tag 'v1' already exists in the 'x' repository and cannot be overwritten because the tag is immutable.",
                None,
                FailureClass::Refused,
            ),
            ("manifest invalid: manifest invalid", None, FailureClass::Refused),
            ("unsupported: The operation is unsupported.", None, FailureClass::Refused),
            (
                "error parsing HTTP 413 response body: invalid character '<' looking for beginning of value: \"<html>413</html>\"",
                None,
                FailureClass::Refused,
            ),
            (
                "error parsing HTTP 503 response body: invalid character '<' looking for beginning of value: \"<html>413</html>\"",
                None,
                FailureClass::Unreachable,
            ),
            (
                "failed to push x: unexpected status from PUT request to https://r.example/v2/a/blobs: 405 Method Not Allowed",
                None,
                FailureClass::Refused,
            ),
            (
                "received unexpected HTTP status: 429 Too Many Requests",
                None,
                FailureClass::Unreachable,
            ),
            (
                "received unexpected HTTP status: 500 Internal Server Error",
                None,
                FailureClass::Unreachable,
            ),
            // Errors of the Dockerfile, or of an option.
            ("target stage \"nope\" could not be found", None, FailureClass::Dockerfile),
            ("failed to reach build target nope in Dockerfile", None, FailureClass::Dockerfile),
            (
                "failed to solve with frontend dockerfile.v0: failed to create LLB definition: the Dockerfile cannot be empty",
                None,
                FailureClass::Dockerfile,
            ),
            (
                "failed to parse stage name \"Case/Base\": invalid reference format: repository name must be lowercase",
                None,
                FailureClass::Dockerfile,
            ),
            (
                "invalid reference format: repository name must be lowercase",
                Some("[1/1] FROM Case/Base"),
                FailureClass::Dockerfile,
            ),
            (
                "failed to process \"case/base:${V^^}\": unsupported modifier (^) in substitution",
                None,
                FailureClass::Dockerfile,
            ),
            (
                "The command '/bin/sh -c echo unknown instruction' returned a non-zero code: 1",
                Some("[2/2] RUN echo"),
                FailureClass::Step,
            ),
        ];
        for (message, step, want) in cases {
            assert_eq!(classify(message, step), want, "{message}");
        }
    }
}
