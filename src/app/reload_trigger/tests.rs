//! A gateway without a port, and changes of its configuration file.

use std::{fs, path::PathBuf, process};

use tokio::time::timeout;

use super::*;
use crate::{admin::Reloaded, app::parts::Parts, events::Event, tasks::Tasks};

/// A gateway and its file, which is deleted at the end.
struct Running {
    parts: Parts,
    reload: Arc<ReloadHandle>,
    directory: PathBuf,
}

impl Running {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("concierge-reload-{}-{name}", process::id()));
        drop(fs::remove_dir_all(&directory));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("config.toml");
        fs::write(&path, with_temperature("1.0")).unwrap();
        let config = config::load(&path).unwrap().config;
        let parts = Parts::new(config, Some(path), None, None, Tasks::new()).unwrap();
        let reload = parts.reload_handle();
        Self { parts, reload, directory }
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.directory.join("config.toml")
    }

    fn source(&self) -> ReloadSource {
        let (config, reload) = (self.parts.config.clone(), self.reload.clone());
        ReloadSource { path: self.path(), config, reload }
    }

    fn temperature(&self) -> f64 {
        self.parts.config.snapshot().config.routing.temperature
    }

    fn last(&self) -> Option<Reloaded> {
        self.reload.last()
    }

    /// Waits until the last reload is as `expected`.
    async fn until(&self, expected: impl Fn(&Reloaded) -> bool) -> Reloaded {
        let seen = async {
            loop {
                match self.last().filter(&expected) {
                    Some(last) => return last,
                    None => sleep(Duration::from_millis(10)).await,
                }
            }
        };
        timeout(Duration::from_secs(5), seen).await.unwrap_or_else(|_| panic!("{:?}", self.last()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.directory));
    }
}

fn with_temperature(temperature: &str) -> String {
    format!(
        r#"
[[providers]]
name = "one"
base_url = "http://127.0.0.1:9001/v1"
[[models]]
name = "m"
targets = ["one/m"]
[routing]
temperature = {temperature}
"#
    )
}

#[tokio::test]
async fn a_good_file_is_put_in_force_and_told() {
    let running = Running::new("good");
    let mut events = running.parts.events.watch();
    running.write(&with_temperature("0.5"));
    let reloaded = running.reload.reload();
    assert!(reloaded.ok);
    assert_eq!(reloaded.messages, ["routing.temperature: 1.0 -> 0.5"]);
    assert_eq!(running.temperature(), 0.5);
    assert!(matches!(events.recv().await.unwrap().event, Event::Reload { ok: true, .. }));
    assert_eq!(running.reload.reload().messages, ["nothing changed"]);
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_every_reason_is_told() {
    let running = Running::new("bad");
    let before = running.parts.config.load();
    running.write(&with_temperature("-1\nhalf_lief = \"1s\""));
    let reloaded = running.reload.reload();
    assert!(!reloaded.ok);
    assert_eq!(reloaded.messages.len(), 2, "{reloaded:?}");
    assert!(Arc::ptr_eq(&before, &running.parts.config.load()));
}

#[tokio::test]
async fn a_moved_listener_waits_but_the_rest_is_in_force() {
    let running = Running::new("moved");
    running.write(&format!("[server]\nlisten = \"127.0.0.1:9\"\n{}", with_temperature("0.5")));
    let reloaded = running.reload.reload();
    assert!(reloaded.ok);
    assert!(reloaded.messages[1].starts_with("warning: server.listen"), "{reloaded:?}");
    assert_eq!(running.temperature(), 0.5);
    assert_eq!(running.parts.config.snapshot().config.server.listen.port(), 8080);
}

/// One test for the whole watch, because SIGHUP goes to the whole process.
#[tokio::test]
async fn the_watch_follows_the_file() {
    let running = Running::new("watch");
    let watching = watch(running.source());
    let life = async {
        // Before the watch has been polled.
        running.write(&with_temperature("0.1"));
        running.until(|last| last.ok).await;
        assert_eq!(running.temperature(), 0.1);

        running.write("nonsense");
        running.until(|last| !last.ok).await;
        assert_eq!(running.temperature(), 0.1);

        running.write(&with_temperature("0.2"));
        running.until(|last| last.ok).await;
        assert_eq!(running.temperature(), 0.2);
        let seen = running.last().unwrap();

        // An editor that takes its time, and a save that changes nothing.
        fs::remove_file(running.path()).unwrap();
        sleep(Duration::from_millis(600)).await;
        running.write(&with_temperature("0.2"));
        sleep(Duration::from_millis(600)).await;
        assert_eq!(running.last().unwrap().at, seen.at);

        // A file that stays missing is reported, the old configuration stays, and the file may come back.
        fs::remove_file(running.path()).unwrap();
        running.until(|last| !last.ok).await;
        running.write(&with_temperature("0.3"));
        running.until(|last| last.ok).await;
        assert_eq!(running.temperature(), 0.3);

        let hangup = process::Command::new("kill").args(["-HUP", &process::id().to_string()]).status();
        assert!(hangup.unwrap().success());
        running.until(|last| last.messages == ["nothing changed"]).await;
    };
    tokio::select! {
        () = watching => panic!("the watch ended"),
        () = life => {}
    }
}

#[tokio::test]
async fn the_demo_has_nothing_to_reload() {
    let parts = Parts::new(config::Config::default(), None, None, None, Tasks::new()).unwrap();
    assert!(!parts.reload_handle().reload().ok);
}
