//! A place for a test with packets: the test runs itself again inside new network, mount and process namespaces, which end with it and take
//! everything along, whatever happens.

use std::future::Future;
use std::process::Command;
use std::time::{Duration, Instant};

const INSIDE: &str = "CUMULO_TEST_SANDBOX";
/// Tests share few cores: wait long, and go on as soon as it is so.
const PATIENCE: Duration = Duration::from_secs(60);

/// Run `test`, the body of the test function `name`, in a sandbox. Without root it is skipped, but not in CI.
pub fn sandboxed(name: &str, test: impl Future<Output = ()>) {
    if std::env::var_os(INSIDE).is_some() {
        super::guest::shell("mount -t tmpfs tmpfs /run && mkdir -p /run/lock && ip link set lo up");
        tracing_subscriber::fmt().with_env_filter("neutron_agent=info").with_writer(std::io::stderr).init();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(test);
    }
    if let Err(missing) = neutron_agent::preflight() {
        assert!(std::env::var_os("CI").is_none(), "{name} cannot run: {missing}");
        println!("{name} is skipped: {missing}");
        return;
    }
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{name} failed in its sandbox");
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "never: {what}\n{}", super::guest::shell("ip -br link; nft list ruleset"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
