//! How a guest's processors are arranged: as nova chooses, the fewest threads first, then the most sockets, as near to what is preferred as the
//! limits allow.

use kit::{Error, Result};

use super::Asked;

/// How processors are arranged; all are sockets when nobody says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    pub cores: Option<u32>,
    pub threads: Option<u32>,
}

/// Of sockets, cores and threads.
struct Constraint {
    preferred: Option<u32>,
    most: Option<u32>,
}

pub(super) fn topology(asked: &Asked, vcpus: u32) -> Result<Topology> {
    let constraints = [constraint(asked, "sockets")?, constraint(asked, "cores")?, constraint(asked, "threads")?];
    if constraints.iter().all(|constraint| constraint.preferred.is_none() && constraint.most.is_none()) {
        return Ok(Topology::default());
    }
    let [sockets, cores, threads] = constraints.each_ref().map(|constraint| constraint.most.unwrap_or(vcpus).min(vcpus));
    let mut possible = Vec::new();
    for c in (1..=cores).filter(|c| vcpus.is_multiple_of(*c)) {
        for t in (1..=threads).filter(|t| vcpus.is_multiple_of(c * t) && vcpus / (c * t) <= sockets) {
            possible.push([vcpus / (c * t), c, t]);
        }
    }
    let matches = |arranged: &[u32; 3]| constraints.iter().zip(arranged).filter(|(wanted, is)| wanted.preferred == Some(**is)).count();
    let best = possible.into_iter().max_by_key(|arranged| (matches(arranged), arranged[0] * arranged[1], arranged[0]));
    let [_, cores, threads] = best.ok_or_else(|| {
        Error::bad_request(format!("Requested vCPU limits {sockets}:{cores}:{threads} are impossible to satisfy for vcpus count {vcpus}"))
    })?;
    Ok(Topology { cores: Some(cores), threads: Some(threads) })
}

fn constraint(asked: &Asked, of: &str) -> Result<Constraint> {
    let preferred = asked.number(&format!("hw:cpu_{of}"), &format!("hw_cpu_{of}"))?;
    let (spec, property) = (format!("hw:cpu_max_{of}"), format!("hw_cpu_max_{of}"));
    let (flavor, image) = (asked.number_of_flavor(&spec)?, asked.number_of_image(&property)?);
    if let (Some(flavor), Some(image)) = (flavor, image)
        && image > flavor
    {
        return Err(Error::bad_request(format!("Image vCPU limits {property} {image} exceed those of the flavor, {flavor}")));
    }
    let most = image.or(flavor);
    match (preferred, most) {
        (Some(preferred), Some(most)) if preferred > most => {
            Err(Error::bad_request(format!("Image vCPU topology {of} {preferred} exceeds its limit of {most}")))
        }
        _ => Ok(Constraint { preferred, most }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Hardware;
    use super::super::tests::words;
    use super::*;

    fn of(image: &[(&str, &str)], flavor: &[(&str, &str)]) -> Result<Topology> {
        Hardware::of(&words(image), &words(flavor), 4).map(|hardware| hardware.topology)
    }

    fn arranged(cores: u32, threads: u32) -> Topology {
        Topology { cores: Some(cores), threads: Some(threads) }
    }

    #[test]
    fn processors_are_arranged_as_near_to_what_is_preferred_as_can_be() {
        assert_eq!(of(&[], &[]).unwrap(), Topology::default());
        assert_eq!(of(&[("hw_cpu_sockets", "1")], &[]).unwrap(), arranged(4, 1));
        assert_eq!(of(&[("hw_cpu_cores", "2"), ("hw_cpu_threads", "2")], &[]).unwrap(), arranged(2, 2));
        assert_eq!(of(&[("hw_cpu_sockets", "3")], &[]).unwrap(), arranged(1, 1));
        assert!(of(&[("hw_cpu_cores", "0")], &[]).is_err());
    }

    #[test]
    fn limits_are_kept() {
        assert_eq!(of(&[("hw_cpu_max_sockets", "2")], &[]).unwrap(), arranged(2, 1));
        assert_eq!(of(&[], &[("hw:cpu_max_sockets", "1"), ("hw:cpu_max_cores", "2")]).unwrap(), arranged(2, 2));
        let all = [("hw:cpu_max_sockets", "1"), ("hw:cpu_max_cores", "1"), ("hw:cpu_max_threads", "1")];
        let error = of(&[], &all).unwrap_err();
        assert_eq!(error.message, "Requested vCPU limits 1:1:1 are impossible to satisfy for vcpus count 4");
        assert!(of(&[("hw_cpu_max_cores", "4")], &[("hw:cpu_max_cores", "2")]).is_err());
        assert!(of(&[("hw_cpu_cores", "4"), ("hw_cpu_max_cores", "2")], &[]).is_err());
    }
}
