//! How far a volume's migration is, its `migration_status`, and the one table of who may leave which for which.
//!
//! ```text
//!  none, success, error -> starting -> migrating -> success
//!                                \          |
//!                                 +---------+-> error
//! ```
//! What an administrator says instead stays, and keeps nothing from ending. The volume made for a move has no such state: it is `target:ID`
//! for as long as it is there.

use kit::Result;
use kit::clock::Timestamp;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Set};

use super::super::{ActiveModel, Column, Entity, Status};

/// `migration_status`; a volume that never moved has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migration {
    Starting,
    Migrating,
    /// Only an administrator says so: here, a volume is there at once.
    Completing,
    Success,
    Error,
}

/// What changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    Begin,
    Fill,
    Finish,
    Fail,
}

use Migration::{Completing, Migrating, Starting, Success};

/// Each move with the states it may come from and the one it leads to. One that compute has given up can have been made all the same.
const TABLE: &[(Move, &[Option<Migration>], Migration)] = &[
    (Move::Begin, &[None, Some(Success), Some(Migration::Error)], Starting),
    (Move::Fill, &[Some(Starting), Some(Migrating)], Migrating),
    (Move::Finish, &[Some(Starting), Some(Migrating), Some(Completing), Some(Migration::Error)], Success),
    (Move::Fail, &[Some(Starting), Some(Migrating), Some(Completing)], Migration::Error),
];

impl Migration {
    pub const ALL: [Migration; 5] = [Starting, Migrating, Completing, Success, Migration::Error];

    /// As the API writes it.
    pub fn text(self) -> &'static str {
        match self {
            Starting => "starting",
            Migrating => "migrating",
            Completing => "completing",
            Success => "success",
            Migration::Error => "error",
        }
    }

    pub fn parse(text: &str) -> Option<Migration> {
        Migration::ALL.into_iter().find(|known| known.text().eq_ignore_ascii_case(text))
    }

    /// Something is under way that a volume's status does not tell.
    pub fn is_under_way(self) -> bool {
        match self {
            Starting | Migrating | Completing => true,
            Success | Migration::Error => false,
        }
    }
}

impl Move {
    fn rule(self) -> (&'static [Option<Migration>], Migration) {
        let row = TABLE.iter().find(|(step, _, _)| *step == self);
        // every move has its row, which a test checks; none would allow nothing
        row.map_or((&[], Migration::Error), |(_, from, to)| (from, *to))
    }
}

/// Takes a volume's migration on, where the table has this move; whether it did.
pub async fn advance(tx: &impl ConnectionTrait, id: &str, step: Move) -> Result<bool> {
    let (from, to) = step.rule();
    let mut may = Column::MigrationStatus.is_in(from.iter().flatten().map(|status| status.text()));
    if from.contains(&None) {
        may = may.or(Column::MigrationStatus.is_null());
    }
    let row =
        ActiveModel { migration_status: Set(Some(to.text().to_owned())), updated_at: Set(Some(Timestamp::now())), ..Default::default() };
    Ok(Entity::update_many().set(row).filter(Column::Id.eq(id)).filter(may).exec(tx).await?.rows_affected == 1)
}

/// The volume stays where it was.
pub async fn fail(tx: &impl ConnectionTrait, id: &str) -> Result<()> {
    advance(tx, id, Move::Fail).await?;
    end_maintenance(tx, id).await
}

/// A volume that was kept from its users for its move is theirs again.
pub async fn end_maintenance(tx: &impl ConnectionTrait, id: &str) -> Result<()> {
    let row = ActiveModel { status: Set(Status::Available), ..Default::default() };
    let kept = Entity::update_many().set(row).filter(Column::Id.eq(id)).filter(Column::Status.eq(Status::Maintenance));
    kept.exec(tx).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_move_has_one_row() {
        for step in [Move::Begin, Move::Fill, Move::Finish, Move::Fail] {
            assert_eq!(TABLE.iter().filter(|(other, _, _)| *other == step).count(), 1, "{step:?}");
        }
    }

    #[test]
    fn what_is_under_way_can_end_either_way_and_nothing_else_can_begin() {
        for status in Migration::ALL {
            let may = |step: Move| step.rule().0.contains(&Some(status));
            assert_eq!(may(Move::Fail), status.is_under_way(), "{status:?}");
            assert_eq!(may(Move::Begin), !status.is_under_way(), "{status:?}");
            assert!(may(Move::Finish) || status == Success, "{status:?}");
            assert_eq!(Migration::parse(&status.text().to_uppercase()), Some(status));
        }
        assert!(Move::Begin.rule().0.contains(&None));
        assert!(TABLE.iter().all(|(_, _, to)| to.is_under_way() == matches!(to, Starting | Migrating)));
    }
}
