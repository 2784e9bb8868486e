//! Queries on projects and domains.

use kit::db::is_duplicate;
use kit::{Error, Result};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, PaginatorTrait,
    QueryFilter,
};

use super::{Column, Entity, Model};
use crate::list::BUNCH;
use crate::{application_credentials, assignments, credentials, domain_config, endpoint_filter, fault, federation, limits, oauth1, trusts};

pub async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Model> {
    Entity::find_by_id(id).one(db).await?.ok_or_else(|| fault::could_not_find("project", id))
}

/// A domain, which must exist.
pub async fn domain(db: &impl ConnectionTrait, id: &str) -> Result<Model> {
    let found = Entity::find_by_id(id).filter(Column::IsDomain.eq(true)).one(db).await?;
    found.ok_or_else(|| fault::could_not_find("domain", id))
}

/// A project of a domain, or a domain (`domain_id` empty).
pub async fn by_name(db: &impl ConnectionTrait, domain_id: &str, name: &str) -> Result<Option<Model>> {
    Ok(Entity::find().filter(Column::DomainId.eq(domain_id)).filter(Column::Name.eq(name)).one(db).await?)
}

/// Whether a project has projects below it.
pub async fn has_children(db: &impl ConnectionTrait, id: &str) -> Result<bool> {
    Ok(Entity::find().filter(Column::ParentId.eq(id)).count(db).await? > 0)
}

pub async fn insert(tx: &DatabaseTransaction, project: Model) -> Result<Model> {
    let (kind, name, domain) = naming(&project);
    project.into_active_model().insert(tx).await.map_err(|error| taken(error, kind, &name, &domain))
}

/// Replaces the row.
pub async fn update(tx: &DatabaseTransaction, project: Model) -> Result<Model> {
    let (kind, name, domain) = naming(&project);
    project.into_active_model().reset_all().update(tx).await.map_err(|error| taken(error, kind, &name, &domain))
}

/// Removes projects with the roles on them.
pub async fn delete(tx: &DatabaseTransaction, ids: &[String]) -> Result<()> {
    for ids in ids.chunks(BUNCH) {
        delete_bunch(tx, ids).await?;
    }
    Ok(())
}

async fn delete_bunch(tx: &DatabaseTransaction, ids: &[String]) -> Result<()> {
    assignments::Entity::delete_many().filter(assignments::Column::TargetId.is_in(ids)).exec(tx).await?;
    let credentials = application_credentials::Column::ProjectId.is_in(ids);
    application_credentials::Entity::delete_many().filter(credentials).exec(tx).await?;
    credentials::Entity::delete_many().filter(credentials::Column::ProjectId.is_in(ids)).exec(tx).await?;
    trusts::store::delete_of(tx, Condition::all().add(trusts::Column::ProjectId.is_in(ids))).await?;
    let limits_of = Condition::any().add(limits::Column::ProjectId.is_in(ids)).add(limits::Column::DomainId.is_in(ids));
    limits::Entity::delete_many().filter(limits_of).exec(tx).await?;
    domain_config::Entity::delete_many().filter(domain_config::Column::DomainId.is_in(ids)).exec(tx).await?;
    let chosen = endpoint_filter::projects::Column::ProjectId.is_in(ids);
    endpoint_filter::projects::Entity::delete_many().filter(chosen).exec(tx).await?;
    let chosen = endpoint_filter::groups::members::Column::ProjectId.is_in(ids);
    endpoint_filter::groups::members::Entity::delete_many().filter(chosen).exec(tx).await?;
    oauth1::delete_of(tx, &[], ids, &[]).await?;
    federation::identity_providers::delete_of_domains(tx, ids).await?;
    Entity::delete_many().filter(Column::Id.is_in(ids)).exec(tx).await?;
    Ok(())
}

fn naming(project: &Model) -> (&'static str, String, String) {
    (if project.is_domain { "domain" } else { "project" }, project.name.clone(), project.domain_id.clone())
}

fn taken(error: sea_orm::DbErr, kind: &str, name: &str, domain: &str) -> Error {
    if is_duplicate(&error) { fault::duplicate(kind, name, domain) } else { error.into() }
}
