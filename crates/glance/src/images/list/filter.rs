//! What a list shows: what the caller may see, and the filters of the query, as SQL.

use kit::clock::Timestamp;
use kit::{Context, Error, Query, Result};
use sea_orm::sea_query::{Query as Sql, SelectStatement};
use sea_orm::{ColumnTrait, Condition, Iterable};

use crate::entity::image::Column;
use crate::entity::{Status, Visibility, member, property, tag};

/// What the caller sees, of the asked visibility.
pub fn visible(ctx: &Context, query: &Query) -> Result<Condition> {
    let mine = ctx.project_id().unwrap_or_default();
    let asked = query.get("visibility");
    let shared = all().add(Column::Visibility.eq(Visibility::Shared)).add(Column::Id.in_subquery(shared_with(mine, query)?));
    let mut seen = Condition::any().add(Column::Owner.eq(mine));
    if ctx.is_admin() {
        seen = match asked {
            Some(_) => all(),
            // others' community images only on request
            None => seen.add(Column::Visibility.ne(Visibility::Community)),
        };
    } else {
        seen = seen.add(Column::Visibility.eq(Visibility::Public)).add(shared);
        if matches!(asked, Some("community" | "all")) {
            seen = seen.add(Column::Visibility.eq(Visibility::Community));
        }
    }
    match asked {
        // within a condition of its own, so that filters narrow it
        None | Some("all") => Ok(all().add(seen)),
        Some(text) => match Visibility::parse(text) {
            Some(visibility) => Ok(all().add(seen).add(Column::Visibility.eq(visibility))),
            None => Err(Error::bad_request(format!("Invalid visibility value: {text}"))),
        },
    }
}

/// Images that others share with a project, accepted by it unless asked otherwise.
fn shared_with(project: &str, query: &Query) -> Result<SelectStatement> {
    let mut select = Sql::select().column(member::Column::ImageId).from(member::Entity).to_owned();
    select.and_where(member::Column::MemberId.eq(project));
    match query.get("member_status") {
        Some("all") => {}
        None => {
            select.and_where(member::Column::Status.eq("accepted"));
        }
        Some(status @ ("accepted" | "pending" | "rejected")) => {
            select.and_where(member::Column::Status.eq(status));
        }
        Some(other) => return Err(Error::bad_request(format!("Invalid status: {other}"))),
    }
    Ok(select)
}

/// One parameter as a condition, if it is a filter.
pub fn condition(key: &str, value: &str) -> Result<Option<Condition>> {
    if key.contains('\0') || value.contains('\0') {
        return Err(Error::bad_request("A filter cannot hold the character NUL"));
    }
    let expression = match key {
        "limit" | "marker" | "sort" | "sort_key" | "sort_dir" | "visibility" | "member_status" => return Ok(None),
        "created_at" => return moment(Column::CreatedAt, value).map(Some),
        "updated_at" => return moment(Column::UpdatedAt, value).map(Some),
        "id" => Column::Id.is_in(words(value)),
        "name" => Column::Name.is_in(words(value)),
        "status" => Column::Status.is_in(Status::iter().filter(|status| words(value).iter().any(|w| w == status.as_str()))),
        "container_format" => Column::ContainerFormat.is_in(words(value)),
        "disk_format" => Column::DiskFormat.is_in(words(value)),
        "owner" => Column::Owner.eq(value),
        "checksum" => Column::Checksum.eq(value),
        "os_hash_algo" => Column::OsHashAlgo.eq(value),
        "os_hash_value" => Column::OsHashValue.eq(value),
        "protected" => Column::Protected.eq(flag(key, value)?),
        "os_hidden" => Column::OsHidden.eq(flag(key, value)?),
        "min_disk" => return amount(Column::MinDisk, key, value).map(Some),
        "min_ram" => return amount(Column::MinRam, key, value).map(Some),
        "size" => return amount(Column::Size, key, value).map(Some),
        "virtual_size" => return amount(Column::VirtualSize, key, value).map(Some),
        "size_min" => Column::Size.gte(number(key, value)?),
        "size_max" => Column::Size.lte(number(key, value)?),
        "tag" => Column::Id.in_subquery(tagged(value)),
        _ => Column::Id.in_subquery(with_property(key, value)),
    };
    Ok(Some(all().add(expression)))
}

/// The values of `in:a,"b,c"`, or the value itself.
fn words(value: &str) -> Vec<String> {
    let Some(list) = value.strip_prefix("in:") else { return vec![value.strip_prefix("eq:").unwrap_or(value).to_owned()] };
    let mut words = Vec::new();
    let (mut word, mut quoted) = (String::new(), false);
    for c in list.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words
}

fn tagged(value: &str) -> SelectStatement {
    Sql::select().column(tag::Column::ImageId).from(tag::Entity).and_where(tag::Column::Tag.eq(value)).to_owned()
}

fn with_property(key: &str, value: &str) -> SelectStatement {
    Sql::select()
        .column(property::Column::ImageId)
        .from(property::Entity)
        .and_where(property::Column::Name.eq(key))
        .and_where(property::Column::Value.eq(value))
        .to_owned()
}

/// The operator of `gt:5`, and what it is applied to; equality without one.
fn operator(value: &str) -> (&str, &str) {
    match value.split_once(':') {
        Some((operator @ ("gt" | "gte" | "lt" | "lte" | "eq" | "neq"), text)) => (operator, text),
        _ => ("eq", value),
    }
}

/// `gte:1024`
fn amount(column: Column, key: &str, value: &str) -> Result<Condition> {
    let (operator, text) = operator(value);
    let n = number(key, text)?;
    Ok(all().add(match operator {
        "gt" => column.gt(n),
        "gte" => column.gte(n),
        "lt" => column.lt(n),
        "lte" => column.lte(n),
        "neq" => column.ne(n),
        _ => column.eq(n),
    }))
}

/// `gt:2026-01-01T00:00:00Z`; in whole seconds, as times are shown.
fn moment(column: Column, value: &str) -> Result<Condition> {
    let (operator, text) = operator(value);
    let from = Timestamp::parse(text).ok_or_else(|| Error::bad_request(format!("Invalid time value: {text}")))?;
    let until = from.plus(std::time::Duration::from_secs(1));
    Ok(match operator {
        "gt" => all().add(column.gte(until)),
        "gte" => all().add(column.gte(from)),
        "lt" => all().add(column.lt(from)),
        "lte" => all().add(column.lt(until)),
        "neq" => Condition::any().add(column.lt(from)).add(column.gte(until)),
        _ => all().add(column.gte(from)).add(column.lt(until)),
    })
}

fn flag(key: &str, value: &str) -> Result<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Error::bad_request(format!("Invalid value '{value}' for {key}: it must be true or false"))),
    }
}

fn number(key: &str, value: &str) -> Result<i64> {
    let bad = || Error::bad_request(format!("Invalid value '{value}' for {key}: it must be a number that is not negative"));
    value.parse::<i64>().ok().filter(|n| *n >= 0).ok_or_else(bad)
}

fn all() -> Condition {
    Condition::all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_values_may_quote_commas() {
        assert_eq!((words("plain"), words("eq:plain")), (vec!["plain".to_owned()], vec!["plain".to_owned()]));
        assert_eq!(words("in:a,\"b,c\",d"), ["a", "b,c", "d"]);
    }

    #[test]
    fn bad_values_are_refused() {
        for (key, value) in
            [("created_at", "gt:yesterday"), ("protected", "maybe"), ("size_min", "-1"), ("min_ram", "much"), ("name", "a\0b")]
        {
            assert!(condition(key, value).is_err(), "{key}={value}");
        }
    }
}
