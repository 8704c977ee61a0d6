//! `concierge-fuzz [TARGET [FILE]]`: runs all targets or one, or one target on the input in a file.
//!
//! `FUZZ_SECONDS` is the time for each (3), `FUZZ_SEED` where the random numbers begin (1). Exit 1 if an input fails;
//! it is left in `target/fuzz/`.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use concierge_fuzz::{
    campaign::{self, Report},
    corpus,
    targets::{TARGETS, Target},
};

/// Bytes of a failing input that are printed.
const PRINTED: usize = 2000;

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let (name, file) = (arguments.next(), arguments.next().map(PathBuf::from));
    let chosen: Vec<_> =
        TARGETS.iter().filter(|(target, _)| name.as_ref().is_none_or(|name| name == target)).collect();
    if chosen.is_empty() {
        let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
        eprintln!("usage: concierge-fuzz [{} [FILE]]", names.join(" | "));
        return ExitCode::from(2);
    }
    let mut good = true;
    for (name, target) in chosen {
        let tried = match &file {
            Some(file) => once(*target, file),
            None => fuzz(name, *target),
        };
        good &= tried.unwrap_or_else(|error| {
            eprintln!("{name}: {error}");
            false
        });
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn once(target: Target, file: &Path) -> io::Result<bool> {
    let tried = campaign::attempt(target, &fs::read(file)?);
    println!("{}", tried.as_ref().map_or_else(String::as_str, |_| "it passes"));
    Ok(tried.is_ok())
}

fn fuzz(name: &str, target: Target) -> io::Result<bool> {
    let number = |name, default| env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (seconds, seed) = (number("FUZZ_SECONDS", 3), number("FUZZ_SEED", 1));
    let seeds = corpus::of_target(name);
    let Report { executions, corpus, failure } =
        campaign::run(target, seeds, seed, Duration::from_secs(seconds));
    println!("{name}: {executions} executions in {seconds} s, seed {seed}, {corpus} inputs in the corpus");
    let Some((input, why)) = failure else { return Ok(true) };
    let folder = Path::new("target/fuzz");
    fs::create_dir_all(folder)?;
    let file = folder.join(format!("{name}-{seed}-{executions}"));
    fs::write(&file, &input)?;
    println!("{name} FAILED: {why}\n\"{}\"", input[..input.len().min(PRINTED)].escape_ascii());
    println!("again: cargo run -p concierge-fuzz -- {name} {}", file.display());
    Ok(false)
}
