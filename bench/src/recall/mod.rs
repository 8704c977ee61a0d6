//! How well and how fast the gateway recalls, on LoCoMo:
//!
//! ```sh
//! cargo run --profile bench-fast -p concierge-bench --bin recall -- FOLDER
//! ```
//!
//! with the folder of `locomo10.json` (<https://github.com/snap-research/locomo>, CC BY-NC 4.0, so it is not in this
//! repository).
//!
//! In reading order: [`data`], [`quality`], [`speed`]. Links the library instead of driving the gateway, so that a
//! change of the ranking is measured in seconds; it uses nothing but the recall engine's public functions.

pub mod data;
pub mod quality;
pub mod speed;
