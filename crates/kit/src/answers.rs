//! Answers to reads, kept for as long as nothing was written to the database they come from.
//!
//! Clients poll: a dashboard, `--wait`, a controller's loop ask the same again and again. Where this process is the database's only writer
//! (SQLite), the count of its commits tells whether an answer still holds, so a kept answer is never older than the last acknowledged
//! write. What an answer takes from the clock (is that host still up?) may be a second old. Routes ask for this with
//! [`crate::Routes::kept`]; the token and the policy are checked for every request all the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;

use crate::context::{Context, Identity};
use crate::db::Db;
use crate::{Reply, Result};

/// How long an answer is kept at most.
const LIFE: Duration = Duration::from_secs(1);
/// Bytes of one answer, and of all of them.
const ONE: u64 = 2 << 20;
const ALL: usize = 8 << 20;

/// What is asked: everything in a request that an answer may depend on, apart from the caller's rights.
pub(crate) struct Question {
    text: String,
    callers: Callers,
    /// Commits there were before the answer was looked for.
    commits: u64,
}

/// Who asks, and the service that asks for them.
type Callers = (Arc<Identity>, Option<Arc<Identity>>);

/// The kept answers of one service.
pub(crate) struct Answers {
    db: Db,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    answers: HashMap<String, Answer>,
    bytes: usize,
}

struct Answer {
    callers: Callers,
    commits: u64,
    since: Instant,
    headers: HeaderMap,
    body: Bytes,
}

impl Answers {
    pub(crate) fn new(db: Db) -> Answers {
        Answers { db, kept: Mutex::default() }
    }

    /// The question of a request, whose answer depends on `headers` too; none where an answer cannot be kept.
    pub(crate) fn question(&self, ctx: &Context, parts: &Parts, headers: &[&str]) -> Option<Question> {
        let callers = (ctx.identity.clone()?, ctx.service.clone());
        let commits = self.db.commits()?;
        let service = ctx.service.as_ref().map_or("", |service| &service.user.id);
        let mut text = format!("{}\n{service}\n{}\n{}\n{}", ctx.token, ctx.version, ctx.base_url, parts.uri);
        for value in headers.iter().map(|name| parts.headers.get(*name)) {
            text.push('\n');
            text.push_str(value.map_or(Some(""), |value| value.to_str().ok())?);
        }
        Some(Question { text, callers, commits })
    }

    /// The kept answer, if it still holds.
    pub(crate) fn find(&self, question: &Question) -> Option<Reply> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = kept.answers.get(&question.text)?;
        let holds = answer.commits == question.commits && answer.since.elapsed() < LIFE && answer.callers == question.callers;
        holds.then(|| {
            let mut response = Response::new(Body::from(answer.body.clone()));
            response.headers_mut().clone_from(&answer.headers);
            Reply(response)
        })
    }

    /// Keeps a good answer of known and moderate size.
    pub(crate) async fn keep(&self, question: Question, reply: Reply) -> Result<Reply> {
        let small = reply.0.body().size_hint().exact().is_some_and(|bytes| bytes <= ONE);
        if reply.0.status() != StatusCode::OK || !small {
            return Ok(reply);
        }
        let (parts, body) = reply.0.into_parts();
        let body = body.collect().await.map_err(crate::Error::internal)?.to_bytes();
        let answer = Answer {
            callers: question.callers,
            commits: question.commits,
            since: Instant::now(),
            headers: parts.headers.clone(),
            body: body.clone(),
        };
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).put(question.text, answer);
        Ok(Reply(Response::from_parts(parts, Body::from(body))))
    }
}

impl Kept {
    fn put(&mut self, question: String, answer: Answer) {
        let bytes = question.len() + answer.body.len();
        if self.bytes + bytes > ALL {
            // they live a second: what is still asked for is soon here again
            *self = Kept::default();
        }
        self.bytes += bytes;
        if let Some(before) = self.answers.insert(question, answer) {
            self.bytes = self.bytes.saturating_sub(before.body.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt;
    use http::Request;

    use super::*;
    use crate::auth::Authenticator;
    use crate::db::{Location, Migration};
    use crate::policy::{ANY, Policy};
    use crate::service::{Service, ServiceParts};
    use crate::{Error, Routes};

    #[derive(Clone)]
    struct App {
        asked: Arc<AtomicUsize>,
    }

    async fn show(app: App, _: Context) -> Result<Reply> {
        Reply::ok(&app.asked.fetch_add(1, Ordering::SeqCst))
    }

    fn service(db: &Db) -> Service {
        let parts = ServiceParts {
            name: "test-api",
            app: App { asked: Arc::default() },
            root: Routes::new(),
            routes: Routes::new().get("/kept", ANY, show).kept_by(&["x-subject-token"]).get("/fresh", ANY, show),
            mounts: &[],
            project_segment: false,
            json_suffix: false,
            versions: None,
            policy: Policy::default(),
            db: Some(db.clone()),
            authenticator: Some(Authenticator::own(
                |_, token| {
                    let user = crate::context::Named { id: token, ..Default::default() };
                    async { Ok(Identity { user, ..Identity::default() }) }.boxed()
                },
                "http://keystone",
            )),
            fault: |error: &Error, _| Reply::body("text/plain", error.message.clone()),
        };
        Service::new(parts).unwrap()
    }

    async fn get(service: &Service, path: &str, token: &str) -> String {
        about(service, path, token, "").await
    }

    async fn about(service: &Service, path: &str, token: &str, subject: &str) -> String {
        asked(service, path, &[("x-auth-token", token), ("x-subject-token", subject)]).await
    }

    async fn asked(service: &Service, path: &str, headers: &[(&str, &str)]) -> String {
        let request = headers.iter().fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
        let request = request.body(Body::empty()).unwrap();
        let body = service.call(request).await.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn an_answer_is_kept_for_its_caller_until_something_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let schema = [Migration { version: 1, sql: "CREATE TABLE t (id BIGINT PRIMARY KEY)" }];
        let db = Db::open(&Location::Sqlite(dir.path().join("t.sqlite")), &schema).await.unwrap();
        let service = service(&db);
        assert_eq!(get(&service, "/kept", "a").await, "0");
        assert_eq!(get(&service, "/kept", "a").await, "0");
        assert_eq!(get(&service, "/kept?limit=1", "a").await, "1");
        assert_eq!(get(&service, "/kept", "b").await, "2");
        assert_eq!(get(&service, "/fresh", "a").await, "3");
        db.write(|_| Box::pin(async { Ok(()) })).await.unwrap();
        assert_eq!(get(&service, "/kept", "a").await, "4");
        assert_eq!(get(&service, "/fresh", "a").await, "5");
        assert_eq!(about(&service, "/kept", "a", "b").await, "6");
        assert_eq!(about(&service, "/kept", "a", "c").await, "7");
        assert_eq!(about(&service, "/kept", "a", "b").await, "6");
    }

    #[tokio::test]
    async fn what_a_service_is_told_in_a_users_name_is_kept_for_that_service() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&Location::Sqlite(dir.path().join("t.sqlite")), &[]).await.unwrap();
        let service = service(&db);
        let by = |name| [("x-auth-token", "a"), ("x-service-token", name)];
        assert_eq!(get(&service, "/kept", "a").await, "0");
        assert_eq!(asked(&service, "/kept", &by("nova")).await, "1");
        assert_eq!(asked(&service, "/kept", &by("nova")).await, "1");
        assert_eq!(asked(&service, "/kept", &by("cinder")).await, "2");
        assert_eq!(get(&service, "/kept", "a").await, "0");
    }
}
