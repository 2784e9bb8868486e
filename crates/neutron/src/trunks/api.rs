//! Create, update and delete trunks.

use kit::clock::Timestamp;
use kit::db::Json;
use kit::{Context, Path, Reply, Result, ids};

use super::subports::{self, Wanted};
use super::{Model, check_unused, of};
use crate::attributes::{Checked, IfMatch, Input};
use crate::fault::conflict;
use crate::ports::{self, DOWN};
use crate::resource::{Resource, changeable, insert, remove, save, seen};
use crate::{App, Tx, listing, quotas};

/// `POST /trunks`
pub async fn create(app: App, ctx: Context, input: Input) -> Result<Reply> {
    let (bodies, bulk) = input.many(Model::KEY, Model::PLURAL)?;
    let mut wishes = Vec::with_capacity(bodies.len());
    for body in bodies {
        wishes.push(Checked::create(&ctx, Model::KEY, Model::ATTRIBUTES, body)?);
    }
    let by = ctx.clone();
    let trunks = app.write(move |tx| {
        Box::pin(async move {
            let mut made = Vec::with_capacity(wishes.len());
            for wish in wishes {
                made.push(make(&tx, &by, &wish).await?);
            }
            Ok(made)
        })
    });
    listing::created(&app, &ctx, trunks.await?, bulk).await
}

async fn make(tx: &Tx<'_>, ctx: &Context, wish: &Checked) -> Result<Model> {
    let members = wish.or::<Vec<Wanted>>("sub_ports", Vec::new())?;
    subports::check_told_apart(&members)?;
    let parent = wish.text("port_id")?;
    ports::turn(tx, members.iter().map(|member| member.port_id.clone()).chain([parent.clone()]).collect()).await?;
    let parent: ports::Model = changeable(tx.db, ctx, "update_port", &parent).await?;
    check_unused(tx, &parent.id).await?;
    let now = Timestamp::now();
    let trunk = Model {
        id: ids::uuid(),
        project_id: wish.text("project_id")?,
        name: wish.text("name")?,
        description: wish.text("description")?,
        admin_state_up: wish.or("admin_state_up", true)?,
        status: DOWN.into(),
        port_id: parent.id.clone(),
        tags: Json(Vec::new()),
        revision_number: 0,
        created_at: now,
        updated_at: now,
    };
    quotas::spend(tx, &trunk.project_id, "trunk", 1).await?;
    insert(tx.db, &trunk).await?;
    subports::join(tx, ctx, &trunk, &parent, members).await?;
    Ok(trunk)
}

/// `PUT /trunks/{trunk_id}`
pub async fn update(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let if_match = input.if_match;
    let checked = Checked::update(Model::ATTRIBUTES, input.one(Model::KEY)?)?;
    let by = ctx.clone();
    let trunk = app.write(move |tx| {
        Box::pin(async move {
            let mut trunk: Model = changeable(tx.db, &by, "update_trunk", &id.0).await?;
            if_match.check(trunk.revision_number)?;
            let before = trunk.clone();
            checked.set("name", &mut trunk.name)?;
            checked.set("description", &mut trunk.description)?;
            checked.set("admin_state_up", &mut trunk.admin_state_up)?;
            if trunk != before {
                save(tx.db, &mut trunk).await?;
            }
            Ok(trunk)
        })
    });
    listing::updated(&app, &ctx, trunk.await?).await
}

/// `DELETE /trunks/{trunk_id}`: of one whose parent no guest uses; its subports are free then.
pub async fn delete(app: App, ctx: Context, id: Path<String>, if_match: IfMatch) -> Result<Reply> {
    app.write(move |tx| {
        Box::pin(async move {
            let trunk: Model = seen(tx.db, &ctx, &id.0).await?;
            let members = of(tx.db, std::slice::from_ref(&trunk.id)).await?;
            ports::turn(&tx, members.into_iter().map(|member| member.port_id).collect()).await?;
            let trunk: Model = changeable(tx.db, &ctx, "delete_trunk", &id.0).await?;
            if_match.check(trunk.revision_number)?;
            subports::check_enabled(&trunk)?;
            let parent: Option<ports::Model> = crate::resource::fetch(tx.db, &trunk.port_id).await?;
            if parent.is_some_and(|port| !port.host_id.is_empty()) {
                return Err(conflict("TrunkInUse", format!("Trunk {} is currently in use.", trunk.id)));
            }
            subports::leave_all(&tx, &trunk).await?;
            remove::<Model, _>(tx.db, &trunk.id).await
        })
    })
    .await?;
    Reply::no_content()
}
