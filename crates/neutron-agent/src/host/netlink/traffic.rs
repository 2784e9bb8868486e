//! Traffic control: a token bucket where a link sends, and a detour for what comes in by a link, since only what is sent can wait.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use nix::libc;
use rtnetlink::LinkIfb;
use rtnetlink::packet_core::{DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcOption};

use super::{Netlink, all, failed, is_missing};
use crate::{Error, Result};

/// The handle of an ingress qdisc.
const INGRESS: u32 = 0xffff_0000;

/// From `linux/pkt_sched.h`.
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
const TC_LINKLAYER_ETHERNET: u8 = 1;

/// How long a packet waits at most, beside what a burst holds; as long as neutron lets it wait.
const WAITS: u64 = 20;
/// Even a slow link lets some packets wait.
const LEAST_QUEUE: u64 = 16 * 1024;

/// What a link may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In a second.
    pub bytes: u64,
    /// At once.
    pub burst: u32,
}

impl Rate {
    /// Bytes that may wait.
    fn queue(self) -> u32 {
        let waiting = (self.bytes / WAITS).max(LEAST_QUEUE) + u64::from(self.burst);
        u32::try_from(waiting).unwrap_or(u32::MAX)
    }

    /// As it can be read again.
    pub fn shown(self) -> (u64, u32) {
        (self.bytes, self.queue())
    }
}

/// What is there of it, by link.
#[derive(Debug, Default)]
pub struct Shapes {
    /// Bytes in a second, and those that may wait.
    pub rates: BTreeMap<u32, (u64, u32)>,
    /// Links with a place for detours.
    pub ingress: BTreeSet<u32>,
}

impl Netlink {
    /// A link that hands back what it sends to the link that it came from; up. Answers its index.
    pub async fn add_ifb(&self, name: &str) -> Result<u32> {
        if self.link(name).await?.is_none() {
            self.done(&format!("add {name}"), self.handle.link().add(LinkIfb::new(name).build()).execute()).await?;
        }
        self.set_up(name).await?;
        let link = self.link(name).await?;
        link.map(|link| link.index).ok_or_else(|| Error::internal(format!("{name} did not appear")))
    }

    /// No more than this is sent; what there is already goes on with the new rate.
    pub async fn shape(&self, index: u32, rate: Rate) -> Result<()> {
        let mut message = TcMessage::with_index(index as i32);
        message.header.parent = TcHandle::ROOT;
        message.attributes = vec![TcAttribute::Kind("tbf".to_owned()), TcAttribute::Options(token_bucket(rate))];
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::NewQueueDiscipline(message));
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        let what = "shape a link";
        let mut handle = self.handle.clone();
        let mut answers = Box::pin(handle.request(request).map_err(|error| failed(what, error))?);
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::Error(error) = answer.payload
                && error.code.is_some()
            {
                return Err(failed(what, rtnetlink::Error::NetlinkError(error)));
            }
        }
        Ok(())
    }

    /// Succeeds when nothing limits it.
    pub async fn unshape(&self, index: u32) -> Result<()> {
        let mut request = self.handle.qdisc().del(index as i32);
        request.message_mut().header.parent = TcHandle::ROOT;
        gone("unshape a link", request.execute().await)
    }

    /// What comes in by a link goes by way of another.
    pub async fn detour(&self, from: u32, by: u32) -> Result<()> {
        // Whatever is there of an earlier one goes with it.
        self.end_detour(from).await?;
        self.done("make room for a detour", self.handle.qdisc().add(from as i32).ingress().execute()).await?;
        let filter = self.handle.traffic_filter(from as i32).add().ingress().protocol((libc::ETH_P_ALL as u16).to_be());
        let filter = filter.redirect(by).map_err(|error| failed("describe a detour", error))?;
        self.done("make a detour", filter.execute()).await
    }

    /// Succeeds when there is none.
    pub async fn end_detour(&self, from: u32) -> Result<()> {
        let mut request = self.handle.qdisc().del(from as i32);
        (request.message_mut().header.parent, request.message_mut().header.handle) = (TcHandle::INGRESS, TcHandle::from(INGRESS));
        gone("end a detour", request.execute().await)
    }

    /// Does anything lead away from a link's ingress?
    pub async fn has_detour(&self, from: u32) -> Result<bool> {
        let filters = self.handle.traffic_filter(from as i32).get().ingress().execute();
        Ok(!all("list filters", filters).await?.is_empty())
    }

    pub async fn shapes(&self) -> Result<Shapes> {
        let mut shapes = Shapes::default();
        for message in all("list qdiscs", self.handle.qdisc().get().execute()).await? {
            let Ok(index) = u32::try_from(message.header.index) else { continue };
            match kind(&message) {
                Some("tbf") => drop(shapes.rates.insert(index, rate_of(&message).unwrap_or_default())),
                Some("ingress") => drop(shapes.ingress.insert(index)),
                _ => {}
            }
        }
        Ok(shapes)
    }
}

/// The kernel says in two ways that there is no such qdisc.
fn gone(what: &str, done: std::result::Result<(), rtnetlink::Error>) -> Result<()> {
    let invalid = |error: &rtnetlink::Error| match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io().raw_os_error() == Some(libc::EINVAL),
        _ => false,
    };
    match done {
        Err(error) if !is_missing(&error) && !invalid(&error) => Err(failed(what, error)),
        _ => Ok(()),
    }
}

/// The options of a token bucket filter, as `struct tc_tbf_qopt` and what came to it.
fn token_bucket(rate: Rate) -> Vec<TcOption> {
    let mut parameters = vec![0, TC_LINKLAYER_ETHERNET, 0, 0, 0, 0, 0, 0];
    parameters.extend(u32::try_from(rate.bytes).unwrap_or(u32::MAX).to_ne_bytes());
    // no peak rate
    parameters.extend([0; 12]);
    parameters.extend(rate.queue().to_ne_bytes());
    // buffer and MTU, which the burst says
    parameters.extend([0; 8]);
    let option = |kind: u16, value: Vec<u8>| TcOption::Other(DefaultNla::new(kind, value));
    let large = u32::try_from(rate.bytes).is_err().then(|| option(TCA_TBF_RATE64, rate.bytes.to_ne_bytes().to_vec()));
    let burst = option(TCA_TBF_BURST, rate.burst.to_ne_bytes().to_vec());
    [option(TCA_TBF_PARMS, parameters), burst].into_iter().chain(large).collect()
}

fn kind(message: &TcMessage) -> Option<&str> {
    message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Kind(kind) => Some(kind.as_str()),
        _ => None,
    })
}

/// The rate and the queue of a token bucket filter, as the kernel shows it.
fn rate_of(message: &TcMessage) -> Option<(u64, u32)> {
    use rtnetlink::packet_core::Nla;
    let options = message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => options.first(),
        _ => None,
    })?;
    let mut value = vec![0; options.value_len()];
    options.emit_value(&mut value);
    parse_token_bucket(&value)
}

fn parse_token_bucket(mut attributes: &[u8]) -> Option<(u64, u32)> {
    let (mut rate, mut queue, mut large) = (None, None, None);
    while let Some((head, rest)) = attributes.split_first_chunk::<4>() {
        let [a, b, c, d] = *head;
        let (length, kind) = (usize::from(u16::from_ne_bytes([a, b])), u16::from_ne_bytes([c, d]));
        let value = rest.get(..length.checked_sub(4)?)?;
        match kind {
            TCA_TBF_PARMS => {
                rate = number::<4>(value, 8).map(u32::from_ne_bytes);
                queue = number::<4>(value, 24).map(u32::from_ne_bytes);
            }
            TCA_TBF_RATE64 => large = number::<8>(value, 0).map(u64::from_ne_bytes),
            _ => {}
        }
        attributes = rest.get(length.next_multiple_of(4) - 4..).unwrap_or_default();
    }
    Some((large.or(rate.map(u64::from))?, queue?))
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_core::Emitable;

    use super::*;

    #[test]
    fn a_token_bucket_is_read_as_it_was_written() {
        for bytes in [500_000, 5_000_000_000] {
            let rate = Rate { bytes, burst: 400_000 };
            let options = token_bucket(rate);
            let mut value = vec![0; options.as_slice().buffer_len()];
            options.as_slice().emit(&mut value);
            assert_eq!(parse_token_bucket(&value), Some(rate.shown()));
        }
        assert_eq!(parse_token_bucket(&[1, 0, 0, 0]), None);
    }

    #[test]
    fn a_twentieth_of_a_second_may_wait() {
        assert_eq!(Rate { bytes: 10_000_000, burst: 100_000 }.shown(), (10_000_000, 600_000));
        assert_eq!(Rate { bytes: 1000, burst: 10_000 }.shown(), (1000, 26_384));
    }
}
