//! The gateway from outside: every test starts the real binary with a configuration file, puts fake providers
//! behind it and speaks to its port. Nothing here may look inside. What is expected is what the contract with
//! the users says; the fake provider, the process and the client are in `support/`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod gateway {
    //! One part of the promises each.
    pub mod stage; // what every test begins with

    mod admin; // the operator's routes, and who may use them
    mod auth; // keys, allow-lists, the open mode
    mod bodies; // large, endless, slow and odd request bodies and connections
    mod breaker; // when a target is left alone, and how it comes back
    mod cuts; // every byte offset of an answer, cut
    mod drain; // SIGTERM with streams running
    mod errors; // the table of statuses and codes
    mod exact; // what was sent is what arrives, both ways
    mod failover; // one target fails, the other answers
    mod fallbacks; // other models, patience, Retry-After
    mod gone; // the client leaves, in every phase
    mod headers; // what travels and what does not, both ways
    mod hostile; // providers that mean ill
    mod identity; // who a request is for
    mod ledger; // usage in the log, once per attempt
    mod memories; // what a user keeps: memories and context
    mod memory; // what is recalled, where it goes, and that it is never in the way
    mod models; // names, aliases, slashes, pins
    mod reload; // a new configuration under load
    mod rescue; // an answer that breaks in the middle goes on
    mod routing; // live scores under load
    mod slots; // what one user may have at once, and in a minute
    mod sse; // odd but valid event streams
    mod startup; // commands, exit codes, first lines
    mod streams; // silence, keep-alive, usage, tool calls
    mod throttling; // 429 in every spelling
    mod transport; // TLS and HTTP/2 on both sides
}
