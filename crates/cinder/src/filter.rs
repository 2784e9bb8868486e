//! The values that lists filter by, as clients write them.

use kit::clock::Timestamp;
use kit::{Error, Result};
use sea_orm::{ColumnTrait, Condition};
use serde_json::Map;

/// `true`, `False`, `1` ...
pub fn flag(name: &str, value: &str) -> Result<bool> {
    let text = serde_json::Value::String(value.to_owned());
    crate::body::truth(&text).ok_or_else(|| Error::bad_request(format!("Invalid input received: '{name} = {value}'")))
}

/// `{"key": "value"}`, or the same as Python writes it.
pub fn pairs(name: &str, text: &str) -> Result<Vec<(String, String)>> {
    let read = |text: &str| serde_json::from_str::<Map<String, serde_json::Value>>(text).ok();
    let json = read(text).or_else(|| read(&unquoted(text)?));
    let json = json.ok_or_else(|| Error::bad_request(format!("Invalid filter {name}: {text}")))?;
    let text = |value: serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Ok(json.into_iter().map(|(key, value)| (key, text(value))).collect())
}

/// Python's `{'a': u'b'}` as JSON; nothing for what ends within a text.
fn unquoted(python: &str) -> Option<String> {
    let mut json = String::new();
    let mut signs = python.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            'u' if matches!(signs.peek(), Some('\'' | '"')) => {}
            '\'' | '"' => {
                let mut text = String::new();
                loop {
                    match signs.next()? {
                        '\\' => text.push(signs.next()?),
                        other if other == sign => break,
                        other => text.push(other),
                    }
                }
                json.push_str(&serde_json::Value::String(text).to_string());
            }
            other => json.push(other),
        }
    }
    Some(json)
}

/// `gt:2026-01-01,lte:2026-02-01`
pub fn times(column: impl ColumnTrait, text: &str) -> Result<Condition> {
    let mut all = Condition::all();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (operator, moment) = part.split_once(':').filter(|(op, _)| op.chars().all(char::is_alphabetic)).unwrap_or(("eq", part));
        let at = Timestamp::parse(moment).ok_or_else(|| Error::bad_request(format!("Invalid time filter: {text}")))?;
        all = all.add(match operator {
            "gt" => column.gt(at),
            "gte" => column.gte(at),
            "lt" => column.lt(at),
            "lte" => column.lte(at),
            "eq" => column.eq(at),
            "neq" => column.ne(at),
            _ => return Err(Error::bad_request(format!("Invalid time filter: {text}"))),
        });
    }
    Ok(all)
}

/// A condition that nothing meets.
pub fn nothing() -> Condition {
    use sea_orm::sea_query::{Expr, ExprTrait};
    Condition::all().add(Expr::value(1).eq(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_as_json_and_as_python_of_any_age() {
        for (text, value) in [
            (r#"{"a": "it's"}"#, "it's"),
            ("{'a': 'b'}", "b"),
            ("{u'a': u'b'}", "b"),
            (r#"{'a': "it's"}"#, "it's"),
            (r"{'a': 'it\'s'}", "it's"),
            (r#"{'a': 'say "b"'}"#, r#"say "b""#),
            ("{'a': 1}", "1"),
        ] {
            assert_eq!(pairs("metadata", text).unwrap(), [("a".to_owned(), value.to_owned())], "{text}");
        }
        for text in ["", "a", "[]", "{'a': 'b", "{'a'}"] {
            assert!(pairs("metadata", text).is_err(), "{text}");
        }
    }
}
