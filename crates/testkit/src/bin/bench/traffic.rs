//! Packets between two guests that are network namespaces: how much goes through, and how long a byte takes there and back.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use serde_json::{Value, json};

use crate::{Outcome, median};

const PORT: u16 = 5201;
/// How long one measurement takes.
const WHILE: Duration = Duration::from_secs(2);
/// Measurements of one figure.
const ROUNDS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);

/// Two guests that are joined somehow.
pub struct Pair {
    pub from: String,
    pub to: String,
    pub address: IpAddr,
}

/// A pair's figures, each beside those of another pair, measured in turns.
pub async fn compare(ours: &Pair, bare: &Pair) -> Outcome<Value> {
    let (mut gbits, mut bare_gbits, mut micros, mut bare_micros) = (vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        bare_gbits.push(throughput(bare).await?);
        gbits.push(throughput(ours).await?);
        bare_micros.push(round_trip(bare).await?);
        micros.push(round_trip(ours).await?);
    }
    let [gbits, bare_gbits, micros, bare_micros] = [gbits, bare_gbits, micros, bare_micros].map(|mut figures| median(&mut figures));
    Ok(json!({
        "gbit_per_second": gbits, "bare_bridge_gbit_per_second": bare_gbits, "ratio": gbits / bare_gbits,
        "round_trip_us": micros, "bare_bridge_round_trip_us": bare_micros, "round_trip_ratio": bare_micros / micros,
    }))
}

/// Waits until the second guest is reached.
pub async fn reachable(pair: &Pair) -> Outcome<()> {
    let began = Instant::now();
    loop {
        let serving = inside(&pair.to, || TcpListener::bind(("0.0.0.0", PORT)))?;
        let listener = finish(serving).await??;
        let reached = finish(dial(pair, Duration::from_millis(500))?).await?.is_ok();
        drop(listener);
        if reached {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("{} does not reach {}", pair.from, pair.address).into());
        }
    }
}

/// Gigabits a second of one TCP stream.
async fn throughput(pair: &Pair) -> Outcome<f64> {
    let received = serve(pair, |mut stream| {
        let (mut total, mut block) = (0_u64, vec![0; 1 << 18]);
        while let Ok(length @ 1..) = stream.read(&mut block) {
            total += length as u64;
        }
        total
    })
    .await?;
    let mut stream = finish(dial(pair, WHILE)?).await??;
    let began = Instant::now();
    let sending = std::thread::spawn(move || {
        let block = vec![7; 1 << 18];
        while began.elapsed() < WHILE && stream.write_all(&block).is_ok() {}
    });
    finish(sending).await?;
    let bytes = finish(received).await?;
    Ok(bytes as f64 * 8.0 / began.elapsed().as_secs_f64() / 1e9)
}

/// Microseconds of a byte there and back: the middle of many.
async fn round_trip(pair: &Pair) -> Outcome<f64> {
    let echoing = serve(pair, |mut stream| {
        let _ = stream.set_nodelay(true);
        let mut byte = [0];
        while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
    })
    .await?;
    let mut stream = finish(dial(pair, WHILE)?).await??;
    stream.set_nodelay(true)?;
    let asking = std::thread::spawn(move || {
        let (mut micros, mut byte, until) = (vec![], [1], Instant::now() + WHILE);
        while Instant::now() < until {
            let began = Instant::now();
            if stream.write_all(&byte).is_err() || stream.read_exact(&mut byte).is_err() {
                break;
            }
            micros.push(began.elapsed().as_secs_f64() * 1e6);
        }
        micros
    });
    let mut micros = finish(asking).await?;
    finish(echoing).await?;
    Ok(median(&mut micros))
}

/// One connection is taken in the second guest, by a thread of its own.
async fn serve<T: Send + 'static>(pair: &Pair, work: impl FnOnce(TcpStream) -> T + Send + 'static) -> Outcome<JoinHandle<T>> {
    let listener = finish(inside(&pair.to, || TcpListener::bind(("0.0.0.0", PORT)))?).await??;
    Ok(std::thread::spawn(move || match listener.accept() {
        Ok((stream, _)) => work(stream),
        Err(error) => panic!("nobody came: {error}"),
    }))
}

fn dial(pair: &Pair, patience: Duration) -> Outcome<JoinHandle<std::io::Result<TcpStream>>> {
    let address = SocketAddr::new(pair.address, PORT);
    inside(&pair.from, move || TcpStream::connect_timeout(&address, patience))
}

/// Runs something in a namespace; sockets it makes stay there.
fn inside<T: Send + 'static>(netns: &str, work: impl FnOnce() -> T + Send + 'static) -> Outcome<JoinHandle<T>> {
    let namespace = std::fs::File::open(format!("/run/netns/{netns}"))?;
    Ok(std::thread::spawn(move || match setns(namespace, CloneFlags::CLONE_NEWNET) {
        Ok(()) => work(),
        Err(error) => panic!("a namespace cannot be entered: {error}"),
    }))
}

async fn finish<T: Send + 'static>(thread: JoinHandle<T>) -> Outcome<T> {
    tokio::task::spawn_blocking(move || thread.join()).await?.map_err(|_| "a thread of the measurement panicked".into())
}
