//! Sets of CPUs as operators and users write them: `0-3,^2,8`.

use super::CpuSet;

/// CPUs are numbered below this; who names others means none that there are.
pub const MOST_CPUS: u32 = 8192;

/// Reads numbers, ranges, and what is excepted from them. The error is nova's sentence.
pub fn parse_cpus(text: &str) -> Result<CpuSet, String> {
    let (mut named, mut excepted) = (CpuSet::new(), CpuSet::new());
    for rule in text.split(',').map(str::trim).filter(|rule| !rule.is_empty()) {
        let (set, range) = match rule.strip_prefix('^') {
            Some(range) => (&mut excepted, range),
            None => (&mut named, rule),
        };
        let number = |text: &str| text.trim().parse::<u32>().ok().filter(|number| *number < MOST_CPUS);
        match range.split_once('-') {
            Some((first, last)) => {
                let ends = number(first).zip(number(last)).filter(|(first, last)| first <= last);
                let (first, last) = ends.ok_or_else(|| format!("Invalid range expression '{rule}'"))?;
                set.extend(first..=last);
            }
            None => {
                let kind = if rule.starts_with('^') { "exclusion" } else { "inclusion" };
                set.insert(number(range).ok_or_else(|| format!("Invalid {kind} expression '{rule}'"))?);
            }
        }
    }
    Ok(named.difference(&excepted).copied().collect())
}

/// `0-3,8`
pub fn format_cpus(cpus: &CpuSet) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for cpu in cpus {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *cpu => *last = *cpu,
            _ => ranges.push((*cpu, *cpu)),
        }
    }
    let words = ranges.into_iter().map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") });
    words.collect::<Vec<_>>().join(",")
}

/// As text on the wire: a host of many CPUs says it often.
pub mod text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::CpuSet;

    pub fn serialize<S: Serializer>(cpus: &CpuSet, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format_cpus(cpus))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CpuSet, D::Error> {
        super::parse_cpus(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A size of pages in KiB, as it is written: a number of them, or with a unit, `2MB`, `1GiB`.
pub fn page_kb(text: &str) -> Option<u64> {
    if let Ok(kb) = text.parse() {
        return Some(kb).filter(|kb| *kb > 0);
    }
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(end)?;
    let (unit, bits) = match unit.strip_suffix("bit").or_else(|| unit.strip_suffix('b')) {
        Some(unit) => (unit, 8),
        None => (unit.strip_suffix('B')?, 1),
    };
    let power = match unit.strip_suffix('i').unwrap_or(unit) {
        "" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return None,
    };
    let bytes = number.parse::<u64>().ok()?.checked_mul(1024_u64.pow(power))? / bits;
    Some(bytes / 1024).filter(|kb| *kb > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_pages_have_units_or_are_kib() {
        for (text, kb) in [("2048", 2048), ("2MB", 2048), ("1GiB", 1 << 20), ("16Mbit", 2048), ("4096B", 4), ("16777216b", 2048)] {
            assert_eq!(page_kb(text), Some(kb), "{text}");
        }
        for text in ["", "0", "2M", "MB", "x2MB", "-4", "99999999999999999TB", "1B"] {
            assert_eq!(page_kb(text), None, "{text}");
        }
    }

    #[test]
    fn sets_are_read_and_written() {
        for (text, cpus) in [("", vec![]), ("0-3,^2, 8,", vec![0, 1, 3, 8]), ("^1-2,0-4", vec![0, 3, 4]), ("5,5", vec![5])] {
            assert_eq!(parse_cpus(text), Ok(CpuSet::from_iter(cpus)), "{text}");
        }
        for (text, why) in [
            ("3-1", "Invalid range expression '3-1'"),
            ("a", "Invalid inclusion expression 'a'"),
            ("^b", "Invalid exclusion expression '^b'"),
            ("0-4000000000", "Invalid range expression '0-4000000000'"),
            ("8192", "Invalid inclusion expression '8192'"),
        ] {
            assert_eq!(parse_cpus(text), Err(why.into()), "{text}");
        }
        assert_eq!(format_cpus(&CpuSet::from([0, 1, 2, 5, 7, 8])), "0-2,5,7-8");
        assert_eq!(format_cpus(&CpuSet::new()), "");
    }
}
