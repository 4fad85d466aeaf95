//! What conditions yield, and which are refused before that.

use serde_json::json;

use super::*;

const KNOWN: &[&str] = &["release", "records"];

fn variables() -> Variables {
    Variables::from([
        (
            "release".to_owned(),
            json!({ "tag": "1.2", "labels": { "team": "web" }, "size": 3, "builtAt": "2026-11-24T10:00:00Z" }),
        ),
        (
            "records".to_owned(),
            json!({ "tests": [{ "ok": true, "n": 1 }, { "ok": false, "n": 2 }] }),
        ),
    ])
}

#[track_caller]
fn check(text: &str, want: Result<bool, &str>) {
    let now = "2026-11-24T12:00:00Z".parse().unwrap();
    let condition = Condition::parse(text, KNOWN).unwrap();
    let got = condition.holds(&variables(), now).map_err(|error| error.to_string());
    assert_eq!(got, want.map_err(ToOwned::to_owned), "{text}");
}

#[test]
fn conditions_are_asked() {
    check("release.labels.team == 'web'", Ok(true));
    check("release.labels.team == 'db'", Ok(false));
    check("release.tag.startsWith('1.') && release.size < 4", Ok(true));
    check("has(release.labels.owner) || release.size == 3", Ok(true));
    check("records.tests.exists(test, test.ok && test.n == 1)", Ok(true));
    check("records.tests.all(test, test.ok)", Ok(false));
    check("records.tests.filter(test, test.ok).size() == 1", Ok(true));
    check("records.tests.map(test, test.n * 2) == [2, 4]", Ok(true));
    check("now - timestamp(release.builtAt) == duration('2h')", Ok(true));
    check("now < timestamp('2026-12-24T00:00:00Z')", Ok(true));
    check("now.getDayOfWeek() == 2", Ok(true));
    check("now.getHours('Europe/Kyiv') == 14", Ok(true));
    check("true", Ok(true));
}

#[test]
fn what_goes_wrong_is_no_yes() {
    check("release.labls.team == 'web'", Err("there is no field `release.labls`"));
    check("release.labels.owner == 'web'", Err("there is no field `release.labels.owner`"));
    check("records.tests.exists(test, test.passed)", Err("there is no field `test.passed`"));
    check("release.labels['owner'] == 'web'", Err("there is no field `owner`"));
    check("release.size", Err("it gives a int, not true or false"));
    check(
        "release.tag > 3",
        Err("found no matching overload for '_>_' applied to '(string, int)'"),
    );
    let bad = Condition::parse("timestamp(release.tag) < now", KNOWN).unwrap();
    assert!(bad.holds(&variables(), Timestamp::UNIX_EPOCH).is_err());
    // A variable that is known, and that nobody filled in.
    let unset = Condition::parse("records.tests.size() == 0", KNOWN).unwrap();
    assert!(unset.holds(&Variables::new(), Timestamp::UNIX_EPOCH).is_err());
    check("1 / (release.size - 3) == 0", Err("Division by zero of Int(1)"));
}

#[test]
fn a_loop_ends() {
    let many: Vec<_> = (0..10_000).map(|n| json!({ "n": n })).collect();
    let variables = Variables::from([("records".to_owned(), json!({ "tests": many }))]);
    let ask = |text: &str| {
        Condition::parse(text, KNOWN).unwrap().holds(&variables, Timestamp::UNIX_EPOCH)
    };
    assert_eq!(ask("records.tests.all(a, a.n >= 0)"), Ok(true));
    let too_many = Err(EvaluationError::TooManySteps);
    // `map` and `filter` copy what they have so far in each turn.
    assert_eq!(ask("records.tests.filter(a, a.n > 4).size() == 9995"), too_many);
    assert_eq!(ask("records.tests.all(a, records.tests.exists(b, b.n == a.n))"), too_many);
    // Not even a branch that forgets errors forgets this one.
    assert_eq!(ask("true || records.tests.all(a, records.tests.all(b, b.n >= 0))"), Ok(true));
    assert_eq!(ask("records.tests.all(a, records.tests.all(b, b.n >= 0)) || true"), too_many);
    assert_eq!(
        ask("records.tests.map(a, records.tests.map(b, records.tests.map(c, 1))).size() > 0"),
        too_many
    );
}

#[test]
fn what_cannot_be_asked_is_refused_when_it_is_read() {
    #[track_caller]
    fn refused(text: &str, want: &str) {
        let error = Condition::parse(text, KNOWN).unwrap_err().to_string();
        assert!(error.contains(want), "{text}: {error}");
    }
    refused("", "does not compile");
    refused("release.tag ==", "does not compile");
    refused("release.tag = 'a'", "does not compile");
    refused("relase.tag == 'a'", "unknown name `relase`; known are release, records, now");
    refused("records.tests.exists(test, tst.ok)", "unknown name `tst`");
    refused("test.ok && records.tests.exists(test, test.ok)", "unknown name `test`");
    refused("release.tag.matches('a*')", "unknown function `matches`");
    refused("exec('rm')", "unknown function `exec`");
    refused(&"x".repeat(1001), "it has 1001 bytes");
    refused(&format!("{}true{}", "(".repeat(17), ")".repeat(17)), "nested too deeply");
    assert!(Condition::parse(&format!("{}true", "!".repeat(996)), KNOWN).is_ok());
    let fields = |count: usize| format!("release{}", ".a".repeat(count));
    // A list, so many sums of three parts, and two parts more.
    let parts = |more: &str| format!("[{}1, 1{more}]", "1+1,".repeat(199));
    for (most, one_more) in [
        (fields(120), fields(121)),
        (format!("{}.all(a, a)", fields(119)), format!("{}.all(a, a)", fields(120))),
        (format!("[1].all(a, {})", fields(118)), format!("[1].all(a, {})", fields(119))),
        (parts(""), parts(", 1")),
    ] {
        assert!(Condition::parse(&most, KNOWN).is_ok(), "{most}");
        refused(&one_more, "too many parts");
    }
    refused(&vec!["1"; 400].join("+"), "");
    refused(&"true?".repeat(100), "nested too deeply");
    refused(&"[".repeat(1000), "nested too deeply");
    refused(&"{1:".repeat(300), "");
}

#[test]
fn two_are_equal_if_their_texts_are() {
    let [one, same, other] =
        ["true", "true", "(true)"].map(|text| Condition::parse(text, KNOWN).unwrap());
    assert!(one == same && one != other);
}

#[test]
fn a_mistake_has_a_place() {
    let error = Condition::parse("release.tag == 'a' &&\n  )", KNOWN).unwrap_err();
    let ConditionError::Syntax { line, column, .. } = error else { panic!("{error}") };
    assert_eq!((line, column), (2, 3));
}
