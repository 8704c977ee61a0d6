//! A run of one target over mutations of its corpus, until its time is over or an input fails.
//!
//! The same seed gives the same inputs in the same order. An input whose mark is new joins the corpus, so that later
//! ones build upon it.

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use tokio::time::Instant;

use crate::{mutate::mutated, targets::Target};

/// Inputs kept.
const MAX_CORPUS: usize = 4096;

/// What a run has come to.
#[derive(Debug)]
pub struct Report {
    /// Inputs that were tried.
    pub executions: u64,
    /// Inputs in the corpus at the end.
    pub corpus: usize,
    /// An input that fails, made as short as it goes, and why.
    pub failure: Option<(Vec<u8>, String)>,
}

/// Tries every input of `corpus`, then mutations of them.
pub fn run(target: Target, mut corpus: Vec<Vec<u8>>, seed: u64, time: Duration) -> Report {
    let (mut random, end) = (Rng::with_seed(seed), Instant::now() + time);
    let (mut executions, mut marks) = (0, HashSet::new());
    let mut seeds = corpus.clone().into_iter();
    while executions < corpus.len() as u64 || Instant::now() < end {
        let input = seeds.next().unwrap_or_else(|| next(&corpus, &mut random));
        executions += 1;
        match attempt(target, &input) {
            Ok(mark) if marks.insert(mark) && corpus.len() < MAX_CORPUS && seeds.len() == 0 => {
                corpus.push(input);
            }
            Ok(_) => {}
            Err(why) => {
                let (input, why) = shortest(target, input, why);
                return Report { executions, corpus: corpus.len(), failure: Some((input, why)) };
            }
        }
    }
    Report { executions, corpus: corpus.len(), failure: None }
}

fn next(corpus: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    let [input, other] = [(); 2].map(|()| &corpus[random.usize(..corpus.len())]);
    mutated(input, other, random)
}

/// Its mark, or why it fails.
pub fn attempt(target: Target, input: &[u8]) -> Result<u64, String> {
    let said = Arc::new(Mutex::new(String::new()));
    let hook = std::panic::take_hook();
    let heard = said.clone();
    std::panic::set_hook(Box::new(move |panic| *heard.lock().unwrap() = panic.to_string()));
    let tried = catch_unwind(AssertUnwindSafe(|| target(input)));
    std::panic::set_hook(hook);
    tried.map_err(|_| std::mem::take(&mut *said.lock().unwrap()))
}

/// Leaves out of a failing input what it does not need to fail.
fn shortest(target: Target, mut input: Vec<u8>, mut why: String) -> (Vec<u8>, String) {
    let mut size = input.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < input.len() {
            let less = [&input[..at], &input[(at + size).min(input.len())..]].concat();
            match attempt(target, &less) {
                Ok(_) => at += size,
                Err(reason) => (input, why) = (less, reason),
            }
        }
        size /= 2;
    }
    (input, why)
}
