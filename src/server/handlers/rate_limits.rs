//! What a user may ask in a minute, and how every answer tells what is left of it.

use futures_util::FutureExt;
use http::Response;

use crate::{
    admission::{
        distributed::{AdmissionRequest, RateDecision},
        local::rate::RateRefusal,
        rate_limit_headers::RateHeaders,
    },
    refusal::{AdmissionError, Refusal},
    server::{Gateway, http::response_body::ResponseBody, refused_to},
    user::UserId,
};

/// Counts a request. Where gateways count together, a slot may come along: see [`crate::admission::distributed::DistributedLimits::enter`].
pub async fn enter(gateway: &Gateway, request: &AdmissionRequest<'_>) -> RateDecision {
    match &gateway.distributed {
        // On the heap: without a Redis nobody carries its room.
        Some(distributed) => distributed.enter(&gateway.slots, request).boxed().await,
        None => gateway.limits.check(request.user, request.cost).into(),
    }
}

impl From<RateRefusal> for Refusal {
    fn from(refusal: RateRefusal) -> Self {
        Self::Admission(match refusal {
            RateRefusal::Requests { retry_after } => AdmissionError::RateLimit { retry_after },
            RateRefusal::Tokens { retry_after } => AdmissionError::TokenLimit { retry_after },
            RateRefusal::Away => AdmissionError::LimitsUnavailable,
        })
    }
}

/// The answer to a client's request, which tells what is left also if it was not counted: a list of models, a request that
/// could not be read.
pub async fn headers(
    gateway: &Gateway,
    id: &str,
    user: &UserId,
    answered: Result<Response<ResponseBody>, Refusal>,
) -> Response<ResponseBody> {
    let mut response = answered.unwrap_or_else(|refusal| refused_to(Some(user), id, &refusal));
    if response.body_mut().headers_mut().rates == RateHeaders::default() {
        response.body_mut().headers_mut().rates = match &gateway.distributed {
            Some(distributed) => distributed.standing(user).boxed().await,
            None => gateway.limits.standing(user),
        };
    }
    response
}
