//! What users of the bus may count on, inside one process and over NATS: the latter where `CUMULO_TEST_BUS=nats://...` names a server
//! (`scripts/with-nats`).

// A test that cannot go on shall say where, and stop.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;
use kit::bus::{Bus, Config, Handlers};
use kit::{Error, Kind};
use rpc::conductor::{GetInstance, HostInstances};
use serde::{Deserialize, Serialize};

const SOON: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Note(usize);
rpc::message!(Note => (), "note");

/// Two processes' ends of each kind of bus there is here.
async fn buses() -> Vec<(Bus, Bus)> {
    let local = Bus::local();
    let mut buses = vec![(local.clone(), local)];
    if let Ok(url) = std::env::var("CUMULO_TEST_BUS") {
        let config = Config { url: Some(url), prefix: kit::ids::hex(), ..Config::default() };
        buses.push((Bus::open(&config, "control").await.unwrap(), Bus::open(&config, "host.one").await.unwrap()));
    }
    buses
}

fn ask(id: &str) -> GetInstance {
    GetInstance { instance_id: id.into() }
}

#[tokio::test]
async fn calls_are_answered_and_errors_keep_their_kind() {
    for (here, there) in buses().await {
        let handlers = Handlers::new().on(|m: GetInstance| async move {
            if m.instance_id == "gone" { Err(Error::not_found("Instance gone could not be found.").code("gone")) } else { Ok(None) }
        });
        there.serve("conductor", handlers, 4);
        assert_eq!(here.call("conductor", ask("there"), SOON).await.unwrap(), None);
        let error = here.call("conductor", ask("gone"), SOON).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_deref()), (Kind::NotFound, Some("gone")));
        assert_eq!(error.message, "Instance gone could not be found.");
        // one who serves, and does not know the message
        assert_eq!(here.cast("conductor", Note(1)).await.map_err(|error| error.kind), Ok(()));
    }
}

#[tokio::test]
async fn what_nobody_serves_is_an_error_in_time() {
    for (here, _) in buses().await {
        let began = Instant::now();
        let error = here.call("nobody", ask("x"), Duration::from_millis(300)).await.unwrap_err();
        assert!(matches!(error.kind, Kind::TimedOut | Kind::Unavailable), "{error}");
        assert!(error.message.contains("nobody") && began.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn silence_is_a_timeout() {
    for (here, there) in buses().await {
        there.serve(
            "silent",
            Handlers::new().on(|_: GetInstance| async {
                tokio::time::sleep(SOON).await;
                Ok(None)
            }),
            1,
        );
        let error = here.call("silent", ask("x"), Duration::from_millis(300)).await.unwrap_err();
        assert_eq!(error.kind, Kind::TimedOut);
    }
}

#[tokio::test]
async fn casts_arrive_once_and_in_order_where_one_at_a_time_is_served() {
    for (here, there) in buses().await {
        let (sender, mut notes) = tokio::sync::mpsc::unbounded_channel();
        let handlers = Handlers::new().on(move |Note(n): Note| {
            let sender = sender.clone();
            async move { sender.send(n).map_err(Error::internal) }
        });
        there.serve("l2.host.example", handlers, 1);
        for n in 0..200 {
            here.cast("l2.host.example", Note(n)).await.unwrap();
        }
        for n in 0..200 {
            assert_eq!(tokio::time::timeout(SOON, notes.recv()).await.unwrap(), Some(n));
        }
    }
}

#[tokio::test]
async fn no_more_are_handled_at_once_than_was_said() {
    for (here, there) in buses().await {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counted, highest) = (now.clone(), most.clone());
        let handlers = Handlers::new().on(move |_: GetInstance| {
            let (now, most) = (counted.clone(), highest.clone());
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(None)
            }
        });
        there.serve("busy", handlers, 3);
        let calls = (0..40).map(|n| here.call("busy", ask(&n.to_string()), SOON).boxed());
        assert!(futures::future::join_all(calls).await.iter().all(Result::is_ok));
        assert_eq!(most.load(Ordering::SeqCst), 3);
    }
}

#[tokio::test]
async fn a_server_that_comes_back_is_found_again() {
    for (here, there) in buses().await {
        let handlers = Handlers::new().on(|_: GetInstance| async { Ok(None) });
        let first = there.serve("conductor", handlers.clone(), 1);
        here.call("conductor", ask("x"), SOON).await.unwrap();
        first.abort();
        let _ = first.await;
        let waiting = tokio::spawn(async move { here.call("conductor", ask("y"), SOON).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        there.serve("conductor", handlers, 1);
        waiting.await.unwrap().unwrap();
    }
}

/// Those who serve the same topic share it; only between processes can there be several.
#[tokio::test]
async fn each_message_is_for_one_of_those_who_serve_a_topic() {
    let Ok(url) = std::env::var("CUMULO_TEST_BUS") else { return };
    let config = Config { url: Some(url), prefix: kit::ids::hex(), ..Config::default() };
    let mut counts = Vec::new();
    let mut servers = Vec::new();
    for _ in 0..3 {
        let bus = Bus::open(&config, "control").await.unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        bus.serve(
            "scheduler",
            Handlers::new().on(move |_: GetInstance| {
                counted.fetch_add(1, Ordering::SeqCst);
                async { Ok(None) }
            }),
            4,
        );
        counts.push(count);
        servers.push(bus);
    }
    let asking = Bus::open(&config, "control").await.unwrap();
    for n in 0..90 {
        asking.call("scheduler", ask(&n.to_string()), SOON).await.unwrap();
    }
    let each: Vec<usize> = counts.iter().map(|count| count.load(Ordering::SeqCst)).collect();
    assert_eq!(each.iter().sum::<usize>(), 90);
    assert!(each.iter().all(|n| *n > 0), "{each:?}");
}

/// What a host says in another's name is refused by whoever hears it; only between processes is there somebody else.
#[tokio::test]
async fn a_host_speaks_for_itself_alone() {
    let Ok(url) = std::env::var("CUMULO_TEST_BUS") else { return };
    let config = Config { url: Some(url), prefix: kit::ids::hex(), ..Config::default() };
    let conductor = Bus::open(&config, kit::bus::CONTROL).await.unwrap();
    conductor.serve("conductor", Handlers::new().on(|_: HostInstances| async { Ok(Vec::new()) }), 4);
    let of = |host: &str| HostInstances { host: host.into() };
    let host = Bus::open(&config, "h1.example").await.unwrap();
    assert_eq!(host.call("conductor", of("h1.example"), SOON).await.unwrap(), []);
    assert_eq!(host.call("conductor", of("h1.example@file"), SOON).await.unwrap(), []);
    let refused = host.call("conductor", of("h2"), SOON).await.unwrap_err();
    assert_eq!((refused.kind, refused.message.as_str()), (Kind::Forbidden, "h1_example may not speak for h2."));
    assert_eq!(conductor.call("conductor", of("h2"), SOON).await.unwrap(), []);
}

/// A NATS with one user, which ends with the test.
struct Guarded(std::process::Child, tempfile::TempDir);

impl Guarded {
    fn start() -> Guarded {
        let dir = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new("nats-server");
        command.args(["-a", "127.0.0.1", "-p", "-1", "--user", "cumulo", "--pass", "of-the-bus", "--ports_file_dir"]).arg(dir.path());
        Guarded(command.stderr(std::process::Stdio::null()).spawn().unwrap(), dir)
    }

    /// Where it listens, which it writes into a file.
    async fn address(&self) -> String {
        let began = Instant::now();
        loop {
            let file = self.1.path().join(format!("nats-server_{}.ports", self.0.id()));
            let text = std::fs::read_to_string(file).unwrap_or_default();
            if let Some((address, _)) = text.split_once("nats://").and_then(|(_, rest)| rest.split_once('"')) {
                return address.to_owned();
            }
            assert!(began.elapsed() < SOON, "nats-server does not say where it listens");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn who_stands_in_the_url_logs_in() {
    if std::env::var("CUMULO_TEST_BUS").is_err() {
        return;
    }
    let server = Guarded::start();
    let address = server.address().await;
    let open = async |login: &str| {
        let config = Config { url: Some(format!("nats://{login}{address}")), prefix: kit::ids::hex(), ..Config::default() };
        Bus::open(&config, "control").await.map(drop)
    };
    open("cumulo:of-the-bus@").await.unwrap();
    for other in ["", "cumulo:other@"] {
        assert_eq!(open(other).await.unwrap_err().kind, Kind::Unavailable, "{other}");
    }
}
