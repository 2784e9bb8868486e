//! Filters by what a host's aggregates say: whom they are for, and how much may happen on their hosts.

use super::machine::matches_spec;
use super::{Choice, Request};
use crate::scheduler::hosts::Host;

/// The values that a host's aggregates have for a key; a value may be several between commas.
fn values<'h>(host: &'h Host, key: &'h str) -> impl Iterator<Item = &'h str> {
    let all = host.aggregates.iter().filter_map(move |metadata| metadata.get(key));
    all.flat_map(|value| value.split(',')).map(str::trim)
}

/// The tightest limit: of the aggregates, or else the operator's.
fn least(host: &Host, key: &str, otherwise: Option<usize>) -> Option<usize> {
    values(host, key).filter_map(|value| value.parse().ok()).min().or(otherwise)
}

/// `aggregate_instance_extra_specs:KEY` of the flavor: an aggregate of the host must fulfil it.
pub fn extra_specs(choice: &Choice, request: &Request) -> bool {
    let mut scoped =
        request.extra_specs.iter().filter_map(|(key, wanted)| Some((key.strip_prefix("aggregate_instance_extra_specs:")?, wanted)));
    scoped.all(|(key, wanted)| values(&choice.host, key).any(|have| matches_spec(have, wanted)))
}

/// An aggregate may say what a property of images must be, if an image has it.
pub fn image_properties(choice: &Choice, request: &Request) -> bool {
    request.image_properties.iter().all(|(key, wanted)| {
        let mut have = values(&choice.host, key).peekable();
        have.peek().is_none() || have.any(|value| value == wanted)
    })
}

/// `filter_tenant_id`: the host is for these projects only.
pub fn multi_tenancy(choice: &Choice, request: &Request) -> bool {
    // clouds with many projects need more than one value, which nova tells apart by suffixes
    let keyed = |key: &str| key == "filter_tenant_id" || key.strip_prefix("filter_tenant_id").is_some_and(|n| n.parse::<u32>().is_ok());
    let named = choice.host.aggregates.iter().flat_map(|metadata| metadata.iter()).filter(|(key, _)| keyed(key));
    let mut projects = named.flat_map(|(_, value)| value.split(',')).map(str::trim).peekable();
    projects.peek().is_none() || projects.any(|project| project == request.project_id)
}

/// `instance_type`: the host is for these flavors only.
pub fn type_affinity(choice: &Choice, request: &Request) -> bool {
    let mut flavors = values(&choice.host, "instance_type").peekable();
    flavors.peek().is_none() || flavors.any(|flavor| flavor == request.flavor)
}

/// `max_instances_per_host`
pub fn num_instances(choice: &Choice, request: &Request) -> bool {
    least(&choice.host, "max_instances_per_host", request.max_instances_per_host).is_none_or(|most| choice.host.servers < most)
}

/// `max_io_ops_per_host`
pub fn io_ops(choice: &Choice, request: &Request) -> bool {
    least(&choice.host, "max_io_ops_per_host", request.max_io_ops_per_host).is_none_or(|most| choice.host.busy < most)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::choice;
    use super::*;

    /// A host in one aggregate.
    fn within(metadata: &[(&str, &str)]) -> Choice {
        let mut choice = choice("a", 1);
        let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Arc::make_mut(&mut choice.host).aggregates = vec![Arc::new(metadata)];
        choice
    }

    fn specs(key: &str, value: &str) -> Request {
        Request { extra_specs: [(key.to_owned(), value.to_owned())].into(), ..Request::default() }
    }

    #[test]
    fn flavors_ask_for_aggregates() {
        let ssd = specs("aggregate_instance_extra_specs:ssd", "true");
        assert!(extra_specs(&within(&[("ssd", "true")]), &ssd) && !extra_specs(&within(&[]), &ssd));
        assert!(!extra_specs(&within(&[("ssd", "false")]), &ssd) && extra_specs(&within(&[("ssd", "false, true")]), &ssd));
        assert!(extra_specs(&within(&[("gen", "5")]), &specs("aggregate_instance_extra_specs:gen", ">= 4")));
        assert!(extra_specs(&within(&[]), &specs("hw:cpu_cores", "2")), "what has another scope is not for aggregates");
    }

    #[test]
    fn aggregates_are_for_projects_flavors_and_images() {
        let request = Request { project_id: "p".into(), flavor: "m1".into(), ..Request::default() };
        assert!(multi_tenancy(&within(&[("filter_tenant_id", "q, p")]), &request) && multi_tenancy(&within(&[]), &request));
        assert!(!multi_tenancy(&within(&[("filter_tenant_id", "q")]), &request));
        assert!(multi_tenancy(&within(&[("filter_tenant_id", "q"), ("filter_tenant_id2", "p")]), &request));
        assert!(
            type_affinity(&within(&[("instance_type", "m1,m2")]), &request)
                && !type_affinity(&within(&[("instance_type", "m2")]), &request)
        );
        let windows = Request { image_properties: [("os_type".into(), "windows".into())].into(), ..Request::default() };
        assert!(
            !image_properties(&within(&[("os_type", "linux")]), &windows) && image_properties(&within(&[("os_type", "linux")]), &request)
        );
    }

    #[test]
    fn aggregates_limit_what_happens_on_a_host() {
        let (mut full, request) = (within(&[("max_instances_per_host", "2"), ("max_io_ops_per_host", "1")]), Request::default());
        let host = Arc::make_mut(&mut full.host);
        (host.servers, host.busy) = (2, 0);
        assert!(!num_instances(&full, &request) && io_ops(&full, &request));
        let mut busy = choice("b", 1);
        Arc::make_mut(&mut busy.host).busy = 8;
        assert!(io_ops(&busy, &request) && !io_ops(&busy, &Request { max_io_ops_per_host: Some(8), ..Request::default() }));
    }
}
