//! A private network, and a link in it that can be pulled: the only real way to lose a peer without a FIN or RST.
//!
//! [`alone`] runs a test of this binary in its own namespaces (user, network, mounts), which any user may create where
//! the kernel allows it; nothing of the machine's network is touched, and all of it is gone with the test. A [`Link`] is
//! a pair of virtual interfaces, the far one in a namespace that a thread enters to open its listening sockets there.

use std::{
    env,
    fs::File,
    future::Future,
    io::{Read, Write},
    net::Ipv4Addr,
    os::fd::AsFd,
    process::{Child, Command, Stdio},
    thread::scope,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Set for the copy of the test binary that runs inside.
const INSIDE: &str = "CONCIERGE_TEST_ALONE";
/// The namespaces, with and without a user's own; the second needs root.
const WAYS: [&[&str]; 2] = [&["--map-root-user", "--net", "--mount"], &["--net", "--mount"]];

/// Runs `test` in a private network where only this process is root. `name` is its full name in this binary.
///
/// Where the machine does not allow that, it prints so on standard error and returns without a test.
pub fn alone<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F) {
    if env::var_os(INSIDE).is_some() {
        must("ip", &["link", "set", "lo", "up"]);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        return runtime.block_on(test());
    }
    let Some(way) = WAYS.into_iter().find(|way| allows(way)) else {
        // Directly to standard error: the test harness hides the output of a passing test.
        let why = "needs iproute2, and root or user namespaces";
        let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {why}");
        return;
    };
    let this = env::current_exe().expect("a test binary");
    let mut unshare = Command::new("unshare");
    unshare.args(way).args(["--fork", "--kill-child"]).arg(this).args(["--exact", name, "--nocapture"]);
    let output = unshare.env(INSIDE, "1").stdin(Stdio::null()).output().expect("it ran a moment ago");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "there is no test {name}: {said}");
}

fn allows(way: &[&str]) -> bool {
    let links = ["ip", "link", "add", "near", "type", "veth", "peer", "name", "far"];
    let tried = Command::new("unshare").args(way).args(links).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

/// A link between this network and another. Only inside [`alone`].
pub struct Link {
    /// A process that keeps the far network open.
    far: Child,
}

impl Link {
    /// The address at the far end.
    pub const FAR: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);

    /// A working link.
    pub fn new() -> Self {
        let mut holder = Command::new("unshare");
        holder.args(["--net", "sh", "-c", "echo there; exec sleep infinity"]).stdout(Stdio::piped());
        let mut far = holder.spawn().expect("util-linux");
        let mut there = [0; 6];
        far.stdout.as_mut().expect("piped").read_exact(&mut there).expect("it says so");
        let link = Self { far };
        let pid = link.far.id().to_string();
        must("ip", &["link", "add", "near", "type", "veth", "peer", "name", "far", "netns", &pid]);
        must("ip", &["address", "add", "10.99.0.1/30", "dev", "near"]);
        must("ip", &["link", "set", "near", "up"]);
        link.at_the_far_end(&["link", "set", "far", "address", "02:00:00:00:00:02"]);
        link.at_the_far_end(&["address", "add", "10.99.0.2/30", "dev", "far"]);
        link.plug();
        // A fixed neighbour entry, so that a pulled link gives no error: with a router in between there would be none either.
        let fixed = ["lladdr", "02:00:00:00:00:02", "nud", "permanent"];
        must("ip", &[&["neighbour", "replace", "10.99.0.2", "dev", "near"][..], &fixed].concat());
        link
    }

    /// Silently drops everything that is sent from now on, in both directions.
    pub fn pull(&self) {
        self.at_the_far_end(&["link", "set", "far", "down"]);
    }

    /// Restores the link.
    pub fn plug(&self) {
        self.at_the_far_end(&["link", "set", "far", "up"]);
    }

    /// Runs `open` at the far end: a socket stays in the network that it was opened in.
    pub fn far<T: Send>(&self, open: impl FnOnce() -> T + Send) -> T {
        let network = File::open(self.namespace()).expect("the holder lives");
        let runtime = tokio::runtime::Handle::current();
        let visit = || {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).expect("it is ours");
            let _entered = runtime.enter();
            open()
        };
        scope(|scope| scope.spawn(visit).join().expect("no panic at the far end"))
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.far.id())
    }

    fn at_the_far_end(&self, ip: &[&str]) {
        let pid = self.far.id().to_string();
        must("nsenter", &[&["--target", &pid, "--net", "ip"][..], ip].concat());
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.far.kill();
        let _ = self.far.wait();
    }
}

/// Mounts the file `by` over the one at `path`, for this process and its children. Only inside [`alone`].
pub fn replace_file(path: &str, by: &std::path::Path) {
    must("mount", &["--bind", &by.display().to_string(), path]);
}

/// Mounts a disk of `bytes` bytes at `path`, for this process and its children. Only inside [`alone`].
pub fn small_disk(path: &std::path::Path, bytes: usize) {
    let size = format!("size={bytes}");
    must("mount", &["-t", "tmpfs", "-o", &size, "none", &path.display().to_string()]);
}

fn must(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {said}", args.join(" "));
}
