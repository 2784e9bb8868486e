//! Weighers: who is best? Each gives every host a number; the numbers are scaled to 0..1 and added up, so that no unit outweighs another.

use super::filters::{Choice, Group};

type Weigher = fn(&Choice, Option<&Group>) -> f64;

/// Weighers and how much they count.
const WEIGHERS: &[(Weigher, f64)] = &[
    (|choice, _| free(choice, "MEMORY_MB"), 1.0),
    (|choice, _| free(choice, "VCPU"), 1.0),
    (|choice, _| free(choice, "DISK_GB"), 1.0),
    // many boots at once are spread
    (|choice, _| -(choice.host.busy as f64), 1.0),
    (soft_group, 10.0),
    // only where no other host is left
    (|choice, _| -(choice.host.failed_builds as f64), 1_000_000.0),
];

/// Best first. Equal ones are in the order of `tie`, which the caller draws at random so that schedulers do not run after one host.
pub fn order(choices: Vec<Choice>, group: Option<&Group>, mut tie: impl FnMut() -> u64) -> Vec<Choice> {
    let mut total = vec![0.0; choices.len()];
    for (weigher, counts) in WEIGHERS {
        let weights: Vec<f64> = choices.iter().map(|choice| weigher(choice, group)).collect();
        let (least, most) = weights.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), w| (lo.min(*w), hi.max(*w)));
        if most > least {
            total.iter_mut().zip(&weights).for_each(|(sum, weight)| *sum += counts * (weight - least) / (most - least));
        }
    }
    let mut ranked: Vec<(f64, u64, Choice)> = total.into_iter().zip(choices).map(|(weight, choice)| (weight, tie(), choice)).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    ranked.into_iter().map(|(_, _, choice)| choice).collect()
}

fn free(choice: &Choice, class: &str) -> f64 {
    choice.candidate.free.get(class).map_or(0.0, |free| *free as f64)
}

/// Soft policies prefer, where hard ones refuse.
fn soft_group(choice: &Choice, group: Option<&Group>) -> f64 {
    let Some(group) = group else { return 0.0 };
    let members = group.members.get(&choice.host.host).map_or(0.0, |n| *n as f64);
    match group.policy.as_str() {
        "soft-affinity" => members,
        "soft-anti-affinity" => -members,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::filters::tests::choice;
    use super::*;

    fn names(choices: Vec<Choice>, group: Option<&Group>) -> Vec<String> {
        order(choices, group, || 0).iter().map(|choice| choice.host.host.clone()).collect()
    }

    #[test]
    fn the_emptiest_host_is_best() {
        let choices = vec![choice("small", 100), choice("large", 1000), choice("middle", 500)];
        assert_eq!(names(choices, None), ["large", "middle", "small"]);
    }

    #[test]
    fn soft_groups_outweigh_room() {
        let group = |policy: &str| Group { policy: policy.into(), max_per_host: 1, members: [("small".to_owned(), 1)].into() };
        let choices = vec![choice("large", 1000), choice("small", 100)];
        assert_eq!(names(choices.clone(), Some(&group("soft-affinity"))), ["small", "large"]);
        assert_eq!(names(choices, Some(&group("soft-anti-affinity"))), ["large", "small"]);
    }

    #[test]
    fn busy_hosts_come_later_and_those_where_builds_fail_last() {
        let (mut busy, mut failing) = (choice("busy", 100), choice("failing", 1000));
        Arc::make_mut(&mut busy.host).busy = 3;
        Arc::make_mut(&mut failing.host).failed_builds = 1;
        assert_eq!(names(vec![failing, busy, choice("idle", 100)], None), ["idle", "busy", "failing"]);
    }
}
