//! Memory tells nobody what another said, and nobody what was forgotten.
//!
//! In reading order: [`people`] are the users, [`watch`] is what a provider sees, [`crowd`] asks everything at once,
//! [`gone`] forgets and dies. It must never judge by the gateway's word: what counts is what reaches a provider, a
//! caller, or the file.

mod crowd;
mod gone;
mod people;
mod watch;

use serde_json::{Value, json};

use crate::{
    setup,
    storm::{self, figures::Figure},
};

/// Both parts. True if nothing was seen that must not be.
pub async fn run() -> bool {
    let load = setup::load_average();
    let mut figures = crowd::run().await;
    figures.extend(gone::run().await);
    storm::print(&figures);
    let all: Vec<Value> = figures.iter().map(Figure::to_json).collect();
    setup::save("isolation", json!({ "load_average_before": load, "limits": all }));
    figures.iter().all(Figure::holds)
}
