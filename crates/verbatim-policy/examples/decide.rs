//! Decides over records in a file: what `cargo xtask bench policy` measures of the pure part.
//!
//! `decide make FILE COUNT` writes records, `decide FILE` verifies them and asks every gate. With one line for each record,
//! they are read as they come, as from a registry, and each is judged wherever there is a processor for it.

#[path = "../tests/many/mod.rs"]
mod many;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Lines, Write};
use std::process::ExitCode;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use many::Found;
use verbatim_policy::decide;
use verbatim_record::{JudgedRecord, RecordCollector, RecordJudge};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How many lines one thread takes at a time.
const AT_A_TIME: usize = 64;

#[expect(clippy::print_stderr, reason = "it is a program")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["make", file, count] => make(file, count),
        [file] => decided(file),
        _ => Err("decide make FILE COUNT, or decide FILE".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn make(file: &str, count: &str) -> Result<()> {
    let mut out = BufWriter::new(File::create(file)?);
    let records = many::records(count.parse()?).map_err(|error| error.to_string())?;
    for (found, bundle) in records {
        out.write_all(if found == Found::Release { b"r" } else { b"l" })?;
        out.write_all(bundle.bytes())?;
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

fn decided(file: &str) -> Result<()> {
    let lines = Mutex::new(BufReader::new(File::open(file)?).lines());
    let of_release = many::judge_of_release();
    let of_ledger = many::judge_of_ledger().ok_or("a name is wrong")?;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let (sender, receiver) = sync_channel(AT_A_TIME);
    let (mut release, mut ledger) = (RecordCollector::default(), RecordCollector::default());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let sender = sender.clone();
                scope.spawn(|| judge(&lines, &of_release, &of_ledger, sender))
            })
            .collect();
        drop(sender);
        for (found, judged) in receiver {
            if found == Found::Release { release.add(judged) } else { ledger.add(judged) }
        }
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a thread failed")?)
    })?;
    let facts = many::facts(release.finish(), ledger.finish()).ok_or("a name is wrong")?;
    let gates = many::gates().map_err(|error| error.to_string())?;
    let decision = decide(&gates, &facts);
    match decision.allowed && facts.records.is_ok_and(|records| records.rejected.is_empty()) {
        true => Ok(()),
        false => Err(format!("it should be allowed, with no record rejected: {decision}").into()),
    }
}

/// Judges lines until there are none.
fn judge(
    lines: &Mutex<Lines<BufReader<File>>>,
    of_release: &RecordJudge,
    of_ledger: &RecordJudge,
    sender: SyncSender<(Found, JudgedRecord)>,
) -> Result<()> {
    loop {
        let some = {
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.by_ref().take(AT_A_TIME).collect::<std::io::Result<Vec<String>>>()?
        };
        if some.is_empty() {
            return Ok(());
        }
        for line in &some {
            let judged = match line.split_at(1) {
                ("r", bundle) => (Found::Release, of_release.judge(bundle.as_bytes())),
                (_, bundle) => (Found::Ledger, of_ledger.judge(bundle.as_bytes())),
            };
            sender.send(judged)?;
        }
    }
}
