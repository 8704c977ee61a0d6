//! `concierge memory export` and `import`, from the outside, and between stores where there is a server.

use std::{
    path::Path,
    process::{Command, Output},
};

use concierge_testkit::{ConfigFile, Gateway, store};
use serde_json::{Value, json};

use super::setup::launch;

fn concierge(folder: &Path, config: &str, arguments: &[&str]) -> Output {
    std::fs::write(folder.join("move.toml"), config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_concierge"));
    command.current_dir(folder).args(["--config", "move.toml", "memory"]).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

async fn list(gw: &Gateway) -> (Value, Value) {
    let ann = gw.client().header("x-user-id", "ann");
    (ann.get("/v1/memories?limit=200").await.json()["data"].clone(), ann.get("/v1/context").await.json())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_gateway_knew_the_next_one_knows() {
    let folder = tempfile::TempDir::new().unwrap();
    let at = |name: &str| {
        let path = folder.path().join(name);
        ConfigFile::quick().set("memory", "store", "\"sqlite\"").set("memory", "path", &format!("{path:?}"))
    };
    let to = match store::server() {
        Some(_) => {
            let url = store::new_database();
            ConfigFile::quick().set("memory", "store", "\"postgres\"").set(
                "memory",
                "url",
                &format!("{url:?}"),
            )
        }
        None => at("to.db"),
    };
    let gw = launch().start(at("from.db").toml()).await;
    let ann = gw.client().header("x-user-id", "ann");
    let items: Vec<Value> =
        (0..50).map(|n| json!({"text": format!("t{n}\0"), "session": "s", "metadata": {"n": n}})).collect();
    assert_eq!(ann.post("/v1/memories", &json!({ "memories": items })).await.code(), 201);
    let lang = json!({"lang": "pt"}).to_string();
    assert_eq!(ann.send(http::Method::PUT, "/v1/context", lang.into()).await.code(), 200);
    let known = list(&gw).await;
    drop(gw);

    let exported = concierge(folder.path(), &at("from.db").toml(), &["export", "x.jsonl"]);
    assert!(exported.status.success() && said(&exported).contains("50 memories"), "{}", said(&exported));
    let piped = concierge(folder.path(), &at("from.db").toml(), &["export"]);
    let file = std::fs::read(folder.path().join("x.jsonl")).unwrap();
    assert_eq!(piped.stdout, file);
    for expected in ["imported 50 of 50", "imported 0 of 50"] {
        let imported = concierge(folder.path(), &to.toml(), &["import", "x.jsonl"]);
        assert!(imported.status.success() && said(&imported).contains(expected), "{}", said(&imported));
    }
    assert_eq!(list(&launch().start(to.toml()).await).await, known);

    std::fs::write(folder.path().join("x.jsonl"), &file[..file.len() - 40]).unwrap();
    let refused = concierge(folder.path(), &at("third.db").toml(), &["import", "x.jsonl"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).starts_with("x.jsonl: line 53 is cut off"), "{}", said(&refused));
}
