//! On the real file system: what editors, `cp` and Kubernetes do to a file.

use std::{fs, os::unix::fs::symlink, process};

use super::*;

/// A directory of its own, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("concierge-watch-{}-{name}", process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn with(self, name: &str, text: &str) -> Self {
        fs::write(self.0.join(name), text).unwrap();
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

async fn notices(watch: &Watch) -> bool {
    timeout(Duration::from_secs(3), watch.changed()).await.is_ok()
}

async fn stays_quiet(watch: &Watch) -> bool {
    timeout(Duration::from_millis(500), watch.changed()).await.is_err()
}

#[tokio::test]
async fn a_write_in_place_is_noticed_once() {
    let dir = Dir::new("in-place").with("config.toml", "a");
    let watch = Watch::new(&dir.path("config.toml")).unwrap();
    fs::write(dir.path("config.toml"), "b").unwrap();
    assert!(notices(&watch).await);
    assert!(stays_quiet(&watch).await);
}

#[tokio::test]
async fn a_file_put_in_its_place_is_noticed_again_and_again() {
    let dir = Dir::new("replaced").with("config.toml", "a");
    let watch = Watch::new(&dir.path("config.toml")).unwrap();
    for text in ["b", "c", "d"] {
        fs::write(dir.path(".config.toml.swp"), text).unwrap();
        fs::rename(dir.path(".config.toml.swp"), dir.path("config.toml")).unwrap();
        assert!(notices(&watch).await, "{text}");
    }
}

#[tokio::test]
async fn a_file_that_did_not_exist_is_noticed() {
    let dir = Dir::new("new");
    let watch = Watch::new(&dir.path("config.toml")).unwrap();
    fs::write(dir.path("config.toml"), "a").unwrap();
    assert!(notices(&watch).await);
}

#[tokio::test]
async fn a_swapped_directory_link_is_noticed() {
    let dir = Dir::new("kubernetes");
    for version in ["..1", "..2"] {
        fs::create_dir(dir.path(version)).unwrap();
        fs::write(dir.path(version).join("config.toml"), version).unwrap();
    }
    symlink("..1", dir.path("..data")).unwrap();
    symlink("..data/config.toml", dir.path("config.toml")).unwrap();
    let watch = Watch::new(&dir.path("config.toml")).unwrap();
    symlink("..2", dir.path("..data_tmp")).unwrap();
    fs::rename(dir.path("..data_tmp"), dir.path("..data")).unwrap();
    assert!(notices(&watch).await);
}

#[tokio::test]
async fn a_write_behind_a_link_is_noticed() {
    let (here, there) = (Dir::new("link"), Dir::new("behind").with("real.toml", "a"));
    symlink(there.path("real.toml"), here.path("config.toml")).unwrap();
    let watch = Watch::new(&here.path("config.toml")).unwrap();
    fs::write(there.path(".new"), "b").unwrap();
    fs::rename(there.path(".new"), there.path("real.toml")).unwrap();
    assert!(notices(&watch).await);
}

#[tokio::test]
async fn neighbours_and_readers_are_not_noticed() {
    let dir = Dir::new("neighbours").with("config.toml", "a");
    let watch = Watch::new(&dir.path("config.toml")).unwrap();
    fs::write(dir.path("concierge.db-wal"), "x").unwrap();
    fs::read(dir.path("config.toml")).unwrap();
    assert!(stays_quiet(&watch).await);
}

#[test]
fn a_missing_directory_is_one_sentence() {
    let problem = Watch::new(Path::new("/no/such/directory/config.toml")).err().unwrap();
    assert!(problem.starts_with("/no/such/directory/config.toml cannot be watched"), "{problem}");
}
