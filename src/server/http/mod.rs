//! HTTP messages as the handlers see them: bodies, header names, what the gateway adds, and errors.

pub(crate) mod error_response;
pub(crate) mod gateway_headers;
pub(crate) mod header_names;
pub(crate) mod request_body;
pub(crate) mod response_body;
