//! The two ends of a measurement, one process each: `traffic provider` prints its port and serves until it is killed;
//! `traffic load PLAN`, a plan in JSON, prints what it measured in JSON.

use std::process::ExitCode;

use concierge_bench::traffic;

// One thread: it has one CPU.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["provider"] => provider().await,
        ["load", plan] => load(plan).await,
        _ => Err("usage: traffic provider | traffic load PLAN".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

async fn provider() -> Result<(), String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
    println!("{}", listener.local_addr().map_err(|error| error.to_string())?.port());
    traffic::upstream::serve(listener).await.map_err(|error| error.to_string())
}

async fn load(plan: &str) -> Result<(), String> {
    let plan = serde_json::from_str(plan).map_err(|error| error.to_string())?;
    let measured = traffic::run(plan).await;
    println!("{}", serde_json::to_string(&measured).map_err(|error| error.to_string())?);
    Ok(())
}
