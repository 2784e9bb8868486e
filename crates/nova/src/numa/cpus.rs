//! Whose the host's processors are that a server gets: what flavor and image say of it, and where they may not say different things.

use kit::Result;
use rpc::compute::Flavor;
use rpc::numa::{CpuPolicy, CpuSet, EmulatorPolicy, ThreadPolicy, parse_cpus};

use super::{HYPERTHREADING, Words, both, refused};

const FLAVOR: &str = "flavor extra specs";
const IMAGE: &str = "image properties";

/// What is asked for.
pub struct Asked {
    pub policy: CpuPolicy,
    /// The guest's numbers of the processors that it shares with nobody.
    pub dedicated: CpuSet,
    pub threads: Option<ThreadPolicy>,
    pub emulator: Option<EmulatorPolicy>,
}

/// What flavor and image ask for together.
pub fn asked(flavor: &Flavor, image: &Words) -> Result<Asked> {
    let specs = &flavor.extra_specs;
    let (named_policy, mut threads, emulator) = (policy(specs, image)?, threads(specs, image)?, emulator(specs)?);
    let policy = with_named(flavor, named_policy, emulator)?;
    if let Some(word) = hyperthreading(specs, image) {
        if threads.is_some() {
            return Err(refused(
                "It is not possible to use the 'trait:HW_CPU_HYPERTHREADING' extra spec in combination with the 'hw:cpu_thread_policy' extra spec or \
                 'hw_cpu_thread_policy' image metadata property; use one or the other",
            ));
        }
        threads = match word {
            "forbidden" => Some(ThreadPolicy::Isolate),
            "required" => Some(ThreadPolicy::Require),
            _ => None,
        };
    }
    let mask = mask(flavor)?;
    if policy == CpuPolicy::Shared {
        if threads.is_some() {
            return Err(refused("Cannot set cpu thread pinning policy in a non dedicated cpu pinning policy"));
        }
        if emulator == Some(EmulatorPolicy::Isolate) {
            return Err(refused("An isolated CPU emulator threads option requires a dedicated CPU policy option."));
        }
    }
    let dedicated = match (policy, mask) {
        (CpuPolicy::Mixed, Some(mask)) => mask,
        (CpuPolicy::Mixed, None) => {
            return Err(refused(
                "Dedicated CPU set can be specified from either 'hw:cpu_dedicated_mask' or 'hw:cpu_realtime_mask' when using 'mixed' CPU policy. \
                 'hw:cpu_dedicated_mask' and 'hw:cpu_realtime_mask' can not be specified at the same time, or be specified with none of them.",
            ));
        }
        (_, Some(_)) => return Err(refused("Cannot specify 'hw:cpu_dedicated_mask' without the 'mixed' policy.")),
        (CpuPolicy::Dedicated, None) => (0..flavor.vcpus).collect(),
        (CpuPolicy::Shared, None) => CpuSet::new(),
    };
    Ok(Asked { policy, dedicated, threads, emulator })
}

fn policy(flavor: &Words, image: &Words) -> Result<Option<CpuPolicy>> {
    let (of_flavor, of_image) = both(flavor, image, "cpu_policy");
    let read = |source: &str, word: &str| match word {
        "dedicated" => Ok(CpuPolicy::Dedicated),
        "shared" => Ok(CpuPolicy::Shared),
        "mixed" => Ok(CpuPolicy::Mixed),
        _ => Err(refused(format!(
            "CPU policy requested from '{source}' is invalid, given: '{word}', available: '('dedicated', 'shared', 'mixed')'."
        ))),
    };
    let of_flavor = of_flavor.map(|word| read(FLAVOR, word)).transpose()?;
    let of_image = of_image.map(|word| read(IMAGE, word)).transpose()?;
    match (of_flavor, of_image) {
        (Some(CpuPolicy::Mixed), Some(CpuPolicy::Dedicated)) | (Some(CpuPolicy::Shared), Some(CpuPolicy::Mixed | CpuPolicy::Dedicated)) => {
            Err(refused("Image property 'hw_cpu_policy' is not permitted to override CPU pinning policy set against the flavor"))
        }
        (of_flavor, of_image) => Ok(of_flavor.or(of_image)),
    }
}

/// The thread policy by its own name, not by a trait.
pub fn threads(flavor: &Words, image: &Words) -> Result<Option<ThreadPolicy>> {
    let (of_flavor, of_image) = both(flavor, image, "cpu_thread_policy");
    let read = |source: &str, word: &str| match word {
        "prefer" => Ok(ThreadPolicy::Prefer),
        "isolate" => Ok(ThreadPolicy::Isolate),
        "require" => Ok(ThreadPolicy::Require),
        _ => Err(refused(format!(
            "CPU thread policy requested from '{source}' is invalid, given: '{word}', available: '('prefer', 'isolate', 'require')'."
        ))),
    };
    let of_flavor = of_flavor.map(|word| read(FLAVOR, word)).transpose()?;
    let of_image = of_image.map(|word| read(IMAGE, word)).transpose()?;
    match (of_flavor, of_image) {
        (None | Some(ThreadPolicy::Prefer), of_image) => Ok(of_image.or(of_flavor)),
        (Some(of_flavor), Some(of_image)) if of_flavor != of_image => Err(refused(
            "Image property 'hw_cpu_thread_policy' is not permitted to override CPU thread pinning policy set against the flavor",
        )),
        (of_flavor, _) => Ok(of_flavor),
    }
}

fn emulator(flavor: &Words) -> Result<Option<EmulatorPolicy>> {
    match flavor.get("hw:emulator_threads_policy").map(String::as_str) {
        None | Some("") => Ok(None),
        Some("share") => Ok(Some(EmulatorPolicy::Share)),
        Some("isolate") => Ok(Some(EmulatorPolicy::Isolate)),
        Some(word) => {
            Err(refused(format!("CPU emulator threads option requested is invalid, given: '{word}', available: '('share', 'isolate')'.")))
        }
    }
}

/// The classes VCPU and PCPU as the flavor names them itself.
pub fn named(flavor: &Flavor) -> (i64, i64) {
    let sum = |class: &str| {
        let amounts = flavor.extra_specs.iter().filter_map(|(key, value)| {
            let (group, name) = key.strip_prefix("resources")?.split_once(':')?;
            let numbered = group.is_empty() || (group.bytes().all(|b| b.is_ascii_digit()) && !group.starts_with('0'));
            (numbered && name == class).then_some(value.trim().parse::<i64>().ok()?)
        });
        amounts.fold(0, i64::saturating_add)
    };
    (sum("VCPU"), sum("PCPU"))
}

/// The policy that is named, or the one that naming classes comes to.
fn with_named(flavor: &Flavor, policy: Option<CpuPolicy>, emulator: Option<EmulatorPolicy>) -> Result<CpuPolicy> {
    let (shared, dedicated) = named(flavor);
    if (shared, dedicated) == (0, 0) {
        return Ok(policy.unwrap_or_default());
    }
    if policy.is_some() {
        return Err(refused(
            "It is not possible to use the 'resources:VCPU' or 'resources:PCPU' extra specs in combination with the 'hw:cpu_policy' extra spec or \
             'hw_cpu_policy' image metadata property; use one or the other",
        ));
    }
    if shared != 0 && dedicated != 0 {
        return Err(refused("It is not possible to specify both 'resources:VCPU' and 'resources:PCPU' extra specs; use one or the other"));
    }
    if dedicated == 0 {
        return Ok(CpuPolicy::Shared);
    }
    let isolates = emulator == Some(EmulatorPolicy::Isolate);
    match dedicated == i64::from(flavor.vcpus) + i64::from(isolates) {
        true => Ok(CpuPolicy::Dedicated),
        false if isolates => Err(refused(
            "You have requested 'hw:emulator_threads_policy=isolate' but have not requested sufficient PCPUs to handle this policy; you must allocate \
             exactly flavor.vcpus + 1 PCPUs.",
        )),
        false => Err(refused(
            "There is a mismatch between the number of PCPUs requested via 'resourcesNN:PCPU' and the flavor); you must allocate exactly flavor.vcpus \
             PCPUs",
        )),
    }
}

/// Whether the trait of hosts with threads is required or forbidden by its own name.
fn hyperthreading<'a>(flavor: &'a Words, image: &'a Words) -> Option<&'a str> {
    let of_flavor = flavor.iter().find_map(|(key, value)| {
        let (group, name) = key.strip_prefix("trait")?.split_once(':')?;
        (group.bytes().all(|b| b.is_ascii_digit()) && name == HYPERTHREADING).then_some(value.as_str())
    });
    of_flavor.or_else(|| image.get(&format!("trait:{HYPERTHREADING}")).map(String::as_str))
}

/// The processors of a mixed guest that are its own: at least one, and not all.
fn mask(flavor: &Flavor) -> Result<Option<CpuSet>> {
    let Some(text) = flavor.extra_specs.get("hw:cpu_dedicated_mask").map(|text| text.trim()).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let whole = if text.starts_with('^') { format!("0-{},{text}", flavor.vcpus.saturating_sub(1)) } else { text.to_owned() };
    let mask = parse_cpus(&whole).map_err(refused)?;
    let all: CpuSet = (0..flavor.vcpus).collect();
    if mask.is_empty() || all.is_subset(&mask) {
        return Err(refused("Mixed instance must have at least 1 pinned vCPU and 1 unpinned vCPU. See 'hw:cpu_dedicated_mask'."));
    }
    if !mask.is_subset(&all) {
        return Err(refused("Mixed instance dedicated vCPU(s) mask is not a subset of vCPUs in the flavor. See \"hw:cpu_dedicated_mask\""));
    }
    Ok(Some(mask))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::tests::a_flavor;

    fn of(specs: &[(&str, &str)], image: &[(&str, &str)]) -> std::result::Result<Asked, String> {
        let words = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let flavor = Flavor { vcpus: 4, extra_specs: words(specs), ..a_flavor(1024, 1) };
        asked(&flavor, &words(image)).map_err(|error| error.message)
    }

    #[test]
    fn flavor_and_image_agree_on_one_policy() {
        let policy = |specs: &[(&str, &str)], image: &[(&str, &str)]| {
            let asked = of(specs, image).unwrap();
            (asked.policy, asked.dedicated.len(), asked.threads)
        };
        assert_eq!(policy(&[], &[("hw_cpu_policy", "dedicated")]), (CpuPolicy::Dedicated, 4, None));
        assert_eq!(policy(&[("hw:cpu_policy", "dedicated")], &[("hw_cpu_policy", "shared")]), (CpuPolicy::Dedicated, 4, None));
        let mixed = [("hw:cpu_policy", "mixed"), ("hw:cpu_dedicated_mask", "2-3")];
        assert_eq!(policy(&mixed, &[("hw_cpu_policy", "shared")]), (CpuPolicy::Mixed, 2, None));
        let prefer = [("hw:cpu_policy", "dedicated"), ("hw:cpu_thread_policy", "prefer")];
        assert_eq!(policy(&prefer, &[("hw_cpu_thread_policy", "require")]).2, Some(ThreadPolicy::Require));
        assert_eq!(policy(&[("resources:PCPU", "4"), ("trait:HW_CPU_HYPERTHREADING", "forbidden")], &[]).2, Some(ThreadPolicy::Isolate));
        assert_eq!(policy(&[("resources:PCPU", "5"), ("hw:emulator_threads_policy", "isolate")], &[]).1, 4);
    }

    #[test]
    fn what_contradicts_itself_is_refused_in_novas_words() {
        let dedicated = ("hw:cpu_policy", "dedicated");
        for (specs, image, words) in [
            (
                &[("hw:cpu_policy", "own")][..],
                &[][..],
                "CPU policy requested from 'flavor extra specs' is invalid, given: 'own', available: '('dedicated', 'shared', 'mixed')'.",
            ),
            (&[], &[("hw_cpu_thread_policy", "x")], "CPU thread policy requested from 'image properties' is invalid"),
            (
                &[("hw:cpu_policy", "shared")],
                &[("hw_cpu_policy", "dedicated")],
                "Image property 'hw_cpu_policy' is not permitted to override CPU pinning policy set against the flavor",
            ),
            (
                &[dedicated, ("hw:cpu_thread_policy", "isolate")],
                &[("hw_cpu_thread_policy", "require")],
                "Image property 'hw_cpu_thread_policy' is not permitted to override",
            ),
            (&[("hw:cpu_thread_policy", "prefer")], &[], "Cannot set cpu thread pinning policy in a non dedicated cpu pinning policy"),
            (
                &[("hw:emulator_threads_policy", "isolate")],
                &[],
                "An isolated CPU emulator threads option requires a dedicated CPU policy option.",
            ),
            (&[("hw:emulator_threads_policy", "x")], &[], "CPU emulator threads option requested is invalid"),
            (&[dedicated, ("resources:PCPU", "4")], &[], "It is not possible to use the 'resources:VCPU' or 'resources:PCPU'"),
            (&[("resources:PCPU", "4"), ("resources:VCPU", "4")], &[], "It is not possible to specify both"),
            (&[("resources:PCPU", "3")], &[], "There is a mismatch between the number of PCPUs requested"),
            (
                &[("resources:PCPU", "4"), ("hw:emulator_threads_policy", "isolate")],
                &[],
                "You have requested 'hw:emulator_threads_policy=isolate' but",
            ),
            (
                &[dedicated, ("hw:cpu_thread_policy", "prefer"), ("trait:HW_CPU_HYPERTHREADING", "required")],
                &[],
                "It is not possible to use the 'trait:HW_CPU_HYPERTHREADING' extra spec",
            ),
            (&[("hw:cpu_policy", "mixed")], &[], "Dedicated CPU set can be specified from either"),
            (&[dedicated, ("hw:cpu_dedicated_mask", "0")], &[], "Cannot specify 'hw:cpu_dedicated_mask' without the 'mixed' policy."),
            (&[("hw:cpu_policy", "mixed"), ("hw:cpu_dedicated_mask", "0-3")], &[], "Mixed instance must have at least 1 pinned vCPU"),
            (&[("hw:cpu_policy", "mixed"), ("hw:cpu_dedicated_mask", "0,7")], &[], "Mixed instance dedicated vCPU(s) mask is not a subset"),
        ] {
            let said = of(specs, image).err().unwrap_or_default();
            assert!(said.starts_with(words), "{specs:?} {image:?}: {said}");
        }
    }
}
