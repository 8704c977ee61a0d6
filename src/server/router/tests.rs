//! Which path leads where.

use super::*;

fn get(path: &str) -> Result<Route, RouteError> {
    Route::find(&Method::GET, path)
}

fn post(path: &str) -> Result<Route, RouteError> {
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
    assert_eq!(
        post("/admin/providers/groq%2Fllama-3.3-70b/drain"),
        Ok(Route::Operate(id, TargetAction::Drain))
    );
    assert_eq!(post("/admin/providers/groq/reset"), Ok(Route::Operate("groq".into(), TargetAction::Reset)));
}

#[test]
fn a_wrong_method_names_the_right_one() {
    assert_eq!(get("/v1/chat/completions"), Err(RouteError::Method("POST")));
    assert_eq!(post("/v1/models"), Err(RouteError::Method("GET, HEAD")));
    assert_eq!(get("/admin/reload"), Err(RouteError::Method("POST")));
    assert_eq!(get("/admin/providers/groq/drain"), Err(RouteError::Method("POST")));
}

#[test]
fn no_spelling_climbs_out_of_the_base_url() {
    for path in
        ["/v1/../admin", "/v1/a/%2e%2e/b", "/v1/%2E", "/v1//x", "/v1/a%5cb", "/v1", "/v1/", "/v1x/y", "/"]
    {
        assert_eq!(post(path), Err(RouteError::NotFound), "{path}");
    }
}

#[test]
fn memories_and_context_are_the_callers_own() {
    let own = |method: Method, path: &str| Route::find(&method, path);
    let ok = |own| Ok(Route::Own(own));
    assert_eq!(own(Method::GET, "/v1/memories"), ok(UserDataRoute::List));
    assert_eq!(own(Method::POST, "/openai/v1/memories"), ok(UserDataRoute::Add));
    assert_eq!(own(Method::DELETE, "/v1/memories"), ok(UserDataRoute::Forget));
    assert_eq!(own(Method::POST, "/v1/memories/search"), ok(UserDataRoute::Search));
    assert_eq!(own(Method::GET, "/v1/memories/search"), Err(RouteError::Method("POST")));
    assert_eq!(own(Method::GET, "/v1/memories/a%25b"), ok(UserDataRoute::Get("a%b".into())));
    assert_eq!(own(Method::DELETE, "/v1/memories/x"), ok(UserDataRoute::ForgetOne("x".into())));
    assert_eq!(own(Method::PUT, "/v1/memories/x"), Err(RouteError::Method("GET, HEAD, DELETE")));
    assert_eq!(own(Method::GET, "/v1/memories/x/y"), Err(RouteError::NotFound));
    assert_eq!(own(Method::DELETE, "/v1/memories/"), Err(RouteError::NotFound), "no id is not everything");
    assert_eq!(own(Method::PATCH, "/v1/context"), ok(UserDataRoute::MergeContext));
    assert_eq!(own(Method::PUT, "/v1/context"), ok(UserDataRoute::ReplaceContext));
    assert_eq!(own(Method::DELETE, "/v1/context"), Err(RouteError::Method("GET, HEAD, PUT, PATCH")));
    assert_eq!(
        ok(UserDataRoute::List).map(|route: Route| route.policy()),
        Ok::<_, RouteError>(Policy::Client)
    );
}

#[test]
fn users_memories_are_for_operators() {
    let user = || "a/b".to_owned();
    for (method, path, users) in [
        (Method::GET, "/admin/users/a%2Fb/memories", AdminUserRoute::Memories(user())),
        (Method::DELETE, "/admin/users/a%2Fb/memories", AdminUserRoute::Forget(user())),
        (Method::GET, "/admin/users/a%2Fb/context", AdminUserRoute::Context(user())),
        (Method::DELETE, "/admin/cache", AdminUserRoute::ClearCache(None)),
        (Method::DELETE, "/admin/cache/a%2Fb", AdminUserRoute::ClearCache(Some(user()))),
    ] {
        let route = Route::find(&method, path).unwrap();
        assert_eq!((route.policy(), route), (Policy::Admin, Route::Users(users)), "{path}");
    }
    assert_eq!(get("/admin/cache"), Err(RouteError::Method("DELETE")));
    assert_eq!(get("/admin/users/memories"), Err(RouteError::NotFound));
    assert_eq!(get("/admin/users//memories"), Err(RouteError::NotFound));
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
        Route::Operate(_, TargetAction::Drain) => ("post", "/admin/providers/{id}/drain"),
        Route::Operate(_, TargetAction::Resume) => ("post", "/admin/providers/{id}/resume"),
        Route::Operate(_, TargetAction::Reset) => ("post", "/admin/providers/{id}/reset"),
        Route::Requests => ("get", "/admin/requests"),
        Route::Metrics => ("get", "/metrics"),
        Route::Slots => ("get", "/admin/slots"),
        Route::Config => ("get", "/admin/config"),
        Route::Reload => ("post", "/admin/reload"),
        Route::Events => ("get", "/admin/events"),
        Route::Explain => ("get", "/admin/explain"),
        Route::OpenApi => ("get", "/admin/openapi.json"),
        Route::Own(UserDataRoute::List) => ("get", "/v1/memories"),
        Route::Own(UserDataRoute::Add) => ("post", "/v1/memories"),
        Route::Own(UserDataRoute::Forget) => ("delete", "/v1/memories"),
        Route::Own(UserDataRoute::Get(_)) => ("get", "/v1/memories/{id}"),
        Route::Own(UserDataRoute::ForgetOne(_)) => ("delete", "/v1/memories/{id}"),
        Route::Own(UserDataRoute::Search) => ("post", "/v1/memories/search"),
        Route::Own(UserDataRoute::ReadContext) => ("get", "/v1/context"),
        Route::Own(UserDataRoute::ReplaceContext) => ("put", "/v1/context"),
        Route::Own(UserDataRoute::MergeContext) => ("patch", "/v1/context"),
        Route::Users(AdminUserRoute::Overview) => ("get", "/admin/memory"),
        Route::Users(AdminUserRoute::Memories(_)) => ("get", "/admin/users/{user}/memories"),
        Route::Users(AdminUserRoute::Forget(_)) => ("delete", "/admin/users/{user}/memories"),
        Route::Users(AdminUserRoute::Context(_)) => ("get", "/admin/users/{user}/context"),
        Route::Users(AdminUserRoute::ClearCache(None)) => ("delete", "/admin/cache"),
        Route::Users(AdminUserRoute::ClearCache(Some(_))) => ("delete", "/admin/cache/{user}"),
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
