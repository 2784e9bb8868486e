//! `GET /v3/role_assignments`, as made or as effective, with ids or with names.

use std::collections::{BTreeSet, HashMap};

use kit::call::Query;
use kit::policy::Target;
use kit::{Context, Error, Reply, Result};
use sea_orm::{ColumnTrait, Condition, DatabaseConnection, EntityTrait, QueryFilter};
use serde_json::{Map, Value, json};

use super::effective::{Effective, expand};
use super::{Column, Entity, Model};
use crate::policy::scope;
use crate::{Keystone, groups, list, projects, roles, users};

/// `GET /v3/role_assignments`
pub async fn index(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    let db = keystone.db.read();
    let own_domain = ctx.identity()?.domain.as_ref().map(|domain| domain.id.clone());
    let asked = Asked::parse(&query)?;
    match &asked.target {
        Some((_, project)) if query.flag("include_subtree") => {
            let domain = projects::store::fetch(db, project).await.map(|project| project.domain_id).unwrap_or_default();
            ctx.enforce("identity:list_role_assignments_for_tree", &Target::new().with("project.id", project).with("domain_id", &domain))?;
        }
        _ => ctx.authorize(&scope(&ctx))?,
    }
    let mut targets = asked.targets(db, query.flag("include_subtree")).await?;
    // whoever acts on a domain sees what is in it
    if let Some(own) = own_domain {
        targets = Some(within(db, &own, targets).await?);
    }
    let wanted = if asked.effective {
        // groups and parents bring roles too, so the narrow look comes after the expansion
        let sources = match &targets {
            Some(targets) => Some(projects::tree::above(db, targets).await?),
            None => None,
        };
        let reference = keystone.reference.now(&keystone.db).await?;
        let mut found = expand(db, &reference, rows(db, asked.actors(db).await?, sources.as_ref()).await?).await?;
        // a role of a domain only serves to imply others
        found.retain(|one| reference.role(&one.row.role_id).is_some_and(|role| role.domain_id.is_empty()));
        found.retain(|one| asked.matches(one, targets.as_ref()));
        found
    } else {
        rows(db, asked.condition(), targets.as_ref()).await?.into_iter().map(Effective::plain).collect()
    };
    let names = if query.flag("include_names") { Some(Names::load(db, &wanted).await?) } else { None };
    let items = wanted.iter().map(|one| view(&ctx, one, names.as_ref())).collect();
    list::whole(&ctx, "/role_assignments", &query, "role_assignments", items)
}

/// The filters of a query.
struct Asked {
    user: Option<String>,
    group: Option<String>,
    role: Option<String>,
    /// Kind and id.
    target: Option<(&'static str, String)>,
    inherited: bool,
    effective: bool,
}

impl Asked {
    fn parse(query: &Query) -> Result<Asked> {
        let text = |key: &str| query.get(key).filter(|value| !value.is_empty()).map(str::to_owned);
        let scopes = [
            text("scope.project.id").map(|id| ("project", id)),
            text("scope.domain.id").map(|id| ("domain", id)),
            text("scope.system").map(|_| ("system", "system".to_owned())),
        ];
        let mut targets = scopes.into_iter().flatten();
        let (target, another) = (targets.next(), targets.next());
        let asked = Asked {
            user: text("user.id"),
            group: text("group.id"),
            role: text("role.id"),
            target,
            inherited: query.get("scope.OS-INHERIT:inherited_to") == Some("projects"),
            effective: query.flag("effective"),
        };
        if query.flag("include_subtree") && !matches!(asked.target, Some(("project", _))) {
            return Err(Error::bad_request("scope.project.id must be specified if include_subtree is also specified"));
        }
        let refuse = |why: &str| Err(Error::bad_request(format!("Specify a domain or project, not both: {why}.")));
        match (&asked.user, &asked.group, another) {
            (_, _, Some(_)) => refuse("more than one scope was given"),
            (Some(_), Some(_), _) => Err(Error::bad_request("Specify a user or group, not both")),
            (_, Some(_), _) if asked.effective => {
                Err(Error::bad_request("Combining effective and group filter will always result in an empty list."))
            }
            _ => Ok(asked),
        }
    }

    /// The ids of targets that count; `None` for all.
    async fn targets(&self, db: &DatabaseConnection, subtree: bool) -> Result<Option<BTreeSet<String>>> {
        let Some((_, id)) = &self.target else { return Ok(None) };
        let mut ids = BTreeSet::from([id.clone()]);
        if subtree {
            ids.extend(projects::tree::below(db, id).await?.into_iter().map(|project| project.id));
        }
        Ok(Some(ids))
    }

    /// The user asked for and the user's groups, which bring roles too.
    async fn actors(&self, db: &DatabaseConnection) -> Result<Condition> {
        let Some(user) = &self.user else { return Ok(Condition::all()) };
        let mut actors = groups::store::ids_of_user(db, user).await?;
        actors.push(user.clone());
        Ok(Condition::all().add(Column::ActorId.is_in(actors)))
    }

    fn condition(&self) -> Condition {
        let mut condition = Condition::all();
        for actor in self.user.iter().chain(&self.group) {
            condition = condition.add(Column::ActorId.eq(actor));
        }
        if let Some(role) = &self.role {
            condition = condition.add(Column::RoleId.eq(role));
        }
        if let Some((kind, _)) = &self.target {
            condition = condition.add(Column::TargetKind.eq(*kind));
        }
        if self.inherited { condition.add(Column::Inherited.eq(true)) } else { condition }
    }

    fn matches(&self, one: &Effective, targets: Option<&BTreeSet<String>>) -> bool {
        let row = &one.row;
        self.user.as_ref().is_none_or(|user| row.actor_id == *user)
            && self.role.as_ref().is_none_or(|role| row.role_id == *role)
            && self.target.as_ref().is_none_or(|(kind, _)| row.target_kind == *kind)
            && targets.is_none_or(|targets| targets.contains(&row.target_id))
            && (!self.inherited || row.inherited)
    }
}

/// Assignments on some targets, or on all.
async fn rows(db: &DatabaseConnection, wanted: Condition, targets: Option<&BTreeSet<String>>) -> Result<Vec<Model>> {
    let Some(targets) = targets else { return Ok(Entity::find().filter(wanted).all(db).await?) };
    let targets: Vec<&String> = targets.iter().collect();
    let mut found = Vec::new();
    for targets in targets.chunks(list::BUNCH) {
        let on_targets = wanted.clone().add(Column::TargetId.is_in(targets.iter().copied()));
        found.extend(Entity::find().filter(on_targets).all(db).await?);
    }
    Ok(found)
}

/// What of `targets` lies in a domain.
async fn within(db: &DatabaseConnection, domain: &str, targets: Option<BTreeSet<String>>) -> Result<BTreeSet<String>> {
    let mut inside: BTreeSet<String> = projects::tree::below(db, domain).await?.into_iter().map(|project| project.id).collect();
    inside.insert(domain.to_owned());
    Ok(match targets {
        Some(targets) => targets.intersection(&inside).cloned().collect(),
        None => inside,
    })
}

/// Names, and the domains they stand in, by id.
struct Names(HashMap<String, (String, String)>);

impl Names {
    async fn load(db: &DatabaseConnection, wanted: &[Effective]) -> Result<Names> {
        let actors = || wanted.iter().map(|one| one.row.actor_id.clone());
        let mut names = HashMap::new();
        for user in list::with_any::<users::Entity>(db, users::Column::Id, actors()).await? {
            names.insert(user.id, (user.name, user.domain_id));
        }
        for group in list::with_any::<groups::Entity>(db, groups::Column::Id, actors()).await? {
            names.insert(group.id, (group.name, group.domain_id));
        }
        for role in roles::Entity::find().all(db).await? {
            names.insert(role.id, (role.name, role.domain_id));
        }
        let mut places: Vec<String> = wanted.iter().map(|one| one.row.target_id.clone()).collect();
        places.extend(names.values().map(|(_, domain)| domain.clone()));
        // a second round names the domains of the projects
        for _ in 0..2 {
            for project in list::with_any::<projects::Entity>(db, projects::Column::Id, places).await? {
                names.insert(project.id, (project.name, project.domain_id));
            }
            places = names.values().map(|(_, domain)| domain.clone()).filter(|id| !id.is_empty() && !names.contains_key(id)).collect();
        }
        Ok(Names(names))
    }

    /// `{"id", "name", "domain": {"id", "name"}}`
    fn named(&self, id: &str) -> Value {
        let Some((name, domain)) = self.0.get(id) else { return json!({"id": id}) };
        let mut object = json!({"id": id, "name": name});
        if let (false, Value::Object(map)) = (domain.is_empty(), &mut object) {
            let domain_name = self.0.get(domain).map(|(name, _)| name);
            map.insert("domain".into(), json!({"id": domain, "name": domain_name}));
        }
        object
    }
}

fn view(ctx: &Context, one: &Effective, names: Option<&Names>) -> Value {
    let row = &one.row;
    let named = |id: &str| names.map_or_else(|| json!({"id": id}), |names| names.named(id));
    let mut scope = Map::new();
    match row.target_kind.as_str() {
        "system" => scope.insert("system".into(), json!({"all": true})),
        kind => scope.insert(kind.to_owned(), named(&row.target_id)),
    };
    if row.inherited {
        scope.insert("OS-INHERIT:inherited_to".into(), "projects".into());
    }
    json!({"role": named(&row.role_id), &row.actor_kind: named(&row.actor_id), "scope": scope, "links": links(ctx, one)})
}

/// Where the assignment itself can be found, and through what it came about.
fn links(ctx: &Context, one: &Effective) -> Value {
    let row = &one.row;
    let (actors, actor) = match &one.through_group {
        Some(group) => ("groups", group),
        None if row.actor_kind == "group" => ("groups", &row.actor_id),
        None => ("users", &row.actor_id),
    };
    let role = one.implied_by.as_ref().unwrap_or(&row.role_id);
    let place = match row.target_kind.as_str() {
        "system" => "/system".to_owned(),
        kind => format!("/{kind}s/{}", row.target_id),
    };
    let path = match row.inherited {
        true => format!("/OS-INHERIT{place}/{actors}/{actor}/roles/{role}/inherited_to_projects"),
        false => format!("{place}/{actors}/{actor}/roles/{role}"),
    };
    let mut links = Map::new();
    links.insert("assignment".into(), list::link(ctx, &path).into());
    if let Some(group) = &one.through_group {
        links.insert("membership".into(), list::link(ctx, &format!("/groups/{group}/users/{}", row.actor_id)).into());
    }
    if let Some(prior) = &one.implied_by {
        links.insert("prior_role".into(), list::link(ctx, &format!("/roles/{prior}/implies/{}", row.role_id)).into());
    }
    Value::Object(links)
}
