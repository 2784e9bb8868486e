//! `[compute]` as nova-compute and the metadata service are told.

use std::sync::Arc;
use std::time::Duration;

use kit::auth::ServiceSession;
use nova_compute::metadata::VendorData;
use nova_compute::metadata::vendor_data::{Dynamic, Settings};

use crate::config::Compute;

impl Compute {
    /// What guests are told besides what concerns them. The session is that of whoever asks others about them.
    pub fn vendor_data(&self, session: &ServiceSession) -> Result<VendorData, String> {
        let mut data = VendorData::default();
        if let Some(path) = &self.vendordata_json {
            let bad = |why: &dyn std::fmt::Display| format!("compute.vendordata_json: {} is no JSON object to be read: {why}.", path.display());
            let text = std::fs::read_to_string(path).map_err(|error| bad(&error))?;
            data.constant = serde_json::from_str(&text).map(Arc::new).map_err(|error| bad(&error))?;
        }
        let targets = self.vendordata_targets()?;
        if !targets.is_empty() {
            let settings = Settings {
                targets,
                ssl_certfile: self.vendordata_dynamic_ssl_certfile.clone(),
                connect_timeout: Duration::from_secs(self.vendordata_dynamic_connect_timeout),
                read_timeout: Duration::from_secs(self.vendordata_dynamic_read_timeout),
                failure_fatal: self.vendordata_dynamic_failure_fatal,
            };
            let dynamic = Dynamic::new(settings, session.clone()).map_err(|error| format!("compute.vendordata_dynamic_ssl_certfile: {error}."))?;
            data.dynamic = Some(Arc::new(dynamic));
        }
        Ok(data)
    }

    /// Names and addresses of those who are asked about guests.
    pub fn vendordata_targets(&self) -> Result<Vec<(String, String)>, String> {
        let mut targets: Vec<(String, String)> = Vec::new();
        for target in &self.vendordata_dynamic_targets {
            let wrong = |why: &str| format!("compute.vendordata_dynamic_targets: {target:?} {why}.");
            let (name, url) = target.split_once('@').filter(|(name, _)| !name.is_empty()).ok_or_else(|| wrong("lacks a name"))?;
            if name == "static" || targets.iter().any(|(known, _)| known == name) {
                return Err(wrong("has a name that is there twice"));
            }
            if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
                return Err(wrong("is no http or https address"));
            }
            targets.push((name.to_owned(), url.to_owned()));
        }
        Ok(targets)
    }
}
