//! What the user wrote, checked: one immutable [`Config`] that every part reads.
//!
//! Each section is one table in `sections/`: every key once, with its meaning, type, default and constraint. This module
//! does no routing and keeps no state.
//!
//! | module | does |
//! | --- | --- |
//! | `sections/` | the tables, and the rules between keys and between sections |
//! | `section_table` | what a table is made into: struct, defaults, reader, JSON, list of keys |
//! | `setting` | how each type is read, defaulted and shown |
//! | `reader/` | file or text to [`Loaded`] or [`Problems`]: sections and values that know their line and key path |
//! | `keyword`, `suggest` | `"a" \| "b"`, "did you mean …?" |
//! | `known` | what we know of providers by their base URL |
//! | `redacted` | the configuration as JSON without its secrets |
//! | `diff` | what a new configuration changes, without its secrets |
//! | [`watch`] | when the file may have changed |

mod diff;
mod keyword;
pub(crate) mod known;
mod reader;
mod redacted;
mod secret;
mod section_table;
mod sections;
mod setting;
mod suggest;
pub(crate) mod watch;

#[cfg(test)]
mod tests;

pub use diff::changes;
pub use reader::{
    Loaded, load, parse,
    problem::{Problem, Problems},
};
pub use secret::Secret;
pub use sections::*;
