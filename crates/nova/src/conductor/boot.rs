//! The boot of one server, as durable steps:
//!
//! ```text
//!   schedule  -> the scheduler chooses and claims a host; it is recorded on the server    undo: free ports, volumes and the claim, set ERROR
//!   build     -> the host builds; one that refuses leads to the next alternate            undo: end the guest
//!   end       -> ACTIVE, and the action ends
//! ```
//!
//! Every step may run twice: the server's own row (host, vm_state, build_outcome) says how far it got.

use std::time::Duration;

use futures::future::BoxFuture;
use kit::flow::{Flow, Step};
use kit::{Error, Kind, Result, steps};
use rpc::Caller;
use rpc::compute::{BuildInstance, TerminateInstance, compute_topic};
use rpc::conductor::{BuildOutcome, Fault, own_topic};
use rpc::scheduler::{Destination, FilterResult, SelectDestinations, Selection, TOPIC};
use sea_orm::{DatabaseTransaction, Set};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};

use super::{GONE, claims, neighbours};
use crate::instance_actions::{self, record::Span};
use crate::servers::instance::{ActiveModel, Model};
use crate::servers::states::{TaskState, VmState};
use crate::servers::store::{self, Guard};
use crate::{Nova, server_groups};

/// How long the scheduler may think.
const SCHEDULING: Duration = Duration::from_secs(60);

/// How often a host is chosen for a server whose group fills its hosts meanwhile.
const CHOICES: usize = 20;

/// What the journal keeps.
#[derive(Serialize, Deserialize)]
pub struct Boot {
    caller: Caller,
    instance_id: String,
    /// The chosen host and its alternates, best first.
    destinations: Vec<Destination>,
    /// Why hosts refused, for the fault.
    refusals: Vec<String>,
    fault: Option<Fault>,
    gone: bool,
}

impl Flow for Boot {
    type App = Nova;
    const KIND: &'static str = "boot";

    fn steps() -> Vec<Step<Self>> {
        steps![Self: schedule / give_up, build / destroy]
    }

    /// The server is ACTIVE if the host has not said so itself, and the action ends.
    fn end<'a>(&'a self, app: &'a Nova, tx: &'a DatabaseTransaction) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let change = ActiveModel {
                vm_state: Set(VmState::Active.word().into()),
                task_state: Set(None),
                power_state: Set(1),
                launched_at: Set(Some(kit::clock::Timestamp::now())),
                ..Default::default()
            };
            let guard = Guard { vm_state: Some(VmState::Building.word().into()), ..Guard::alive() };
            store::change(tx, &self.instance_id, guard, change).await?;
            instance_actions::end(tx, &self.instance_id, &self.caller.request_id, false).await?;
            app.builds.forget(&self.instance_id);
            Ok(())
        })
    }
}

impl Boot {
    pub fn new(caller: Caller, instance_id: &str) -> Boot {
        let instance_id = instance_id.to_owned();
        Boot { caller, instance_id, destinations: Vec::new(), refusals: Vec::new(), fault: None, gone: false }
    }

    /// Steps 8 to 11: ask the scheduler, and write down its choice; once more when members of its group took their places meanwhile.
    async fn schedule(&mut self, app: &Nova) -> Result<()> {
        for _ in 0..CHOICES {
            let server = self.server(app).await?;
            self.destinations = self.choose(app, &server).await?;
            let Some(first) = self.destinations.first() else { return Err(Error::internal("no destination")) };
            if self.record_host(app, &server, first).await? {
                return Ok(());
            }
        }
        Err(self.fail(500, "No valid host was found. The places of the server's group change all the time.".to_owned(), ""))
    }

    async fn choose(&mut self, app: &Nova, server: &Model) -> Result<Vec<Destination>> {
        let span = Span::begin("conductor_schedule", "nova-conductor", "nova-scheduler");
        let devices = store::block_devices_of(app.db.read(), &server.id).await?;
        let question = SelectDestinations { caller: self.caller.clone(), instance: server.to_rpc(devices), ignore_hosts: Vec::new() };
        let selection = app.bus.call(TOPIC, question, SCHEDULING).await;
        app.events.push(&self.instance_id, &self.caller.request_id, [span.ended(&selection)]);
        self.chosen(selection?)
    }

    fn chosen(&mut self, selection: Selection) -> Result<Vec<Destination>> {
        let Some(selected) = selection.selected else {
            return Err(self.fail(500, no_valid_host(&selection.filters), ""));
        };
        Ok(std::iter::once(selected).chain(selection.alternates).collect())
    }

    /// Undo of the claim and of what was reserved before the boot began, and the end of a boot that failed.
    async fn give_up(&mut self, app: &Nova, error: &Error) -> Result<()> {
        neighbours::release(app, &self.instance_id).await?;
        claims::release(app, &self.instance_id).await?;
        app.builds.forget(&self.instance_id);
        let fault = self.fault.clone().unwrap_or_else(|| Fault {
            code: 500,
            message: if error.kind == Kind::Internal { "Build of instance failed.".into() } else { error.message.clone() },
            details: error.to_string(),
        });
        let (id, request) = (self.instance_id.clone(), self.caller.request_id.clone());
        app.db
            .write(move |tx| {
                Box::pin(async move {
                    let change = ActiveModel { host: Set(None), node: Set(None), ..store::failed(fault) };
                    store::change(tx, &id, Guard::alive(), change).await?;
                    instance_actions::end(tx, &id, &request, true).await
                })
            })
            .await
    }

    /// Steps 12 to 29 happen on the host; here one waits for them, and turns to the next host when one refuses.
    async fn build(&mut self, app: &Nova) -> Result<()> {
        let server = match store::standing(app.db.read(), &self.instance_id).await? {
            Some(server) if !server.is_deleting() => server,
            _ => return Err(self.is_gone()),
        };
        if server.vm_state == VmState::Active.word() {
            return Ok(());
        }
        let begin = self.destinations.iter().position(|d| Some(&d.host) == server.host.as_ref()).unwrap_or(0);
        let candidates: Vec<Destination> = self.destinations.iter().skip(begin).take(app.config.max_attempts).cloned().collect();
        for (attempt, destination) in candidates.iter().enumerate() {
            if attempt > 0 && !self.move_to(app, destination).await? {
                continue;
            }
            let outcome = self.build_on(app, destination).await?;
            app.hosts.built(app, &destination.host, &outcome).await;
            match outcome {
                BuildOutcome::Running => return Ok(()),
                BuildOutcome::Gone => return Err(self.is_gone()),
                BuildOutcome::Failed(fault) => return Err(self.fail(fault.code, fault.message, &fault.details)),
                BuildOutcome::Refused(fault) => self.refusals.push(format!("{}: {}", destination.host, fault.message)),
            }
        }
        let why = self.refusals.join("; ");
        let message = format!(
            "Exceeded maximum number of retries. Exhausted all hosts available for retrying build failures for instance {}. Last refusals: {why}",
            self.instance_id
        );
        Err(self.fail(500, message, &why))
    }

    /// The next alternate: the claim moves, and the server belongs to it. False when it has no room any more.
    async fn move_to(&mut self, app: &Nova, destination: &Destination) -> Result<bool> {
        let server = self.server(app).await?;
        let devices = store::block_devices_of(app.db.read(), &server.id).await?;
        let resources = claims::resources(&server.flavor.0, &server.spec.0.image_properties, &devices);
        if !claims::claim(app, &server.id, (&server.project_id, &server.user_id), destination, &resources).await? {
            return Ok(false);
        }
        self.record_host(app, &server, destination).await
    }

    /// Casts the build and waits, looking after it now and then because the answer may have been lost.
    async fn build_on(&self, app: &Nova, destination: &Destination) -> Result<BuildOutcome> {
        let mut answer = app.builds.wait(&self.instance_id);
        app.builds.keep_request(&self.instance_id, &self.caller.request_id);
        let span = Span::begin("conductor_cast_build", "nova-conductor", "nova-compute");
        let message = BuildInstance {
            caller: self.caller.clone(),
            instance_id: self.instance_id.clone(),
            admin_password: app.builds.password(&self.instance_id),
            answer_to: Some(own_topic(app.flows()?.owner())),
        };
        if let Err(error) = app.bus.cast(&compute_topic(&destination.host), message).await {
            // should it have heard us after all, it finds that the server is another host's by now
            return Ok(BuildOutcome::Refused(Fault { code: 500, details: error.to_string(), message: error.message }));
        }
        app.events.push(&self.instance_id, &self.caller.request_id, [span.done(Some(destination.host.clone()))]);
        let deadline = Instant::now() + app.config.build_timeout;
        loop {
            if let Ok(Ok(finished)) = timeout(app.config.build_look, &mut answer).await
                && finished.host == destination.host
            {
                return Ok(finished.outcome);
            }
            if let Some(outcome) = self.look(app, destination).await? {
                return Ok(outcome);
            }
            if Instant::now() >= deadline {
                let seconds = app.config.build_timeout.as_secs();
                let message = format!("Host {} did not finish the build in {seconds} s.", destination.host);
                return Ok(BuildOutcome::Failed(Fault { code: 500, details: message.clone(), message }));
            }
            // an answer of another host, or of nobody: wait again
            answer = app.builds.wait(&self.instance_id);
        }
    }

    /// What the server's row says about its build.
    async fn look(&self, app: &Nova, destination: &Destination) -> Result<Option<BuildOutcome>> {
        let Some(server) = store::load(app.db.read(), &self.instance_id).await? else { return Ok(Some(BuildOutcome::Gone)) };
        if is_deleting(&server) {
            return Ok(Some(BuildOutcome::Gone));
        }
        if server.vm_state == VmState::Active.word() {
            return Ok(Some(BuildOutcome::Running));
        }
        Ok(server.build_outcome.filter(|b| b.0.host == destination.host).map(|b| b.0.outcome))
    }

    /// Undo of the build: nothing is left on the host.
    async fn destroy(&mut self, app: &Nova, _: &Error) -> Result<()> {
        let server = store::load(app.db.read(), &self.instance_id).await?;
        if let Some(host) = server.and_then(|s| s.host) {
            let message = TerminateInstance { caller: self.caller.clone(), instance_id: self.instance_id.clone() };
            super::delete::terminate(app, &host, message).await?;
        }
        Ok(())
    }

    /// The server, unless it is gone or going.
    async fn server(&mut self, app: &Nova) -> Result<Model> {
        match store::load(app.db.read(), &self.instance_id).await? {
            Some(server) if !is_deleting(&server) => Ok(server),
            _ => Err(self.is_gone()),
        }
    }

    /// False when the server's group does not admit it there any more.
    async fn record_host(&self, app: &Nova, server: &Model, destination: &Destination) -> Result<bool> {
        let zone = app.hosts.zone_of(app, &destination.host).await?;
        let change = ActiveModel {
            host: Set(Some(destination.host.clone())),
            node: Set(Some(destination.node.clone())),
            availability_zone: Set(Some(zone)),
            task_state: Set(None),
            build_outcome: Set(None),
            ..Default::default()
        };
        let guard = Guard { vm_state: Some(VmState::Building.word().into()), ..Guard::alive() };
        let (id, host, group) = (server.id.clone(), destination.host.clone(), server_groups::of_hints(&server.spec.0.scheduler_hints));
        let recorded = app.db.write(move |tx| {
            Box::pin(async move {
                match &group {
                    Some(group) if !server_groups::admits(tx, group, &id, &host).await? => Ok(None),
                    _ => store::change(tx, &id, guard, change).await.map(Some),
                }
            })
        });
        match recorded.await? {
            Some(false) => Err(Error::conflict("The server changed while it was scheduled.").code(GONE)),
            recorded => Ok(recorded.is_some()),
        }
    }

    fn is_gone(&mut self) -> Error {
        self.gone = true;
        Error::conflict("The server is being deleted.").code(GONE)
    }

    /// Remembers the fault that the user shall see.
    fn fail(&mut self, code: u16, message: String, details: &str) -> Error {
        self.fault = Some(Fault { code, message: message.clone(), details: details.to_owned() });
        Error::conflict(message)
    }
}

fn is_deleting(server: &Model) -> bool {
    server.task_state.as_deref() == Some(TaskState::Deleting.word())
}

/// `No valid host was found.`, and which filter left none.
pub fn no_valid_host(filters: &[FilterResult]) -> String {
    let steps: Vec<String> = filters.iter().map(|f| format!("{} ({} -> {})", f.filter, f.start, f.end)).collect();
    match filters.iter().find(|f| f.end == 0) {
        Some(last) => format!(
            "No valid host was found. There are not enough hosts available: {} left none. Filters: {}",
            last.filter,
            steps.join(", ")
        ),
        None => "No valid host was found. There are not enough hosts available.".into(),
    }
}
