//! Sync windows of a project. Pure: the time is an argument.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde_json::{Value, json};

use super::auth::glob;
use super::objects::{items, text};

/// The windows of `project` that concern `app`, and which of them are open at `now`.
pub(crate) fn windows<'p>(
    project: &'p Value,
    app: &Value,
    now: Timestamp,
) -> (Vec<&'p Value>, Vec<&'p Value>) {
    let assigned: Vec<&Value> =
        items(project, "/spec/syncWindows").iter().filter(|window| concerns(window, app)).collect();
    let active = assigned.iter().copied().filter(|window| is_open(window, now)).collect();
    (assigned, active)
}

/// Whether a sync may start: a person's (`manual`) or the controller's own.
pub(crate) fn can_sync(project: &Value, app: &Value, now: Timestamp, manual: bool) -> bool {
    let (assigned, active) = windows(project, app, now);
    let of = |windows: &[&Value], kind: &str| {
        windows.iter().filter(|one| text(one, "/kind") == kind).count()
    };
    let lets_manual =
        |window: &&&Value| window.pointer("/manualSync").and_then(Value::as_bool).unwrap_or(false);
    if of(&active, "deny") > 0 {
        return manual
            && active
                .iter()
                .filter(|one| text(one, "/kind") == "deny")
                .all(|one| lets_manual(&one));
    }
    if of(&active, "allow") > 0 || of(&assigned, "allow") == 0 {
        return true;
    }
    manual
        && assigned.iter().filter(|one| text(one, "/kind") == "allow").all(|one| lets_manual(&one))
}

/// The answer of `GET …/syncwindows`.
pub(crate) fn answer(project: &Value, app: &Value, now: Timestamp) -> Value {
    let (assigned, active) = windows(project, app, now);
    let can_sync = can_sync(project, app, now, true);
    if assigned.is_empty() {
        return json!({ "canSync": can_sync });
    }
    let shown = |windows: &[&Value]| -> Vec<Value> {
        let one = |window: &&Value| {
            json!({
                "kind": window["kind"], "schedule": window["schedule"], "duration": window["duration"],
                "manualSync": window["manualSync"].as_bool().unwrap_or(false),
            })
        };
        windows.iter().map(one).collect()
    };
    let mut answer = json!({ "assignedWindows": shown(&assigned), "canSync": can_sync });
    if !active.is_empty() {
        answer["activeWindows"] = shown(&active).into();
    }
    answer
}

fn concerns(window: &Value, app: &Value) -> bool {
    let any = |list: &str, value: &str| {
        items(window, list).iter().filter_map(Value::as_str).any(|pattern| glob(pattern, value))
    };
    any("/applications", text(app, "/metadata/name"))
        || any("/namespaces", text(app, "/spec/destination/namespace"))
        || any("/clusters", text(app, "/spec/destination/server"))
}

/// Whether a start of the schedule lies at most the duration back.
fn is_open(window: &Value, now: Timestamp) -> bool {
    let Some(duration) = duration(text(window, "/duration")) else { return false };
    let zone = match text(window, "/timeZone") {
        "" => TimeZone::UTC,
        name => TimeZone::get(name).unwrap_or(TimeZone::UTC),
    };
    let minutes = duration.as_secs() / 60;
    let fields: Vec<&str> = text(window, "/schedule").split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields[..] else { return false };
    (0..minutes.max(1)).any(|back| {
        let Ok(time) = now.to_zoned(zone.clone()).checked_sub(back.minutes()) else { return false };
        let weekday_now = i64::from(time.weekday().to_sunday_zero_offset());
        matches(minute, time.minute().into(), 0)
            && matches(hour, time.hour().into(), 0)
            && matches(day, time.day().into(), 1)
            && matches(month, time.month().into(), 1)
            && matches(weekday, weekday_now, 0)
    })
}

/// One field of a cron line: `*`, `n`, `a-b`, `*/n`, and lists of them.
fn matches(field: &str, value: i64, first: i64) -> bool {
    field.split(',').any(|part| {
        let (range, step) = part.split_once('/').unwrap_or((part, "1"));
        let step = step.parse::<i64>().unwrap_or(1).max(1);
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (first, i64::MAX),
            Some((from, to)) => (from.parse().unwrap_or(i64::MAX), to.parse().unwrap_or(i64::MIN)),
            None => (range.parse().unwrap_or(i64::MAX), range.parse().unwrap_or(i64::MIN)),
        };
        (from..=to).contains(&value) && (value - from) % step == 0
    })
}

/// Go's durations as windows use them: `24h`, `30m`, `1h30m`.
pub(crate) fn duration(text: &str) -> Option<SignedDuration> {
    let mut seconds = 0;
    let mut digits = String::new();
    for one in text.chars() {
        let unit = match one {
            '0'..='9' => {
                digits.push(one);
                continue;
            }
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        seconds += digits.parse::<i64>().ok()? * unit;
        digits.clear();
    }
    (digits.is_empty() && !text.is_empty()).then(|| SignedDuration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app() -> Value {
        json!({ "metadata": { "name": "web" }, "spec": { "destination": { "namespace": "shop" } } })
    }

    /// (automatic sync allowed, manual sync allowed) on Tuesday, 2026-11-24, 10:30 UTC.
    #[track_caller]
    fn check(windows: Value, want: (bool, bool)) {
        let project = json!({ "spec": { "syncWindows": windows } });
        let now: Timestamp = "2026-11-24T10:30:00Z".parse().unwrap();
        let got = (can_sync(&project, &app(), now, false), can_sync(&project, &app(), now, true));
        assert_eq!(got, want, "{project}");
    }

    #[test]
    fn windows_open_and_close() {
        let window = |kind: &str, schedule: &str, duration: &str, manual: bool| json!({ "kind": kind, "schedule": schedule, "duration": duration, "applications": ["w*"], "manualSync": manual });
        check(json!([]), (true, true));
        check(json!([window("deny", "* * * * *", "24h", false)]), (false, false));
        check(json!([window("deny", "* * * * *", "24h", true)]), (false, true));
        check(json!([window("deny", "0 10 * * 2", "1h", false)]), (false, false));
        check(json!([window("deny", "0 9 * * 2", "1h", false)]), (true, true));
        check(json!([window("allow", "0 10 * * 1-5", "1h", false)]), (true, true));
        check(json!([window("allow", "0 22 * * *", "1h", false)]), (false, false));
        check(json!([window("allow", "0 22 * * *", "1h", true)]), (false, true));
        let other = json!([{ "kind": "deny", "schedule": "* * * * *", "duration": "1h", "applications": ["other"] }]);
        check(other, (true, true));
    }
}
