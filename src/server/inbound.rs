//! A request on its way to its handler, its id, and its refusal.

use std::sync::Arc;

use http::{HeaderMap, Request, Response};
use tokio::time::Instant;

use super::{
    active_config::ActiveConfig,
    authn::{self, ConnectionInfo},
    http::{error_response, header_names, request_body::RequestBody, response_body::ResponseBody},
};
use crate::{
    clock,
    refusal::{AuthError, Refusal},
    user::UserId,
};

/// A request on its way to its handler.
pub(crate) struct InboundRequest {
    pub(super) id: Arc<str>,
    pub(super) received: Instant,
    pub(super) connection: ConnectionInfo,
    pub(super) active: Arc<ActiveConfig>,
    pub(super) request: Request<RequestBody>,
}

impl InboundRequest {
    /// `request`, which has just come, under the configuration `active`. On the heap: it is passed from function to
    /// function, and is larger than what most of them do with it.
    pub(crate) fn new(
        active: Arc<ActiveConfig>,
        connection: ConnectionInfo,
        request: Request<RequestBody>,
    ) -> Box<Self> {
        let id = request_id(request.headers());
        Box::new(Self { id, received: clock::now(), connection, active, request })
    }

    pub(super) fn admit_operator(&self) -> Result<(), AuthError> {
        let token = self.active.snapshot.config.admin.token.as_ref();
        let request = (self.request.method(), self.request.version(), self.request.headers());
        authn::admit_operator(token, &self.active.keys, self.connection, request)
    }
}

/// The client's own id if it is a sane token, else a new one.
fn request_id(headers: &HeaderMap) -> Arc<str> {
    let sane = |id: &&str| {
        (1..=128).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'))
    };
    // Gone over rather than looked up: a name that is no standard one is hashed byte by byte.
    let id = headers.iter().find(|(name, _)| **name == header_names::REQUEST_ID).map(|(_, value)| value);
    match id.and_then(|value| value.to_str().ok()).filter(sane) {
        Some(id) => Arc::from(id),
        None => new_request_id(),
    }
}

/// 96 random bits. Digit by digit: formatting would be the dearest part of it.
pub(super) fn new_request_id() -> Arc<str> {
    let (mut id, mut bits) = (*b"req-0123456789abcdef01234567", fastrand::u128(..));
    for digit in &mut id[4..] {
        *digit = b"0123456789abcdef"[(bits & 15) as usize];
        bits >>= 4;
    }
    Arc::from(std::str::from_utf8(&id).unwrap_or("req-?"))
}

/// Writes the error response, and logs it.
pub(super) fn refused(id: &str, refusal: &Refusal) -> Response<ResponseBody> {
    refused_to(None, id, refusal)
}

/// The same, where the user is known.
pub(super) fn refused_to(user: Option<&UserId>, id: &str, refusal: &Refusal) -> Response<ResponseBody> {
    let response = error_response::refuse(refusal);
    // Guesses at keys must not fill the log.
    if !matches!(refusal, Refusal::Auth(AuthError::WrongKeys { .. })) {
        let (status, error) = (response.status().as_u16(), error_response::code(refusal));
        let user = user.map(|user| tracing::field::display(user.pseudonym()));
        tracing::info!(request = %id, user, status, error, "refused");
    }
    response
}

pub(super) fn with_id(mut response: Response<ResponseBody>, id: Arc<str>) -> Response<ResponseBody> {
    response.body_mut().headers_mut().id = Some(id);
    response
}
