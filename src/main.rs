//! The `concierge` command: arguments in, exit code out.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use concierge::{app, config, demo, memory::transfer};

/// A request makes some forty-five small allocations: see `docs/design/hot-path.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    /// Moves memories and contexts from one store to another.
    #[command(subcommand)]
    Memory(Move),
    /// Checks the configuration and prints every problem.
    Check,
}

#[derive(Subcommand)]
enum Move {
    /// Writes all memories and contexts of the configured store, as lines of JSON.
    Export {
        /// Where to; `-` is standard output.
        #[arg(default_value = "-")]
        file: PathBuf,
    },
    /// Reads what `export` has written into the configured store. What is there already is left as it is, so an import
    /// that was cut short is simply repeated. Stop a gateway on SQLite first: it would not see what is added.
    Import {
        /// Where from; `-` is standard input.
        #[arg(default_value = "-")]
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => app::run(app::ConfigSource::File(arguments.config)),
        Command::Demo { listen } => app::run(app::ConfigSource::Demo(demo::DemoSettings { listen })),
        Command::Memory(Move::Export { file }) => transfer::export(&arguments.config, &file).map(report),
        Command::Memory(Move::Import { file }) => transfer::import(&arguments.config, &file).map(report),
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

/// Prints to stderr, because an export may use standard output.
fn report(summary: String) {
    tell(&mut io::stderr(), &summary);
}

/// A closed pipe is no reason to panic.
fn tell(out: &mut dyn Write, text: &str) {
    drop(writeln!(out, "{text}"));
}
