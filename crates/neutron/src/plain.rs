//! Create, update and delete for resources that are hardly more than their row. A room says what is its own in a [`Plain`]; checks of
//! policy, quota, revision and sharing are the same for all.

use std::future::Future;

use kit::policy::Target;
use kit::{Context, Error, Path, Reply, Result};

use crate::attributes::{Checked, IfMatch, Input};
use crate::fault::conflict;
use crate::resource::{Resource, changeable, insert, remove, save};
use crate::{App, Tx, listing, quotas, rbac};

pub trait Plain: Resource + PartialEq {
    fn new(checked: &Checked) -> Result<Self>;

    /// Takes in what an update asks for.
    fn apply(&mut self, checked: &Checked) -> Result<()>;

    /// Just before it is inserted.
    fn inserting(&mut self, _: &Tx<'_>, _: &Context) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// Puts it into the database.
    fn insert(self, tx: &Tx<'_>) -> impl Future<Output = Result<Self>> + Send {
        async move { if insert(tx.db, &self).await? { Ok(self) } else { Err(self.taken()) } }
    }

    /// Just before a change is saved.
    fn changing(&mut self, _before: &Self, _: &Tx<'_>, _: &Context) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// Just before it is shared with everybody, or no longer.
    fn resharing(&self, _: &Tx<'_>, _shared: bool) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// Just before it is removed.
    fn removing(&self, _: &Tx<'_>, _: &Context) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// Another one has what must be unique.
    fn taken(&self) -> Error {
        conflict("Conflict", format!("{} already exists.", Self::NOUN))
    }
}

/// `POST`
pub async fn create<R: Plain>(app: App, ctx: Context, input: Input) -> Result<Reply> {
    let (bodies, bulk) = input.many(R::KEY, R::PLURAL)?;
    let mut wishes = Vec::with_capacity(bodies.len());
    for body in bodies {
        let checked = Checked::create(&ctx, R::KEY, R::ATTRIBUTES, body)?;
        checked.enforce(&ctx, "create", R::KEY, R::ATTRIBUTES, &Target::project(&checked.text("project_id")?))?;
        wishes.push((R::new(&checked)?, checked.get::<bool>("shared")?));
    }
    let by = ctx.clone();
    let rows = app.write(move |tx| {
        Box::pin(async move {
            let mut rows = Vec::with_capacity(wishes.len());
            for (mut row, shared) in wishes {
                quotas::spend(&tx, row.project_id(), R::KEY, 1).await?;
                row.inserting(&tx, &by).await?;
                let row = row.insert(&tx).await?;
                if let (Some(kind), Some(true)) = (R::SHARED_AS, shared) {
                    rbac::share(&tx, kind, row.id(), row.project_id(), rbac::SHARED, true).await?;
                }
                rows.push(row);
            }
            Ok(rows)
        })
    });
    listing::created(&app, &ctx, rows.await?, bulk).await
}

/// `PUT`
pub async fn update<R: Plain>(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let if_match = input.if_match;
    let checked = Checked::update(R::ATTRIBUTES, input.one(R::KEY)?)?;
    let by = ctx.clone();
    let row = app.write(move |tx| {
        Box::pin(async move {
            let before: R = changeable(tx.db, &by, &format!("update_{}", R::KEY), &id.0).await?;
            if_match.check(before.revision().unwrap_or_default())?;
            checked.enforce(&by, "update", R::KEY, R::ATTRIBUTES, &Target::project(before.project_id()))?;
            let mut row = before.clone();
            row.apply(&checked)?;
            let shared = checked.get::<bool>("shared")?;
            if let Some(shared) = shared {
                row.resharing(&tx, shared).await?;
            }
            let reshared = reshare(&tx, &row, shared).await?;
            if row != before || reshared {
                row.changing(&before, &tx, &by).await?;
                save(tx.db, &mut row).await?;
            }
            Ok(row)
        })
    });
    listing::updated(&app, &ctx, row.await?).await
}

/// Shares an object with everybody, or no longer; whether that is a change.
pub async fn reshare<R: Resource>(tx: &Tx<'_>, row: &R, wanted: Option<bool>) -> Result<bool> {
    let (Some(kind), Some(wanted)) = (R::SHARED_AS, wanted) else { return Ok(false) };
    let policy = rbac::Model {
        id: String::new(),
        project_id: row.project_id().to_owned(),
        object_type: kind.to_owned(),
        object_id: row.id().to_owned(),
        action: rbac::SHARED.to_owned(),
        target_project: rbac::ALL.to_owned(),
    };
    if rbac::is_shared(tx.db, row.id(), rbac::ALL).await? == wanted {
        return Ok(false);
    }
    rbac::share(tx, kind, row.id(), row.project_id(), rbac::SHARED, wanted).await?;
    // with the policy gone, its users are those it let in
    if !wanted && rbac::in_use(tx, &policy).await? {
        let message = format!("Unable to reconfigure sharing settings for {} {}. Multiple tenants are using it.", R::KEY, row.id());
        return Err(conflict("InvalidSharedSetting", message));
    }
    Ok(true)
}

/// `DELETE`
pub async fn delete<R: Plain>(app: App, ctx: Context, id: Path<String>, if_match: IfMatch) -> Result<Reply> {
    app.write(move |tx| {
        Box::pin(async move {
            let row: R = changeable(tx.db, &ctx, &format!("delete_{}", R::KEY), &id.0).await?;
            if_match.check(row.revision().unwrap_or_default())?;
            row.removing(&tx, &ctx).await?;
            remove::<R, _>(tx.db, row.id()).await?;
            if R::SHARED_AS.is_some() {
                rbac::forget(&tx, row.id()).await?;
            }
            Ok(())
        })
    })
    .await?;
    Reply::no_content()
}
