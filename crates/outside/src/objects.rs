//! Places for objects: a directory of this host, or a bucket of an S3 server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt;
use object_store::ClientOptions;
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::local::LocalFileSystem;

use crate::client::{self, Outside, Reach};

/// Time a server has to begin its answer.
const ANSWER: Duration = Duration::from_secs(60);

/// Where objects are kept.
#[derive(Clone, Debug)]
pub enum Place {
    Directory(PathBuf),
    S3(S3),
}

/// A bucket, and the keys to it.
#[derive(Clone)]
pub struct S3 {
    /// `https://s3.example.com:9000`
    pub endpoint: String,
    pub bucket: String,
    pub region: String,
    pub access_key: String,
    pub secret_key: String,
}

impl std::fmt::Debug for S3 {
    /// The keys are nobody's to see.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3").field("endpoint", &self.endpoint).field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

/// Opens a place. A server is not asked before the first object.
pub fn open(place: &Place) -> object_store::Result<Arc<dyn ObjectStore>> {
    match place {
        Place::Directory(path) => Ok(Arc::new(LocalFileSystem::new_with_prefix(path)?)),
        Place::S3(s3) => {
            let store = AmazonS3Builder::new()
                .with_endpoint(s3.endpoint.trim_end_matches('/'))
                .with_bucket_name(&s3.bucket)
                .with_region(&s3.region)
                .with_access_key_id(&s3.access_key)
                .with_secret_access_key(&s3.secret_key)
                .with_virtual_hosted_style_request(false)
                .with_allow_http(true)
                .with_http_connector(Connector)
                .build()?;
            Ok(Arc::new(store))
        }
    }
}

/// Our client for `object_store`.
#[derive(Debug)]
struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Service(client::open(Reach::Anywhere))))
    }
}

#[derive(Debug)]
struct Service(Outside<HttpRequestBody>);

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = tokio::time::timeout(ANSWER, self.0.request(request)).await;
        let answer = answer.map_err(|error| HttpError::new(HttpErrorKind::Timeout, error))?.map_err(|error| {
            let kind = if error.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Request };
            HttpError::new(kind, error)
        })?;
        let interrupted = |error| HttpError::new(HttpErrorKind::Interrupted, error);
        Ok(answer.map(|body| HttpResponseBody::new(body.map_err(interrupted))))
    }
}
