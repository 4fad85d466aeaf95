//! The smoke test of the demo: asks the running application which build it is and where, and compares.
//!
//! `smoke URL COMMIT ENVIRONMENT`. It pulls no image and trusts no deployment tool: only the application's own word
//! counts.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

/// An application that runs answers at once.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, commit, environment] = &arguments[..] else {
        eprintln!("usage: smoke URL COMMIT ENVIRONMENT");
        return ExitCode::from(2);
    };
    let answer = match ask(url) {
        Ok(answer) => answer,
        Err(error) => {
            eprintln!("smoke: {url}: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("smoke: {url} answers {}", answer.trim());
    let wrong = compare(&answer, &[("commit", commit), ("environment", environment)]);
    for line in &wrong {
        eprintln!("smoke: {line}");
    }
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The body of the answer to a GET, which must be 200.
fn ask(url: &str) -> Result<String, String> {
    let authority =
        url.strip_prefix("http://").ok_or("only http:// is asked")?.trim_end_matches('/');
    let address =
        if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let address = address
        .to_socket_addrs()
        .map_err(|error| error.to_string())?
        .next()
        .ok_or("the name has no address")?;
    let mut stream =
        TcpStream::connect_timeout(&address, PATIENCE).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
    let request = format!("GET / HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no HTTP answer")?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(format!("answered {status:?}"));
    }
    Ok(body.to_owned())
}

/// What the answer says otherwise than it should. The application writes its JSON without spaces.
fn compare(answer: &str, want: &[(&str, &String)]) -> Vec<String> {
    want.iter()
        .filter(|(name, value)| !answer.contains(&format!("\"{name}\":\"{value}\"")))
        .map(|(name, value)| format!("the {name} should be {value}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_told() {
        let answer = r#"{"name":"demo","commit":"c0ffee","version":"1","environment":"dev"}"#;
        for (commit, environment, want) in [
            ("c0ffee", "dev", 0),
            ("c0ffe", "dev", 1),
            ("c0ffee", "production", 1),
            ("0", "production", 2),
        ] {
            let wrong = compare(
                answer,
                &[("commit", &commit.to_owned()), ("environment", &environment.to_owned())],
            );
            assert_eq!(wrong.len(), want, "{wrong:?}");
        }
    }
}
