//! `[compute]` as nova-compute and the metadata service are told.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kit::auth::ServiceSession;
use nova_compute::metadata::VendorData;
use nova_compute::metadata::vendor_data::{Dynamic, Settings};
use nova_compute::numa::machine as numa;
use rpc::numa::{page_kb, parse_cpus};

use crate::config::Compute;

impl Compute {
    /// What guests are told besides what concerns them. The session is that of whoever asks others about them.
    pub fn vendor_data(&self, session: &ServiceSession) -> Result<VendorData, String> {
        let mut data = VendorData::default();
        if let Some(path) = &self.vendordata_json {
            let bad =
                |why: &dyn std::fmt::Display| format!("compute.vendordata_json: {} is no JSON object to be read: {why}.", path.display());
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
            let dynamic =
                Dynamic::new(settings, session.clone()).map_err(|error| format!("compute.vendordata_dynamic_ssl_certfile: {error}."))?;
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

    /// How a host's processors and pages are shared out.
    pub fn numa(&self) -> Result<numa::Settings, String> {
        let set = |name: &str, text: &Option<String>| {
            let Some(text) = text else { return Ok(None) };
            let cpus = parse_cpus(text).map_err(|why| format!("compute.{name}: {why}."))?;
            if cpus.is_empty() { Err(format!("compute.{name}: No CPUs available after parsing {text:?}.")) } else { Ok(Some(cpus)) }
        };
        let dedicated = set("cpu_dedicated_set", &self.cpu_dedicated_set)?;
        let shared = set("cpu_shared_set", &self.cpu_shared_set)?;
        if let Some(cpu) = dedicated.iter().flatten().find(|cpu| shared.as_ref().is_some_and(|shared| shared.contains(cpu))) {
            return Err(format!("compute.cpu_dedicated_set and compute.cpu_shared_set both name the CPU {cpu}."));
        }
        let wrong = |text: &String| format!("compute.reserved_huge_pages: {text:?} is not of the form node:N,size:S,count:N.");
        let reserved = self.reserved_huge_pages.iter().map(|text| reserved_pages(text).ok_or_else(|| wrong(text)));
        let sim = numa::SimCells { cells: self.sim_numa_cells, threads: self.sim_cpu_threads, huge_pages: self.sim_huge_pages };
        Ok(numa::Settings { dedicated, shared, reserved_huge_pages: reserved.collect::<Result<_, _>>()?, sim })
    }
}

/// `node:0,size:2MB,count:64`, in any order.
fn reserved_pages(text: &str) -> Option<numa::ReservedPages> {
    let words: HashMap<&str, &str> = text.split(',').map(|word| word.trim().split_once(':')).collect::<Option<_>>()?;
    let number = |key: &str| words.get(key)?.parse::<u64>().ok();
    let node = u32::try_from(number("node")?).ok()?;
    (words.len() == 3).then_some(numa::ReservedPages { node, size_kb: page_kb(words.get("size")?)?, count: number("count")? })
}
