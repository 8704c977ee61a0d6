//! The `concierge` command: arguments in, exit code out.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use concierge::{app, config, demo};

/// An LLM gateway: live, score-driven failover in front of any OpenAI-compatible provider.
#[derive(Parser)]
#[command(name = "concierge", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration file.
    #[arg(long, short, default_value = "config.toml", global = true)]
    config: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the gateway (the default).
    Serve,
    /// Runs the gateway in front of simulated providers: no keys, no files, no network.
    Demo {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
    },
    /// Checks the configuration and prints every problem.
    Check,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => app::run(app::Source::File(arguments.config)),
        Command::Demo { listen } => app::run(app::Source::Demo(demo::Settings { listen })),
        Command::Check => check(&arguments.config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reasons) => {
            tell(&mut io::stderr(), &reasons);
            ExitCode::FAILURE
        }
    }
}

fn check(path: &Path) -> Result<(), String> {
    let loaded = config::load(path).map_err(|problems| problems.to_string())?;
    for warning in &loaded.warnings {
        tell(&mut io::stdout(), &format!("warning: {warning}"));
    }
    let (models, providers) = (loaded.config.models.len(), loaded.config.providers.len());
    let summary = format!("{}: good ({models} models, {providers} providers)", path.display());
    tell(&mut io::stdout(), &summary);
    Ok(())
}

/// A closed pipe is no reason to panic.
fn tell(out: &mut dyn Write, text: &str) {
    drop(writeln!(out, "{text}"));
}
