//! The first domain, projects, users and roles, and the catalog, so that there is somebody who can log in and make the rest.
//!
//! Ids are derived from names, so that every run, and every keystone on one database, means the same things. What is there already stays
//! as its owner left it, the passwords of admin and demo too, except what the configuration decides: endpoint addresses and the passwords
//! of service users. That those still hold is remembered by a digest, as verifying each anew would be most of a start.

use futures::future::try_join_all;
use kit::clock::Timestamp;
use kit::db::Json;
use kit::{Result, ids};
use sea_orm::{ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter};

use crate::fields::Extra;
use crate::{DEFAULT_DOMAIN, Keystone, assignments, endpoints, projects, reference, regions, roles, services, users};

/// What bootstrap shall make.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    pub admin_password: String,
    pub demo_password: String,
    /// Names and passwords of the users as which services act.
    pub service_users: Vec<(String, String)>,
    pub region: String,
    pub endpoints: Vec<CatalogEntry>,
}

/// A service and where it answers.
#[derive(Clone, Debug)]
pub struct CatalogEntry {
    /// `compute`, `block-storage`
    pub kind: String,
    /// `nova`, `cinder`
    pub name: String,
    /// May hold `$(project_id)s`.
    pub url: String,
    /// Where it differs for administrators.
    pub admin_url: Option<String>,
}

const ROLES: &[&str] = &["admin", "manager", "member", "reader", "service", "_member_"];
const IMPLIED: &[(&str, &str)] = &[("admin", "manager"), ("manager", "member"), ("member", "reader")];
const PROJECTS: &[(&str, &str)] = &[("admin", "Admin Tenant"), ("demo", "Demo Tenant"), ("service", "Service Tenant")];

/// Ids of the first projects.
#[derive(Clone, Debug)]
pub struct Projects {
    pub admin: String,
    pub demo: String,
}

impl Projects {
    /// What they are called in every cloud, for services that start before keystone does.
    pub fn derived() -> Projects {
        Projects { admin: id("project", "admin"), demo: id("project", "demo") }
    }
}

/// Makes what is missing.
pub async fn run(keystone: &Keystone, wanted: &Bootstrap) -> Result<Projects> {
    let accounts = accounts(keystone, wanted).await?;
    let wanted = wanted.clone();
    keystone
        .write(move |tx| {
            Box::pin(async move {
                places(tx).await?;
                let roles = roles(tx).await?;
                for account in &accounts {
                    account.ensure(tx, &roles).await?;
                }
                catalog(tx, &wanted).await?;
                reference::changed(tx).await?;
                Ok(Projects { admin: project(tx, "admin").await?, demo: project(tx, "demo").await? })
            })
        })
        .await
}

async fn project(tx: &DatabaseTransaction, name: &str) -> Result<String> {
    let found = projects::store::by_name(tx, DEFAULT_DOMAIN, name).await?;
    found.map(|project| project.id).ok_or_else(|| crate::fault::could_not_find("project", name))
}

/// A user, with a hash only where the user is new or has another password, and the roles the user shall have.
struct Account {
    name: String,
    hash: Option<String>,
    /// To be remembered, for a password that was verified or made.
    mark: Option<marks::Model>,
    /// Kind and name of the target, and the role on it.
    grants: Vec<(&'static str, &'static str, &'static str)>,
}

async fn accounts(keystone: &Keystone, wanted: &Bootstrap) -> Result<Vec<Account>> {
    let admin = vec![
        ("project", "admin", "admin"),
        ("project", "admin", "_member_"),
        ("project", "demo", "admin"),
        ("domain", DEFAULT_DOMAIN, "admin"),
        ("system", "system", "admin"),
    ];
    let demo = vec![("project", "demo", "member"), ("project", "demo", "_member_")];
    let service = vec![("project", "service", "admin"), ("project", "service", "service")];
    let people = [("admin", &wanted.admin_password, admin), ("demo", &wanted.demo_password, demo)];
    let people = people.map(|(name, password, grants)| account(keystone, name, password, grants, false));
    let services = wanted.service_users.iter().map(|(name, password)| account(keystone, name, password, service.clone(), true));
    // hashing takes its time, so all at once
    try_join_all(people.into_iter().chain(services)).await
}

/// `ours`: the password is the configuration's to decide, not the user's.
async fn account(
    keystone: &Keystone,
    name: &str,
    password: &str,
    grants: Vec<(&'static str, &'static str, &'static str)>,
    ours: bool,
) -> Result<Account> {
    let db = keystone.db.read();
    let there = users::store::by_name(db, DEFAULT_DOMAIN, name).await?;
    let known = there.as_ref().and_then(|user| user.password_hash.clone());
    let (keep, marked) = match &known {
        Some(hash) if ours => {
            let mark = marks::Entity::find_by_id(name).one(db).await?;
            let marked = mark.is_some_and(|mark| marks::holds(keystone, &mark, hash, password));
            (marked || keystone.passwords.verify(password, Some(hash)).await?, marked)
        }
        Some(_) => (true, false),
        None => (there.is_some() && !ours, false),
    };
    let hash = if keep { None } else { Some(keystone.passwords.hash(password).await?) };
    let to_mark = hash.as_ref().or(known.as_ref()).filter(|_| ours && !marked);
    let mark = to_mark.map(|hash| marks::seal(keystone, name, hash, password));
    Ok(Account { name: name.to_owned(), hash, mark, grants })
}

impl Account {
    async fn ensure(&self, tx: &DatabaseTransaction, roles: &[roles::Model]) -> Result<()> {
        let user_id = match (users::store::by_name(tx, DEFAULT_DOMAIN, &self.name).await?, self.hash.clone()) {
            (Some(user), None) => user.id,
            (Some(user), hash) => {
                let user = users::Model { password_hash: hash, tokens_valid_from: Timestamp::now(), ..user };
                users::store::update(tx, user).await?.id
            }
            (None, hash) => users::store::insert(tx, new_user(&self.name, hash)).await?.id,
        };
        if let Some(mark) = &self.mark {
            marks::keep(tx, mark.clone()).await?;
        }
        for (kind, target, role) in &self.grants {
            let target_id = match *kind {
                "project" => projects::store::by_name(tx, DEFAULT_DOMAIN, target).await?.map(|project| project.id),
                _ => Some((*target).to_owned()),
            };
            let role_id = roles.iter().find(|known| known.name == *role).map(|role| role.id.clone());
            let (Some(target_id), Some(role_id)) = (target_id, role_id) else { continue };
            let grant = assignments::Model {
                actor_kind: "user".into(),
                actor_id: user_id.clone(),
                target_kind: (*kind).to_owned(),
                target_id,
                role_id,
                inherited: false,
            };
            assignments::store::insert(tx, grant).await?;
        }
        Ok(())
    }
}

fn new_user(name: &str, password_hash: Option<String>) -> users::Model {
    users::Model { password_hash, ..users::Model::new(id("user", name), name.to_owned(), DEFAULT_DOMAIN.to_owned()) }
}

async fn places(tx: &DatabaseTransaction) -> Result<()> {
    let domain = place(DEFAULT_DOMAIN, "Default", "The default domain", true);
    if projects::Entity::find_by_id(DEFAULT_DOMAIN).one(tx).await?.is_none() {
        projects::store::insert(tx, domain).await?;
    }
    for (name, description) in PROJECTS {
        if projects::store::by_name(tx, DEFAULT_DOMAIN, name).await?.is_none() {
            projects::store::insert(tx, place(&id("project", name), name, description, false)).await?;
        }
    }
    Ok(())
}

fn place(id: &str, name: &str, description: &str, is_domain: bool) -> projects::Model {
    projects::Model {
        id: id.to_owned(),
        name: name.to_owned(),
        domain_id: if is_domain { String::new() } else { DEFAULT_DOMAIN.to_owned() },
        parent_id: (!is_domain).then(|| DEFAULT_DOMAIN.to_owned()),
        is_domain,
        description: description.to_owned(),
        enabled: true,
        tokens_valid_from: Timestamp::default(),
        tags: Json::default(),
        options: Extra::default(),
        extra: Extra::default(),
    }
}

/// The roles, and those that policies check imply each other.
async fn roles(tx: &DatabaseTransaction) -> Result<Vec<roles::Model>> {
    let mut known = Vec::new();
    for name in ROLES {
        let of_name = roles::Entity::find().filter(roles::Column::Name.eq(*name)).filter(roles::Column::DomainId.eq(""));
        let role = match of_name.one(tx).await? {
            Some(role) => role,
            None => {
                let (options, extra) = (Extra::default(), Extra::default());
                let role = roles::Model {
                    id: id("role", name),
                    name: (*name).to_owned(),
                    domain_id: String::new(),
                    description: None,
                    options,
                    extra,
                };
                roles::store::insert(tx, role).await?
            }
        };
        known.push(role);
    }
    let id_of = |name: &str| known.iter().find(|role| role.name == name).map(|role| role.id.clone()).unwrap_or_default();
    for (prior, implied) in IMPLIED {
        roles::store::imply(tx, &id_of(prior), &id_of(implied)).await?;
    }
    Ok(known)
}

async fn catalog(tx: &DatabaseTransaction, wanted: &Bootstrap) -> Result<()> {
    if regions::Entity::find_by_id(&wanted.region).one(tx).await?.is_none() {
        let (description, parent_region_id) = (String::new(), None);
        regions::insert(tx, regions::Model { id: wanted.region.clone(), description, parent_region_id, extra: Extra::default() }).await?;
    }
    for entry in &wanted.endpoints {
        let service_id = service(tx, entry).await?;
        for interface in ["public", "internal", "admin"] {
            let url = match (interface, &entry.admin_url) {
                ("admin", Some(url)) => url,
                _ => &entry.url,
            };
            endpoint(tx, &service_id, interface, &wanted.region, url).await?;
        }
    }
    Ok(())
}

async fn service(tx: &DatabaseTransaction, entry: &CatalogEntry) -> Result<String> {
    let known = services::Entity::find().filter(services::Column::Type.eq(&entry.kind)).filter(services::Column::Name.eq(&entry.name));
    if let Some(service) = known.one(tx).await? {
        return Ok(service.id);
    }
    let service = services::Model {
        id: id("service", &entry.kind),
        r#type: entry.kind.clone(),
        name: Some(entry.name.clone()),
        description: None,
        enabled: true,
        extra: Extra::default(),
    };
    Ok(service.into_active_model().insert(tx).await?.id)
}

/// The endpoint, moved to where the configuration says it is now.
async fn endpoint(tx: &DatabaseTransaction, service_id: &str, interface: &str, region: &str, url: &str) -> Result<()> {
    let known = endpoints::Entity::find()
        .filter(endpoints::Column::ServiceId.eq(service_id))
        .filter(endpoints::Column::Interface.eq(interface))
        .filter(endpoints::Column::RegionId.eq(region));
    match known.one(tx).await? {
        Some(endpoint) if endpoint.url == url => {}
        Some(endpoint) => {
            endpoints::Model { url: url.to_owned(), ..endpoint }.into_active_model().reset_all().update(tx).await?;
        }
        None => {
            let endpoint = endpoints::Model {
                id: id("endpoint", &format!("{service_id}/{interface}/{region}")),
                service_id: service_id.to_owned(),
                interface: interface.to_owned(),
                region_id: Some(region.to_owned()),
                url: url.to_owned(),
                enabled: true,
                extra: Extra::default(),
            };
            endpoint.into_active_model().insert(tx).await?;
        }
    }
    Ok(())
}

fn id(kind: &str, name: &str) -> String {
    ids::derived(&format!("cumulo:keystone:{kind}"), name).replace('-', "")
}

/// Passwords that were found in order at an earlier start.
mod marks {
    use kit::Result;
    use sea_orm::entity::prelude::*;
    use sea_orm::sea_query::OnConflict;
    use sea_orm::{DatabaseTransaction, IntoActiveModel};
    use sha2::{Digest, Sha256};

    use crate::Keystone;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "bootstrap_marks")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        /// Of the password and its hash; sealed, as nobody with the database alone shall try passwords on so quick a digest.
        pub digest: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}

    pub fn seal(keystone: &Keystone, name: &str, hash: &str, password: &str) -> Model {
        Model { name: name.to_owned(), digest: keystone.credential_keys.seal(&digest(hash, password)) }
    }

    /// Whether this very password was found to have this very hash.
    pub fn holds(keystone: &Keystone, mark: &Model, hash: &str, password: &str) -> bool {
        keystone.credential_keys.unseal(&mark.digest).is_some_and(|sealed| sealed == digest(hash, password))
    }

    pub async fn keep(tx: &DatabaseTransaction, mark: Model) -> Result<()> {
        let replace = OnConflict::column(Column::Name).update_column(Column::Digest).to_owned();
        Entity::insert(mark.into_active_model()).on_conflict(replace).exec_without_returning(tx).await?;
        Ok(())
    }

    fn digest(hash: &str, password: &str) -> Vec<u8> {
        Sha256::new().chain_update(hash).chain_update([0]).chain_update(password).finalize().to_vec()
    }
}
