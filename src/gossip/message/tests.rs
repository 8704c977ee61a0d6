//! Messages of gateways of this version, of those before there were versions, and of those to come.

mod unversioned;

use serde_json::{Value, json};
use tokio::time::Instant;

use self::unversioned::OldEnvelope;
use super::{observations::MAX_REMAINING, *};
use crate::upstream::{
    exchange::outcome::{BrokenKind, HardKind, MissingFeature, Outcome},
    health::breaker::OpenCause,
};

/// As gateways published them before there were versions.
const CAPTURED: [&str; 4] = [
    r#"{"g":1827646174022206456,"n":1,"q":true,"t":[{"i":"a/m","e":0,"k":[{},{}]},{"i":"b/m","e":0,"k":[{},{}]}]}"#,
    r#"{"g":6318153705163556286,"n":63,"t":[{"i":"a/m","e":655361,"o":{"a":0,"l":1967,"r":1,"c":{"InARow":[5,{"Hard":{"Status":500}}]}},"z":{"n":3630246239087296479,"a":1984},"r":{"m":0.950119896155722,"n":75.91552050691998,"a":0},"k":[{},{"l":{"m":0.0008044209929656563,"n":65.4279538619338,"a":476}}]}]}"#,
    r#"{"g":6318153705163556286,"n":126,"t":[{"i":"a/m","e":1245186,"b":0,"z":{"n":14809621194146732844,"a":7145},"r":{"m":0.9511501670696114,"n":73.48625422783432,"a":0},"k":[{},{"l":{"m":0.005283707666090547,"n":31.44832007118802,"a":0},"s":411}]}]}"#,
    r#"{"g":9562771821072957508,"n":62,"t":[{"i":"a/m","e":655360,"f":{"n":1,"a":74},"w":{"a":5,"l":700},"h":{"a":6,"l":800},"d":{"n":9,"d":true,"a":60000000},"k":[{},{}]}]}"#,
];

fn read(text: &str) -> Envelope {
    serde_json::from_str(text).unwrap()
}

fn reports(envelope: Envelope) -> Vec<TargetReport> {
    envelope.reports.understood().collect()
}

/// The only report of a message with this one.
fn report(report: Value) -> TargetReport {
    let message = json!({ "v": VERSION, "g": 1, "n": 1, "t": [report] });
    reports(read(&message.to_string())).remove(0)
}

/// A report in which every field says something.
fn full(cause: OpenCause) -> TargetReport {
    let sample = Lenient(Some(SampleMsg { mean: 0.5, count: 8.0, age: Age(3) }));
    let outage = OutageMsg {
        age: Age(12),
        left: Remaining(2000),
        backoff_exponent: Lenient(Some(1)),
        cause: Lenient(Some(CauseMsg(cause))),
    };
    let figures = Figures { silence: Lenient(Some(Age(7))) };
    TargetReport {
        target: "groq/llama".into(),
        state: Lenient(Some(3)),
        streak: Lenient(Some(StreakMsg { failures: 2, age: Age(1) })),
        outage: Lenient(Some(outage)),
        recovered: Lenient(Some(Age(8))),
        cooldown: Lenient(Some(CooldownMsg { age: Age(2), left: Remaining(30_000) })),
        exhausted: Lenient(Some(CooldownMsg { age: Age(3), left: Remaining(20_000) })),
        drain: Lenient(Some(DrainMsg { id: u64::MAX, drained: true, age: Age(5) })),
        reset: Lenient(Some(ResetMsg { id: 4, age: Age(6) })),
        rate: sample,
        kinds: [figures, Figures::default()].into_iter().collect(),
    }
}

fn envelope(reports: impl IntoIterator<Item = TargetReport>) -> Envelope {
    Envelope {
        version: Lenient(Some(VERSION)),
        gateway: u64::MAX,
        number: 9,
        asks: Lenient(Some(true)),
        reports: reports.into_iter().collect(),
    }
}

#[test]
fn a_message_survives_its_way_and_is_small() {
    let cause = OpenCause::InARow(5, Outcome::Hard(HardKind::Status(503)));
    let message = envelope([full(cause)]);
    let text = serde_json::to_string(&message).unwrap();
    assert!(text.len() < 400, "{} bytes: {text}", text.len());
    assert_eq!(read(&text), message);
}

#[test]
fn what_older_gateways_write_is_read_whole() {
    for text in CAPTURED {
        let mut old: OldEnvelope = serde_json::from_str(text).unwrap();
        // Latencies are not shared any more.
        let kinds = old.reports.iter_mut().flat_map(|report| &mut report.kinds);
        kinds.for_each(|kind| kind.latency = None);
        let message = read(text);
        assert_eq!((message.version, message.asks.0.unwrap_or(false)), (Lenient(None), old.asks));
        assert_eq!((message.gateway, message.number), (old.gateway, old.number));
        assert_eq!(serde_json::to_value(&message.reports).unwrap(), json!(old.reports), "nothing is lost");
    }
    let cause = reports(read(CAPTURED[1]))[0].outage.0.unwrap().cause;
    assert_eq!(cause.0, Some(CauseMsg(OpenCause::InARow(5, Outcome::Hard(HardKind::Status(500))))));
}

#[test]
fn what_this_version_writes_older_gateways_read_whole() {
    let outcomes = [
        Outcome::Success,
        Outcome::Hard(HardKind::Connect),
        Outcome::Hard(HardKind::Reset),
        Outcome::Hard(HardKind::Silent),
        Outcome::Hard(HardKind::Status(502)),
        Outcome::Hard(HardKind::Malformed),
        Outcome::Throttled { rest: None },
        Outcome::Throttled { rest: Some(std::time::Duration::from_millis(1500)) },
        Outcome::KeyRefused,
        Outcome::NotServed(MissingFeature::Model),
        Outcome::NotServed(MissingFeature::Route),
        Outcome::NotServed(MissingFeature::Field),
        Outcome::TooBig,
        Outcome::ClientFault,
        Outcome::Cancelled,
        Outcome::Broken(BrokenKind::Cut),
        Outcome::Broken(BrokenKind::Stalled),
        Outcome::Broken(BrokenKind::Error),
        Outcome::Broken(BrokenKind::Malformed),
    ];
    let causes = outcomes.into_iter().flat_map(|last| [OpenCause::InARow(5, last), OpenCause::Probe(last)]);
    let message = envelope(causes.chain([OpenCause::Ratio(0, 20)]).map(full));
    let mut written = serde_json::to_value(&message).unwrap();
    let old: OldEnvelope = serde_json::from_value(written.clone()).unwrap();
    written.as_object_mut().unwrap().remove("v");
    assert_eq!(json!(old), written, "nothing is lost");
    let calm = envelope([TargetReport {
        target: "a/m".into(),
        state: Lenient(Some(0)),
        kinds: [Figures::default(); 2].into_iter().collect(),
        ..TargetReport::default()
    }]);
    let text = serde_json::to_string(&calm).unwrap();
    assert_eq!(serde_json::from_str::<OldEnvelope>(&text).unwrap().reports[0].state, 0);
}

#[test]
fn an_unknown_variant_costs_that_field_alone() {
    let unknown = [
        json!("Solar"),
        json!({ "Eclipse": [5, 7] }),
        json!({ "InARow": [5, { "Melted": null }] }),
        json!({ "InARow": [5, { "Hard": { "Quic": 7 } }] }),
        json!({ "Probe": { "Broken": "Sideways" } }),
    ];
    for cause in unknown {
        let read = report(json!({
            "i": "a/x", "e": 7, "o": { "a": 0, "l": 500, "r": 2, "c": cause }, "w": { "a": 0, "l": 300 },
        }));
        let outage = read.outage.0.unwrap();
        assert_eq!((outage.cause.0, outage.backoff_exponent.0, outage.left), (None, Some(2), Remaining(500)));
        assert!(read.cooldown.0.is_some() && read.state.0 == Some(7), "{read:?}");
    }
}

#[test]
fn an_unknown_or_ill_typed_field_costs_itself_alone() {
    let whole = serde_json::to_value(full(OpenCause::Ratio(0, 20))).unwrap();
    let mut more = whole.clone();
    more["x"] = json!({ "new": [1, 2, 3] });
    more["o"]["x"] = json!("new");
    assert_eq!(json!(report(more)), whole);
    for name in ["e", "f", "o", "b", "w", "h", "d", "z", "r", "k"] {
        for wrong in [json!("new"), json!({ "new": 1 }), json!([{}]), json!(-1.5), Value::Null] {
            let mut changed = whole.clone();
            changed[name] = wrong;
            let mut read = json!(report(changed));
            read.as_object_mut().unwrap().remove(name);
            let mut rest = whole.clone();
            rest.as_object_mut().unwrap().remove(name);
            assert_eq!(read, rest, "{name}");
        }
    }
}

#[test]
fn a_report_that_makes_no_sense_costs_no_other() {
    let message = json!({ "v": "2.0", "g": 1, "n": 1, "q": "now", "t": [
        7, { "i": 3 }, { "i": "a/x", "k": [{ "l": "slow", "s": 9 }, { "s": "long" }, { "s": 1 }] }, "news", null,
    ] });
    let message = read(&message.to_string());
    assert_eq!((message.version.0, message.asks.0), (None, None));
    let reports = reports(message);
    assert_eq!(reports.iter().map(|report| &*report.target).collect::<Vec<_>>(), ["a/x"]);
    assert_eq!(reports[0].figures(0), Figures { silence: Lenient(Some(Age(9))) });
    assert_eq!(reports[0].figures(1), Figures::default());
    let no_list = read(r#"{"g":1,"n":1,"t":{"i":"a/x"}}"#);
    assert_eq!(no_list.reports.understood().count(), 0);
    assert!(serde_json::from_str::<Envelope>(r#"{"g":"me","n":1}"#).is_err(), "from whom?");
}

#[test]
fn a_newer_version_is_read_as_far_as_it_is_understood() {
    let text = r#"{"v":4000,"g":1,"n":1,"mesh":{"hop":3},"t":[{"i":"a/x","b":5}]}"#;
    let message = read(text);
    assert_eq!(message.version.0, Some(4000));
    assert_eq!(reports(message)[0].recovered.0, Some(Age(5)));
}

#[test]
fn what_is_too_old_or_without_sense_is_dropped_and_no_cooldown_is_endless() {
    let now = Instant::now();
    assert_eq!(Age(u64::MAX).at(now), None);
    assert_eq!(Age(601_000).at(now), None);
    assert_eq!(Remaining(u64::MAX).end(now), now + MAX_REMAINING);
    for (mean, count) in [(f64::NAN, 1.0), (-1.0, 1.0), (2.0, 1.0), (0.5, 0.0), (0.5, f64::NAN), (0.5, 1e9)] {
        assert_eq!(SampleMsg { mean, count, age: Age(0) }.read(now), None, "{mean} {count}");
    }
    assert!(SampleMsg { mean: 0.5, count: 3.0, age: Age(0) }.read(now).is_some());
}
