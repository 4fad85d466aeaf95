//! A web application small enough to read in a minute, and honest about what it is.
//!
//! `/` answers with its commit, version and environment, `/healthz` with `ok`. Commit and version are baked into
//! the image when it is built; the environment is told by the chart. So whoever asks the running application
//! learns which build runs, and where. It knows nothing about how it was delivered.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use std::{env, thread};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// A client that is slower than this is not worth a thread.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the application says about itself.
#[derive(Debug)]
struct About {
    commit: String,
    version: String,
    environment: String,
}

impl About {
    fn from_env() -> About {
        let mut about = About {
            commit: variable("COMMIT", "unknown"),
            version: variable("VERSION", "unknown"),
            environment: variable("ENVIRONMENT", "unknown"),
        };
        if fault() == "wrong-answer" {
            about.commit = "0".repeat(40);
        }
        about
    }

    fn json(&self) -> String {
        format!(
            "{{\"name\":\"demo\",\"commit\":{},\"version\":{},\"environment\":{}}}\n",
            quoted(&self.commit),
            quoted(&self.version),
            quoted(&self.environment)
        )
    }
}

/// How this build is broken on purpose: `wrong-answer`, `crash`, or not at all.
fn fault() -> String {
    variable("FAULT", "")
}

fn variable(name: &str, default: &str) -> String {
    env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())
}

fn main() -> ExitCode {
    if fault() == "crash" {
        eprintln!("demo: this build was made to crash at start");
        return ExitCode::FAILURE;
    }
    // What a Job can do with this image: something that ends.
    if env::args().any(|argument| argument == "--version") {
        println!("demo {}", variable("VERSION", "unknown"));
        return ExitCode::SUCCESS;
    }
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until a signal asks it to end.
fn serve() -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    // With host networking each pod has an address of its own, and only that one is its to take.
    let address = format!("{}:{}", variable("POD_IP", "127.0.0.1"), variable("PORT", "8080"));
    let listener = TcpListener::bind(&address).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    })?;
    let about = Arc::new(About::from_env());
    eprintln!("demo: {} listens on {address}", about.commit);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let about = Arc::clone(&about);
            // A client that goes away is its own affair.
            thread::spawn(move || drop(answer(&stream, &about)));
        }
    });
    signals.forever().next();
    Ok(())
}

fn answer(stream: &TcpStream, about: &About) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    // The headers are of no interest, but a client may not like a connection that is closed on unread bytes.
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let (status, kind, body) = respond(&request, about);
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = stream;
    stream.write_all(answer.as_bytes())
}

/// The answer to a request line: status, content type, body.
fn respond(request: &str, about: &About) -> (&'static str, &'static str, String) {
    let mut words = request.split(' ');
    match (words.next(), words.next()) {
        (Some("GET"), Some("/")) => ("200 OK", "application/json", about.json()),
        (Some("GET"), Some("/healthz")) => ("200 OK", "text/plain", "ok\n".to_owned()),
        (Some("GET"), Some(_)) => ("404 Not Found", "text/plain", "not found\n".to_owned()),
        _ => ("405 Method Not Allowed", "text/plain", "only GET\n".to_owned()),
    }
}

/// A JSON string (RFC 8259, section 7).
fn quoted(text: &str) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            control if control < ' ' => json.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => json.push(other),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_answers_what_was_asked() {
        let about = About {
            commit: "c0ffee".to_owned(),
            version: "1.2".to_owned(),
            environment: "dev".to_owned(),
        };
        for (request, status) in [
            ("GET / HTTP/1.1", "200 OK"),
            ("GET /healthz HTTP/1.1", "200 OK"),
            ("GET /x HTTP/1.1", "404 Not Found"),
            ("POST / HTTP/1.1", "405 Method Not Allowed"),
            ("", "405 Method Not Allowed"),
        ] {
            assert_eq!(respond(request, &about).0, status, "{request}");
        }
        assert_eq!(
            about.json(),
            "{\"name\":\"demo\",\"commit\":\"c0ffee\",\"version\":\"1.2\",\"environment\":\"dev\"}\n"
        );
    }

    #[test]
    fn strings_are_json() {
        assert_eq!(quoted("a\"b\\c\n"), r#""a\"b\\c\u000a""#);
    }
}
