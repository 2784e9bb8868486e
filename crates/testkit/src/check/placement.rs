//! What placement holds, and whether nova knows for whom: every server on a host has its resources there and nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use super::book::{Book, number};
use super::nova::{Nova, Server, is_over};
use super::{Findings, Outcome};

pub struct Placement {
    allocations: Vec<Allocation>,
    /// Providers by the roots of their trees.
    roots: BTreeMap<String, String>,
    /// What inventories say is taken of them.
    taken: Vec<(String, String, i64)>,
    consumers: Vec<String>,
}

struct Allocation {
    consumer: String,
    provider: String,
    class: String,
    used: i64,
}

impl Placement {
    pub async fn read(book: &Book) -> Outcome<Placement> {
        let allocations =
            book.rows::<4>("SELECT consumer_uuid, provider_uuid, resource_class, CAST(used AS TEXT) FROM allocations").await?;
        let taken = book.rows::<3>("SELECT provider_uuid, resource_class, CAST(used AS TEXT) FROM inventories").await?;
        let roots = book.rows::<2>("SELECT uuid, root_uuid FROM resource_providers").await?;
        Ok(Placement {
            allocations: (allocations.into_iter())
                .map(|[consumer, provider, class, used]| Allocation { consumer, provider, class, used: number(&used) })
                .collect(),
            roots: roots.into_iter().map(|[provider, root]| (provider, root)).collect(),
            taken: taken.into_iter().map(|[provider, class, used]| (provider, class, number(&used))).collect(),
            consumers: book.column("SELECT uuid FROM consumers").await?,
        })
    }

    pub fn check(&self, nova: &Nova, findings: &mut Findings) {
        for allocation in &self.allocations {
            self.check_allocation(allocation, nova, findings);
        }
        for (id, server) in nova.servers.iter().filter(|(id, server)| server.plain && nova.is_settled(id)) {
            self.check_server(id, server, findings);
        }
        let mut sums: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        for Allocation { provider, class, used, .. } in &self.allocations {
            *sums.entry((provider, class)).or_default() += used;
        }
        for (provider, class, used) in &self.taken {
            let sum = sums.get(&(&**provider, &**class)).copied().unwrap_or_default();
            if sum != *used {
                findings.say(format!("placement: provider {provider} says that {used} {class} are taken; its allocations make {sum}"));
            }
        }
        let holders: BTreeSet<&str> = self.allocations.iter().map(|allocation| &*allocation.consumer).collect();
        for consumer in self.consumers.iter().filter(|consumer| !holders.contains(consumer.as_str())) {
            findings.say(format!("placement: consumer {consumer} holds nothing"));
        }
    }

    /// For whom it is, and whether that is where it is.
    fn check_allocation(&self, allocation: &Allocation, nova: &Nova, findings: &mut Findings) {
        let Allocation { consumer, provider, class, used } = allocation;
        let held = format!("placement: {used} {class} of provider {provider} are held for {consumer}");
        let host = self.roots.get(provider).and_then(|root| nova.nodes.get(root));
        match (nova.servers.get(consumer), nova.moves.get(consumer)) {
            (Some(_), _) if !nova.is_settled(consumer) => {}
            (Some(server), _) if server.host.is_empty() => findings.say(format!("{held}, a server on no host")),
            (Some(server), _) if Some(&server.host) != host => {
                let host = host.map_or("nobody", String::as_str);
                findings.say(format!("{held}, a server on {}; the provider is {host}'s", server.host));
            }
            (None, Some(migration)) if is_over(&migration.status) => {
                findings.say(format!("{held}, a migration that is {}", migration.status));
            }
            (None, None) => findings.say(format!("{held}, which is no server and no migration")),
            (Some(_), _) | (None, Some(_)) => {}
        }
    }

    /// Whether it has what it takes.
    fn check_server(&self, id: &str, server: &Server, findings: &mut Findings) {
        if server.host.is_empty() {
            return;
        }
        let of = |classes: &[&str]| {
            let own = self.allocations.iter().filter(|held| held.consumer == id && classes.contains(&held.class.as_str()));
            own.map(|held| held.used).sum::<i64>()
        };
        let (held, takes) = ([of(&["VCPU", "PCPU"]), of(&["MEMORY_MB"])], [server.vcpus, server.ram_mb]);
        if held != takes {
            findings.say(format!("placement: server {id} on {} takes VCPU, MEMORY_MB {takes:?}; {held:?} are held for it", server.host));
        }
    }
}
