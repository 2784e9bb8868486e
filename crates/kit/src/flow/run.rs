//! One flow, from the step that the journal names to its end.

use sea_orm::Set;
use sea_orm::entity::prelude::*;

use super::{Entity, Flow, Flows, Model, Probe, RETRY, UndoRun};
use crate::{Error, Result};

/// Runs one flow to its end, forward or backward.
pub(super) async fn run<F: Flow>(flows: Flows<F::App>, row: Model) -> Result<()> {
    let mut flow: F = serde_json::from_str(&row.state)?;
    let steps = F::steps();
    let (id, mut at) = (row.id.as_str(), row.step as usize);
    let mut failure = row.backward.then(|| Error::internal(row.error.clone().unwrap_or_default()));
    while failure.is_none() {
        let Some(step) = steps.get(at) else { return leave(&flows, row.id, flow).await };
        let mut outcome = (step.run)(&mut flow, &flows.0.app).await;
        match flows.0.probe.as_ref().map_or(Probe::Go, |probe| probe(F::KIND, step.name)) {
            Probe::Go => {}
            Probe::Fail => outcome = Err(Error::internal(format!("{} was made to fail", step.name))),
            Probe::Crash => return Err(Error::internal(format!("{} was made to crash", step.name))),
        }
        let state = serde_json::to_string(&flow)?;
        match outcome {
            Ok(()) => {
                at += 1;
                // the last step's would be forgotten at once
                if at < steps.len() {
                    flows.update(id, move |row| (row.state, row.step) = (Set(state), Set(at as i64))).await?;
                    flows.0.waiting.reached(id, at);
                }
            }
            Err(error) => {
                let text = error.to_string();
                tracing::warn!(flow = F::KIND, subject = row.subject, step = step.name, error = text, "failed; undoing");
                flows
                    .update(id, move |row| {
                        (row.state, row.step, row.backward, row.error) = (Set(state), Set(at as i64), Set(true), Set(Some(text)));
                    })
                    .await?;
                failure = Some(error);
            }
        }
    }
    let why = failure.unwrap_or_else(|| Error::internal("undone"));
    for index in (0..=at.min(steps.len().saturating_sub(1))).rev() {
        if let Some((step, undo)) = steps.get(index).and_then(|step| step.undo.map(|undo| (step, undo))) {
            undo_until_done(step.name, undo, &mut flow, &flows.0.app, &why).await?;
        }
        let state = serde_json::to_string(&flow)?;
        flows.update(id, move |row| (row.state, row.step) = (Set(state), Set(index as i64 - 1))).await?;
    }
    flows.forget(id).await?;
    flows.0.waiting.ended(id, Err(why));
    Ok(())
}

/// Tries an undo a few times; when it still fails, the flow stays in the journal and is taken up again with the next sign of life.
async fn undo_until_done<F: Flow>(name: &str, undo: UndoRun<F>, flow: &mut F, app: &F::App, why: &Error) -> Result<()> {
    for pause in RETRY {
        match undo(flow, app, why).await {
            Ok(()) => return Ok(()),
            Err(error) => tracing::warn!(step = name, %error, "could not be undone; trying again"),
        }
        tokio::time::sleep(pause).await;
    }
    undo(flow, app, why).await
}

/// The flow went well: it ends and leaves the journal in one transaction.
async fn leave<F: Flow>(flows: &Flows<F::App>, id: String, flow: F) -> Result<()> {
    let (app, gone) = (flows.0.app.clone(), id.clone());
    flows
        .0
        .db
        .write(move |tx| {
            Box::pin(async move {
                flow.end(&app, tx).await?;
                Entity::delete_by_id(gone).exec(tx).await?;
                Ok(())
            })
        })
        .await?;
    flows.0.waiting.ended(&id, Ok(()));
    Ok(())
}
