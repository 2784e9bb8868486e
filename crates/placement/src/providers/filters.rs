//! Conditions on providers, as SQL and as clients write them: room for an amount, traits, aggregates.
//!
//! Each condition looks one key up per provider, so that a scan that stops at a limit stays cheap.

use std::collections::BTreeMap;

use kit::{Error, Query, Result};
use sea_orm::ColumnTrait;
use sea_orm::sea_query::{Condition, Expr, ExprTrait, Query as Sql};

use crate::entity::{inventory, provider, provider_aggregate, provider_trait};
use crate::fault::bad_value;
use crate::input::query_uuid;

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
                return Err(bad_value(format!(
                    "Invalid query string parameters: The format 'in:HW_CPU_X86_VMX,CUSTOM_MAGIC' only supported since microversion 1.39. Got: {text}"
                )));
            }
            self.required.push(words("required", list)?);
            return Ok(());
        }
        for word in words("required", text)? {
            match word.strip_prefix('!') {
                Some(name) if forbid => self.forbidden.push(name.to_owned()),
                Some(_) => {
                    return Err(Error::bad_request(format!(
                        "Invalid query string parameters: Expected 'required' parameter value of the form: HW_CPU_X86_VMX,CUSTOM_MAGIC. Got: {text}"
                    )));
                }
                None => self.required.push(vec![word]),
            }
        }
        let both = self.forbidden.iter().find(|name| self.required.iter().any(|any| any.as_slice() == [(*name).clone()]));
        match both {
            Some(name) => {
                Err(bad_value(format!("Conflicting required and forbidden traits found in the following traits keys: required: ({name})")))
            }
            None => Ok(()),
        }
    }

    /// Reads one `member_of` value: `a`, `in:a,b`, `!a`, `!in:a,b`.
    pub fn belong(&mut self, text: &str, forbid: bool) -> Result<()> {
        let (text, forbidden) = match text.strip_prefix('!') {
            Some(rest) if forbid => (rest, true),
            Some(_) => return Err(bad_value("Forbidden member_of parameters are not supported in the specified microversion")),
            None => (text, false),
        };
        let list = match text.strip_prefix("in:") {
            Some(list) => words("member_of", list)?,
            None if text.contains(',') => return Err(bad_value("Multiple values for 'member_of' must be prefixed with the 'in:' keyword")),
            None => vec![text.to_owned()],
        };
        let list = list.iter().map(|uuid| query_uuid("member_of", uuid)).collect::<Result<Vec<_>>>()?;
        if forbidden {
            self.not_member_of.extend(list);
        } else {
            self.member_of.push(list);
        }
        Ok(())
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
            .and_where(inventory::Column::ResourceClass.eq(class))
            .and_where(inventory::Column::MinUnit.lte(amount))
            .and_where(inventory::Column::MaxUnit.gte(amount))
            .and_where(Expr::val(amount).modulo(Expr::col((inventory::Entity, inventory::Column::StepSize))).eq(0))
            .and_where(
                Expr::col((inventory::Entity, inventory::Column::Used))
                    .add(amount)
                    .lte(Expr::col((inventory::Entity, inventory::Column::Capacity))),
            )
            .to_owned(),
    )
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
    let malformed = || {
        bad_value(format!(
            "Badly formed resources parameter. Expected resources query string parameter in form: ?resources=VCPU:2,MEMORY_MB:1024. Got: {text}."
        ))
    };
    let mut wanted = BTreeMap::new();
    for part in text.split(',') {
        let (class, amount) = part.split_once(':').ok_or_else(malformed)?;
        let amount: i64 = amount.trim().parse().map_err(|_| malformed())?;
        if amount < 1 {
            return Err(bad_value(format!("Requested resource {class} requires amount >= 1. Got: {amount}")));
        }
        wanted.insert(class.trim().to_owned(), amount);
    }
    Ok(wanted)
}

/// The values of a key that may be repeated only since some version.
pub fn values<'q>(query: &'q Query, key: &'q str, repeat: bool) -> Result<Vec<&'q str>> {
    let all: Vec<&str> = query.all(key).collect();
    if all.len() > 1 && !repeat {
        return Err(Error::bad_request(format!("Expected only one {key}")).code("placement.query.duplicate_key"));
    }
    Ok(all)
}

fn words(key: &str, list: &str) -> Result<Vec<String>> {
    let words: Vec<String> = list.split(',').map(|word| word.trim().to_owned()).collect();
    if words.iter().any(|word| word.is_empty() || word == "!") {
        return Err(bad_value(format!("Invalid query string parameters: Expected '{key}' parameter value of the form: A,B. Got: {list}")));
    }
    Ok(words)
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
        assert!(needs.require("!A", true, true).is_err(), "required and forbidden at once");
        assert!(Needs::default().require("!A", false, false).is_err());
        assert!(Needs::default().require("in:A", false, true).is_err());
        assert!(Needs::default().belong("not-a-uuid", true).is_err());
        let agg = "4f0e6b9e-6d3c-4f3a-9a43-0d1d5b2f6f10";
        needs.belong(&format!("in:{agg},{agg}"), true).unwrap();
        needs.belong(&format!("!{agg}"), true).unwrap();
        assert_eq!((needs.member_of.len(), needs.not_member_of.len()), (1, 1));
    }
}
