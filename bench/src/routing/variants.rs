//! Other settings of the product, to see where its defaults stand. What is no key of the configuration is not here:
//! such constants were varied in the code, and what came of it is in `docs/design/score.md`.

use super::study::Entrant;

/// Name and configuration of each; the first is the product as it is.
const VARIANTS: [(&str, &str); 15] = [
    ("defaults", ""),
    ("temperature 0", "[routing]\ntemperature = 0.0"),
    ("temperature 0.25", "[routing]\ntemperature = 0.25"),
    ("temperature 0.5", "[routing]\ntemperature = 0.5"),
    ("temperature 2", "[routing]\ntemperature = 2.0"),
    ("half_life 20s", "[routing]\nhalf_life = \"20s\""),
    ("half_life 180s", "[routing]\nhalf_life = \"180s\""),
    ("consecutive_failures 3", "[breaker]\nconsecutive_failures = 3"),
    ("consecutive_failures 8", "[breaker]\nconsecutive_failures = 8"),
    ("success_rate 0.5", "[breaker]\nsuccess_rate = 0.5"),
    ("open_min 5s", "[breaker]\nopen_min = \"5s\""),
    ("open_max 60s", "[breaker]\nopen_max = \"60s\""),
    ("retry_budget 0.5", "[resilience]\nretry_budget = 0.5"),
    ("max_attempts 2", "[resilience]\nmax_attempts = 2"),
    ("first_token_timeout 10s", "[resilience]\nfirst_token_timeout = \"10s\""),
];

/// All of them.
pub fn entrants() -> Vec<Entrant> {
    VARIANTS.into_iter().map(|(name, settings)| Entrant::ours(name, settings)).collect()
}
