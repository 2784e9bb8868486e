//! Conditions on providers, as SQL and as clients write them: room for an amount, traits, aggregates.
//!
//! Each condition looks one key up per provider, so that a scan that stops at a limit stays cheap.

use std::collections::BTreeMap;

use kit::{Error, Query, Result, ids};
use sea_orm::ColumnTrait;
use sea_orm::sea_query::{Alias, Condition, Expr, ExprTrait, Query as Sql};

use crate::entity::{inventory, provider, provider_aggregate, provider_trait};

/// What a provider must have, beside resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Of each set of traits, one.
    pub required: Vec<Vec<String>>,
    pub forbidden: Vec<String>,
    /// Of each set of aggregates, one.
    pub member_of: Vec<Vec<String>>,
    pub not_member_of: Vec<String>,
}

impl Needs {
    /// Reads one `required` value: `A,!B`, or `in:A,B`.
    pub fn require(&mut self, text: &str, any: bool, forbid: bool) -> Result<()> {
        if let Some(list) = text.strip_prefix("in:") {
            if !any {
                return Err(refused(format!(
                    "The format 'in:HW_CPU_X86_VMX,CUSTOM_MAGIC' only supported since microversion 1.39. Got: {text}"
                )));
            }
            let names = traits(list, text, "in:HW_CPU_X86_VMX,CUSTOM_MAGIC")?;
            if names.iter().any(|name| name.starts_with('!')) {
                return Err(refused(format!("The format 'in:HW_CPU_X86_VMX,CUSTOM_MAGIC' does not support forbidden traits. Got: {text}")));
            }
            self.required.push(names);
            return Ok(());
        }
        let form = if forbid { "HW_CPU_X86_VMX,!CUSTOM_MAGIC" } else { "HW_CPU_X86_VMX,CUSTOM_MAGIC" };
        for word in traits(text, text, form)? {
            match word.strip_prefix('!') {
                Some(name) if forbid => self.forbidden.push(name.to_owned()),
                Some(_) => return Err(refused(format!("Expected 'required' parameter value of the form: {form}. Got: {text}"))),
                None => self.required.push(vec![word]),
            }
        }
        Ok(())
    }

    /// The sets of traits of which one is required, and all are forbidden.
    pub fn conflicts(&self) -> impl Iterator<Item = &Vec<String>> {
        self.required.iter().filter(|any| any.iter().all(|name| self.forbidden.contains(name)))
    }

    /// Reads one `member_of` value: `a`, `in:a,b`, `!a`, `!in:a,b`.
    pub fn belong(&mut self, key: &str, text: &str, forbid: bool) -> Result<()> {
        if text.contains(',') && !text.starts_with("in:") && !text.starts_with("!in:") {
            return Err(Error::bad_request(format!(
                "Multiple values for 'member_of' must be prefixed with the 'in:' or '!in:' keyword using the valid microversion. Got: {text}"
            )));
        }
        let (list, forbidden) = text.strip_prefix('!').map_or((text, false), |rest| (rest, true));
        let list = list.strip_prefix("in:").unwrap_or(list).split(',');
        let valid = |id: &str| {
            let bad = || refused(format!("Expected 'member_of' parameter to contain valid UUID(s). Got: {id}"));
            ids::parse_uuid(id).ok_or_else(bad)
        };
        let list = list.map(valid).collect::<Result<Vec<_>>>()?;
        if forbidden && !forbid {
            return Err(Error::bad_request(format!("Forbidden {key} parameters are not supported in the specified microversion")));
        }
        if forbidden {
            self.not_member_of.extend(list);
        } else {
            self.member_of.push(list);
        }
        Ok(())
    }

    /// Whether it asks for aggregates, or for none.
    pub fn of_aggregates(&self) -> bool {
        !self.member_of.is_empty() || !self.not_member_of.is_empty()
    }

    /// Traits it names.
    pub fn traits(&self) -> impl Iterator<Item = &String> {
        self.required.iter().flatten().chain(&self.forbidden)
    }

    /// As SQL over providers.
    pub fn condition(&self) -> Condition {
        let mut condition = Condition::all();
        for any in &self.required {
            condition = condition.add(has_trait(any));
        }
        if !self.forbidden.is_empty() {
            condition = condition.add(has_trait(&self.forbidden).not());
        }
        for any in &self.member_of {
            condition = condition.add(in_aggregate(any));
        }
        if !self.not_member_of.is_empty() {
            condition = condition.add(in_aggregate(&self.not_member_of).not());
        }
        condition
    }
}

/// The provider can give this much of a class now.
pub fn has_room(class: &str, amount: i64) -> Expr {
    Expr::exists(
        Sql::select()
            .expr(Expr::val(1))
            .from(inventory::Entity)
            .and_where(owned(inventory::Column::ProviderUuid))
            .cond_where(room(class, amount))
            .to_owned(),
    )
}

/// Some provider of the tree of which this one is the root can give this much of a class now: looked up member by member, as there are few.
pub fn tree_has_room(class: &str, amount: i64) -> Expr {
    let member = Alias::new("member");
    let of_member = Sql::select()
        .expr(Expr::val(1))
        .from(inventory::Entity)
        .and_where(Expr::col((inventory::Entity, inventory::Column::ProviderUuid)).equals((member.clone(), provider::Column::Uuid)))
        .cond_where(room(class, amount))
        .to_owned();
    let in_tree = Sql::select()
        .expr(Expr::val(1))
        .from_as(provider::Entity, member.clone())
        .and_where(Expr::col((member, provider::Column::RootUuid)).equals((provider::Entity, provider::Column::Uuid)))
        .and_where(Expr::exists(of_member))
        .to_owned();
    Expr::exists(in_tree)
}

/// The provider is the root of its tree; said so that roots are found in their order.
pub fn is_root() -> Expr {
    Expr::col((provider::Entity, provider::Column::RootUuid)).equals((provider::Entity, provider::Column::Uuid))
}

/// An inventory of which this much of a class can be given now.
fn room(class: &str, amount: i64) -> Condition {
    let used = Expr::col((inventory::Entity, inventory::Column::Used));
    let step = Expr::col((inventory::Entity, inventory::Column::StepSize));
    Condition::all()
        .add(inventory::Column::ResourceClass.eq(class))
        .add(inventory::Column::MinUnit.lte(amount))
        .add(inventory::Column::MaxUnit.gte(amount))
        .add(Expr::val(amount).modulo(step).eq(0))
        .add(used.add(amount).lte(Expr::col((inventory::Entity, inventory::Column::Capacity))))
}

fn has_trait(any: &[String]) -> Expr {
    Expr::exists(
        Sql::select()
            .expr(Expr::val(1))
            .from(provider_trait::Entity)
            .and_where(owned(provider_trait::Column::ProviderUuid))
            .and_where(provider_trait::Column::Name.is_in(any.iter().cloned()))
            .to_owned(),
    )
}

fn in_aggregate(any: &[String]) -> Expr {
    Expr::exists(
        Sql::select()
            .expr(Expr::val(1))
            .from(provider_aggregate::Entity)
            .and_where(owned(provider_aggregate::Column::ProviderUuid))
            .and_where(provider_aggregate::Column::AggregateUuid.is_in(any.iter().cloned()))
            .to_owned(),
    )
}

fn owned(column: impl ColumnTrait) -> Expr {
    Expr::col(column.as_column_ref()).equals(provider::Column::Uuid.as_column_ref())
}

/// `VCPU:2,MEMORY_MB:512`
pub fn resources(text: &str) -> Result<BTreeMap<String, i64>> {
    let malformed = |got: &str| {
        Error::bad_request(format!(
            "Badly formed resources parameter. Expected resources query string parameter in form: ?resources=VCPU:2,MEMORY_MB:1024. Got: {got}."
        ))
    };
    if text.trim().is_empty() {
        return Err(malformed("empty string"));
    }
    let mut wanted = BTreeMap::new();
    for part in text.split(',') {
        let (class, amount) = part.split_once(':').ok_or_else(|| malformed(part))?;
        let unlike = || Error::bad_request(format!("Requested resource {class} expected positive integer amount. Got: {amount}."));
        let amount: i64 = amount.trim().parse().map_err(|_| unlike())?;
        if amount < 1 {
            return Err(Error::bad_request(format!("Requested resource {class} requires amount >= 1. Got: {amount}.")));
        }
        wanted.insert(class.trim().to_owned(), amount);
    }
    Ok(wanted)
}

/// The values of `required` with its suffix: until 1.38 the last one counts alone.
pub fn required<'q>(query: &'q Query, key: &'q str, any: bool) -> Vec<&'q str> {
    let all: Vec<&str> = query.all(key).collect();
    if any { all } else { all.last().copied().into_iter().collect() }
}

/// The values of `member_of` with its suffix: until 1.23 there may be one.
pub fn member_of<'q>(query: &'q Query, key: &'q str, repeat: bool) -> Result<Vec<&'q str>> {
    let all: Vec<&str> = query.all(key).collect();
    if all.len() > 1 && !repeat {
        return Err(Error::bad_request(format!("Multiple {key} parameters are not supported")));
    }
    Ok(all)
}

/// The traits of a list; `text` is what the client wrote, `form` what it should have looked like.
fn traits(list: &str, text: &str, form: &str) -> Result<Vec<String>> {
    let names: Vec<String> = list.split(',').map(|name| name.trim().to_owned()).collect();
    if names.iter().any(|name| name.is_empty() || name == "!") {
        return Err(refused(format!("Expected 'required' parameter value of the form: {form}. Got an empty trait in: {text}")));
    }
    Ok(names)
}

fn refused(why: String) -> Error {
    Error::bad_request(format!("Invalid query string parameters: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_amounts() {
        let wanted = resources("VCPU:2,MEMORY_MB:512").unwrap();
        assert_eq!(wanted.into_iter().collect::<Vec<_>>(), [("MEMORY_MB".to_owned(), 512), ("VCPU".to_owned(), 2)]);
        for bad in ["", "VCPU", "VCPU:0", "VCPU:x", "VCPU:1,,"] {
            assert!(resources(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_traits_and_aggregates() {
        let mut needs = Needs::default();
        needs.require("A,!B", true, true).unwrap();
        needs.require("in:C,D", true, true).unwrap();
        assert_eq!(needs.required, [vec!["A".to_owned()], vec!["C".to_owned(), "D".to_owned()]]);
        assert_eq!(needs.forbidden, ["B"]);
        assert_eq!(needs.conflicts().count(), 0);
        needs.require("!A", true, true).unwrap();
        assert_eq!(needs.conflicts().collect::<Vec<_>>(), [&["A".to_owned()]], "required and forbidden at once");
        assert!(Needs::default().require("!A", false, false).is_err());
        assert!(Needs::default().require("in:A", false, true).is_err());
        assert!(Needs::default().belong("member_of", "not-a-uuid", true).is_err());
        let agg = "4f0e6b9e-6d3c-4f3a-9a43-0d1d5b2f6f10";
        needs.belong("member_of", &format!("in:{agg},{agg}"), true).unwrap();
        needs.belong("member_of", &format!("!{agg}"), true).unwrap();
        assert_eq!((needs.member_of.len(), needs.not_member_of.len()), (1, 1));
    }
}
