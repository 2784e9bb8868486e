//! `/images/{id}/members`: the projects an image is shared with. Its owner invites; the invited accepts or not.

use kit::clock::Timestamp;
use kit::policy::Target;
use kit::{Context, Error, Json, Kind, Path, Reply, Result};
use sea_orm::{ActiveValue, ColumnTrait, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Glance;
use crate::entity::{Visibility, member};
use crate::images::{Image, NAME, QUOTA, is_text, seen};

/// Body of `POST .../members`.
#[derive(Deserialize)]
pub struct Invite {
    member: Option<String>,
}

/// Body of `PUT .../members/{member}`.
#[derive(Deserialize)]
pub struct Answer {
    status: Option<Value>,
}

pub async fn list(app: Glance, ctx: Context, id: Path<String>) -> Result<Reply> {
    let (image, target) = shared(&app, &ctx, &id.0, "list members for image").await?;
    let rows = member::Entity::find().filter(member::Column::ImageId.eq(&id.0)).order_by_asc(member::Column::MemberId);
    let rows = rows.all(app.db.read()).await?;
    let all = ctx.allows("get_members", &Target::project(&image.row.owner)) || !ctx.allows("get_members", &target);
    let own = ctx.project_id().unwrap_or_default();
    // the invited see themselves, not each other
    let members: Vec<Value> = rows.iter().filter(|row| all || row.member_id == own).map(view).collect();
    Reply::ok(&json!({"members": members, "schema": "/v2/schemas/members"}))
}

pub async fn create(app: Glance, ctx: Context, id: Path<String>, body: Json<Invite>) -> Result<Reply> {
    let (image, target) = shared(&app, &ctx, &id.0, "create members for image").await?;
    ctx.enforce("add_member", &target)?;
    let project = body.0.member.ok_or_else(|| Error::bad_request("Member to be added not specified"))?;
    if project.is_empty() {
        return Err(Error::bad_request("Member can't be empty"));
    }
    if !is_text(&project, NAME) {
        return Err(Error::bad_request("Member can't be longer than 255 characters"));
    }
    let now = Timestamp::now();
    let row = member::Model { image_id: image.row.id, member_id: project, status: "pending".into(), created_at: now, updated_at: now };
    let shown = view(&row);
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let others = member::Entity::find().filter(member::Column::ImageId.eq(&row.image_id)).count(tx).await?;
                if others as usize >= QUOTA {
                    let message = format!("The limit has been exceeded on the number of allowed image members. Maximum: {QUOTA}");
                    return Err(Error::new(Kind::TooLarge, message));
                }
                let twice = Error::conflict(format!("Member {} is duplicated for image {}", row.member_id, row.image_id));
                match member::Entity::insert(row.into_active_model()).exec_without_returning(tx).await {
                    Ok(_) => Ok(()),
                    Err(error) if kit::db::is_duplicate(&error) => Err(twice),
                    Err(error) => Err(error.into()),
                }
            })
        })
        .await?;
    Reply::ok(&shown)
}

pub async fn show(app: Glance, ctx: Context, Path((id, project)): Path<(String, String)>) -> Result<Reply> {
    let (image, _) = shared(&app, &ctx, &id, "show members of image").await?;
    let row = fetch(&app, &id, &project).await?;
    if !ctx.allows("get_member", &Target::project(&image.row.owner).with("member_id", &project)) {
        return Err(missing(&id, &project));
    }
    Reply::ok(&view(&row))
}

/// The invited answers.
pub async fn update(app: Glance, ctx: Context, Path((id, project)): Path<(String, String)>, body: Json<Answer>) -> Result<Reply> {
    let status = body.0.status.ok_or_else(|| Error::bad_request("Status not specified"))?;
    let (image, _) = shared(&app, &ctx, &id, "modify members of image").await?;
    let mut row = fetch(&app, &id, &project).await?;
    if !ctx.allows("get_member", &Target::project(&image.row.owner).with("member_id", &project)) {
        return Err(missing(&id, &project));
    }
    ctx.enforce("modify_member", &Target::new().with("member_id", &project))?;
    let known = status.as_str().filter(|status| matches!(*status, "accepted" | "pending" | "rejected"));
    let wrong = || Error::bad_request("Incorrect request: Status must be \"pending\", \"accepted\" or \"rejected\".");
    row.status = known.ok_or_else(wrong)?.to_owned();
    row.updated_at = Timestamp::now();
    let mut change = row.clone().into_active_model();
    change.status = ActiveValue::Set(row.status.clone());
    change.updated_at = ActiveValue::Set(row.updated_at);
    app.db.write(move |tx| Box::pin(async move { Ok(member::Entity::update(change).exec(tx).await.map(drop)?) })).await?;
    Reply::ok(&view(&row))
}

pub async fn delete(app: Glance, ctx: Context, Path((id, project)): Path<(String, String)>) -> Result<Reply> {
    let (_, target) = shared(&app, &ctx, &id, "delete members of image").await?;
    ctx.enforce("delete_member", &target)?;
    let row = fetch(&app, &id, &project).await?;
    let key = (row.image_id, row.member_id);
    app.db.write(move |tx| Box::pin(async move { Ok(member::Entity::delete_by_id(key).exec(tx).await.map(drop)?) })).await?;
    Reply::no_content()
}

/// The image, when it is one that can have members; `what` would be done with them.
async fn shared(app: &Glance, ctx: &Context, id: &str, what: &str) -> Result<(Image, Target)> {
    let (image, target) = seen(app, ctx, id).await?;
    if image.row.visibility != Visibility::Shared {
        return Err(Error::forbidden(format!("Not allowed to {what} {id}: Only shared images have members.")));
    }
    Ok((image, target))
}

async fn fetch(app: &Glance, id: &str, project: &str) -> Result<member::Model> {
    let row = member::Entity::find_by_id((id.to_owned(), project.to_owned())).one(app.db.read()).await?;
    row.ok_or_else(|| missing(id, project))
}

fn missing(id: &str, project: &str) -> Error {
    Error::not_found(format!("{project} not found in the member list of the image {id}."))
}

fn view(row: &member::Model) -> Value {
    json!({
        "image_id": row.image_id,
        "member_id": row.member_id,
        "status": row.status,
        "created_at": row.created_at.to_seconds_z(),
        "updated_at": row.updated_at.to_seconds_z(),
        "schema": "/v2/schemas/member",
    })
}
