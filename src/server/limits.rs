//! What a user may ask in a minute, and how every answer tells what is left of it.

use std::future::Future;

use futures_util::FutureExt;
use http::Response;

use super::{Gateway, body::ReplyBody, refused_to};
use crate::{
    admission::{
        fleet::{Entered, Wish},
        rate::{Checked, RateRefusal, Reservation},
        slots::Slot,
        standing::RateHeaders,
    },
    refusal::Refusal,
    user::UserId,
};

/// Counts a request and, if it is within the limits, does what was asked. The answer, also a refusal, tells what was left
/// after it. Where gateways count together, a slot may come along: see [`crate::admission::fleet::Fleet::enter`].
pub async fn limited<F>(
    gateway: &Gateway,
    id: &str,
    wish: Wish<'_>,
    go: impl FnOnce(Reservation, Option<Slot>) -> F,
) -> Response<ReplyBody>
where
    F: Future<Output = Result<Response<ReplyBody>, Refusal>>,
{
    let Entered { checked: Checked { verdict, headers }, slot } = match &gateway.fleet {
        // On the heap: without a Redis nobody carries its room.
        Some(fleet) => fleet.enter(&gateway.slots, &wish).boxed().await,
        None => gateway.limits.check(wish.user, wish.cost).into(),
    };
    let answered = match verdict {
        Ok(reservation) => go(reservation, slot).await,
        Err(RateRefusal::Requests { retry_after }) => Err(Refusal::RateLimit { retry_after }),
        Err(RateRefusal::Tokens { retry_after }) => Err(Refusal::TokenLimit { retry_after }),
        Err(RateRefusal::Away) => Err(Refusal::LimitsUnavailable),
    };
    let mut response = answered.unwrap_or_else(|refusal| refused_to(Some(wish.user), id, &refusal));
    headers.write(response.headers_mut());
    response
}

/// The answer to a client's request, which tells what is left also if it was not counted: a list of models, a request that
/// could not be read.
pub async fn told(
    gateway: &Gateway,
    id: &str,
    user: &UserId,
    answered: Result<Response<ReplyBody>, Refusal>,
) -> Response<ReplyBody> {
    let mut response = answered.unwrap_or_else(|refusal| refused_to(Some(user), id, &refusal));
    if !RateHeaders::are_in(response.headers()) {
        let standing = match &gateway.fleet {
            Some(fleet) => fleet.standing(user).boxed().await,
            None => gateway.limits.standing(user),
        };
        standing.write(response.headers_mut());
    }
    response
}
