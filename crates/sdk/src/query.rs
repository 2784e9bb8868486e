//! Text as a path segment or a query can carry it.

/// Encodes what a path segment or a query cannot carry.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' | b',' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// `?a=b&c=d`, or nothing.
pub fn query(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_carry_any_text() {
        assert_eq!(query(&[]), "");
        assert_eq!(query(&[("name", "a b&c"), ("in_tree", "x")]), "?name=a%20b%26c&in_tree=x");
    }
}
