//! A bucket of an S3 server, as an operator names it.

use outside::objects::S3;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    pub endpoint: String,
    pub bucket: String,
    #[serde(default = "region")]
    pub region: String,
    pub access_key: String,
    pub secret_key: String,
}

pub fn region() -> String {
    "us-east-1".into()
}

impl Bucket {
    pub fn s3(&self) -> S3 {
        S3 {
            endpoint: self.endpoint.clone(),
            bucket: self.bucket.clone(),
            region: self.region.clone(),
            access_key: self.access_key.clone(),
            secret_key: self.secret_key.clone(),
        }
    }
}

impl std::fmt::Debug for Bucket {
    /// The keys are nobody's to see.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket").field("endpoint", &self.endpoint).field("bucket", &self.bucket).finish_non_exhaustive()
    }
}
