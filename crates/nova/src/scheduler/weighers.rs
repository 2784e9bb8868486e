//! Weighers: who is best? Each gives every host a number; the numbers are scaled to 0..1 and added up, so that no unit outweighs another.

use super::filters::{Choice, Request};
use super::settings::FilterScheduler;

type Weigher = fn(&Choice, &Request) -> f64;
type Counts = fn(&FilterScheduler) -> f64;

/// Weighers and how much they count.
const WEIGHERS: &[(Weigher, Counts)] = &[
    (|choice, _| choice.candidate.room.memory_mb, |_| 1.0),
    (|choice, _| choice.candidate.room.vcpu, |_| 1.0),
    (|choice, _| choice.candidate.room.disk_gb, |_| 1.0),
    // many boots at once are spread
    (|choice, _| -(choice.host.busy as f64), |_| 1.0),
    (soft_group, |_| 10.0),
    // only where no other host is left
    (|choice, _| -(choice.host.failed_builds as f64), |_| 1_000_000.0),
    (|choice, _| choice.host.servers as f64, |settings| settings.num_instances_weight_multiplier),
    (|choice, _| choice.host.inventory.hypervisor_version as f64, |settings| settings.hypervisor_version_weight_multiplier),
    (like_images, |settings| settings.image_props_weight_multiplier),
];

/// Best first. Equal ones are in the order of `tie`, which the caller draws at random so that schedulers do not run after one host.
pub fn order(choices: Vec<Choice>, request: &Request, mut tie: impl FnMut() -> u64) -> Vec<Choice> {
    let mut total = vec![0.0; choices.len()];
    for (weigher, counts) in WEIGHERS {
        let counts = counts(&request.settings);
        if counts == 0.0 {
            continue;
        }
        let weights: Vec<f64> = choices.iter().map(|choice| weigher(choice, request)).collect();
        let (least, most) = weights.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), w| (lo.min(*w), hi.max(*w)));
        if most > least {
            total.iter_mut().zip(&weights).for_each(|(sum, weight)| *sum += counts * (weight - least) / (most - least));
        }
    }
    let mut ranked: Vec<(f64, u64, Choice)> = total.into_iter().zip(choices).map(|(weight, choice)| (weight, tie(), choice)).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    ranked.into_iter().map(|(_, _, choice)| choice).collect()
}

/// Soft policies prefer, where hard ones refuse.
fn soft_group(choice: &Choice, request: &Request) -> f64 {
    let Some(group) = &request.group else { return 0.0 };
    let members = group.members.get(&choice.host.host).map_or(0.0, |n| *n as f64);
    match group.policy.as_str() {
        "soft-affinity" => members,
        "soft-anti-affinity" => -members,
        _ => 0.0,
    }
}

/// Servers on the host whose images have what this one's has, each property for itself.
fn like_images(choice: &Choice, request: &Request) -> f64 {
    let setting = &request.settings.image_props_weight_setting;
    let counts = |property: &String| if setting.is_empty() { 1.0 } else { setting.get(property).copied().unwrap_or_default() };
    let like = |(property, value): (&String, &String)| {
        let servers = choice.host.images.get(&(property.clone(), value.clone())).copied().unwrap_or_default();
        counts(property) * servers as f64
    };
    request.image_properties.iter().map(like).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::filters::Group;
    use super::super::filters::tests::choice;
    use super::*;

    fn names(choices: Vec<Choice>, request: &Request) -> Vec<String> {
        order(choices, request, || 0).iter().map(|choice| choice.host.host.clone()).collect()
    }

    #[test]
    fn the_emptiest_host_is_best() {
        let choices = vec![choice("small", 100), choice("large", 1000), choice("middle", 500)];
        assert_eq!(names(choices, &Request::default()), ["large", "middle", "small"]);
    }

    #[test]
    fn soft_groups_outweigh_room() {
        let group = |policy: &str| {
            let group = Group { policy: policy.into(), max_per_host: 1, members: [("small".to_owned(), 1)].into() };
            Request { group: Some(group), ..Request::default() }
        };
        let choices = vec![choice("large", 1000), choice("small", 100)];
        assert_eq!(names(choices.clone(), &group("soft-affinity")), ["small", "large"]);
        assert_eq!(names(choices, &group("soft-anti-affinity")), ["large", "small"]);
    }

    #[test]
    fn busy_hosts_come_later_and_those_where_builds_fail_last() {
        let (mut busy, mut failing) = (choice("busy", 100), choice("failing", 1000));
        Arc::make_mut(&mut busy.host).busy = 3;
        Arc::make_mut(&mut failing.host).failed_builds = 1;
        assert_eq!(names(vec![failing, busy, choice("idle", 100)], &Request::default()), ["idle", "busy", "failing"]);
    }

    #[test]
    fn newer_hypervisors_are_better_and_more_where_the_operator_says_so() {
        let (mut new, mut full, mut like) = (choice("new", 100), choice("full", 100), choice("like", 100));
        Arc::make_mut(&mut Arc::make_mut(&mut new.host).inventory).hypervisor_version += 1;
        Arc::make_mut(&mut full.host).servers = 2;
        Arc::make_mut(&mut like.host).images = [(("os_distro".to_owned(), "windows".to_owned()), 1)].into();
        let first = |settings: FilterScheduler| {
            let image_properties = [("os_distro".to_owned(), "windows".to_owned())].into();
            let request = Request { settings: settings.into(), image_properties, ..Request::default() };
            names(vec![full.clone(), like.clone(), new.clone()], &request).remove(0)
        };
        let by_default = FilterScheduler::default;
        assert_eq!(first(by_default()), "new");
        assert_eq!(first(FilterScheduler { num_instances_weight_multiplier: 2.0, ..by_default() }), "full");
        assert_eq!(first(FilterScheduler { image_props_weight_multiplier: 2.0, ..by_default() }), "like");
        let other = [("hw_machine_type".to_owned(), 1.0)].into();
        assert_eq!(first(FilterScheduler { image_props_weight_multiplier: 2.0, image_props_weight_setting: other, ..by_default() }), "new");
    }
}
