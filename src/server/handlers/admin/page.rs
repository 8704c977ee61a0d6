//! The web page of operators over HTTP: what it shows is gathered here, what it looks like is [`crate::admin::page`]'s.
//!
//! A browser without the right token gets a form for the token, with the status of a refusal and nothing of the
//! gateway on it. The page may do what its policy says and nothing else, and is never stored.

use std::io::Write;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use tokio::time::Instant;

use crate::{
    admin::{
        Moment,
        content_negotiation::prefers_html,
        page::{self, PageData},
        view,
    },
    refusal::{GatewayError, Refusal},
    server::{
        active_config::ActiveConfig,
        handlers::admin::AdminContext,
        http::{error_response, response_body::ResponseBody},
        router::AdminRoute,
    },
};

/// Where the page is.
const PLACE: &str = "/admin";

/// The page as of now.
pub(crate) async fn show(
    context: &AdminContext,
    active: &ActiveConfig,
    headers: &HeaderMap,
) -> Response<ResponseBody> {
    let memory = match context.memory.as_ref().filter(|memory| memory.settings().enabled) {
        Some(memory) => Some((memory.stats(), memory.is_healthy().await)),
        None => None,
    };
    let at = Moment::current();
    let sight = PageData {
        at,
        snapshot: &active.snapshot,
        rows: view::rows(&active.snapshot, at),
        history: context.history.clone(),
        requests: context.calls.view(Instant::now()),
        slots: context.admission.slots_view(),
        past: context.events.past(),
        memory,
        redis: context.redis.as_ref().map(|redis| (redis.is_up(), redis.gateways())),
        last_reload: context.reload.last(),
    };
    document(page::render(&sight), StatusCode::OK, headers)
}

/// The form for the token in place of a refusal, for a browser that asks for the page; `None` for everybody else.
pub(crate) fn sign_in(
    route: &AdminRoute,
    headers: &HeaderMap,
    refusal: &Refusal,
) -> Option<Response<ResponseBody>> {
    let is_page = matches!(route, AdminRoute::Page | AdminRoute::Providers) && prefers_html(headers);
    is_page.then(|| document(page::sign_in(), error_response::refuse(refusal).status(), headers))
}

/// Back to the page: for a form of it that was sent without its script.
pub(crate) fn back() -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::whole(""));
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(PLACE));
    response
}

fn document<E: std::fmt::Display>(
    html: Result<String, E>,
    status: StatusCode,
    asked: &HeaderMap,
) -> Response<ResponseBody> {
    let html = match html {
        Ok(html) => Bytes::from(html),
        Err(error) => {
            tracing::error!(%error, "cannot render the admin page");
            return error_response::refuse(&GatewayError::Internal.into());
        }
    };
    let packed = takes_gzip(asked).then(|| gzip(&html).ok()).flatten();
    let is_packed = packed.is_some();
    let mut response = Response::new(ResponseBody::whole(packed.unwrap_or(html)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if is_packed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "accept, accept-encoding"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not `no-referrer`: with it a browser sends no origin along with a form, and the form would be refused.
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let strictest = HeaderValue::from_static("default-src 'none'");
    let policy = HeaderValue::from_str(&page::policy()).unwrap_or(strictest);
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

/// Nothing secret is on the page, so its length may tell of its content.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|coding| {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = parameters.trim().strip_prefix("q=").and_then(|q| q.parse().ok()) == Some(0.0);
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

fn gzip(html: &[u8]) -> std::io::Result<Bytes> {
    let mut packer = GzEncoder::new(Vec::with_capacity(html.len() / 4), Compression::default());
    packer.write_all(html)?;
    packer.finish().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::refusal::AuthError;

    fn asking(coding: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(coding));
        headers
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        for coding in ["gzip", "gzip, deflate, br, zstd", "br;q=1.0, GZIP;q=0.5"] {
            assert!(takes_gzip(&asking(coding)), "{coding}");
        }
        for coding in ["", "br", "gzip;q=0", "x-gzip", "identity, gzip; q=0.0"] {
            assert!(!takes_gzip(&asking(coding)), "{coding}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn what_is_packed_is_the_page() {
        let mut unpacked = String::new();
        let packed = gzip(b"<!doctype html>").unwrap();
        flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut unpacked).unwrap();
        assert_eq!(unpacked, "<!doctype html>");
    }

    #[test]
    fn only_a_browser_on_its_way_to_the_page_is_asked_for_the_token() {
        let mut browser = HeaderMap::new();
        browser.insert(header::ACCEPT, HeaderValue::from_static("text/html,*/*;q=0.8"));
        let form = sign_in(&AdminRoute::Page, &browser, &AuthError::MissingKey.into()).unwrap();
        assert_eq!(form.status(), 401);
        assert_eq!(
            sign_in(&AdminRoute::Providers, &browser, &AuthError::AdminOnly.into()).unwrap().status(),
            403
        );
        assert!(sign_in(&AdminRoute::Config, &browser, &AuthError::MissingKey.into()).is_none());
        assert!(sign_in(&AdminRoute::Page, &HeaderMap::new(), &AuthError::MissingKey.into()).is_none());
    }
}
