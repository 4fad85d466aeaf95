//! Windows of time: how to write them, whether one is open, when the next one opens. Time zones are values here; the
//! caller gets their rules.

use std::fmt;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde::{Serialize, Serializer};

/// How far ahead to look for the next opening: a year, and what a holiday at its end may add.
const HORIZON_DAYS: i64 = 400;

const DAY: i16 = 24 * 60;

/// A recurring piece of time: on some dates, on some days of the week, from one time of the day to another.
///
/// Written `[DATES] [DAYS] [TIMES]`, at least one of them: `2026-12-20..2027-01-06`, `12-20..01-06` (every year),
/// `Mon-Thu`, `Sat,Sun`, `09:00-16:00`, `22:00-02:00` (into the next day; it belongs to the day on which it begins).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    text: String,
    dates: Dates,
    days: [bool; 7],
    /// Minutes after midnight. The end is at most a day after the begin, so it may be on the next day.
    from: i16,
    to: i16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dates {
    All,
    Between(Date, Date),
    /// Month and day; the first may come after the second, over the end of the year.
    Yearly((i8, i8), (i8, i8)),
}

/// Why a text is not a window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// No dates, days or times.
    #[error("an empty window")]
    Empty,
    /// A part is neither dates, days nor times, or comes a second time or out of order.
    #[error(
        "`{0}` is not expected here: a window is dates, then days, then times, for example `Mon-Thu 09:00-16:00`"
    )]
    Part(String),
    /// Not a day of the calendar.
    #[error("`{0}` is not a date, such as 2026-12-24 or 12-24")]
    Date(String),
    /// The end of some dates comes before their begin.
    #[error("`{0}` ends before it begins")]
    Backwards(String),
    /// Not a day of the week.
    #[error("`{0}` is not a day of the week (Mon, Tue, Wed, Thu, Fri, Sat, Sun)")]
    Day(String),
    /// Not a time of the day.
    #[error("`{0}` is not a time of the day (00:00 to 24:00)")]
    Time(String),
    /// From a time to the same time.
    #[error("`{0}` has no length, so it could never be open")]
    NoLength(String),
}

impl Window {
    /// Whether the window covers this time on the clock of its zone.
    fn covers(&self, local: DateTime) -> bool {
        let minute = i16::from(local.hour()) * 60 + i16::from(local.minute());
        let begins = |date: Date| self.is_on(date);
        let today = begins(local.date()) && self.from <= minute && minute < self.to;
        let since_yesterday = minute + DAY < self.to && local.date().yesterday().is_ok_and(begins);
        today || since_yesterday
    }

    /// Whether it begins on this date.
    fn is_on(&self, date: Date) -> bool {
        let of_year = (date.month(), date.day());
        let in_dates = match self.dates {
            Dates::All => true,
            Dates::Between(first, last) => first <= date && date <= last,
            Dates::Yearly(first, last) if first <= last => first <= of_year && of_year <= last,
            Dates::Yearly(first, last) => first <= of_year || of_year <= last,
        };
        in_dates && self.days[day_index(date.weekday())]
    }

    /// When it begins and ends, if it begins on this date.
    fn edges(&self, date: Date) -> Option<[DateTime; 2]> {
        self.is_on(date).then_some(())?;
        let at =
            |minutes: i16| date.to_datetime(Default::default()).checked_add(minutes.minutes()).ok();
        Some([at(self.from)?, at(self.to)?])
    }
}

fn day_index(day: Weekday) -> usize {
    usize::try_from(day.to_monday_zero_offset()).unwrap_or_default()
}

impl std::str::FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let mut window = Self {
            text: text.split_whitespace().collect::<Vec<_>>().join(" "),
            dates: Dates::All,
            days: [true; 7],
            from: 0,
            to: DAY,
        };
        // Dates, days, times: each at most once, in this order.
        let mut place = 0;
        for part in text.split_whitespace() {
            let kind = match part.as_bytes() {
                bytes if bytes.contains(&b':') => 3,
                [first, ..] if first.is_ascii_digit() => 1,
                _ => 2,
            };
            if kind <= place {
                return Err(WindowError::Part(part.to_owned()));
            }
            place = kind;
            match kind {
                1 => window.dates = dates(part)?,
                2 => window.days = days(part)?,
                _ => (window.from, window.to) = times(part)?,
            }
        }
        if place == 0 { Err(WindowError::Empty) } else { Ok(window) }
    }
}

fn dates(text: &str) -> Result<Dates, WindowError> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let wrong = |part: &str| WindowError::Date(part.to_owned());
    if first.len() == "12-24".len() && last.len() == first.len() {
        // In a leap year every day of a year exists.
        let of_year = |part: &str| {
            let date: Date = format!("2024-{part}").parse().map_err(|_| wrong(part))?;
            Ok((date.month(), date.day()))
        };
        return Ok(Dates::Yearly(of_year(first)?, of_year(last)?));
    }
    let date = |part: &str| part.parse::<Date>().map_err(|_| wrong(part));
    let (first, last) = (date(first)?, date(last)?);
    if last < first {
        return Err(WindowError::Backwards(text.to_owned()));
    }
    Ok(Dates::Between(first, last))
}

fn days(text: &str) -> Result<[bool; 7], WindowError> {
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        let mut current = first;
        days[current] = true;
        // `Fri-Mon` goes over the end of the week.
        while current != last {
            current = (current + 1) % 7;
            days[current] = true;
        }
    }
    Ok(days)
}

fn day(text: &str) -> Result<usize, WindowError> {
    let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let wanted = text.to_ascii_lowercase();
    names.iter().position(|name| *name == wanted).ok_or_else(|| WindowError::Day(text.to_owned()))
}

fn times(text: &str) -> Result<(i16, i16), WindowError> {
    let (from, to) = text.split_once('-').ok_or_else(|| WindowError::Time(text.to_owned()))?;
    let (from, to) = (minutes(from)?, minutes(to)?);
    if from == to || from == DAY {
        return Err(WindowError::NoLength(text.to_owned()));
    }
    Ok((from, if to < from { to + DAY } else { to }))
}

fn minutes(text: &str) -> Result<i16, WindowError> {
    let parse = || {
        let (hours, minutes) = text.split_once(':')?;
        let is_clock = hours.len() == 2 && minutes.len() == 2;
        let all_digits = hours.bytes().chain(minutes.bytes()).all(|byte| byte.is_ascii_digit());
        (is_clock && all_digits).then_some(())?;
        let (hours, minutes): (i16, i16) = (hours.parse().ok()?, minutes.parse().ok()?);
        (minutes < 60 && hours * 60 + minutes <= DAY).then_some(hours * 60 + minutes)
    };
    parse().ok_or_else(|| WindowError::Time(text.to_owned()))
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether a window lets releases in or keeps them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowKind {
    /// Releases may enter while it is open.
    Allow,
    /// Releases may not enter while it is open, whatever else is.
    Deny,
}

/// A window in a time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZonedWindow {
    /// Whether it allows or denies.
    pub kind: WindowKind,
    /// The recurring time, by the clock of the zone.
    pub window: Window,
    /// The IANA name of the zone.
    pub zone_name: String,
    /// The rules of the zone.
    pub zone: TimeZone,
}

impl ZonedWindow {
    /// Whether it is open.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.window.covers(self.zone.to_datetime(now))
    }

    /// The moments of this window, from the day before `now`, at which something may change.
    fn edges(&self, now: Timestamp) -> Vec<Timestamp> {
        let limit =
            now.saturating_add(SignedDuration::from_hours(24 * HORIZON_DAYS)).unwrap_or(now);
        let mut moments = Vec::new();
        let mut date = self.zone.to_datetime(now).date();
        date = date.yesterday().unwrap_or(date);
        for _ in 0..HORIZON_DAYS {
            // A time that a change of the clock leaves out becomes the one that is shown instead; one that comes twice
            // begins the first time.
            let zoned = |edge: DateTime| self.zone.to_timestamp(edge).ok();
            moments.extend(self.window.edges(date).into_iter().flatten().filter_map(zoned));
            let Ok(next) = date.tomorrow() else { break };
            date = next;
        }
        // A window that begins in an hour that is left out opens with the change itself.
        let changes = self.zone.following(now).map(|change| change.timestamp());
        moments.extend(changes.take_while(|change| *change < limit));
        moments
    }
}

impl fmt::Display for ZonedWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.kind {
            WindowKind::Allow => "allow",
            WindowKind::Deny => "deny",
        };
        write!(f, "{verb} {} ({})", self.window, self.zone_name)
    }
}

impl Serialize for ZonedWindow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whether releases may enter: some `allow` is open, or there is none, and no `deny` is.
pub fn is_open(windows: &[ZonedWindow], now: Timestamp) -> bool {
    let of = |kind: WindowKind| windows.iter().filter(move |window| window.kind == kind);
    let allowed =
        of(WindowKind::Allow).next().is_none() || of(WindowKind::Allow).any(|it| it.is_open(now));
    allowed && !of(WindowKind::Deny).any(|window| window.is_open(now))
}

/// The first moment after `now` at which releases may enter; `None`: not within 400 days.
pub fn next_opening(windows: &[ZonedWindow], now: Timestamp) -> Option<Timestamp> {
    let mut moments: Vec<Timestamp> =
        windows.iter().flat_map(|window| window.edges(now)).filter(|edge| *edge > now).collect();
    moments.sort_unstable();
    moments.into_iter().find(|moment| is_open(windows, *moment))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(kind: WindowKind, text: &str, zone: &str) -> ZonedWindow {
        ZonedWindow {
            kind,
            window: text.parse().unwrap(),
            zone_name: zone.to_owned(),
            zone: TimeZone::get(zone).unwrap(),
        }
    }

    fn allow(text: &str, zone: &str) -> ZonedWindow {
        window(WindowKind::Allow, text, zone)
    }

    fn deny(text: &str, zone: &str) -> ZonedWindow {
        window(WindowKind::Deny, text, zone)
    }

    /// Whether it is open at a time, and when it opens next.
    #[track_caller]
    fn check(windows: &[ZonedWindow], now: &str, open: bool, next: Option<&str>) {
        let now: Timestamp = now.parse().unwrap();
        assert_eq!(is_open(windows, now), open, "{now}");
        if !open {
            let next = next.map(|next| next.parse::<Timestamp>().unwrap());
            assert_eq!(next_opening(windows, now), next, "{now}");
        }
    }

    #[test]
    fn office_hours() {
        // Kyiv is two hours ahead in winter, three in summer. The 24th of November 2026 is a Tuesday.
        let office = [allow("Mon-Thu 09:00-16:00", "Europe/Kyiv")];
        check(&office, "2026-11-24T06:59:59Z", false, Some("2026-11-24T07:00:00Z"));
        check(&office, "2026-11-24T07:00:00Z", true, None);
        check(&office, "2026-11-24T13:59:59Z", true, None);
        check(&office, "2026-11-24T14:00:00Z", false, Some("2026-11-25T07:00:00Z"));
        check(&office, "2026-11-26T14:00:00Z", false, Some("2026-11-30T07:00:00Z"));
        check(&office, "2026-07-14T06:00:00Z", true, None);
        check(&office, "2026-07-14T13:00:00Z", false, Some("2026-07-15T06:00:00Z"));
    }

    #[test]
    fn over_the_change_of_the_clock() {
        // In Berlin 02:00 becomes 03:00 on 2026-03-29, and 03:00 becomes 02:00 on 2026-10-25.
        let night = [allow("02:30-04:00", "Europe/Berlin")];
        check(&night, "2026-03-29T00:30:00Z", false, Some("2026-03-29T01:00:00Z"));
        check(&night, "2026-03-29T01:00:00Z", true, None);
        let left_out = [allow("02:15-02:45", "Europe/Berlin")];
        check(&left_out, "2026-03-29T00:00:00Z", false, Some("2026-03-30T00:15:00Z"));
        let twice = [allow("02:30-02:45", "Europe/Berlin")];
        check(&twice, "2026-10-25T00:00:00Z", false, Some("2026-10-25T00:30:00Z"));
        check(&twice, "2026-10-25T00:30:00Z", true, None);
        check(&twice, "2026-10-25T00:50:00Z", false, Some("2026-10-26T01:30:00Z"));
        check(&twice, "2026-10-25T01:30:00Z", true, None);
    }

    #[test]
    fn into_the_next_day() {
        let nights = [allow("Fri 22:00-02:00", "UTC")];
        check(&nights, "2026-11-27T21:59:00Z", false, Some("2026-11-27T22:00:00Z"));
        check(&nights, "2026-11-28T01:59:00Z", true, None);
        check(&nights, "2026-11-28T02:00:00Z", false, Some("2026-12-04T22:00:00Z"));
        check(&nights, "2026-11-28T23:00:00Z", false, Some("2026-12-04T22:00:00Z"));
    }

    #[test]
    fn what_is_denied_stays_denied() {
        let windows = [
            allow("Mon-Fri 09:00-17:00", "UTC"),
            deny("12-20..01-06", "UTC"),
            deny("Fri 12:00-24:00", "UTC"),
        ];
        check(&windows, "2026-11-27T11:59:00Z", true, None);
        check(&windows, "2026-11-27T12:00:00Z", false, Some("2026-11-30T09:00:00Z"));
        check(&windows, "2026-12-21T10:00:00Z", false, Some("2027-01-07T09:00:00Z"));
        check(&windows, "2027-01-06T10:00:00Z", false, Some("2027-01-07T09:00:00Z"));
        // Only denials: open whenever none of them is.
        let freeze = [deny("2026-12-24..2026-12-26", "America/New_York")];
        check(&freeze, "2026-12-24T04:59:59Z", true, None);
        check(&freeze, "2026-12-24T05:00:00Z", false, Some("2026-12-27T05:00:00Z"));
    }

    #[test]
    fn dates_of_every_year() {
        let spring = [allow("03-10..03-20", "UTC")];
        check(&spring, "2026-03-09T12:00:00Z", false, Some("2026-03-10T00:00:00Z"));
        check(&spring, "2026-03-10T00:00:00Z", true, None);
        check(&spring, "2026-03-20T23:59:00Z", true, None);
        check(&spring, "2026-03-21T00:00:00Z", false, Some("2027-03-10T00:00:00Z"));
        check(&spring, "2026-12-15T12:00:00Z", false, Some("2027-03-10T00:00:00Z"));
    }

    #[test]
    fn some_windows_never_open() {
        check(&[allow("2020-01-01", "UTC")], "2026-11-24T12:00:00Z", false, None);
        let denied = [allow("Mon", "UTC"), deny("Mon-Sun", "UTC")];
        check(&denied, "2026-11-24T12:00:00Z", false, None);
        // Or not within 400 days: that of the change of the clock.
        let later = [allow("2027-03-28 02:15-04:00", "Europe/Berlin")];
        check(&later, "2026-02-21T01:00:00Z", false, None);
        check(&later, "2026-02-21T01:00:01Z", false, Some("2027-03-28T01:00:00Z"));
        check(&[], "2026-11-24T12:00:00Z", true, None);
    }

    #[test]
    fn what_is_a_window() {
        use WindowError::{Backwards, Date, Day, Empty, NoLength, Part, Time};
        let cases: [(&str, Option<WindowError>); 22] = [
            ("Mon-Thu 09:00-16:00", None),
            ("sat,Sun", None),
            ("Fri-Mon", None),
            ("00:00-24:00", None),
            ("2026-12-20..2027-01-06 Mon 10:00-11:00", None),
            ("02-29", None),
            ("", Some(Empty)),
            ("  ", Some(Empty)),
            ("Mon-Thu 9:00-16:00", Some(Time("9:00".to_owned()))),
            ("25:00-26:00", Some(Time("25:00".to_owned()))),
            ("09:60-10:00", Some(Time("09:60".to_owned()))),
            ("24:01-24:30", Some(Time("24:01".to_owned()))),
            ("09:00", Some(Time("09:00".to_owned()))),
            ("09:00-09:00", Some(NoLength("09:00-09:00".to_owned()))),
            ("24:00-01:00", Some(NoLength("24:00-01:00".to_owned()))),
            ("Mon-Funday", Some(Day("Funday".to_owned()))),
            ("2026-02-30", Some(Date("2026-02-30".to_owned()))),
            ("13-01", Some(Date("13-01".to_owned()))),
            ("2026-12-24..2026-12-20", Some(Backwards("2026-12-24..2026-12-20".to_owned()))),
            ("09:00-10:00 Mon", Some(Part("Mon".to_owned()))),
            ("Mon Tue", Some(Part("Tue".to_owned()))),
            ("+9:00-10:00", Some(Time("+9:00".to_owned()))),
        ];
        for (text, want) in cases {
            let got = text.parse::<Window>();
            assert_eq!(got.clone().err(), want, "{text}");
            if let Ok(window) = got {
                assert_eq!(window.to_string(), text);
            }
        }
    }
}
