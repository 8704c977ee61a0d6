//! Names of headers that are no standard ones: made once, for a name in a string is parsed, and inserted it is allocated,
//! each time it is used.

use http::HeaderName;

/// The client's id of a request, or ours.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The provider's id of it.
pub(crate) const UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-upstream-request-id");
/// The target that answered.
pub(crate) const TARGET: HeaderName = HeaderName::from_static("x-concierge-target");
pub(crate) const MEMORY: HeaderName = HeaderName::from_static("x-concierge-memory");
/// How many targets were asked.
pub(crate) const ATTEMPTS: HeaderName = HeaderName::from_static("x-concierge-attempts");
/// How long the request waited for its slot.
pub(crate) const QUEUE: HeaderName = HeaderName::from_static("x-concierge-queue-ms");
/// How long it took us until a target was asked.
pub(crate) const OVERHEAD: HeaderName = HeaderName::from_static("x-concierge-overhead-ms");
/// Tells nginx not to hold events back.
pub(crate) const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
