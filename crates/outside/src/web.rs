//! Fetching what a user names. The rules say which schemes, hosts and ports a user may name at all; beyond them nothing internal can be
//! reached: every address a name leads to is looked at before it is connected to, and so is every step of a redirect.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::LOCATION;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use url::{Host, Url};

use crate::client::{self, Outside, Reach};

/// Redirects that are followed.
const HOPS: usize = 5;
/// Time a server has to begin its answer.
const ANSWER: Duration = Duration::from_secs(60);

/// What a user may name. Empty lists of hosts allow every host.
#[derive(Clone, Debug)]
pub struct Rules {
    pub schemes: Vec<String>,
    pub ports: Vec<u16>,
    pub allowed_hosts: Vec<String>,
    pub disallowed_hosts: Vec<String>,
    /// Addresses that are not of the public Internet and may be reached all the same: a mirror of the operator's.
    pub internal_mirrors: Vec<IpAddr>,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            schemes: vec!["http".into(), "https".into()],
            ports: vec![80, 443],
            allowed_hosts: Vec::new(),
            disallowed_hosts: Vec::new(),
            internal_mirrors: Vec::new(),
        }
    }
}

/// Why something was not fetched, in a sentence for the user.
#[derive(Clone, Debug)]
pub struct Refused(pub String);

/// The web, within rules. Cheap to clone.
#[derive(Clone)]
pub struct Web {
    rules: std::sync::Arc<Rules>,
    reach: Reach,
    client: Outside<Empty<Bytes>>,
}

impl Web {
    pub fn new(rules: Rules) -> Web {
        let reach = Reach::Public { except: rules.internal_mirrors.clone().into() };
        Web { client: client::open(reach.clone()), reach, rules: std::sync::Arc::new(rules) }
    }

    /// The address, if the rules let a user name it. Names are not resolved here.
    pub fn check(&self, address: &str) -> Result<Url, Refused> {
        let refused = || Refused(format!("URI for web-download does not pass filtering: {address}"));
        let url = Url::parse(address).map_err(|_| refused())?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(refused)?.to_owned();
        let port = url.port_or_known_default().ok_or_else(refused)?;
        let rules = &self.rules;
        let named = |list: &[String]| list.iter().any(|entry| entry.eq_ignore_ascii_case(&host));
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) | None => None,
        };
        let allowed = rules.schemes.iter().any(|scheme| scheme == url.scheme())
            && rules.ports.contains(&port)
            && (rules.allowed_hosts.is_empty() || named(&rules.allowed_hosts))
            && !named(&rules.disallowed_hosts)
            && url.username().is_empty()
            && literal.is_none_or(|address| self.reach.allows(address));
        if allowed { Ok(url) } else { Err(refused()) }
    }

    /// The answer of a server, 200 or an error.
    pub async fn get(&self, address: &str) -> Result<Response<Incoming>, Refused> {
        let mut url = self.check(address)?;
        for _ in 0..HOPS {
            let answer = self.ask(&url).await?;
            if answer.status() == StatusCode::OK {
                return Ok(answer);
            }
            let target = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let Some(target) = target.filter(|_| answer.status().is_redirection()) else {
                return Err(Refused(format!("{address} answers {}", answer.status())));
            };
            let target = url.join(target).map_err(|_| Refused(format!("{address} redirects to nowhere")))?;
            url = self.check(target.as_str())?;
        }
        Err(Refused(format!("{address} redirects too often")))
    }

    async fn ask(&self, url: &Url) -> Result<Response<Incoming>, Refused> {
        let unreachable = |why: &dyn std::fmt::Display| Refused(format!("{url} cannot be fetched: {why}"));
        let request = Request::get(url.as_str()).header("user-agent", "cumulo").header("accept-encoding", "identity");
        let request = request.body(Empty::new()).map_err(|error| unreachable(&error))?;
        let answer = tokio::time::timeout(ANSWER, self.client.request(request)).await;
        answer.map_err(|_| unreachable(&"no answer in time"))?.map_err(|error| {
            tracing::debug!(%url, ?error, "cannot be fetched");
            unreachable(&error)
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn rules_say_what_may_be_named() {
        let web = Web::new(Rules { disallowed_hosts: vec!["bad.example".into()], ..Rules::default() });
        for good in ["http://example.com/x", "https://example.com:443/x", "http://8.8.8.8/x"] {
            assert!(web.check(good).is_ok(), "{good}");
        }
        for bad in [
            "file:///etc/passwd",
            "ftp://example.com/",
            "http://example.com:22/",
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://169.254.169.254/latest/meta-data",
            "http://BAD.example/",
            "http://user@example.com/",
            "no address",
        ] {
            assert!(web.check(bad).is_err(), "{bad}");
        }
    }

    /// Answers every connection with the same bytes.
    async fn server(answer: &'static str) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let _ = socket.read(&mut request).await;
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        port
    }

    #[tokio::test]
    async fn names_that_lead_inside_are_not_followed() {
        let port = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
        let web = Web::new(Rules { ports: vec![port], ..Rules::default() });
        let refused = web.get(&format!("http://localhost:{port}/")).await.unwrap_err();
        assert!(refused.0.contains("cannot be fetched"), "{}", refused.0);
        let open = Web::new(Rules { ports: vec![port], internal_mirrors: vec![[127, 0, 0, 1].into()], ..Rules::default() });
        assert_eq!(open.get(&format!("http://localhost:{port}/")).await.unwrap().status(), 200);
    }

    #[tokio::test]
    async fn redirects_are_checked_like_the_first_address() {
        let port = server("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.2/\r\ncontent-length: 0\r\n\r\n").await;
        let web = Web::new(Rules { ports: vec![port, 80], internal_mirrors: vec![[127, 0, 0, 1].into()], ..Rules::default() });
        let refused = web.get(&format!("http://127.0.0.1:{port}/")).await.unwrap_err();
        assert!(refused.0.contains("does not pass filtering: http://127.0.0.2/"), "{}", refused.0);
        let circle = server("HTTP/1.1 302 Found\r\nlocation: /again\r\ncontent-length: 0\r\n\r\n").await;
        let web = Web::new(Rules { ports: vec![circle], internal_mirrors: vec![[127, 0, 0, 1].into()], ..Rules::default() });
        assert!(web.get(&format!("http://127.0.0.1:{circle}/")).await.unwrap_err().0.contains("too often"));
    }
}
