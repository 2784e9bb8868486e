//! List, create, update and delete security groups.

use kit::policy::Target;
use kit::{Context, Path, Query, Reply, Result};

use super::{DEFAULT, Model, default_of, default_rules, default_statefulness};
use crate::agents::Touched;
use crate::attributes::{Checked, IfMatch, Input};
use crate::fault::{conflict, enforce};
use crate::resource::{Resource, changeable, insert, remove, save};
use crate::{App, listing, quotas, rbac, sql};

/// `GET /security-groups`: whoever looks, or is looked at, has a default group.
pub async fn list(app: App, ctx: Context, query: Query) -> Result<Reply> {
    let asked = query.get("project_id").or_else(|| query.get("tenant_id")).filter(|project| ctx.is_admin() && is_id(project));
    if let Some(project) = asked.or(ctx.project_id().ok()) {
        let find = "SELECT 1 FROM security_groups WHERE project_id = $1 AND name = 'default'";
        if !sql::exists(app.db().read(), find, [project.into()]).await? {
            let project = project.to_owned();
            app.write(move |tx| Box::pin(async move { default_of(&tx, &project).await })).await?;
        }
    }
    listing::list::<Model>(app, ctx, query).await
}

/// Whether some text may be the id of a project: what is not shall not get a group.
fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// `POST /security-groups`
pub async fn create(app: App, ctx: Context, input: Input) -> Result<Reply> {
    let (bodies, bulk) = input.many(Model::KEY, Model::PLURAL)?;
    let mut groups = Vec::with_capacity(bodies.len());
    for body in bodies {
        let checked = Checked::create(&ctx, Model::KEY, Model::ATTRIBUTES, body)?;
        let name = checked.text("name")?;
        if name.eq_ignore_ascii_case(DEFAULT) {
            return Err(conflict("SecurityGroupDefaultAlreadyExists", "Default security group already exists."));
        }
        let group = Model::new(&checked.text("project_id")?, &name, &checked.text("description")?);
        groups.push((group, checked.get::<bool>("stateful")?));
    }
    let groups = app.write(move |tx| {
        Box::pin(async move {
            let mut made = Vec::with_capacity(groups.len());
            for (mut group, stateful) in groups {
                default_of(&tx, &group.project_id).await?;
                group.stateful = match stateful {
                    Some(stateful) => stateful,
                    None => default_statefulness::of(&tx, &group.project_id).await?,
                };
                quotas::spend(&tx, &group.project_id, "security_group", 1).await?;
                insert(tx.db, &group).await?;
                let rules = default_rules::for_group(&tx, &group).await?;
                quotas::spend(&tx, &group.project_id, "security_group_rule", rules.len() as i64).await?;
                for rule in rules {
                    insert(tx.db, &rule).await?;
                }
                made.push(group);
            }
            Ok(made)
        })
    });
    listing::created(&app, &ctx, groups.await?, bulk).await
}

/// `PUT /security-groups/{security_group_id}`
pub async fn update(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let if_match = input.if_match;
    let checked = Checked::update(Model::ATTRIBUTES, input.one(Model::KEY)?)?;
    let by = ctx.clone();
    let group = app.write(move |tx| {
        Box::pin(async move {
            let mut group: Model = changeable(tx.db, &by, "update_security_group", &id.0).await?;
            if_match.check(group.revision_number)?;
            let before = group.clone();
            checked.set("name", &mut group.name)?;
            checked.set("description", &mut group.description)?;
            checked.set("stateful", &mut group.stateful)?;
            if group.name != before.name && (before.name == DEFAULT || group.name == DEFAULT) {
                return Err(conflict("SecurityGroupCannotUpdateDefault", "Updating default security group not allowed."));
            }
            if group.stateful != before.stateful {
                let used = "SELECT 1 FROM port_security_groups WHERE security_group_id = $1 LIMIT 1";
                if sql::exists(tx.db, used, [group.id.as_str().into()]).await? {
                    return Err(conflict("SecurityGroupInUse", format!("Security Group {} in use.", group.id)));
                }
            }
            if group != before {
                save(tx.db, &mut group).await?;
                tx.touch(Touched::Group(group.id.clone()));
            }
            Ok(group)
        })
    });
    listing::updated(&app, &ctx, group.await?).await
}

/// `DELETE /security-groups/{security_group_id}`
pub async fn delete(app: App, ctx: Context, id: Path<String>, if_match: IfMatch) -> Result<Reply> {
    app.write(move |tx| {
        Box::pin(async move {
            let group: Model = changeable(tx.db, &ctx, "delete_security_group", &id.0).await?;
            if_match.check(group.revision_number)?;
            if group.name == DEFAULT && !ctx.is_admin() {
                return Err(conflict("SecurityGroupCannotRemoveDefault", "Insufficient rights for removing default security group."));
            }
            enforce(&ctx, "delete_security_group", &Target::project(&group.project_id))?;
            let used = "SELECT 1 FROM port_security_groups WHERE security_group_id = $1 LIMIT 1";
            if sql::exists(tx.db, used, [group.id.as_str().into()]).await? {
                return Err(conflict("SecurityGroupInUse", format!("Security Group {} in use.", group.id)));
            }
            // rules of other groups that let this one in go with it
            let naming = "SELECT DISTINCT security_group_id FROM security_group_rules WHERE remote_group_id = $1";
            for other in sql::texts(tx.db, naming, [group.id.as_str().into()]).await? {
                tx.touch(Touched::Group(other));
            }
            remove::<Model, _>(tx.db, &group.id).await?;
            rbac::forget(&tx, &group.id).await?;
            tx.touch(Touched::Group(group.id));
            Ok(())
        })
    })
    .await?;
    Reply::no_content()
}
