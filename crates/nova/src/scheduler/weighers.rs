//! Weighers: who is best? Each gives every host a number; the numbers are scaled to 0..1 and added up, so that no unit outweighs another.

use super::filters::{Choice, Group};

type Weigher = fn(&Choice, Option<&Group>) -> f64;

/// Weighers and how much they count.
const WEIGHERS: &[(Weigher, f64)] = &[
    (|choice, _| free(choice, "MEMORY_MB"), 1.0),
    (|choice, _| free(choice, "VCPU"), 1.0),
    (|choice, _| free(choice, "DISK_GB"), 1.0),
    (soft_group, 10.0),
];

/// Best first. Equal ones are in the order of `tie`, which the caller draws at random so that schedulers do not run after one host.
pub fn order(choices: &mut [Choice], group: Option<&Group>, tie: impl Fn(&Choice) -> u64) {
    let mut total = vec![0.0; choices.len()];
    for (weigher, counts) in WEIGHERS {
        let weights: Vec<f64> = choices.iter().map(|choice| weigher(choice, group)).collect();
        let (least, most) = weights.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), w| (lo.min(*w), hi.max(*w)));
        if most > least {
            total.iter_mut().zip(&weights).for_each(|(sum, weight)| *sum += counts * (weight - least) / (most - least));
        }
    }
    let rank: std::collections::HashMap<String, f64> = choices.iter().map(|c| c.host.host.clone()).zip(total).collect();
    let weight = |choice: &Choice| rank.get(&choice.host.host).copied().unwrap_or(0.0);
    choices.sort_by(|a, b| weight(b).total_cmp(&weight(a)).then_with(|| tie(a).cmp(&tie(b))));
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
    use super::super::filters::tests::choice;
    use super::*;

    fn names(choices: &[Choice]) -> Vec<&str> {
        choices.iter().map(|c| c.host.host.as_str()).collect()
    }

    #[test]
    fn the_emptiest_host_is_best() {
        let mut choices = vec![choice("small", 100), choice("large", 1000), choice("middle", 500)];
        order(&mut choices, None, |_| 0);
        assert_eq!(names(&choices), ["large", "middle", "small"]);
    }

    #[test]
    fn soft_groups_outweigh_room() {
        let group = |policy: &str| Group { policy: policy.into(), max_per_host: 1, members: [("small".to_owned(), 1)].into() };
        let mut choices = vec![choice("large", 1000), choice("small", 100)];
        order(&mut choices, Some(&group("soft-affinity")), |_| 0);
        assert_eq!(names(&choices), ["small", "large"]);
        order(&mut choices, Some(&group("soft-anti-affinity")), |_| 0);
        assert_eq!(names(&choices), ["large", "small"]);
    }
}
