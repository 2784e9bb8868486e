//! What a client asks candidates for.

use std::collections::BTreeMap;

use kit::{Context, Error, Query, Result};

use super::LIMIT;
use crate::fault::bad_value;
use crate::input::{query_uuid, unexpected};
use crate::microversions as mv;
use crate::providers::filters::{Needs, resources, values};

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
    /// Before 1.29 clients know only providers that stand alone or share: those below others are not for them.
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
                "limit" if ctx.speaks(mv::LIMIT) => request.limit = limit(value)?,
                "group_policy" if ctx.speaks(mv::GRANULAR) => policy = Some(isolates(value)?),
                "root_required" if ctx.speaks(mv::ROOT_REQUIRED) => request.root.require(value, ctx.speaks(mv::ANY_TRAITS), true)?,
                "same_subtree" if ctx.speaks(mv::SAME_SUBTREE) => {
                    request.same_subtree.push(value.split(',').map(|suffix| suffix.trim().to_owned()).collect());
                }
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
        if self.groups.iter().all(|group| group.resources.is_empty()) {
            return Err(Error::bad_request("Invalid query string parameters: 'resources' is a required property"));
        }
        let grouped = |suffix: &String| self.same_subtree.iter().any(|set| set.contains(suffix));
        for group in self.groups.iter().filter(|group| group.resources.is_empty()) {
            if !ctx.speaks(mv::SAME_SUBTREE) || group.suffix.is_empty() || !grouped(&group.suffix) {
                return Err(bad_value(format!(
                    "All resource groups must be specified with resources. No resources for group \"{}\".",
                    group.suffix
                )));
            }
        }
        let unknown = self.same_subtree.iter().flatten().find(|suffix| !self.groups.iter().any(|group| group.suffix == **suffix));
        if let Some(suffix) = unknown {
            return Err(bad_value(format!("Real suffixes should be specified in \"same_subtree\". Got: {suffix}")));
        }
        let suffixed = self.groups.iter().filter(|group| !group.suffix.is_empty() && !group.resources.is_empty()).count();
        if suffixed > 1 && policy.is_none() {
            return Err(bad_value("The \"group_policy\" parameter is required when specifying more than one \"resources{N}\" parameter."));
        }
        Ok(())
    }
}

impl Group {
    /// Takes all values of one key.
    fn add(&mut self, ctx: &Context, query: &Query, kind: Kind, key: &str) -> Result<()> {
        let any = ctx.speaks(mv::ANY_TRAITS);
        match kind {
            Kind::Resources => {
                for text in values(query, key, false)? {
                    self.resources = resources(text)?;
                }
            }
            Kind::Required => {
                for text in values(query, key, any)? {
                    self.needs.require(text, any, ctx.speaks(mv::FORBIDDEN_TRAITS))?;
                }
            }
            Kind::MemberOf => {
                for text in values(query, key, ctx.speaks(mv::REPEATED_MEMBER_OF))? {
                    self.needs.belong(text, ctx.speaks(mv::FORBIDDEN_AGGREGATES))?;
                }
            }
            Kind::InTree => {
                for text in values(query, key, false)? {
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
