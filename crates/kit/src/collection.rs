//! Filters, order and pages of lists, in SQL.
//!
//! A list asks for one row more than its limit to know whether there is a next page. Order always ends with a unique key, so that a
//! marker stands at one place and pages neither repeat nor miss a row.

use crate::{Error, Query, Result};

/// `limit`, `marker`, `sort_key`/`sort_dir` or `sort=key:dir,...` as a client sent them.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// What the client asked for, capped by the service's maximum.
    pub limit: u64,
    /// Whether the client named a limit; some APIs only link pages then.
    pub limited: bool,
    pub marker: Option<String>,
    pub offset: u64,
    /// Keys with `true` for ascending.
    pub sort: Vec<(String, bool)>,
}

impl Page {
    /// Reads the page of a query. `default_limit` applies when the client names none, `max` caps it; a negative or non-numeric limit is 400.
    pub fn parse(query: &Query, default_limit: u64, max: u64) -> Result<Page> {
        let number = |key: &str| match query.get(key) {
            None | Some("") => Ok(None),
            Some(text) => match text.parse::<i64>() {
                Ok(n) if n >= 0 => Ok(Some(n as u64)),
                Ok(_) => {
                    Err(Error::bad_request(format!("Invalid input for query parameters {key}. Value: {text}. {key} must be zero or more.")))
                }
                Err(_) => {
                    Err(Error::bad_request(format!("Invalid input for query parameters {key}. Value: {text}. '{text}' is not an integer.")))
                }
            },
        };
        let limit = number("limit")?;
        Ok(Page {
            limit: limit.unwrap_or(default_limit).min(max),
            limited: limit.is_some(),
            marker: query.get("marker").filter(|m| !m.is_empty()).map(str::to_owned),
            offset: number("offset")?.unwrap_or(0),
            sort: sort(query)?,
        })
    }

    /// The key of the first sort, when it is one of `known`; `Err` names one that is not.
    pub fn check_sort(&self, known: &[&str]) -> Result<()> {
        match self.sort.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            Some((key, _)) => Err(Error::bad_request(format!("Sort key {key} is not valid."))),
            None => Ok(()),
        }
    }
}

fn sort(query: &Query) -> Result<Vec<(String, bool)>> {
    let direction = |text: &str| match text.to_ascii_lowercase().as_str() {
        "asc" => Ok(true),
        "desc" => Ok(false),
        _ => Err(Error::bad_request(format!("Unknown sort direction '{text}', must be one of: asc, desc"))),
    };
    if let Some(sort) = query.get("sort") {
        return sort
            .split(',')
            .filter(|part| !part.is_empty())
            .map(|part| match part.split_once(':') {
                Some((key, dir)) => Ok((key.to_owned(), direction(dir)?)),
                None => Ok((part.to_owned(), false)),
            })
            .collect();
    }
    let directions: Vec<&str> = query.all("sort_dir").collect();
    let mut sort = Vec::new();
    for (index, key) in query.all("sort_key").enumerate() {
        let ascending = directions.get(index).or(directions.last()).map_or(Ok(false), |d| direction(d))?;
        sort.push((key.to_owned(), ascending));
    }
    Ok(sort)
}

/// Cuts the one row too many off a page; true when there was one, so that another page exists.
pub fn cut<T>(rows: &mut Vec<T>, limit: u64) -> bool {
    let more = rows.len() as u64 > limit;
    rows.truncate(limit as usize);
    more
}

/// The address of the next page: the same query with another marker.
pub fn next_href(base: &str, query: &Query, marker: &str) -> String {
    let rest = query.without(&["marker", "offset", "page_reverse"]);
    let marker = crate::call::percent_encode(marker);
    if rest.is_empty() { format!("{base}?marker={marker}") } else { format!("{base}?{rest}&marker={marker}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_ways_of_sorting() {
        let page = Page::parse(&Query::parse("sort_key=name&sort_dir=asc&sort_key=id&limit=5000&marker=m"), 50, 1000).unwrap();
        assert_eq!(page.sort, [("name".to_owned(), true), ("id".to_owned(), true)]);
        assert_eq!((page.limit, page.marker.as_deref(), page.limited), (1000, Some("m"), true));
        let page = Page::parse(&Query::parse("sort=name:asc,size"), 50, 1000).unwrap();
        assert_eq!(page.sort, [("name".to_owned(), true), ("size".to_owned(), false)]);
        assert!(Page::parse(&Query::parse("limit=-1"), 50, 1000).is_err());
        assert!(Page::parse(&Query::parse("sort_key=a&sort_dir=up"), 50, 1000).is_err());
    }
}
