//! What tests with real guests share: where they can run, a host on QEMU, an end that leaves nothing.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nova_compute::hypervisor::qemu::{AccelChoice, Qemu};
use nova_compute::hypervisor::sim::Sim;
use rpc::compute::Instance;

use super::{Cloud, HOST};

/// Runs a test with the guest image in a network namespace of its own. Where that cannot be it says so and passes, but not in CI.
#[allow(clippy::print_stdout)] // why nothing was tested is for whoever reads the output
pub fn with_image<Fut: Future<Output = ()>>(test: impl FnOnce(Vec<u8>) -> Fut) {
    let image = std::env::var_os("CUMULO_GUEST_IMAGE").filter(|image| Path::new(image).exists());
    let Some(image) = image.filter(|_| nix::unistd::geteuid().is_root()) else {
        let sentence = "CUMULO_GUEST_IMAGE names no file, or we are not root, so no real guest was built.";
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{sentence}");
        return println!("{sentence}");
    };
    // the runtime's threads begin after this one has left the machine's network
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
    // disks of guests on their way are served on the loopback interface
    let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
    assert!(up.success());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test(std::fs::read(image).unwrap()));
}

/// Ends all guests also when the test fails.
pub struct CleanUp(pub PathBuf);

impl Drop for CleanUp {
    fn drop(&mut self) {
        nova_compute::cleanup(&self.0).unwrap();
    }
}

/// A host on QEMU with this one instance, whose image is `image`.
pub async fn start(state: &Path, instance: Instance, image: Vec<u8>) -> (Cloud, Arc<Qemu>) {
    let config = nova_compute::Config::new(HOST, state);
    let qemu = Qemu::open(AccelChoice::Tcg, state, &config.instances_dir()).await.unwrap();
    let cloud = Cloud::on(qemu.clone(), Arc::new(Sim::new()), config, instance, image).await;
    (cloud, qemu)
}

pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = std::time::Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(180), "{what} did not happen in time");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
