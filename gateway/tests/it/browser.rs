//! A browser, as far as the gateway can tell: cookies by host, navigation headers, redirects, forms.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Redirects followed before a test is told that it goes round in circles.
const REDIRECTS_MAX: usize = 8;

/// One person's browser.
pub(crate) struct Browser {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    /// Host, name, value.
    cookies: Vec<(String, String, String)>,
    /// What a balancer says before the browser does.
    pub(crate) introduction: Vec<u8>,
    /// Headers of every request, such as the language.
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Browser {
    /// A fresh browser that speaks to `address` whatever a host's name is.
    pub(crate) fn new(address: SocketAddr, tls: Arc<ClientConfig>) -> Self {
        let headers =
            vec![("accept-language", "en".to_owned()), ("accept", "text/html,*/*;q=0.8".to_owned())];
        Self { address, tls, cookies: Vec::new(), introduction: Vec::new(), headers }
    }

    /// Goes to a page; redirects are not followed.
    pub(crate) async fn get(&mut self, host: &str, path: &str) -> Page {
        let navigation =
            [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("sec-fetch-site", "none")];
        self.send(Method::GET, host, path, &navigation, Bytes::new()).await
    }

    /// Asks as a script of the page would.
    pub(crate) async fn fetch(&mut self, host: &str, path: &str) -> Page {
        let script =
            [("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty"), ("sec-fetch-site", "same-origin")];
        self.send(Method::GET, host, path, &script, Bytes::new()).await
    }

    /// Sends a form from a page of the same host.
    pub(crate) async fn post(&mut self, host: &str, path: &str, fields: &[(&str, &str)]) -> Page {
        self.post_from("same-origin", host, path, fields).await
    }

    /// Sends a form from a page of `site`, as the browser would say it.
    pub(crate) async fn post_from(
        &mut self,
        site: &'static str,
        host: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Page {
        let body = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect::<Vec<_>>()
            .join("&");
        let form = [
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-site", site),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        self.send(Method::POST, host, path, &form, Bytes::from(body)).await
    }

    /// Follows redirects and pages that lead on by themselves.
    pub(crate) async fn follow(&mut self, mut page: Page) -> Page {
        for _ in 0..REDIRECTS_MAX {
            let Some((host, path)) = page.leads_to() else { return page };
            page = self.get(&host, &path).await;
        }
        panic!("more than {REDIRECTS_MAX} redirects, now at {}{}", page.host, page.path);
    }

    /// Goes to a page and wherever it leads.
    pub(crate) async fn open(&mut self, host: &str, path: &str) -> Page {
        let page = self.get(host, path).await;
        self.follow(page).await
    }

    /// The same browser, sent to another gateway.
    pub(crate) fn at(&self, address: SocketAddr) -> Self {
        let (cookies, headers) = (self.cookies.clone(), self.headers.clone());
        Self { cookies, headers, ..Self::new(address, Arc::clone(&self.tls)) }
    }

    /// The value of a cookie.
    pub(crate) fn cookie(&self, host: &str, name: &str) -> Option<&str> {
        self.cookies.iter().find(|(h, n, _)| h == host && n == name).map(|(_, _, value)| value.as_str())
    }

    /// Puts a cookie there, or takes it away.
    pub(crate) fn set_cookie(&mut self, host: &str, name: &str, value: Option<&str>) {
        self.cookies.retain(|(h, n, _)| h != host || n != name);
        if let Some(value) = value {
            self.cookies.push((host.to_owned(), name.to_owned(), value.to_owned()));
        }
    }

    /// Sends a request with these headers beside the usual ones.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Page {
        let mut request =
            Request::builder().method(method).uri(path).header(header::HOST, self.authority(host));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .filter(|(h, _, _)| h == host)
            .map(|(_, name, value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() {
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        let request = request.body(Full::new(body)).expect("a request");
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        stream.write_all(&self.introduction).await.expect("it is sent");
        let name = ServerName::try_from(host.to_owned()).expect("a host name");
        let tls = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await.expect("TLS");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.expect("HTTP");
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("the whole answer").to_bytes();
        connection.abort();
        for cookie in parts.headers.get_all(header::SET_COOKIE) {
            let text = cookie.to_str().expect("a cookie");
            let (pair, attributes) = text.split_once(';').unwrap_or((text, ""));
            let (name, value) = pair.split_once('=').expect("name and value");
            let kept = !attributes.contains("Max-Age=0");
            self.set_cookie(host, name, kept.then_some(value));
        }
        Page {
            host: host.to_owned(),
            path: path.to_owned(),
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    fn authority(&self, host: &str) -> String {
        format!("{host}:{}", self.address.port())
    }
}

impl Page {
    /// Where the page leads by itself.
    pub(crate) fn leads_to(&self) -> Option<(String, String)> {
        let to = match self.headers.get(header::LOCATION) {
            Some(location) => location.to_str().expect("a location").to_owned(),
            None => {
                let (_, rest) = self.body.split_once("http-equiv=\"refresh\" content=\"0; url=")?;
                rest.split_once('"')?.0.replace("&amp;", "&").replace("&#38;", "&")
            }
        };
        match to.strip_prefix("https://") {
            None => Some((self.host.clone(), to)),
            Some(rest) => {
                let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
                let host = authority.split(':').next().unwrap_or(authority);
                Some((host.to_owned(), format!("/{path}")))
            }
        }
    }

    /// The value of a hidden field of the page's first form.
    pub(crate) fn field(&self, name: &str) -> String {
        let marker = format!("name=\"{name}\" value=\"");
        let (_, rest) =
            self.body.split_once(&marker).unwrap_or_else(|| panic!("no field {name} in {}", self.body));
        rest.split_once('"').map_or("", |(value, _)| value).to_owned()
    }

    /// The first `TG-` code on the page.
    pub(crate) fn code(&self) -> &str {
        self.body.split_once("TG-").map_or("", |(before, _)| {
            let at = before.len();
            self.body.get(at..at + 7).unwrap_or_default()
        })
    }

    /// Whether the page says this.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.body.contains(text)
    }
}

/// `text` as a form writes it.
fn encode(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}
