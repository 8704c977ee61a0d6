//! What a user may ask in a minute, and how every answer tells what is left of it.

use std::future::Future;

use http::Response;

use super::{Gateway, body::ReplyBody, refused};
use crate::{
    admission::{
        rate::{Checked, Cost, RateRefusal, Reservation},
        standing::RateHeaders,
    },
    refusal::Refusal,
    user::UserId,
};

/// Counts a request of `user` and, if it is within the limits, does what was asked. The answer, also a refusal, tells what
/// was left after it.
pub async fn limited<F>(
    gateway: &Gateway,
    id: &str,
    (user, cost): (&UserId, Option<Cost>),
    go: impl FnOnce(Reservation) -> F,
) -> Response<ReplyBody>
where
    F: Future<Output = Result<Response<ReplyBody>, Refusal>>,
{
    let Checked { verdict, headers } = gateway.limits.check(user, cost);
    let answered = match verdict {
        Ok(reservation) => go(reservation).await,
        Err(RateRefusal::Requests { retry_after }) => Err(Refusal::RateLimit { retry_after }),
        Err(RateRefusal::Tokens { retry_after }) => Err(Refusal::TokenLimit { retry_after }),
    };
    let mut response = answered.unwrap_or_else(|refusal| refused(id, &refusal));
    headers.write(response.headers_mut());
    response
}

/// The answer to a client's request, which tells what is left also if it was not counted: a list of models, a request that
/// could not be read.
pub fn told(
    gateway: &Gateway,
    id: &str,
    user: &UserId,
    answered: Result<Response<ReplyBody>, Refusal>,
) -> Response<ReplyBody> {
    let mut response = answered.unwrap_or_else(|refusal| refused(id, &refusal));
    if !RateHeaders::are_in(response.headers()) {
        gateway.limits.standing(user).write(response.headers_mut());
    }
    response
}
