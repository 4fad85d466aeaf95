//! Whether the clock of this machine agrees with those of the servers. A decision on a wrong clock lets a release in too
//! early, and its record counts for nobody until that time has come. Pure.

use jiff::SignedDuration;
use verbatim_console::{ExitStatus, Failure};
use verbatim_http::ClockReading;

/// How far two clocks may be apart. Machines that ask a time server differ by less than a second.
pub(crate) const ALLOWED: SignedDuration = SignedDuration::from_secs(60);

/// How a server's clock stands to ours, in words; it fails if they are too far apart.
pub(crate) fn judge(host: &str, reading: &ClockReading) -> Result<String, Failure> {
    let ahead = reading.ahead();
    let off = match ahead.as_secs() {
        0 => "the same as ours".to_owned(),
        seconds @ 1.. => format!("{seconds} s ahead of ours"),
        seconds => format!("{} s behind ours", seconds.unsigned_abs()),
    };
    if ahead.abs() <= ALLOWED {
        return Ok(format!("it is {off}"));
    }
    let ClockReading { ours, theirs } = reading;
    let what = format!("the clock of {host} is {off}: there it is {theirs:.0}, here {ours:.0}");
    Err(Failure::new(ExitStatus::No, what).hint(format!(
        "set the clock that is wrong: gates, claims and records depend on it, and more than {} s are refused",
        ALLOWED.as_secs()
    )))
}

/// Fails if one of some servers' clocks is too far from ours.
pub(crate) fn check<'a>(
    readings: impl IntoIterator<Item = (&'a str, Option<ClockReading>)>,
) -> Result<(), Failure> {
    let known = readings.into_iter().filter_map(|(host, reading)| Some((host, reading?)));
    for (host, reading) in known {
        judge(host, &reading)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_allowed() {
        let reading = |ahead: i64| {
            let ours = "2026-11-28T10:00:00Z".parse().unwrap();
            ClockReading { ours, theirs: ours + SignedDuration::from_secs(ahead) }
        };
        let cases = [
            (0, Ok("it is the same as ours")),
            (60, Ok("it is 60 s ahead of ours")),
            (-60, Ok("it is 60 s behind ours")),
            (
                61,
                Err(
                    "the clock of r.example is 61 s ahead of ours: there it is 2026-11-28T10:01:01Z, here 2026-11-28T10:00:00Z",
                ),
            ),
            (
                -7200,
                Err(
                    "the clock of r.example is 7200 s behind ours: there it is 2026-11-28T08:00:00Z, here 2026-11-28T10:00:00Z",
                ),
            ),
        ];
        for (ahead, want) in cases {
            let told = judge("r.example", &reading(ahead));
            let all = [("a.example", None), ("r.example", Some(reading(ahead)))];
            assert_eq!(check(all).is_ok(), want.is_ok(), "{ahead}");
            let told = told.map_err(|failure| failure.to_string());
            assert_eq!(told.as_deref().map_err(String::as_str), want, "{ahead}");
        }
    }
}
