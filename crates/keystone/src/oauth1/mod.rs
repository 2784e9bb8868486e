//! OS-OAUTH1: a user lets a program act in a project with some of the user's roles, without giving it a password.
//!
//! The program is a consumer ([`crate::consumers`]). It asks for a request token, a user grants that ([`exchange`]), and the program
//! exchanges it for an access token ([`access`]), with which it logs in. What it sends is signed ([`signature`]); secrets are encrypted.

pub mod access;
pub mod exchange;
pub mod signature;

use kit::clock::Timestamp;
use kit::{Error, Result};
use sea_orm::entity::prelude::*;
use sea_orm::{Condition, DatabaseTransaction};

use crate::tokens::validate::Standing;
use crate::{Keystone, fault};

/// What a consumer asks for, and who has granted it with which roles.
pub mod requests {
    use kit::clock::Timestamp;
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "request_tokens")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub sealed: String,
        pub consumer_id: String,
        pub requested_project_id: String,
        /// What the user tells the program, to show that it was this user who granted this.
        pub verifier: Option<String>,
        pub authorizing_user_id: Option<String>,
        pub roles: Option<kit::db::Json<Vec<String>>>,
        pub expires_at: Option<Timestamp>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Removes what depends on users, projects or consumers that are going.
pub async fn delete_of(tx: &DatabaseTransaction, users: &[String], projects: &[String], consumers: &[String]) -> Result<()> {
    let requested = Condition::any()
        .add(requests::Column::AuthorizingUserId.is_in(users))
        .add(requests::Column::RequestedProjectId.is_in(projects))
        .add(requests::Column::ConsumerId.is_in(consumers));
    requests::Entity::delete_many().filter(requested).exec(tx).await?;
    let granted = Condition::any()
        .add(access::Column::AuthorizingUserId.is_in(users))
        .add(access::Column::ProjectId.is_in(projects))
        .add(access::Column::ConsumerId.is_in(consumers));
    access::Entity::delete_many().filter(granted).exec(tx).await?;
    Ok(())
}

/// 403 for a token that is itself a delegation.
fn in_person(standing: &Standing) -> Result<()> {
    if standing.trust.is_some() || standing.access_token.is_some() || standing.application_credential.is_some() {
        return Err(fault::refused("cannot do this with a token issued via delegation."));
    }
    Ok(())
}

/// A secret as it is kept.
fn unsealed(keystone: &Keystone, sealed: &str) -> Result<String> {
    keystone.credential_keys.unseal(sealed).and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(Error::unauthorized)
}

fn is_over(end: Option<Timestamp>) -> bool {
    end.is_some_and(|end| end <= Timestamp::now())
}
