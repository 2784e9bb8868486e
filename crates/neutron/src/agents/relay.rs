//! Among several neutron-servers one speaks with the hosts, so that what each was told is known in one place. The others relay to it what
//! their changes touched. What is lost while nobody speaks is not missed: whoever begins to speak makes every host ask for everything.

use std::time::Duration;

use kit::bus::Bus;
use rpc::network::SERVER_TOPIC;
use serde::{Deserialize, Serialize};

use super::publisher::{Command, Inbox};
use super::{Touched, distinct};

/// Notices relayed together.
const BATCH: usize = 512;
/// Between a relay that failed and the next.
const PAUSE: Duration = Duration::from_millis(500);

/// neutron-server -> the one that speaks with the hosts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Relayed {
    pub touched: Vec<Touched>,
}
rpc::message!(Relayed => (), "touched");

/// Relays what the inbox gets.
pub async fn relay(bus: Bus, inbox: Inbox) {
    let mut inbox = inbox.lock().await;
    let mut commands = Vec::with_capacity(BATCH);
    while inbox.recv_many(&mut commands, BATCH).await > 0 {
        let touched = commands.drain(..).filter_map(|command| match command {
            Command::Touched(touched) => Some(touched),
            // agents are heard by the one who speaks; whoever asked hears that its question was dropped
            Command::Fetch { .. } | Command::Heard { .. } | Command::Moved => None,
        });
        let message = Relayed { touched: distinct(touched.collect()) };
        if message.touched.is_empty() {
            continue;
        }
        if let Err(error) = bus.cast(SERVER_TOPIC, message).await {
            tracing::warn!(%error, "nobody speaks with the hosts now; whoever does next tells them everything");
            tokio::time::sleep(PAUSE).await;
        }
    }
}
