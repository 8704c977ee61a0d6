//! Our codec and hyper read the same bytes: they agree, or the difference stands in a list with its reason.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

mod divergences;

use std::fmt::Write;

use concierge_fuzz::{
    corpus::{self, Sample},
    ours, peer,
    reading::Reading,
};

use self::divergences::{Divergence, REQUESTS, RESPONSES};

/// As the gateway has it.
const MAX_HEAD: usize = 64 * 1024;

/// Reads every sample with both, and holds each divergence against the list.
fn compare(samples: &[Sample], listed: &[Divergence], read: impl Fn(&Sample) -> (Reading, Reading)) {
    let mut wrong = String::new();
    let mut used = vec![0; listed.len()];
    for sample in samples {
        let (ours, hyper) = read(sample);
        let reasons: Vec<usize> = (0..listed.len()).filter(|n| listed[*n].is_about(&sample.name)).collect();
        match (ours.agrees(&hyper), reasons.as_slice()) {
            (true, []) => {}
            (false, [one]) => used[*one] += 1,
            (true, _) => {
                writeln!(wrong, "listed, but they agree: {}\n  both  {ours:?}", sample.name).unwrap()
            }
            (false, []) => {
                writeln!(wrong, "not listed: {}\n  ours  {ours:?}\n  hyper {hyper:?}", sample.name).unwrap();
            }
            (false, _) => writeln!(wrong, "listed twice: {}", sample.name).unwrap(),
        }
    }
    for (divergence, _) in listed.iter().zip(&used).filter(|(_, used)| **used == 0) {
        writeln!(wrong, "listed, but never seen: {:?}", divergence.names).unwrap();
    }
    println!("{} messages", samples.len());
    for (divergence, count) in listed.iter().zip(used) {
        println!("{count:6} differ: {}", divergence.reason);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn requests_are_read_as_hyper_reads_them() {
    let samples = corpus::requests();
    compare(&samples, REQUESTS, |sample| {
        (ours::requests_within(&sample.bytes, &[], MAX_HEAD), peer::requests(&sample.bytes))
    });
}

#[test]
fn responses_are_read_as_hyper_reads_them() {
    let samples = corpus::responses();
    compare(&samples, RESPONSES, |sample| {
        (ours::response(&sample.bytes, &[], &sample.method), peer::response(&sample.bytes, &sample.method))
    });
}

#[test]
fn the_corpus_is_large_and_names_nothing_twice() {
    for samples in [corpus::requests(), corpus::responses()] {
        assert!(samples.len() >= 400);
        let mut names: Vec<_> = samples.iter().map(|sample| &sample.name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}

/// What divides them must be strictness: no request has two meanings.
#[test]
fn no_request_has_two_meanings() {
    for sample in corpus::requests().iter().filter(|sample| sample.name != "HTTP/2 preface") {
        let ours = ours::requests_within(&sample.bytes, &[], MAX_HEAD);
        let hyper = peer::requests(&sample.bytes);
        assert!(!ours.contradicts(&hyper), "{}\n{ours:?}\n{hyper:?}", sample.name);
    }
}
