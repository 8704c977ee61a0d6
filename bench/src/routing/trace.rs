//! What a trace is: how requests come, and what happens to each target when. Data only.
//!
//! All times are seconds since the start. It must never depend on what a policy does; what does is in `world`.

/// One story that every policy goes through.
#[derive(Debug, Clone)]
pub struct Trace {
    /// Such as `hang`.
    pub name: &'static str,
    /// Which of the stories of this name; also the seed of its luck.
    pub seed: u64,
    /// How long requests come.
    pub seconds: f64,
    /// When requests come, in order.
    pub arrivals: Vec<f64>,
    /// Who may be asked.
    pub targets: Vec<Script>,
}

/// What one target is like, and what happens to it.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// The median of its first-token times.
    pub median: f64,
    /// What goes wrong, and when.
    pub episodes: Vec<Episode>,
    /// Its rate limit.
    pub limit: Option<Limit>,
    /// So many requests that wait for their first token double that time; `None`: any number costs nothing.
    pub capacity: Option<f64>,
}

/// Trouble for a while.
#[derive(Debug, Clone, Copy)]
pub struct Episode {
    /// Its first moment.
    pub from: f64,
    /// The first moment after it.
    pub to: f64,
    /// What is wrong.
    pub trouble: Trouble,
}

/// What can go wrong.
#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    /// Connections are refused.
    Refuses,
    /// Requests are taken and never answered.
    Hangs,
    /// First tokens take so many times as long.
    Slower(f64),
    /// The same, growing from once to so many times over the episode.
    Drifts(f64),
    /// This part of the requests ends in a 500.
    Fails(f64),
    /// This part of the streams breaks after its first content.
    Cuts(f64),
    /// 429, with the time to the episode's end as `retry-after`.
    Throttles,
}

/// A rate limit over fixed windows.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// In one window.
    pub requests: u32,
    /// Seconds.
    pub window: f64,
    /// Every answer says how many are left; else only a 429 does, with `retry-after`.
    pub stated: bool,
}

/// What a target is like at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// Connections are refused.
    pub refuses: bool,
    /// Nothing is answered.
    pub hangs: bool,
    /// First tokens take so many times as long.
    pub slower: f64,
    /// Part of the requests that end in a 500.
    pub fails: f64,
    /// Part of the streams that break.
    pub cuts: f64,
    /// 429, for so many seconds more.
    pub throttles: Option<f64>,
}

impl Script {
    /// A target without any trouble.
    pub fn with_median(median: f64) -> Self {
        Self { median, ..Self::default() }
    }

    /// What it is like at `now`; troubles at the same time add up.
    pub fn weather(&self, now: f64) -> Weather {
        let mut weather =
            Weather { refuses: false, hangs: false, slower: 1.0, fails: 0.0, cuts: 0.0, throttles: None };
        for episode in self.episodes.iter().filter(|episode| (episode.from..episode.to).contains(&now)) {
            let part = (now - episode.from) / (episode.to - episode.from);
            match episode.trouble {
                Trouble::Refuses => weather.refuses = true,
                Trouble::Hangs => weather.hangs = true,
                Trouble::Slower(factor) => weather.slower *= factor,
                Trouble::Drifts(factor) => weather.slower *= 1.0 + (factor - 1.0) * part,
                Trouble::Fails(part) => weather.fails = weather.fails.max(part),
                Trouble::Cuts(part) => weather.cuts = weather.cuts.max(part),
                Trouble::Throttles => weather.throttles = Some(episode.to - now),
            }
        }
        weather
    }
}
