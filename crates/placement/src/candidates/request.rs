//! What a client asks candidates for.

use std::collections::BTreeMap;

use kit::{Context, Error, Query, Result};

use super::LIMIT;
use crate::fault::bad_value;
use crate::input::{query_uuid, unexpected};
use crate::microversions as mv;
use crate::providers::filters::{Needs, member_of, required, resources};

/// A request: groups, and how they hang together.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The group without a suffix first, if it is there.
    pub groups: Vec<Group>,
    /// Groups with a suffix must be served by different providers.
    pub isolate: bool,
    /// Each set of groups must be served from one subtree.
    pub same_subtree: Vec<Vec<String>>,
    pub root: Needs,
    pub limit: usize,
    /// Before 1.29 clients do not know of trees: what they get is from one provider of each.
    pub flat: bool,
}

/// What one provider must have; without a suffix, what the providers of a tree must have together.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub suffix: String,
    pub resources: BTreeMap<String, i64>,
    pub needs: Needs,
    pub in_tree: Option<String>,
}

impl Request {
    pub fn read(ctx: &Context, query: &Query) -> Result<Request> {
        let mut request = Request { limit: LIMIT, flat: !ctx.speaks(mv::NESTED_CANDIDATES), ..Request::default() };
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        let mut policy = None;
        let mut seen = Vec::new();
        for (key, value) in &query.0 {
            match key.as_str() {
                // of these two the first counts
                "limit" if ctx.speaks(mv::LIMIT) => request.limit = limit(query.all(key).next().unwrap_or(value))?,
                "group_policy" if ctx.speaks(mv::GRANULAR) => policy = Some(isolates(query.all(key).next().unwrap_or(value))?),
                "root_required" if ctx.speaks(mv::ROOT_REQUIRED) => {
                    once(query, key)?;
                    request.root.require(value, false, true)?;
                }
                "same_subtree" if ctx.speaks(mv::SAME_SUBTREE) => request.same_subtree.push(suffixes(value)?),
                _ => {
                    let (kind, suffix) = split(ctx, key).ok_or_else(|| unexpected(key))?;
                    if !seen.contains(key) {
                        seen.push(key.clone());
                        let group = groups.entry(suffix.to_owned()).or_insert_with(|| Group { suffix: suffix.into(), ..Group::default() });
                        group.add(ctx, query, kind, key)?;
                    }
                }
            }
        }
        request.groups = groups.into_values().collect();
        request.check(ctx, policy)?;
        request.isolate = policy == Some(true);
        Ok(request)
    }

    /// All traits it names.
    pub fn traits(&self) -> impl Iterator<Item = &String> {
        self.groups.iter().flat_map(|group| group.needs.traits()).chain(self.root.traits())
    }

    /// Whether it only has the group without a suffix.
    pub fn is_plain(&self) -> bool {
        self.same_subtree.is_empty() && self.root == Needs::default() && self.groups.iter().all(|group| group.suffix.is_empty())
    }

    fn check(&self, ctx: &Context, policy: Option<bool>) -> Result<()> {
        if let Some(both) = self.root.conflicts().next() {
            return Err(bad_value(format!("Conflicting required and forbidden traits found in root_required: {}", both.join(", "))));
        }
        if ctx.speaks(mv::SAME_SUBTREE) {
            self.check_subtrees()?
        } else {
            self.check_orphans()?
        }
        let mut conflicts = Vec::new();
        for group in &self.groups {
            conflicts.extend(group.needs.conflicts().map(|both| format!("required{}: ({})", group.suffix, both.join(", "))));
        }
        if !conflicts.is_empty() {
            let keys = conflicts.join(", ");
            return Err(Error::bad_request(format!(
                "Conflicting required and forbidden traits found in the following traits keys: {keys}"
            )));
        }
        if policy.is_none() && self.groups.iter().filter(|group| !group.suffix.is_empty()).count() > 1 {
            return Err(Error::bad_request(
                "The \"group_policy\" parameter is required when specifying more than one \"resources{N}\" parameter.",
            ));
        }
        Ok(())
    }

    /// Groups without resources are those of a subtree, and a subtree is of groups that are there.
    fn check_subtrees(&self) -> Result<()> {
        let empty: Vec<&str> = self.groups.iter().filter(|group| group.resources.is_empty()).map(|group| group.suffix.as_str()).collect();
        if empty.len() == self.groups.len() {
            let message = "There must be at least one resources or resources[$S] parameter.";
            return Err(Error::bad_request(message).code("placement.query.missing_value"));
        }
        let named = |suffix: &&str| self.same_subtree.iter().flatten().any(|named| named == suffix);
        let apart: Vec<&str> = empty.into_iter().filter(|suffix| !named(suffix)).collect();
        if !apart.is_empty() {
            return Err(bad_value(format!(
                "Resourceless suffixed group request should be specified in `same_subtree` query param: bad group(s) - {}.",
                listed(&apart)
            )));
        }
        let known: Vec<&str> = self.groups.iter().map(|group| group.suffix.as_str()).collect();
        let unknown: Vec<&str> = self.same_subtree.iter().flatten().map(String::as_str).filter(|suffix| !known.contains(suffix)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let (unknown, known) = (listed(&unknown), listed(&known));
        Err(bad_value(format!("Real suffixes should be specified in `same_subtree`: {unknown} not found in {known}.")))
    }

    /// Before there are subtrees, whatever is asked of a group is asked of its resources.
    fn check_orphans(&self) -> Result<()> {
        let orphans = |kind: &str, has: fn(&Needs) -> bool| -> Vec<String> {
            let of = self.groups.iter().filter(|group| group.resources.is_empty() && has(&group.needs));
            of.map(|group| format!("{kind}{}", group.suffix)).collect()
        };
        let message = match (orphans("required", |needs| !needs.required.is_empty()), orphans("member_of", Needs::of_aggregates)) {
            (keys, _) if !keys.is_empty() => format!(
                "All traits parameters must be associated with resources.  Found the following orphaned traits keys: {}",
                keys.join(", ")
            ),
            (_, keys) if !keys.is_empty() => format!(
                "All member_of parameters must be associated with resources. Found the following orphaned member_of keys: {}",
                keys.join(", ")
            ),
            _ if self.groups.iter().any(|group| group.resources.is_empty()) => "All request groups must specify resources.".into(),
            _ if self.groups.is_empty() => "At least one request group (`resources` or `resources{$S}`) is required.".into(),
            _ => return Ok(()),
        };
        Err(Error::bad_request(message))
    }
}

impl Group {
    /// Takes all values of one key.
    fn add(&mut self, ctx: &Context, query: &Query, kind: Kind, key: &str) -> Result<()> {
        let any = ctx.speaks(mv::ANY_TRAITS);
        match kind {
            Kind::Resources => {
                for text in query.all(key) {
                    self.resources = resources(text)?;
                }
            }
            Kind::Required => {
                for text in required(query, key, any) {
                    self.needs.require(text, any, ctx.speaks(mv::FORBIDDEN_TRAITS))?;
                }
            }
            Kind::MemberOf => {
                for text in member_of(query, key, ctx.speaks(mv::REPEATED_MEMBER_OF))? {
                    self.needs.belong(key, text, ctx.speaks(mv::FORBIDDEN_AGGREGATES))?;
                }
            }
            Kind::InTree => {
                for text in query.all(key) {
                    self.in_tree = Some(query_uuid("in_tree", text)?);
                }
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Resources,
    Required,
    MemberOf,
    InTree,
}

/// `resources_COMPUTE` is resources of the group `_COMPUTE`, if the caller's version has such groups.
fn split<'k>(ctx: &Context, key: &'k str) -> Option<(Kind, &'k str)> {
    let kinds = [
        ("resources", Kind::Resources, mv::VERSIONS.min),
        ("required", Kind::Required, mv::REQUIRED),
        ("member_of", Kind::MemberOf, mv::CANDIDATES_MEMBER_OF),
        ("in_tree", Kind::InTree, mv::IN_TREE),
    ];
    let (kind, suffix) = kinds.into_iter().find_map(|(word, kind, since)| {
        let suffix = key.strip_prefix(word)?;
        ctx.speaks(since).then_some((kind, suffix))
    })?;
    let number = ctx.speaks(mv::GRANULAR) && suffix.bytes().all(|b| b.is_ascii_digit()) && !suffix.starts_with('0');
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let named = ctx.speaks(mv::NAMED_GROUPS) && suffix.len() <= 64 && suffix.bytes().all(word);
    (suffix.is_empty() || number || named).then_some((kind, suffix))
}

/// The suffixes of one `same_subtree`.
fn suffixes(text: &str) -> Result<Vec<String>> {
    let suffixes: Vec<String> = text.split(',').map(|suffix| suffix.trim().to_owned()).collect();
    if suffixes.iter().any(String::is_empty) {
        return Err(bad_value("Empty string (unsuffixed group) can not be specified in `same_subtree` "));
    }
    Ok(suffixes)
}

fn once(query: &Query, key: &str) -> Result<()> {
    if query.all(key).count() == 1 {
        return Ok(());
    }
    Err(Error::bad_request(format!("Query parameter '{key}' may be specified only once.")).code("placement.query.duplicate_key"))
}

/// `['1', '_A']`
fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    format!("[{}]", quoted.join(", "))
}

fn limit(text: &str) -> Result<usize> {
    match text.parse::<usize>() {
        Ok(n) if n > 0 => Ok(n.min(LIMIT)),
        _ => Err(Error::bad_request(format!("Invalid query string parameters: '{text}' does not match '^[1-9][0-9]*$'"))),
    }
}

fn isolates(text: &str) -> Result<bool> {
    match text {
        "isolate" => Ok(true),
        "none" => Ok(false),
        _ => Err(Error::bad_request(format!("Invalid query string parameters: '{text}' is not one of ['none', 'isolate']"))),
    }
}
