//! The `concierge` command.
fn main() {}
