//! The groups of a flavor's extra specs: `resources1:VCPU`, `trait_FAST:CUSTOM_SSD`. What a group asks for, one provider of the host's tree has to
//! have; `group_policy` says whether several groups may have the same one.

use std::collections::{BTreeMap, BTreeSet};

use sdk::placement::{Group, Resources};

type Words = BTreeMap<String, String>;

/// What the extra specs ask for beside what the host has to have as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Granular {
    pub groups: Vec<Group>,
    /// `none` or `isolate`.
    pub policy: Option<String>,
}

/// The parts of `resourcesGROUP:CLASS` or `traitGROUP:NAME`; the group is empty for what is asked of the host as a whole.
fn parts<'a>(key: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let (group, name) = key.strip_prefix(word)?.split_once(':')?;
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    (group.len() <= 64 && group.chars().all(known)).then_some((group, name))
}

/// The groups of a flavor. Amounts of nothing, and groups that then ask for nothing, are left out.
pub fn of_flavor(specs: &Words) -> Granular {
    let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
    for (key, value) in specs {
        if let (Some((suffix, class)), Ok(amount)) = (parts(key, "resources"), value.parse::<i64>())
            && amount > 0
        {
            groups.entry(suffix).or_default().resources.insert(class.to_owned(), amount);
        }
        if let Some((suffix, name)) = parts(key, "trait") {
            let required = &mut groups.entry(suffix).or_default().required;
            match value.as_str() {
                "required" => required.push(name.to_owned()),
                "forbidden" => required.push(format!("!{name}")),
                _ => {}
            }
        }
    }
    groups.remove("");
    groups.retain(|_, group| !group.resources.is_empty() || !group.required.is_empty());
    let groups = groups.into_iter().map(|(suffix, group)| Group { suffix: suffix.to_owned(), ..group }).collect();
    let policy = specs.get("group_policy").filter(|policy| matches!(policy.as_str(), "none" | "isolate")).cloned();
    Granular { groups, policy }
}

/// What the extra specs ask of the host as a whole, amounts of nothing included.
pub fn of_host(specs: &Words) -> Resources {
    let amounts = specs.iter().filter_map(|(key, value)| Some((parts(key, "resources")?, value.parse().ok()?)));
    amounts.filter(|((group, _), _)| group.is_empty()).map(|((_, class), amount)| (class.to_owned(), amount)).collect()
}

/// The classes that the extra specs name, whichever group they are of: the flavor's own amounts of them do not count.
pub fn classes(specs: &Words) -> BTreeSet<&str> {
    specs.keys().filter_map(|key| Some(parts(key, "resources")?.1)).collect()
}

impl Granular {
    /// Whether placement would refuse the question: several groups of which it is not said how they go together, or a trait of nothing.
    pub fn is_refused(&self) -> bool {
        (self.groups.len() > 1 && self.policy.is_none()) || self.groups.iter().any(|group| group.resources.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(pairs: &[(&str, &str)]) -> Words {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn extra_specs_are_asked_for_group_by_group() {
        let specs = words(&[
            ("resources:VCPU", "0"),
            ("resources1:VGPU", "1"),
            ("resources_B-2:CUSTOM_GOLD", "3"),
            ("resources3:VGPU", "0"),
            ("trait1:CUSTOM_FAST", "required"),
            ("trait1:CUSTOM_OLD", "forbidden"),
            ("trait:CUSTOM_HOST", "required"),
            ("group_policy", "isolate"),
            ("resourceful:x", "1"),
        ]);
        let asked = of_flavor(&specs);
        let group = |suffix: &str, class: &str, amount: i64, required: &[&str]| Group {
            suffix: suffix.into(),
            resources: Resources::from([(class.into(), amount)]),
            required: required.iter().map(|name| (*name).to_owned()).collect(),
        };
        assert_eq!(asked.groups, [group("1", "VGPU", 1, &["CUSTOM_FAST", "!CUSTOM_OLD"]), group("_B-2", "CUSTOM_GOLD", 3, &[])]);
        assert_eq!(asked.policy.as_deref(), Some("isolate"));
        assert!(!asked.is_refused());
        assert_eq!(of_host(&specs), Resources::from([("VCPU".into(), 0)]));
        assert_eq!(classes(&specs), BTreeSet::from(["VCPU", "VGPU", "CUSTOM_GOLD"]));
    }

    #[test]
    fn several_groups_without_a_policy_are_refused_and_traits_of_nothing() {
        let two = [("resources1:VGPU", "1"), ("resources2:VGPU", "1")];
        for (more, refused) in [(&[][..], true), (&[("group_policy", "none")], false), (&[("group_policy", "some")], true)] {
            assert_eq!(of_flavor(&words(&[&two, more].concat())).is_refused(), refused, "{more:?}");
        }
        assert!(of_flavor(&words(&[("trait1:CUSTOM_FAST", "required")])).is_refused());
    }
}
