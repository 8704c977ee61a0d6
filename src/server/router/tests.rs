//! Which path leads where.

use super::*;

fn get(path: &str) -> Result<Route, Miss> {
    Route::find(&Method::GET, path)
}

fn post(path: &str) -> Result<Route, Miss> {
    Route::find(&Method::POST, path)
}

#[test]
fn every_promised_route_is_there() {
    for prefix in ["/v1", "/openai/v1"] {
        assert_eq!(
            post(&format!("{prefix}/chat/completions")),
            Ok(Route::Proxy(Api::Chat, "/chat/completions".into()))
        );
        assert_eq!(get(&format!("{prefix}/models")), Ok(Route::Models));
        assert_eq!(get(&format!("{prefix}/models/groq/llama%2D3")), Ok(Route::Model("groq/llama-3".into())));
        assert_eq!(
            post(&format!("{prefix}/audio/speech")),
            Ok(Route::Proxy(Api::Other, "/audio/speech".into()))
        );
    }
    assert_eq!(get("/healthz"), Ok(Route::Live));
    assert_eq!(get("/admin/"), Ok(Route::Page));
    let id = "groq/llama-3.3-70b".to_owned();
    assert_eq!(post("/admin/providers/groq%2Fllama-3.3-70b/drain"), Ok(Route::Operate(id, Hand::Drain)));
    assert_eq!(post("/admin/providers/groq/reset"), Ok(Route::Operate("groq".into(), Hand::Reset)));
}

#[test]
fn a_wrong_method_names_the_right_one() {
    assert_eq!(get("/v1/chat/completions"), Err(Miss::Method("POST")));
    assert_eq!(post("/v1/models"), Err(Miss::Method("GET, HEAD")));
    assert_eq!(get("/admin/reload"), Err(Miss::Method("POST")));
    assert_eq!(get("/admin/providers/groq/drain"), Err(Miss::Method("POST")));
}

#[test]
fn no_spelling_climbs_out_of_the_base_url() {
    for path in
        ["/v1/../admin", "/v1/a/%2e%2e/b", "/v1/%2E", "/v1//x", "/v1/a%5cb", "/v1", "/v1/", "/v1x/y", "/"]
    {
        assert_eq!(post(path), Err(Miss::NotFound), "{path}");
    }
}

#[test]
fn memories_and_context_are_the_callers_own() {
    let own = |method: Method, path: &str| Route::find(&method, path);
    let ok = |own| Ok(Route::Own(own));
    assert_eq!(own(Method::GET, "/v1/memories"), ok(Own::List));
    assert_eq!(own(Method::POST, "/openai/v1/memories"), ok(Own::Add));
    assert_eq!(own(Method::DELETE, "/v1/memories"), ok(Own::Forget));
    assert_eq!(own(Method::POST, "/v1/memories/search"), ok(Own::Search));
    assert_eq!(own(Method::GET, "/v1/memories/search"), Err(Miss::Method("POST")));
    assert_eq!(own(Method::GET, "/v1/memories/a%25b"), ok(Own::Get("a%b".into())));
    assert_eq!(own(Method::DELETE, "/v1/memories/x"), ok(Own::ForgetOne("x".into())));
    assert_eq!(own(Method::PUT, "/v1/memories/x"), Err(Miss::Method("GET, HEAD, DELETE")));
    assert_eq!(own(Method::GET, "/v1/memories/x/y"), Err(Miss::NotFound));
    assert_eq!(own(Method::DELETE, "/v1/memories/"), Err(Miss::NotFound), "no id is not everything");
    assert_eq!(own(Method::PATCH, "/v1/context"), ok(Own::MergeContext));
    assert_eq!(own(Method::PUT, "/v1/context"), ok(Own::ReplaceContext));
    assert_eq!(own(Method::DELETE, "/v1/context"), Err(Miss::Method("GET, HEAD, PUT, PATCH")));
    assert_eq!(ok(Own::List).map(|route: Route| route.policy()), Ok::<_, Miss>(Policy::Client));
}

#[test]
fn users_memories_are_for_operators() {
    let user = || "a/b".to_owned();
    for (method, path, users) in [
        (Method::GET, "/admin/users/a%2Fb/memories", Users::Memories(user())),
        (Method::DELETE, "/admin/users/a%2Fb/memories", Users::Forget(user())),
        (Method::GET, "/admin/users/a%2Fb/context", Users::Context(user())),
        (Method::DELETE, "/admin/cache", Users::ClearCache(None)),
        (Method::DELETE, "/admin/cache/a%2Fb", Users::ClearCache(Some(user()))),
    ] {
        let route = Route::find(&method, path).unwrap();
        assert_eq!((route.policy(), route), (Policy::Admin, Route::Users(users)), "{path}");
    }
    assert_eq!(get("/admin/cache"), Err(Miss::Method("DELETE")));
    assert_eq!(get("/admin/users/memories"), Err(Miss::NotFound));
    assert_eq!(get("/admin/users//memories"), Err(Miss::NotFound));
}

/// Row A1: whatever this file calls `/admin…` is for operators.
#[test]
fn every_admin_path_is_for_operators() {
    let source = include_str!("../router.rs").split("#[cfg(test)]").next().unwrap();
    let named = source.split('"').filter(|text| text.starts_with("/admin"));
    let hands = ["drain", "resume", "reset"].map(|hand| format!("/admin/providers/x/{hand}"));
    let paths: Vec<_> = named.filter(|path| !path.ends_with('/')).map(str::to_owned).chain(hands).collect();
    assert!(paths.len() >= 10, "{paths:?}");
    for path in paths {
        let methods = [Method::GET, Method::POST, Method::DELETE];
        let route = methods.iter().find_map(|method| Route::find(method, &path).ok()).unwrap();
        assert_eq!(route.policy(), Policy::Admin, "{path}");
    }
}

/// Where the document describes a route; `None` for those of OpenAI and for probes. Exhaustive, so that a new route
/// does not compile until somebody has thought about it.
fn documented(route: &Route) -> Option<(&'static str, &'static str)> {
    Some(match route {
        Route::Proxy(..) | Route::Models | Route::Model(_) | Route::Live | Route::Ready => return None,
        Route::Page => ("get", "/admin"),
        Route::Providers => ("get", "/admin/providers"),
        Route::Summary => ("get", "/admin/providers/summary"),
        Route::Operate(_, Hand::Drain) => ("post", "/admin/providers/{id}/drain"),
        Route::Operate(_, Hand::Resume) => ("post", "/admin/providers/{id}/resume"),
        Route::Operate(_, Hand::Reset) => ("post", "/admin/providers/{id}/reset"),
        Route::Requests => ("get", "/admin/requests"),
        Route::Metrics => ("get", "/metrics"),
        Route::Slots => ("get", "/admin/slots"),
        Route::Config => ("get", "/admin/config"),
        Route::Reload => ("post", "/admin/reload"),
        Route::Events => ("get", "/admin/events"),
        Route::Explain => ("get", "/admin/explain"),
        Route::OpenApi => ("get", "/admin/openapi.json"),
        Route::Own(Own::List) => ("get", "/v1/memories"),
        Route::Own(Own::Add) => ("post", "/v1/memories"),
        Route::Own(Own::Forget) => ("delete", "/v1/memories"),
        Route::Own(Own::Get(_)) => ("get", "/v1/memories/{id}"),
        Route::Own(Own::ForgetOne(_)) => ("delete", "/v1/memories/{id}"),
        Route::Own(Own::Search) => ("post", "/v1/memories/search"),
        Route::Own(Own::ReadContext) => ("get", "/v1/context"),
        Route::Own(Own::ReplaceContext) => ("put", "/v1/context"),
        Route::Own(Own::MergeContext) => ("patch", "/v1/context"),
        Route::Users(Users::Overview) => ("get", "/admin/memory"),
        Route::Users(Users::Memories(_)) => ("get", "/admin/users/{user}/memories"),
        Route::Users(Users::Forget(_)) => ("delete", "/admin/users/{user}/memories"),
        Route::Users(Users::Context(_)) => ("get", "/admin/users/{user}/context"),
        Route::Users(Users::ClearCache(None)) => ("delete", "/admin/cache"),
        Route::Users(Users::ClearCache(Some(_))) => ("delete", "/admin/cache/{user}"),
    })
}

/// Every operation of `/admin/openapi.json`: method and path.
fn operations() -> Vec<(String, String)> {
    let document: serde_json::Value = serde_json::from_str(crate::admin::OPENAPI).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let of = |(path, item): (&String, &serde_json::Value)| {
        let methods: Vec<_> = item.as_object().unwrap().keys().cloned().collect();
        methods.into_iter().map(|method| (method, path.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of).collect()
}

#[test]
fn every_operation_of_the_document_is_a_route() {
    for (method, path) in operations() {
        let there = path.replace("{id}", "x").replace("{user}", "x");
        let route = Route::find(&method.to_uppercase().parse().unwrap(), &there);
        let described = route.as_ref().ok().and_then(documented);
        assert_eq!(described, Some((method.as_str(), path.as_str())), "{route:?}");
    }
}

/// All of our own paths, with each method that they take, are in the document.
#[test]
fn every_route_of_ours_is_in_the_document() {
    let known = operations();
    let paths: std::collections::BTreeSet<_> = known.iter().map(|(_, path)| path.clone()).collect();
    let source = include_str!("../router.rs").split("#[cfg(test)]").next().unwrap();
    for literal in source.split('"').filter(|text| text.starts_with("/admin") && !text.ends_with('/')) {
        assert!(paths.contains(literal), "{literal} is not described");
    }
    for path in paths {
        let there = path.replace("{id}", "x").replace("{user}", "x");
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let Ok(route) = Route::find(&method, &there) else { continue };
            let (method, path) = documented(&route).unwrap();
            assert!(known.contains(&(method.into(), path.into())), "{method} {path} is not described");
        }
    }
}
