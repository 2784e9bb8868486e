//! `add_allowed_address_pairs` and `remove_allowed_address_pairs`: pairs that come and go without touching the others.

use kit::{Context, Path, Reply, Result};
use serde_json::{Map, Value, json};

use super::update::change;
use super::{AddressPair, Model, turn};
use crate::attributes::{Checked, Input};
use crate::fault::invalid_attribute;
use crate::resource::{Resource, changeable};
use crate::values::{Kind, normalize};
use crate::{App, listing};

const PAIRS: &str = "allowed_address_pairs";

/// `PUT /ports/{port_id}/add_allowed_address_pairs`: what is there already stays.
pub async fn add(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    edit(app, ctx, id.0, input, |have, new| {
        let missing: Vec<AddressPair> = new.into_iter().filter(|pair| !have.contains(pair)).collect();
        have.extend(missing);
    })
    .await
}

/// `PUT /ports/{port_id}/remove_allowed_address_pairs`: what is not there is no error.
pub async fn remove(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    edit(app, ctx, id.0, input, |have, gone| have.retain(|pair| !gone.contains(pair))).await
}

async fn edit(app: App, ctx: Context, id: String, input: Input, edit: fn(&mut Vec<AddressPair>, Vec<AddressPair>)) -> Result<Reply> {
    let if_match = input.if_match;
    let body = input.one(Model::KEY)?;
    let pairs = normalize(Kind::AddressPairs, body.get(PAIRS).cloned().unwrap_or(Value::Null));
    let pairs: Vec<AddressPair> = serde_json::from_value(pairs.map_err(|reason| invalid_attribute(PAIRS, reason))?)?;
    let by = ctx.clone();
    let port = app.write(move |tx| {
        Box::pin(async move {
            turn(&tx, vec![id.clone()]).await?;
            let port: Model = changeable(tx.db, &by, "update_port", &id).await?;
            if_match.check(port.revision_number)?;
            // a pair without a MAC address has the port's, and is shown with it
            let own = |pair: AddressPair| AddressPair { mac_address: pair.mac_address.filter(|mac| *mac != port.mac_address), ..pair };
            let mut all: Vec<AddressPair> = port.allowed_address_pairs.0.iter().cloned().map(own).collect();
            edit(&mut all, pairs.into_iter().map(own).collect());
            let wish = Checked::update(Model::ATTRIBUTES, Map::from_iter([(PAIRS.to_owned(), json!(all))]))?;
            change(&tx, &by, &wish, port, None).await
        })
    });
    listing::updated(&app, &ctx, port.await?).await
}
