//! The threads that hash: as many as there are cores, each below everything else of this process in the eyes of the scheduler.
//!
//! Hashing takes a core for tens of milliseconds. On threads like any other it would stand in the way of requests that need one for tens of
//! microseconds; these threads get what the others leave. Who logs in waits a little longer when much else is going on. Each thread uses its
//! memory again, as getting 19 MiB from the system and giving them back takes a tenth of the time; who has nothing to do gives it back.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::Block;
use kit::{Error, Result};
use tokio::sync::oneshot;

/// Work that may wait for a core, for each core.
const QUEUE: usize = 64;
/// How much lower the threads' priority is: each gets about a tenth of what another thread gets that wants the same core.
const NICE: nix::libc::c_int = 10;
/// How long a thread without work keeps its memory.
const IDLE: Duration = Duration::from_secs(1);

type Work = Box<dyn FnOnce(&mut Memory) + Send>;

/// What a thread hashes in.
#[derive(Default)]
pub struct Memory(Vec<Block>);

impl Memory {
    /// So many blocks.
    pub fn blocks(&mut self, count: usize) -> &mut [Block] {
        if self.0.len() < count {
            self.0.resize(count, Block::new());
        }
        &mut self.0
    }
}

/// A way to the threads. They end when it is dropped.
pub struct Hashers(SyncSender<Work>);

impl Hashers {
    pub fn start() -> Result<Hashers> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (sender, receiver) = sync_channel(cores * QUEUE);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..cores {
            let receiver = receiver.clone();
            std::thread::Builder::new().name("hasher".into()).spawn(move || work(&receiver))?;
        }
        Ok(Hashers(sender))
    }

    /// Does some work on one of the threads. When too much waits already, 503 at once.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce(&mut Memory) -> T + Send + 'static) -> Result<T> {
        let (done, outcome) = oneshot::channel();
        let work = move |memory: &mut Memory| {
            // whoever has gone away wants nothing any more
            if !done.is_closed() {
                _ = done.send(work(memory));
            }
        };
        let busy = |_| Error::unavailable("Too many logins are waiting; try again in a moment.");
        self.0.try_send(Box::new(work)).map_err(busy)?;
        outcome.await.map_err(Error::internal)
    }
}

fn work(receiver: &Mutex<Receiver<Work>>) {
    give_way();
    let mut memory = Memory::default();
    loop {
        // one waits for work, the others for their turn to wait
        let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(IDLE);
        match next {
            // whoever waits for work that panics is told by the end of its channel
            Ok(work) => _ = catch_unwind(AssertUnwindSafe(|| work(&mut memory))),
            Err(RecvTimeoutError::Timeout) => memory = Memory::default(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Lowers this thread's priority. Where that is not to be had, hashing works all the same.
#[allow(unsafe_code)]
fn give_way() {
    // SAFETY: takes an integer; on Linux it is the calling thread that becomes nicer
    unsafe { nix::libc::nice(NICE) };
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn work_is_done_and_a_panic_is_its_own() {
        let hashers = Hashers::start().unwrap();
        assert_eq!(hashers.run(|_| 2 + 2).await.unwrap(), 4);
        assert!(hashers.run(|_| panic!("on purpose")).await.is_err());
        assert_eq!(hashers.run(|_| 3 + 3).await.unwrap(), 6);
    }

    #[test]
    fn too_much_work_is_refused_at_once() {
        let hashers = Hashers::start().unwrap();
        let cores = std::thread::available_parallelism().unwrap().get();
        let gate = Arc::new(Mutex::new(()));
        let closed = gate.lock().unwrap();
        // one more than there are threads and places
        let mut asked: Vec<_> = (0..=cores * (QUEUE + 1))
            .map(|_| {
                let gate = gate.clone();
                Box::pin(hashers.run(move |_| drop(gate.lock())))
            })
            .collect();
        let answered: Vec<_> = asked.iter_mut().filter_map(|run| run.as_mut().now_or_never()).collect();
        assert!(!answered.is_empty());
        assert!(answered.iter().all(|answer| answer.as_ref().is_err_and(|error| error.kind == kit::Kind::Unavailable)));
        drop(closed);
    }
}
