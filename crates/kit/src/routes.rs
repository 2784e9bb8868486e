//! The route table: the index of an API.
//!
//! One row per operation: method, path, policy rule, handler, versions. It drives dispatch, the 404 and 405 answers, policy and the
//! coverage report.

use std::collections::HashSet;

use http::Method;

use crate::call::{Boxed, Handler};
use crate::microversion::Microversion;
use crate::service::FaultContext;
use crate::{Error, Kind, Reply, Result};

/// Bytes a JSON body may have unless its row says otherwise.
const BODY_LIMIT: usize = 1 << 20;

/// One operation.
pub struct Route<S> {
    pub method: Method,
    pub path: &'static str,
    /// The policy rule; see [`crate::policy::PUBLIC`] and [`crate::policy::ANY`].
    pub rule: &'static str,
    pub since: Microversion,
    pub until: Microversion,
    pub limit: usize,
    /// The handler checks the rule, as it alone knows to whom the thing belongs.
    pub deferred: bool,
    /// See [`Routes::kept_by`].
    pub kept: Option<&'static [&'static str]>,
    /// See [`Routes::apart`].
    pub apart: bool,
    /// The handler looks at the query.
    pub(crate) queried: bool,
    pub(crate) handler: Boxed<S>,
}

/// All operations of an API, built row by row.
pub struct Routes<S> {
    rows: Vec<Route<S>>,
    exact: bool,
    headless: bool,
    bare_since: Option<Microversion>,
    nowhere: Option<fn() -> Reply>,
    unmounted: Option<Unmounted>,
}

/// What is answered to paths that begin with no mount.
pub(crate) type Unmounted = fn(&FaultContext<'_>) -> Reply;

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Routes { rows: Vec::new(), exact: false, headless: false, bare_since: None, nowhere: None, unmounted: None }
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    pub fn new() -> Self {
        Routes::default()
    }

    pub fn get<Args>(self, path: &'static str, rule: &'static str, handler: impl Handler<S, Args>) -> Self {
        self.row(Method::GET, path, rule, handler)
    }

    pub fn post<Args>(self, path: &'static str, rule: &'static str, handler: impl Handler<S, Args>) -> Self {
        self.row(Method::POST, path, rule, handler)
    }

    pub fn put<Args>(self, path: &'static str, rule: &'static str, handler: impl Handler<S, Args>) -> Self {
        self.row(Method::PUT, path, rule, handler)
    }

    pub fn patch<Args>(self, path: &'static str, rule: &'static str, handler: impl Handler<S, Args>) -> Self {
        self.row(Method::PATCH, path, rule, handler)
    }

    pub fn delete<Args>(self, path: &'static str, rule: &'static str, handler: impl Handler<S, Args>) -> Self {
        self.row(Method::DELETE, path, rule, handler)
    }

    /// HEAD, where it is not simply GET without the body (that needs no row).
    pub fn head<Args>(self, path: &'static str, rule: &'static str, handler: impl Handler<S, Args>) -> Self {
        self.row(Method::HEAD, path, rule, handler)
    }

    /// The last row begins at this version.
    pub fn since(mut self, major: u16, minor: u16) -> Self {
        if let Some(row) = self.rows.last_mut() {
            row.since = Microversion(major, minor);
        }
        self
    }

    /// The last row ends with this version.
    pub fn until(mut self, major: u16, minor: u16) -> Self {
        if let Some(row) = self.rows.last_mut() {
            row.until = Microversion(major, minor);
        }
        self
    }

    /// Bytes the last row's JSON body may have.
    pub fn limit(mut self, bytes: usize) -> Self {
        if let Some(row) = self.rows.last_mut() {
            row.limit = bytes;
        }
        self
    }

    /// The last row's rule is checked by its handler with [`crate::Context::authorize`], which alone knows to whom the thing belongs.
    pub fn deferred(mut self) -> Self {
        if let Some(row) = self.rows.last_mut() {
            row.deferred = true;
        }
        self
    }

    /// Answers of the last row, a GET, may be kept until something is written: they depend on nothing but the database, the path, the
    /// query, the version and the caller.
    pub fn kept(self) -> Self {
        self.kept_by(&[])
    }

    /// As [`Routes::kept`], of answers that depend on these headers too.
    pub fn kept_by(mut self, headers: &'static [&'static str]) -> Self {
        if let Some(row) = self.rows.last_mut() {
            row.kept = Some(headers);
        }
        self
    }

    /// A path that ends with a slash names nothing here, where others overlook the slash.
    pub fn exact(mut self) -> Self {
        self.exact = true;
        self
    }

    /// HEAD is no GET without the body here, but a method like others.
    pub fn headless(mut self) -> Self {
        self.headless = true;
        self
    }

    /// From this version on, operations that look at no query are asked without one.
    pub fn bare_since(mut self, major: u16, minor: u16) -> Self {
        self.bare_since = Some(Microversion(major, minor));
        self
    }

    /// What is answered at a path that is not in the table. Where this is given, the table is no secret: which paths and methods there are
    /// is said before anybody is asked for a token.
    pub fn nowhere(mut self, answer: fn() -> Reply) -> Self {
        self.nowhere = Some(answer);
        self
    }

    /// What is answered, before anybody is asked for a token, at a path that begins with no mount: a choice of versions, say.
    pub fn unmounted(mut self, answer: fn(&FaultContext<'_>) -> Reply) -> Self {
        self.unmounted = Some(answer);
        self
    }

    /// The last row belongs to no version of the API: its path is found without a mount, which for others is no address where
    /// [`Routes::unmounted`] is given.
    pub fn apart(mut self) -> Self {
        if let Some(row) = self.rows.last_mut() {
            row.apart = true;
        }
        self
    }

    /// The rows of another table behind these.
    pub fn merge(mut self, other: Routes<S>) -> Self {
        self.rows.extend(other.rows);
        self
    }

    /// The rows, for reports and generated tests.
    pub fn rows(&self) -> &[Route<S>] {
        &self.rows
    }

    fn row<Args, H: Handler<S, Args>>(mut self, method: Method, path: &'static str, rule: &'static str, handler: H) -> Self {
        self.rows.push(Route {
            method,
            path,
            rule,
            since: Microversion::NONE,
            until: Microversion::MAX,
            limit: BODY_LIMIT,
            deferred: false,
            kept: None,
            apart: false,
            queried: H::QUERY,
            handler: handler.boxed(),
        });
        self
    }
}

/// A route table made ready for dispatch.
pub(crate) struct Table<S> {
    rows: Vec<Route<S>>,
    /// Path to the rows that have it.
    paths: matchit::Router<Vec<usize>>,
    first_segments: HashSet<&'static str>,
    /// See [`Routes::exact`].
    pub(crate) exact: bool,
    headless: bool,
    /// See [`Routes::bare_since`].
    pub(crate) bare_since: Option<Microversion>,
    /// See [`Routes::nowhere`].
    pub(crate) nowhere: Option<fn() -> Reply>,
    /// See [`Routes::unmounted`].
    pub(crate) unmounted: Option<Unmounted>,
}

impl<S> Table<S> {
    pub(crate) fn new(routes: Routes<S>) -> Result<Table<S>> {
        let mut by_path: Vec<(&'static str, Vec<usize>)> = Vec::new();
        for (index, row) in routes.rows.iter().enumerate() {
            match by_path.iter_mut().find(|(path, _)| *path == row.path) {
                Some((_, rows)) => rows.push(index),
                None => by_path.push((row.path, vec![index])),
            }
        }
        let first_segments = by_path.iter().filter_map(|(path, _)| path.split('/').nth(1)).collect();
        let mut paths = matchit::Router::new();
        for (path, rows) in by_path {
            paths.insert(path, rows).map_err(Error::internal)?;
        }
        let Routes { rows, exact, headless, bare_since, nowhere, unmounted } = routes;
        Ok(Table { rows, paths, first_segments, exact, headless, bare_since, nowhere, unmounted })
    }

    /// Whether a path can begin with this segment.
    pub(crate) fn begins_with(&self, segment: &str) -> bool {
        self.first_segments.contains(segment)
    }

    /// The rows of a path, with its variable parts.
    pub(crate) fn find(&self, path: &str) -> Option<Found<'_, S>> {
        let matched = self.paths.at(path).ok()?;
        let params = matched.params.iter().map(|(_, value)| value.to_owned()).collect();
        Some(Found { table: self, rows: matched.value, params })
    }
}

/// A path that exists, before its method and version are looked at.
pub(crate) struct Found<'t, S> {
    table: &'t Table<S>,
    rows: &'t [usize],
    pub(crate) params: Vec<String>,
}

impl<'t, S> Found<'t, S> {
    /// The row for a method at a version. HEAD falls back to GET, mostly. A method of another version is 404, an unknown one 405 with what is
    /// allowed.
    pub(crate) fn row(&self, method: &Method, version: Microversion) -> Result<&'t Route<S>, (Error, String)> {
        let rows = || self.rows.iter().filter_map(|index| self.table.rows.get(*index));
        let of = |wanted: &Method| rows().filter(|row| row.method == *wanted).collect::<Vec<_>>();
        let mut candidates = of(method);
        if candidates.is_empty() && *method == Method::HEAD && !self.table.headless {
            candidates = of(&Method::GET);
        }
        if candidates.is_empty() {
            let mut allowed: Vec<&str> = rows().map(|row| row.method.as_str()).collect();
            allowed.sort_unstable();
            allowed.dedup();
            return Err((Error::new(Kind::MethodNotAllowed, "The method is not allowed for the requested URL."), allowed.join(", ")));
        }
        let fits = |row: &&&Route<S>| version == Microversion::NONE || (row.since <= version && version <= row.until);
        let found = candidates.iter().find(fits).copied();
        found.ok_or_else(|| (Error::not_found("The resource could not be found."), String::new()))
    }
}
