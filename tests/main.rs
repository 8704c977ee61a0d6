//! The gateway from outside: every test starts the real binary with a configuration file and fake providers
//! behind it, and talks to its port. Nothing here may use the gateway's code. The expectations are those of the contract
//! with the users; the fake provider, the process and the client are in `support/`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod gateway {
    //! Each part tests one group of promises.
    pub mod setup; // the setup of every test

    mod admin; // the admin routes, and access to them
    mod auth; // keys, allow-lists, the open mode
    mod bodies; // large, endless, slow and odd request bodies and connections
    mod breaker; // when a circuit opens, and how it closes
    mod client_disconnect; // the client disconnects, in every phase
    mod clock; // the wall clock jumps
    mod descriptors; // no file descriptors left
    mod disk; // a full disk, and one failing write
    mod drain; // SIGTERM with streams running
    mod errors; // the table of statuses and codes
    mod failover; // one target fails, the other answers
    mod fallbacks; // other models, patience, Retry-After
    mod fuzz; // malformed bodies
    mod gossip; // what one gateway observes of a provider, the others know
    mod headers; // which headers are forwarded, in both directions
    mod hostile; // malicious providers
    mod http2; // invalid HTTP/2 requests
    mod http2_floods; // HTTP/2 clients that flood or read nothing
    mod identity; // the user of a request
    mod invented_callers; // invented keys, models and users
    mod log; // one line for each request
    mod memories; // a user's memories and context
    mod memory; // what is recalled, where it goes, and that it never delays a chat
    mod memory_answers; // storing the model's answers
    mod memory_shapes; // bodies of every shape
    mod memory_store; // a slow or locked store
    mod memory_vectors; // a remote embedder
    mod metrics; // what is counted, and by which labels
    mod models; // names, aliases, slashes, pins
    mod network_loss; // a link is lost, a name moves
    #[cfg(feature = "failpoints")]
    mod panics; // bugs of ours, in every phase
    mod passthrough; // bodies are relayed byte for byte, in both directions
    mod postgres; // the store down, cut off, silent and killed; two gateways on one
    mod recall_cache; // the shared recall cache, and that it is never stale
    mod redis; // several gateways on one Redis
    mod redis_away; // Redis down, hung, flapping, emptied
    mod redis_limits; // requests and tokens a minute over several gateways
    mod redis_slots; // slots over several gateways
    mod reload; // a new configuration under load
    mod rescue; // an answer that breaks in the middle is continued
    mod routing; // live scores under load
    mod secrets; // none is shown, even by the most verbose log
    mod slots; // the limits of one user, at once and in a minute
    mod slow; // clients that read slowly or not at all
    mod smuggling; // requests that two parsers could read differently
    mod sse; // unusual but valid event streams
    mod startup; // commands, exit codes, first lines
    mod streams; // silence, keep-alive, usage, tool calls
    mod throttling; // 429 with `retry-after` in every spelling
    mod traces; // spans by OTLP, and the W3C headers in and out
    mod transfer; // export and import of memories
    mod transport; // TLS and HTTP/2 on both sides
    mod truncation; // an answer cut at every byte offset
    mod usage_accounting; // usage in the log, once per attempt
}
