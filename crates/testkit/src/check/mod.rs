//! Whether a cloud fits together: what its services' databases say of each other, and what is on its hosts, compared; a line for everything
//! that has no owner, or is not where its owner is.
//!
//! The databases are read as they lie there, in SQL and not by the services' code, so that one mistake does not hide another. They are read one
//! after the other while the cloud goes on; so what is only on its way is found too, and [`settled`] looks again until it is gone. What is found in
//! every look is a leak, or stuck.

mod book;
mod cinder;
mod glance;
mod host;
mod links;
mod neutron;
mod nova;
mod place;
mod placement;
mod processes;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

pub use self::book::Book;
use self::cinder::Cinder;
use self::glance::Glance;
use self::host::Known;
use self::neutron::Neutron;
use self::nova::Nova;
pub use self::place::Place;
use self::placement::Placement;

/// What a look comes to; an error is that it could not be had.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// Services whose promises are flows.
const WITH_FLOWS: [&str; 2] = ["nova", "cinder"];

/// What does not fit, a line each.
#[derive(Default)]
pub struct Findings(BTreeSet<String>);

impl Findings {
    fn say(&mut self, line: String) {
        self.0.insert(line);
    }
}

/// One look at a cloud.
pub async fn look(places: &[Place]) -> Outcome<BTreeSet<String>> {
    let mut findings = Findings::default();
    // what consumes first: what it consumes is there before and after it
    let (nova, of_nova) = (book(places, "nova").await?, book(places, "placement").await?);
    let (of_neutron, of_cinder) = (book(places, "neutron").await?, book(places, "cinder").await?);
    let (nova, placement) = (Nova::read(&nova.1).await?, Placement::read(&of_nova.1).await?);
    let (neutron, cinder) = (Neutron::read(&of_neutron.1).await?, Cinder::read(&of_cinder.1).await?);
    nova.check(&mut findings);
    placement.check(&nova, &mut findings);
    neutron.check(&nova, &mut findings);
    cinder.check(&nova, &mut findings);
    let (at, of_glance) = book(places, "glance").await?;
    Glance::read(&of_glance).await?.check(at, &mut findings);
    for service in WITH_FLOWS {
        let (_, book) = book(places, service).await?;
        for [id, kind, subject] in book.rows("SELECT id, kind, subject FROM flows").await? {
            findings.say(format!("{service}: the flow {kind} ({id}) of {subject} does not end"));
        }
    }
    let known = Known { nova: &nova, neutron: &neutron, cinder: &cinder };
    let processes = processes::all();
    for place in places {
        host::check(place, &known, &mut findings);
        if place.is_host() {
            processes::check(&processes, place, &known, &mut findings);
        }
    }
    processes::check_twice(&processes, places, &known, &mut findings);
    links::check(places, &known, &mut findings)?;
    Ok(findings.0)
}

/// Looks until nothing is found that was not found each time before, or the time is over.
pub async fn settled(places: &[Place], patience: Duration) -> Outcome<BTreeSet<String>> {
    let began = Instant::now();
    let mut found = look(places).await?;
    while !found.is_empty() && began.elapsed() < patience {
        tokio::time::sleep(PAUSE).await;
        let again = look(places).await?;
        found.retain(|line| again.contains(line));
    }
    Ok(found)
}

/// The database of a service, and the process that it is of.
async fn book<'p>(places: &'p [Place], service: &str) -> Outcome<(&'p Place, Book)> {
    for place in places {
        if let Some(book) = place.book(service).await? {
            return Ok((place, book));
        }
    }
    Err(format!("none of these state directories has a database of {service}").into())
}
