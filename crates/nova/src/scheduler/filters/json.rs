//! The hint `query`: an expression over a host's state, as `["and", [">=", "$free_ram_mb", 1024], ["=", "$host", "h1"]]`.

use serde_json::Value;

use super::{Choice, Request};

/// Expressions inside expressions, at most.
const DEPTH: usize = 32;

/// Whether the host fulfils the query, if there is one; one that makes no sense is fulfilled by nobody.
pub fn query(choice: &Choice, request: &Request) -> bool {
    match &request.query {
        None => true,
        Some(query) => evaluate(query, choice, DEPTH).is_some_and(|outcome| holds(&outcome)),
    }
}

fn evaluate(query: &Value, choice: &Choice, depth: usize) -> Option<Value> {
    let Value::Array(parts) = query else { return Some(query.clone()) };
    let Some((operator, operands)) = parts.split_first() else { return Some(Value::Bool(true)) };
    let depth = depth.checked_sub(1)?;
    let mut arguments = Vec::with_capacity(operands.len());
    for operand in operands {
        match operand {
            Value::Array(_) => arguments.push(evaluate(operand, choice, depth)?),
            // what a host does not have is no argument
            Value::String(name) if name.starts_with('$') => arguments.extend(variable(name.trim_start_matches('$'), choice)),
            other => arguments.push(other.clone()),
        }
    }
    let outcome = match operator.as_str()? {
        "not" => return Some(arguments.iter().map(|argument| Value::Bool(!holds(argument))).collect()),
        "and" => arguments.iter().all(holds),
        "or" => arguments.iter().any(holds),
        "in" => compare(&arguments, |first, rest| rest.contains(first)),
        operator => {
            let fits: fn(std::cmp::Ordering) -> bool = match operator {
                "=" => std::cmp::Ordering::is_eq,
                "<" => std::cmp::Ordering::is_lt,
                ">" => std::cmp::Ordering::is_gt,
                "<=" => std::cmp::Ordering::is_le,
                ">=" => std::cmp::Ordering::is_ge,
                _ => return None,
            };
            compare(&arguments, |first, rest| rest.iter().all(|other| order(first, other).is_some_and(fits)))
        }
    };
    Some(Value::Bool(outcome))
}

/// The first argument against all others, of which there must be some.
fn compare(arguments: &[Value], outcome: impl Fn(&Value, &[Value]) -> bool) -> bool {
    arguments.split_first().is_some_and(|(first, rest)| !rest.is_empty() && outcome(first, rest))
}

fn order(a: &Value, b: &Value) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

/// As Python sees it; of several, whether any holds.
fn holds(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => values.iter().any(holds),
        Value::Object(object) => !object.is_empty(),
    }
}

/// A host's state by nova's names.
fn variable(name: &str, choice: &Choice) -> Option<Value> {
    let (host, inventory) = (&choice.host, &choice.host.inventory);
    let free = |class: &str| choice.candidate.free.get(class).copied();
    Some(match name {
        "host" => host.host.as_str().into(),
        "hypervisor_hostname" | "nodename" => host.node.as_str().into(),
        "hypervisor_type" => inventory.hypervisor_type.as_str().into(),
        "hypervisor_version" => inventory.hypervisor_version.into(),
        "host_ip" => inventory.host_ip.as_str().into(),
        "free_ram_mb" => free("MEMORY_MB")?.into(),
        "free_disk_mb" => (free("DISK_GB")? * 1024).into(),
        "total_usable_ram_mb" => inventory.memory_mb.into(),
        "total_usable_disk_gb" => inventory.local_gb.into(),
        "vcpus_total" => inventory.vcpus.into(),
        "num_io_ops" => host.busy.into(),
        "num_instances" => host.servers.into(),
        "failed_builds" => host.failed_builds.into(),
        _ => name.strip_prefix("cpu_info.").and_then(|key| host.cpu.get(key))?.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::choice;
    use super::*;

    #[test]
    fn queries_are_novas() {
        for (expression, expected) in [
            (json!([">=", "$free_ram_mb", 1024]), true),
            (json!(["<", "$free_ram_mb", 1024]), false),
            (json!(["and", [">=", "$free_ram_mb", 1024], [">=", "$free_disk_mb", 200 * 1024]]), false),
            (json!(["or", ["=", "$host", "b"], ["=", "$hypervisor_hostname", "a.local"]]), true),
            (json!(["in", "$host", "b", "a"]), true),
            (json!(["not", ["=", "$host", "a"]]), false),
            (json!(["not", ["=", "$host", "b"]]), true),
            (json!(["=", "$cpu_info.arch", "x86_64"]), true),
            (json!(["=", "$unknown", 1]), false),
            (json!(["like", "$host", "a"]), false),
            (json!([]), true),
        ] {
            let request = Request { query: Some(expression.clone()), ..Request::default() };
            assert_eq!(query(&choice("a", 2048), &request), expected, "{expression}");
        }
        assert!(query(&choice("a", 1), &Request::default()));
    }
}
