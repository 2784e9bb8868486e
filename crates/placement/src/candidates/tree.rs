//! Candidates in trees: pure, over a [`World`].
//!
//! For each tree: each group's possible parts, then every combination of one part per group that fits together. The group without a suffix
//! may be served by several providers of the tree and by those that share with it; a group with a suffix by one.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::request::{Group, Request};
use super::world::{Provider, World};
use super::{Candidate, Part};
use crate::providers::filters::Needs;

/// Combinations looked at for one tree: what a request can cost is bounded.
const COMBINATIONS: usize = 10_000;

/// The first candidates of the trees, tree by tree; no more than `limit`.
pub fn search(world: &World, request: &Request, limit: usize) -> Vec<Candidate> {
    let sharing: Vec<&Provider> = world.sharing.iter().collect();
    let mut found = Vec::new();
    for (root, tree) in &world.trees {
        found.extend(in_tree(root, tree, &sharing, request, limit.saturating_sub(found.len())));
        if found.len() >= limit {
            break;
        }
    }
    found
}

fn in_tree(root: &str, tree: &[Provider], sharing: &[&Provider], request: &Request, limit: usize) -> Vec<Candidate> {
    let Some(top) = tree.iter().find(|p| p.uuid == root) else { return Vec::new() };
    if !fulfils(&request.root, [top], root_aggregates(top, top)) {
        return Vec::new();
    }
    let aggregates: HashSet<&String> = tree.iter().flat_map(|p| &p.aggregates).collect();
    let outside = sharing.iter().copied().filter(|p| p.root != root && p.aggregates.iter().any(|a| aggregates.contains(a)));
    let members: Vec<&Provider> = tree.iter().chain(outside).collect();
    let scene = Scene { members, tops: top };
    let choices: Vec<Vec<Vec<Part>>> = request.groups.iter().map(|group| scene.parts(group)).collect();
    let mut found: Vec<Candidate> = Vec::new();
    let mut seen = 0;
    product(&choices, &mut Vec::new(), &mut |picked| {
        seen += 1;
        let parts: Vec<Part> = picked.iter().flat_map(|parts| parts.iter().cloned()).collect();
        // a tree counts only when it gives something of its own: shared providers alone belong to nobody
        let own = parts.iter().any(|part| tree.iter().any(|p| p.uuid == part.provider));
        let candidate = Candidate { parts, root: root.to_owned() };
        if own && scene.fits(request, &candidate) && !found.contains(&candidate) {
            found.push(candidate);
        }
        found.len() < limit && seen < COMBINATIONS
    });
    found
}

/// A tree and what shares with it.
struct Scene<'w> {
    members: Vec<&'w Provider>,
    tops: &'w Provider,
}

impl<'w> Scene<'w> {
    /// The ways to serve one group.
    fn parts(&self, group: &Group) -> Vec<Vec<Part>> {
        let wanted = group.in_tree.as_ref().map(|member| self.find(member).map(|p| p.root.as_str()));
        // of a tree that plays no part here nobody is usable
        let usable = |p: &&Provider| wanted.is_none_or(|root| root == Some(p.root.as_str()));
        let usable: Vec<&Provider> = self.members.iter().copied().filter(usable).collect();
        if group.suffix.is_empty() { self.spread(group, &usable) } else { self.whole(group, &usable) }
    }

    /// One provider serves the group.
    fn whole(&self, group: &Group, usable: &[&'w Provider]) -> Vec<Vec<Part>> {
        let fits = |p: &&&Provider| {
            group.resources.iter().all(|(class, amount)| p.has_room(class, *amount))
                && fulfils(&group.needs, [**p], p.aggregates.iter().map(String::as_str).collect())
        };
        let resources: Vec<(String, i64)> = group.resources.iter().map(|(class, amount)| (class.clone(), *amount)).collect();
        let part = |p: &&Provider| vec![Part { suffix: group.suffix.clone(), provider: p.uuid.clone(), resources: resources.clone() }];
        usable.iter().filter(fits).map(part).collect()
    }

    /// Each class may come from another provider; together they must have the traits.
    fn spread(&self, group: &Group, usable: &[&'w Provider]) -> Vec<Vec<Part>> {
        let belongs = |p: &&&Provider| belongs(&group.needs, &root_aggregates(p, self.tops));
        let of_class = |(class, amount): (&String, &i64)| {
            let able = usable.iter().filter(belongs).filter(|p| p.has_room(class, *amount));
            able.map(|p| (*p, class.clone(), *amount)).collect::<Vec<_>>()
        };
        let choices: Vec<Vec<(&Provider, String, i64)>> = group.resources.iter().map(of_class).collect();
        let mut ways = Vec::new();
        let mut seen = 0;
        product(&choices, &mut Vec::new(), &mut |picked| {
            seen += 1;
            if has_traits(&group.needs, picked.iter().map(|(p, ..)| *p)) {
                let mut shares: BTreeMap<&str, Vec<(String, i64)>> = BTreeMap::new();
                for (provider, class, amount) in picked {
                    shares.entry(&provider.uuid).or_default().push((class.clone(), *amount));
                }
                let part = |(uuid, resources): (&str, _)| Part { suffix: group.suffix.clone(), provider: uuid.to_owned(), resources };
                ways.push(shares.into_iter().map(part).collect());
            }
            seen < COMBINATIONS
        });
        ways
    }

    /// Whether the parts of a candidate go together.
    fn fits(&self, request: &Request, candidate: &Candidate) -> bool {
        let mut sums: HashMap<(&str, &str), i64> = HashMap::new();
        for part in &candidate.parts {
            for (class, amount) in &part.resources {
                *sums.entry((&part.provider, class)).or_default() += amount;
            }
        }
        let room = sums.iter().all(|((uuid, class), amount)| self.find(uuid).is_some_and(|p| p.has_room(class, *amount)));
        let mut apart = HashSet::new();
        let suffixed = candidate.parts.iter().filter(|part| !part.suffix.is_empty());
        let isolated = !request.isolate || suffixed.into_iter().all(|part| apart.insert(&part.provider));
        room && isolated
            && (!request.flat || self.one_of_each_tree(candidate))
            && request.same_subtree.iter().all(|set| self.one_subtree(set, candidate))
    }

    /// Whether of each tree one provider serves alone.
    fn one_of_each_tree(&self, candidate: &Candidate) -> bool {
        let mut serving: HashMap<&str, &str> = HashMap::new();
        candidate.parts.iter().filter_map(|part| self.find(&part.provider)).all(|p| *serving.entry(&p.root).or_insert(&p.uuid) == p.uuid)
    }

    /// Whether one of the providers that serve these groups is above, or is, all the others.
    fn one_subtree(&self, suffixes: &[String], candidate: &Candidate) -> bool {
        let serving: Vec<&str> =
            candidate.parts.iter().filter(|part| suffixes.contains(&part.suffix)).map(|part| part.provider.as_str()).collect();
        serving.iter().any(|top| serving.iter().all(|uuid| self.is_below(uuid, top)))
    }

    fn is_below(&self, uuid: &str, top: &str) -> bool {
        let mut at = Some(uuid);
        for _ in 0..=self.members.len() {
            match at {
                Some(here) if here == top => return true,
                Some(here) => at = self.find(here).and_then(|p| p.parent.as_deref()),
                None => return false,
            }
        }
        false
    }

    fn find(&self, uuid: &str) -> Option<&'w Provider> {
        self.members.iter().copied().find(|p| p.uuid == uuid)
    }
}

/// The aggregates of a provider and of the root of its tree.
fn root_aggregates<'p>(provider: &'p Provider, top: &'p Provider) -> Vec<&'p str> {
    let own = provider.aggregates.iter();
    let above = (provider.root == top.uuid).then_some(&top.aggregates);
    own.chain(above.into_iter().flatten()).map(String::as_str).collect()
}

fn fulfils<'p>(needs: &Needs, providers: impl IntoIterator<Item = &'p Provider>, aggregates: Vec<&str>) -> bool {
    belongs(needs, &aggregates) && has_traits(needs, providers)
}

fn belongs(needs: &Needs, aggregates: &[&str]) -> bool {
    needs.member_of.iter().all(|any| any.iter().any(|a| aggregates.contains(&a.as_str())))
        && !needs.not_member_of.iter().any(|a| aggregates.contains(&a.as_str()))
}

fn has_traits<'p>(needs: &Needs, providers: impl IntoIterator<Item = &'p Provider>) -> bool {
    let traits: HashSet<&String> = providers.into_iter().flat_map(|p| &p.traits).collect();
    needs.required.iter().all(|any| any.iter().any(|name| traits.contains(name)))
        && !needs.forbidden.iter().any(|name| traits.contains(name))
}

/// Every way to pick one of each, until `visit` has enough; false when it had.
fn product<T>(choices: &[Vec<T>], picked: &mut Vec<T>, visit: &mut impl FnMut(&[T]) -> bool) -> bool
where
    T: Clone,
{
    let Some((first, rest)) = choices.split_first() else { return visit(picked) };
    for choice in first {
        picked.push(choice.clone());
        let go_on = product(rest, picked, visit);
        picked.pop();
        if !go_on {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidates::world::Stock;

    fn provider(uuid: &str, parent: Option<&str>, root: &str, stock: &[(&str, i64)], traits: &[&str]) -> Provider {
        let stock = stock.iter().map(|(c, n)| ((*c).to_owned(), Stock { left: *n, min_unit: 1, max_unit: 1000, step_size: 1 }));
        Provider {
            uuid: uuid.into(),
            parent: parent.map(str::to_owned),
            root: root.into(),
            inventories: stock.collect(),
            traits: traits.iter().map(|t| (*t).to_owned()).collect(),
            aggregates: Default::default(),
        }
    }

    fn host(traits: &[&str]) -> World {
        World::new(
            [
                provider("host", None, "host", &[("MEMORY_MB", 100)], traits),
                provider("numa0", Some("host"), "host", &[("VCPU", 4)], &["CUSTOM_FAST"]),
                provider("numa1", Some("host"), "host", &[("VCPU", 4)], &[]),
            ],
            Vec::new(),
        )
    }

    fn group(suffix: &str, resources: &[(&str, i64)], required: &[&str]) -> Group {
        let required = required.iter().map(|t| vec![(*t).to_owned()]).collect();
        Group {
            suffix: suffix.into(),
            resources: resources.iter().map(|(c, n)| ((*c).to_owned(), *n)).collect(),
            needs: Needs { required, ..Needs::default() },
            in_tree: None,
        }
    }

    fn ask(world: &World, request: Request) -> Vec<Vec<(String, String)>> {
        let found = search(world, &request, 100);
        found.into_iter().map(|c| c.parts.into_iter().map(|p| (p.suffix, p.provider)).collect()).collect()
    }

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn the_unnamed_group_spreads_over_the_tree() {
        let plain = Request { groups: vec![group("", &[("VCPU", 2), ("MEMORY_MB", 50)], &[])], ..Request::default() };
        assert_eq!(ask(&host(&[]), plain).len(), 2);
        let fast = Request { groups: vec![group("", &[("VCPU", 2), ("MEMORY_MB", 50)], &["CUSTOM_FAST"])], ..Request::default() };
        assert_eq!(ask(&host(&[]), fast), [pairs(&[("", "host"), ("", "numa0")])]);
    }

    #[test]
    fn groups_isolate_and_share_capacity() {
        let groups = vec![group("1", &[("VCPU", 3)], &[]), group("2", &[("VCPU", 3)], &[])];
        // 3 + 3 do not fit on one node, so isolation changes nothing
        assert_eq!(ask(&host(&[]), Request { groups: groups.clone(), ..Request::default() }).len(), 2);
        let small = vec![group("1", &[("VCPU", 1)], &[]), group("2", &[("VCPU", 1)], &[])];
        assert_eq!(ask(&host(&[]), Request { groups: small.clone(), ..Request::default() }).len(), 4);
        assert_eq!(ask(&host(&[]), Request { groups: small, isolate: true, ..Request::default() }).len(), 2);
    }

    #[test]
    fn a_subtree_has_one_top() {
        let groups = vec![group("_A", &[("VCPU", 1)], &[]), group("_B", &[("VCPU", 1)], &[])];
        let request = Request { groups, same_subtree: vec![vec!["_A".into(), "_B".into()]], ..Request::default() };
        let found = ask(&host(&[]), request);
        assert_eq!(found, [pairs(&[("_A", "numa0"), ("_B", "numa0")]), pairs(&[("_A", "numa1"), ("_B", "numa1")])]);
    }

    #[test]
    fn the_root_must_have_its_traits() {
        let root = Needs { required: vec![vec!["HW".into()]], ..Needs::default() };
        let request = || Request { groups: vec![group("", &[("VCPU", 1)], &[])], root: root.clone(), ..Request::default() };
        assert!(ask(&host(&[]), request()).is_empty());
        assert_eq!(ask(&host(&["HW"]), request()).len(), 2);
    }

    #[test]
    fn shared_disks_join_trees_of_their_aggregate() {
        let mut disks = provider("nfs", None, "nfs", &[("DISK_GB", 1000)], &[super::super::flat::SHARES]);
        disks.aggregates.insert("agg".into());
        let mut near = provider("near", None, "near", &[("VCPU", 4)], &[]);
        near.aggregates.insert("agg".into());
        let far = provider("far", None, "far", &[("VCPU", 4)], &[]);
        let world = World::new([disks.clone(), near, far], vec![disks]);
        let request = |in_tree: Option<&str>| {
            let group = group("", &[("VCPU", 1), ("DISK_GB", 10)], &[]);
            Request { groups: vec![Group { in_tree: in_tree.map(str::to_owned), ..group }], ..Request::default() }
        };
        assert_eq!(ask(&world, request(None)), [pairs(&[("", "near"), ("", "nfs")])]);
        assert!(ask(&world, request(Some("near"))).is_empty(), "the disks are not in its tree");
        let disk = Group { in_tree: Some("nfs".into()), ..group("1", &[("DISK_GB", 10)], &[]) };
        let apart = Request { groups: vec![group("", &[("VCPU", 1)], &[]), disk], ..Request::default() };
        assert_eq!(ask(&world, apart), [pairs(&[("", "near"), ("1", "nfs")])]);
    }

    #[test]
    fn a_limited_search_ends_when_it_has_enough() {
        let hosts = ["a", "b", "c"].map(|name| provider(name, None, name, &[("VCPU", 4)], &[]));
        let request = Request { groups: vec![group("", &[("VCPU", 1)], &[])], ..Request::default() };
        let found = search(&World::new(hosts, Vec::new()), &request, 2);
        assert_eq!(found.into_iter().map(|c| c.root).collect::<Vec<_>>(), ["a", "b"]);
    }
}
