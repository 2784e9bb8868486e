//! Limits that keystone keeps: those registered for the image service, and those of single projects.

use kit::auth::ServiceSession;
use kit::{Error, Result, ids};
use sdk::identity::Identity;

use crate::config::Limits;

/// Where limits are asked for, and as whom.
#[derive(Clone)]
pub struct Unified {
    pub identity: Identity,
    pub session: ServiceSession,
}

impl Unified {
    /// What a project may have now. What nobody registered a limit for, nobody may have; -1 is no limit.
    pub async fn of(&self, project: &str) -> Result<Limits> {
        let auth = self.session.auth(&ids::request()).await?;
        let limits = self.identity.limits(&auth, "image", project).await.map_err(Error::from)?;
        let limit = |resource: &str| u64::try_from(limits.get(resource).copied().unwrap_or(0)).ok();
        Ok(Limits {
            image_size_total: limit("image_size_total"),
            image_stage_total: limit("image_stage_total"),
            image_count_total: limit("image_count_total"),
            image_count_uploading: limit("image_count_uploading"),
        })
    }
}
