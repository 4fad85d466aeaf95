//! Logs: a stream of lines of all pods that are meant.

use std::time::Duration;

use tokio::time::timeout;

use super::Client;
use crate::api::error::{Error, ErrorKind};
use crate::api::request::{self, AppRef, LogQuery};
use crate::model::{LogEntry, LogLine};

/// The longest line of a log that is kept. The server itself gives up at less.
const LONGEST_LINE: usize = 16 << 20;

impl Client {
    /// Reads logs, line by line, until they end. Without `follow` a silence as long as the deadline of a read is an
    /// error; with it the silence may last.
    pub async fn logs(
        &self,
        app: &AppRef,
        wanted: &LogQuery,
        mut line: impl FnMut(LogEntry),
    ) -> Result<(), Error> {
        let request = request::logs(app, wanted);
        let fail = |kind| self.error(&request, kind);
        // A pod that has not written yet has nothing to send, headers included.
        let patience = if wanted.follow {
            Duration::from_secs(24 * 3600)
        } else {
            self.limit(self.0.timeouts.read)
        };
        let mut stream = self.open_lines(&request, patience).await.map_err(fail)?;
        let mut pending = Vec::new();
        loop {
            let chunk = match timeout(patience, stream.next_whole()).await {
                Err(_) => return Err(fail(ErrorKind::Timeout(patience))),
                Ok(chunk) => chunk.map_err(fail)?,
            };
            let Some(chunk) = chunk else { return Ok(()) };
            pending.extend_from_slice(&chunk);
            let mut start = 0;
            while let Some(end) = pending[start..].iter().position(|byte| *byte == b'\n') {
                if let Some(entry) = read(&pending[start..start + end]).map_err(fail)? {
                    line(entry);
                }
                start += end + 1;
            }
            pending.drain(..start);
            if pending.len() > LONGEST_LINE {
                let reason = "a line of the log does not end".to_owned();
                return Err(fail(ErrorKind::Malformed { length: pending.len(), reason }));
            }
        }
    }
}

/// One line of the stream. `None`: nothing, or the mark of its end.
fn read(line: &[u8]) -> Result<Option<LogEntry>, ErrorKind> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let line: LogLine = serde_json::from_slice(line).map_err(|error| ErrorKind::Malformed {
        length: line.len(),
        reason: format!("a line of the log is not as expected, column {}", error.column()),
    })?;
    if let Some(error) = line.error {
        return Err(ErrorKind::ServerError { status: 200, message: error.message.to_string() });
    }
    Ok(line.result.filter(|entry| !entry.last))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as Argo CD 3.6.1 sends them; the second when the node of a pod does not answer.
    #[test]
    fn lines_failures_and_the_end_are_told_apart() {
        let cases = [
            (
                r#"{"result":{"content":"hello","timeStamp":"2026-11-25T02:53:49Z","last":false,"timeStampStr":"2026-11-25T02:53:49.9Z","podName":"look-1"}}"#,
                Some(("hello", false)),
            ),
            (
                r#"{"result":{"content":"dial tcp 127.0.0.1:10250: connect: connection refused","timeStamp":null,"last":false,"timeStampStr":"0001-01-01T00:00:00Z","podName":""}}"#,
                Some(("dial tcp 127.0.0.1:10250: connect: connection refused", true)),
            ),
            (
                r#"{"result":{"content":"","timeStamp":"2026-11-25T02:53:49Z","last":true,"timeStampStr":"2026-11-25T02:53:49.9Z","podName":""}}"#,
                None,
            ),
            ("", None),
        ];
        for (text, want) in cases {
            let got = read(text.as_bytes()).unwrap();
            let got = got.as_ref().map(|entry| (entry.content.as_str(), entry.is_failure()));
            assert_eq!(got, want, "{text}");
        }
        assert!(read(b"{").is_err());
        let error = read(br#"{"error":{"grpc_code":2,"message":"gone"}}"#).unwrap_err();
        assert!(error.to_string().contains("gone"), "{error}");
    }
}
