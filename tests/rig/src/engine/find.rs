//! Where an engine may be, and whether the one found there is of use.
//!
//! It speaks just enough HTTP/1.0 over a socket to ask three questions; a client library would bring a runtime
//! into a decision that takes a millisecond. It starts nothing.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use serde::Deserialize;

const DEFAULT_SOCKET: &str = "unix:///var/run/docker.sock";
/// A loaded engine answers a ping in milliseconds; a socket without a daemon behind it never does.
const PATIENCE: Duration = Duration::from_secs(5);

/// A place where an engine may answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// In the form of `DOCKER_HOST`.
    pub(super) host: String,
    /// Who named it, for messages.
    pub(super) origin: String,
}

/// The places where the docker CLI of this user would look, and the default socket.
pub(super) fn candidates() -> Vec<Candidate> {
    let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let folder = set("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| Path::new(&home).join(".docker")))
        .unwrap_or_default();
    choose(set("DOCKER_HOST"), set("DOCKER_CONTEXT"), &folder)
}

/// The docker CLI's order: `DOCKER_HOST` hides every context, `DOCKER_CONTEXT` hides the configured one.
fn choose(host: Option<String>, context: Option<String>, folder: &Path) -> Vec<Candidate> {
    let mut found = Vec::new();
    if let Some(host) = host {
        found.push(Candidate { host, origin: "DOCKER_HOST".to_owned() });
    } else if let Some(name) =
        context.or_else(|| current_context(folder)).filter(|name| name != "default")
        && let Some(host) = context_host(folder, &name)
    {
        found.push(Candidate { host, origin: format!("docker context {name}") });
    }
    if found.iter().all(|candidate| candidate.host != DEFAULT_SOCKET) {
        found.push(Candidate {
            host: DEFAULT_SOCKET.to_owned(),
            origin: "default socket".to_owned(),
        });
    }
    found
}

fn current_context(folder: &Path) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Config {
        current_context: Option<String>,
    }
    let text = fs::read_to_string(folder.join("config.json")).ok()?;
    serde_json::from_str::<Config>(&text).ok()?.current_context.filter(|name| !name.is_empty())
}

/// A context lives in `contexts/meta/<hash of its name>/meta.json`; the file says its name too.
fn context_host(folder: &Path, name: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Meta {
        name: String,
        endpoints: std::collections::BTreeMap<String, Endpoint>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Endpoint {
        host: Option<String>,
    }
    fs::read_dir(folder.join("contexts/meta")).ok()?.flatten().find_map(|entry| {
        let text = fs::read_to_string(entry.path().join("meta.json")).ok()?;
        let mut meta: Meta = serde_json::from_str(&text).ok()?;
        if meta.name != name {
            return None;
        }
        meta.endpoints.remove("docker")?.host
    })
}

/// Asks an engine whether it is one and whether it runs containers on this machine. Returns its version.
pub(super) fn probe(host: &str) -> Result<String, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Version {
        version: String,
    }
    if get(host, "/_ping")?.trim() != "OK" {
        return Err("it does not answer as a Docker Engine".to_owned());
    }
    let info: Info = parse(&get(host, "/info")?)?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    suitable(&info, kernel.trim())?;
    Ok(parse::<Version>(&get(host, "/version")?)?.version)
}

/// The part of `GET /info` that tells where the containers run.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Info {
    kernel_version: String,
    security_options: Option<Vec<String>>,
}

/// Whether containers with host networking share this machine's loopback interface.
fn suitable(info: &Info, kernel: &str) -> Result<(), String> {
    if info.kernel_version != kernel {
        return Err(format!(
            "it runs containers on another machine (kernel {}, here {kernel})",
            if info.kernel_version.is_empty() { "unknown" } else { &info.kernel_version }
        ));
    }
    let rootless = |option: &String| option.contains("rootless");
    if info.security_options.as_ref().is_some_and(|options| options.iter().any(rootless)) {
        return Err("it is rootless, so its host network is not this machine's".to_owned());
    }
    Ok(())
}

fn parse<T: serde::de::DeserializeOwned>(body: &str) -> Result<T, String> {
    serde_json::from_str(body).map_err(|error| format!("its answer is not understood: {error}"))
}

/// One GET. The engine closes the connection after the body of an HTTP/1.0 answer, and never chunks it.
fn get(host: &str, path: &str) -> Result<String, String> {
    let answer = if let Some(socket) = host.strip_prefix("unix://") {
        let stream = UnixStream::connect(socket).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        ask(stream, path)?
    } else if let Some(address) =
        host.strip_prefix("tcp://").or_else(|| host.strip_prefix("http://"))
    {
        let address = address.trim_end_matches('/');
        let resolved = address.to_socket_addrs().map_err(|error| error.to_string())?;
        let loopback = resolved
            .into_iter()
            .find(|address| address.ip().is_loopback())
            .ok_or("it is on another machine, which cannot reach a registry on 127.0.0.1 here")?;
        let stream =
            TcpStream::connect_timeout(&loopback, PATIENCE).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        ask(stream, path)?
    } else {
        return Err("only unix:// and loopback tcp:// engines are of use here".to_owned());
    };
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("it does not answer HTTP")?;
    let status = head.split_ascii_whitespace().nth(1).unwrap_or_default();
    if status != "200" {
        return Err(format!("it answers {path} with status {status}"));
    }
    Ok(body.to_owned())
}

fn ask(mut stream: impl Read + Write, path: &str) -> Result<String, String> {
    let mut answer = Vec::new();
    let request = format!("GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .and_then(|()| stream.read_to_end(&mut answer))
        .map_err(|error| format!("no answer: {error}"))?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_order_is_that_of_the_docker_cli() {
        let folder = tempfile::tempdir().unwrap();
        let meta = folder.path().join("contexts/meta/0123");
        fs::create_dir_all(&meta).unwrap();
        fs::write(
            meta.join("meta.json"),
            r#"{"Name":"lab","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///lab.sock","SkipTLSVerify":false}}}"#,
        )
        .unwrap();
        fs::write(folder.path().join("config.json"), r#"{"currentContext":"lab"}"#).unwrap();
        let check = |host: Option<&str>, context: Option<&str>, want: &[&str]| {
            let found = choose(host.map(str::to_owned), context.map(str::to_owned), folder.path());
            let hosts: Vec<_> = found.iter().map(|candidate| candidate.host.as_str()).collect();
            assert_eq!(hosts, want);
        };
        check(Some("unix:///mine"), None, &["unix:///mine", DEFAULT_SOCKET]);
        check(Some(DEFAULT_SOCKET), Some("lab"), &[DEFAULT_SOCKET]);
        check(None, None, &["unix:///lab.sock", DEFAULT_SOCKET]);
        check(None, Some("default"), &[DEFAULT_SOCKET]);
        check(None, Some("absent"), &[DEFAULT_SOCKET]);
    }

    #[test]
    fn an_engine_elsewhere_is_of_no_use() {
        let info = |kernel: &str, options: &[&str]| Info {
            kernel_version: kernel.to_owned(),
            security_options: Some(options.iter().map(|&option| option.to_owned()).collect()),
        };
        assert_eq!(suitable(&info("6.1", &["name=seccomp,profile=default"]), "6.1"), Ok(()));
        assert!(
            suitable(&info("6.10-linuxkit", &[]), "6.1").unwrap_err().contains("another machine")
        );
        assert!(
            suitable(&info("6.1", &["name=rootless"]), "6.1").unwrap_err().contains("rootless")
        );
        assert!(suitable(&Info::default(), "6.1").is_err());
    }

    #[test]
    fn a_server_that_is_no_engine_is_passed_over() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = format!("tcp://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n<html>").unwrap();
        });
        assert!(probe(&host).unwrap_err().contains("does not answer as a Docker Engine"));
        server.join().unwrap();
        assert!(probe("ssh://host").unwrap_err().contains("unix://"));
        assert!(probe("tcp://192.0.2.1:2375").unwrap_err().contains("another machine"));
    }
}
