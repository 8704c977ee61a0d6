//! `GET /v1/models`: the names and aliases that this key may use, in OpenAI's shape.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    refusal::{Refusal, RequestError},
    server::{
        active_config::ActiveConfig,
        authn::Caller,
        http::{error_response, response_body::ResponseBody},
    },
};

/// All models.
pub(crate) fn all(active: &ActiveConfig, caller: &Caller) -> Result<Response<ResponseBody>, Refusal> {
    let data: Vec<Value> = names(active).filter(|name| caller.may_use(name)).map(describe).collect();
    Ok(error_response::json(StatusCode::OK, json!({ "object": "list", "data": data }).to_string()))
}

/// One model; another key's models do not exist.
pub(crate) fn one(
    active: &ActiveConfig,
    caller: &Caller,
    id: &str,
) -> Result<Response<ResponseBody>, Refusal> {
    let known = active.snapshot.model(id).is_some() && caller.may_use(id);
    if !known {
        return Err(RequestError::ModelNotFound { model: id.to_owned(), nearest: None }.into());
    }
    Ok(error_response::json(StatusCode::OK, describe(id).to_string()))
}

fn names(active: &ActiveConfig) -> impl Iterator<Item = &str> {
    active
        .snapshot
        .config
        .models
        .iter()
        .flat_map(|model| std::iter::once(model.name.as_str()).chain(model.alias.iter().map(String::as_str)))
}

fn describe(id: &str) -> Value {
    json!({ "id": id, "object": "model", "created": 0, "owned_by": "concierge" })
}
