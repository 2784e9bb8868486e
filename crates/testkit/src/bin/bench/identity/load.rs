//! Load from this process: as fast as some connections go, or at a steady pace, as somebody sees it who comes by.

use std::future::Future;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Outcome;

/// Between two requests at a pace.
const PACE: Duration = Duration::from_millis(5);

/// How long requests took, sorted, and how many were answered in a second.
pub struct Went {
    times: Vec<Duration>,
    pub per_second: f64,
}

impl Went {
    fn of(mut times: Vec<Duration>, whole: Duration) -> Outcome<Went> {
        if times.is_empty() {
            return Err("nothing was answered".into());
        }
        times.sort();
        Ok(Went { per_second: times.len() as f64 / whole.as_secs_f64(), times })
    }

    /// The time within which this share of the requests was answered.
    pub fn ms(&self, share: f64) -> f64 {
        let index = (self.times.len() as f64 * share) as usize;
        self.times.get(index).or(self.times.last()).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
    }

    pub fn figures(&self) -> Value {
        json!({"per_second": self.per_second, "p50_ms": self.ms(0.5), "p99_ms": self.ms(0.99)})
    }
}

/// Some connections at once, each with its next request as soon as the last is answered.
pub async fn flat_out<F, A>(connections: usize, length: Duration, ask: F) -> Outcome<Went>
where
    F: Fn() -> A + Clone + Send + 'static,
    A: Future<Output = Outcome<()>> + Send + 'static,
{
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let ask = ask.clone();
        tasks.spawn(async move {
            let mut times = Vec::new();
            while began.elapsed() < length {
                times.push(timed(ask()).await?);
            }
            Outcome::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    Went::of(times, began.elapsed())
}

/// A request at every beat, whether or not the last is answered.
pub async fn at_a_pace<F, A>(length: Duration, ask: F) -> Outcome<Went>
where
    F: Fn() -> A,
    A: Future<Output = Outcome<()>> + Send + 'static,
{
    let began = Instant::now();
    let mut beat = tokio::time::interval(PACE);
    let mut tasks = JoinSet::new();
    while began.elapsed() < length {
        beat.tick().await;
        tasks.spawn(timed(ask()));
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.push(done??);
    }
    Went::of(times, began.elapsed())
}

/// One after the other.
pub async fn in_turn(count: usize, ask: impl AsyncFn(usize) -> Outcome<()>) -> Outcome<Went> {
    let began = Instant::now();
    let mut times = Vec::new();
    for turn in 0..count {
        times.push(timed(ask(turn)).await?);
    }
    Went::of(times, began.elapsed())
}

async fn timed(ask: impl Future<Output = Outcome<()>>) -> Outcome<Duration> {
    let asked = Instant::now();
    ask.await?;
    Ok(asked.elapsed())
}
