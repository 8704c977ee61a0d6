//! Recall on LoCoMo, from the folder that the first argument or `CONCIERGE_LOCOMO` names.
//! Exit 1 if a figure is below its floor, 2 if there is nothing to read.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use concierge_bench::recall::{data, quality, speed};

/// Turn R@10, session any@5, all evidence within 1,024 tokens.
const FLOORS: [f64; 3] = [0.784, 0.94, 0.79];

fn main() -> ExitCode {
    let folder = std::env::args_os().nth(1).or_else(|| std::env::var_os("CONCIERGE_LOCOMO"));
    let Some(folder) = folder.map(PathBuf::from) else {
        eprintln!("usage: recall FOLDER   (or CONCIERGE_LOCOMO=FOLDER), the folder of locomo10.json");
        return ExitCode::from(2);
    };
    let conversations = match data::read(&folder) {
        Ok(conversations) => conversations,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let figures = quality::measure(&conversations);
    println!("{}", quality::table(&figures));
    let (best, injected) = quality::strangers(&conversations);
    println!(
        "asked of another's memories: best score {:.1}, injected {:.1} %",
        100.0 * best,
        100.0 * injected
    );
    let speed = speed::measure(&conversations);
    let [p50, p95, p99, worst] = speed.latency;
    println!("{} memories: p50 {p50:.1?}, p95 {p95:.1?}, p99 {p99:.1?}, worst {worst:.1?}", speed::MEMORIES);
    println!("{} bytes per memory, added in {:.1?}", speed.bytes, speed.add);
    let good = figures[0].floors().iter().zip(FLOORS).all(|(found, floor)| *found >= floor);
    let fast = p99 <= Duration::from_millis(5) && speed.bytes <= 1024;
    if good && fast { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
