//! The gateway from outside: every test starts the real binary with a configuration file, puts fake providers
//! behind it and speaks to its port. Nothing here may look inside. What is expected is what the contract with
//! the users says; the fake provider, the process and the client are in `support/`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod gateway {
    //! One part of the promises each.
    pub mod setup; // what every test begins with

    mod admin; // the operator's routes, and who may use them
    mod auth; // keys, allow-lists, the open mode
    mod bodies; // large, endless, slow and odd request bodies and connections
    mod breaker; // when a circuit opens, and how it closes
    mod client_disconnect; // the client leaves, in every phase
    mod clock; // the time of day jumps
    mod descriptors; // no open files left
    mod disk; // full, and failing one write
    mod drain; // SIGTERM with streams running
    mod errors; // the table of statuses and codes
    mod failover; // one target fails, the other answers
    mod fallbacks; // other models, patience, Retry-After
    mod fuzz; // bodies that are not what they should be
    mod gossip; // what one gateway sees of a provider, the others know
    mod headers; // what travels and what does not, both ways
    mod hostile; // providers that mean ill
    mod http2; // requests in HTTP/2 that are wrong
    mod http2_floods; // HTTP/2 clients that flood or take nothing
    mod identity; // who a request is for
    mod invented_callers; // invented keys, models and users
    mod log; // one line for each request
    mod memories; // what a user keeps: memories and context
    mod memory; // what is recalled, where it goes, and that it is never in the way
    mod memory_answers; // the model's words, remembered
    mod memory_shapes; // bodies of every shape
    mod memory_store; // a store that is slow or locked
    mod memory_vectors; // an embedder that is not built in
    mod metrics; // what is counted, and by which labels
    mod models; // names, aliases, slashes, pins
    mod network_loss; // a link is pulled, a name moves
    #[cfg(feature = "failpoints")]
    mod panics; // bugs of ours, in every phase
    mod passthrough; // what was sent is what arrives, both ways
    mod postgres; // the store away, cut, silent and killed; two gateways on one
    mod recall_cache; // what gateways tell each other of recalls, and that it is never stale
    mod redis; // several gateways on one Redis
    mod redis_away; // Redis away, hung, flapping, emptied
    mod redis_limits; // requests and tokens a minute over several gateways
    mod redis_slots; // slots over several gateways
    mod reload; // a new configuration under load
    mod rescue; // an answer that breaks in the middle goes on
    mod routing; // live scores under load
    mod secrets; // nothing of them is shown, however loud the log
    mod slots; // what one user may have at once, and in a minute
    mod slow; // clients that read slowly or not at all
    mod smuggling; // requests that two parsers could read differently
    mod sse; // odd but valid event streams
    mod startup; // commands, exit codes, first lines
    mod streams; // silence, keep-alive, usage, tool calls
    mod throttling; // 429 in every spelling
    mod traces; // spans by OTLP, and the W3C headers in and out
    mod transfer; // from one store to another
    mod transport;
    mod truncation; // every byte offset of an answer, cut
    mod usage_accounting; // usage in the log, once per attempt // TLS and HTTP/2 on both sides
}
