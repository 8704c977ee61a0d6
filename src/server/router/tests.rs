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
            Ok(Route::Client(ClientRoute::Proxy(Api::Chat, "/chat/completions".into())))
        );
        assert_eq!(get(&format!("{prefix}/models")), Ok(Route::Client(ClientRoute::Models)));
        assert_eq!(
            get(&format!("{prefix}/models/groq/llama%2D3")),
            Ok(Route::Client(ClientRoute::Model("groq/llama-3".into())))
        );
        assert_eq!(
            post(&format!("{prefix}/audio/speech")),
            Ok(Route::Client(ClientRoute::Proxy(Api::Other, "/audio/speech".into())))
        );
    }
    assert_eq!(get("/healthz"), Ok(Route::Public(PublicRoute::Live)));
    assert_eq!(get("/admin/"), Ok(Route::Admin(AdminRoute::Page)));
    let id = "groq/llama-3.3-70b".to_owned();
    assert_eq!(
        post("/admin/providers/groq%2Fllama-3.3-70b/drain"),
        Ok(Route::Admin(AdminRoute::Operate(id, TargetAction::Drain)))
    );
    assert_eq!(
        post("/admin/providers/groq/reset"),
        Ok(Route::Admin(AdminRoute::Operate("groq".into(), TargetAction::Reset)))
    );
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
    let ok = |route| Ok(Route::Client(ClientRoute::UserData(UserDataRoute::Memories(route))));
    let context = |route| Ok(Route::Client(ClientRoute::UserData(UserDataRoute::Context(route))));
    assert_eq!(own(Method::GET, "/v1/memories"), ok(MemoryRoute::List));
    assert_eq!(own(Method::POST, "/openai/v1/memories"), ok(MemoryRoute::Add));
    assert_eq!(own(Method::DELETE, "/v1/memories"), ok(MemoryRoute::Forget));
    assert_eq!(own(Method::POST, "/v1/memories/search"), ok(MemoryRoute::Search));
    assert_eq!(own(Method::GET, "/v1/memories/search"), Err(RouteError::Method("POST")));
    assert_eq!(own(Method::GET, "/v1/memories/a%25b"), ok(MemoryRoute::Get("a%b".into())));
    assert_eq!(own(Method::DELETE, "/v1/memories/x"), ok(MemoryRoute::ForgetOne("x".into())));
    assert_eq!(own(Method::PUT, "/v1/memories/x"), Err(RouteError::Method("GET, HEAD, DELETE")));
    assert_eq!(own(Method::GET, "/v1/memories/x/y"), Err(RouteError::NotFound));
    assert_eq!(own(Method::DELETE, "/v1/memories/"), Err(RouteError::NotFound), "no id is not everything");
    assert_eq!(own(Method::PATCH, "/v1/context"), context(ContextRoute::Merge));
    assert_eq!(own(Method::PUT, "/v1/context"), context(ContextRoute::Replace));
    assert_eq!(own(Method::DELETE, "/v1/context"), Err(RouteError::Method("GET, HEAD, PUT, PATCH")));
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
        assert_eq!(route, Route::Admin(AdminRoute::Users(users)), "{path}");
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
        assert!(matches!(route, Route::Admin(_)), "{path}");
    }
}

/// Where the document describes a route; `None` for those of OpenAI and for probes. Exhaustive, so that a new route
/// does not compile until somebody has thought about it.
fn documented(route: &Route) -> Option<(&'static str, &'static str)> {
    match route {
        Route::Public(PublicRoute::Live | PublicRoute::Ready) => None,
        Route::Client(ClientRoute::Proxy(..) | ClientRoute::Models | ClientRoute::Model(_)) => None,
        Route::Client(ClientRoute::UserData(route)) => Some(documented_user_data(route)),
        Route::Admin(route) => Some(documented_admin(route)),
    }
}

fn documented_admin(route: &AdminRoute) -> (&'static str, &'static str) {
    match route {
        AdminRoute::Page => ("get", "/admin"),
        AdminRoute::Providers => ("get", "/admin/providers"),
        AdminRoute::Summary => ("get", "/admin/providers/summary"),
        AdminRoute::Operate(_, TargetAction::Drain) => ("post", "/admin/providers/{id}/drain"),
        AdminRoute::Operate(_, TargetAction::Resume) => ("post", "/admin/providers/{id}/resume"),
        AdminRoute::Operate(_, TargetAction::Reset) => ("post", "/admin/providers/{id}/reset"),
        AdminRoute::Requests => ("get", "/admin/requests"),
        AdminRoute::Metrics => ("get", "/metrics"),
        AdminRoute::Slots => ("get", "/admin/slots"),
        AdminRoute::Config => ("get", "/admin/config"),
        AdminRoute::Reload => ("post", "/admin/reload"),
        AdminRoute::Events => ("get", "/admin/events"),
        AdminRoute::Explain => ("get", "/admin/explain"),
        AdminRoute::OpenApi => ("get", "/admin/openapi.json"),
        AdminRoute::Users(AdminUserRoute::Overview) => ("get", "/admin/memory"),
        AdminRoute::Users(AdminUserRoute::Memories(_)) => ("get", "/admin/users/{user}/memories"),
        AdminRoute::Users(AdminUserRoute::Forget(_)) => ("delete", "/admin/users/{user}/memories"),
        AdminRoute::Users(AdminUserRoute::Context(_)) => ("get", "/admin/users/{user}/context"),
        AdminRoute::Users(AdminUserRoute::ClearCache(None)) => ("delete", "/admin/cache"),
        AdminRoute::Users(AdminUserRoute::ClearCache(Some(_))) => ("delete", "/admin/cache/{user}"),
    }
}

fn documented_user_data(route: &UserDataRoute) -> (&'static str, &'static str) {
    match route {
        UserDataRoute::Memories(MemoryRoute::List) => ("get", "/v1/memories"),
        UserDataRoute::Memories(MemoryRoute::Add) => ("post", "/v1/memories"),
        UserDataRoute::Memories(MemoryRoute::Forget) => ("delete", "/v1/memories"),
        UserDataRoute::Memories(MemoryRoute::Get(_)) => ("get", "/v1/memories/{id}"),
        UserDataRoute::Memories(MemoryRoute::ForgetOne(_)) => ("delete", "/v1/memories/{id}"),
        UserDataRoute::Memories(MemoryRoute::Search) => ("post", "/v1/memories/search"),
        UserDataRoute::Context(ContextRoute::Read) => ("get", "/v1/context"),
        UserDataRoute::Context(ContextRoute::Replace) => ("put", "/v1/context"),
        UserDataRoute::Context(ContextRoute::Merge) => ("patch", "/v1/context"),
    }
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
