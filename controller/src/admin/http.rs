//! The admin API over HTTP: who asks is reviewed by the API server, and whether they may.
//!
//! ```text
//!  GET    /v1/gateways                list   vpngateways.tidegate.dev, in the controller's namespace
//!  GET    /v1/sessions?department=    list   sessions.tidegate.dev, in dept-<code> (without: everywhere)
//!  DELETE /v1/sessions/<id>           delete sessions.tidegate.dev, in dept-<code> of its account
//! ```
//!
//! `sessions` is a resource only rights speak of: no such object exists. Nothing of a request but its
//! method, address and token is read.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube_client::api::PostParams;
use kube_client::{Api, Client};
use serde::Serialize;
use serde_json::json;
use tidegate_core::DepartmentCode;
use tidegate_crd::GROUP;
use tidegate_store::{Store, StoreError};
use tokio::sync::{Semaphore, watch};

use super::{Pools, end, find, gateways, session_id, sessions};
use crate::cluster::call::{CallError, call};
use crate::time::now;

/// Requests answered at a time; each asks the API server twice and reads all reports.
const PLACES: usize = 8;

/// Letters of a token; those of service accounts have about a thousand.
const TOKEN_MAX: usize = 16 * 1024;

/// The paths that are served here.
#[must_use]
pub fn serves(path: &str) -> bool {
    path.starts_with("/v1/")
}

/// Answers requests of people's tools.
pub struct Admin<S: Store> {
    client: Client,
    namespace: String,
    pools: watch::Receiver<Pools<S>>,
    places: Semaphore,
}

/// Why a request is not answered as asked.
#[derive(Debug)]
enum Refusal {
    /// There is no such address.
    NotFound(&'static str),
    /// The address is there, the method is not.
    Method,
    /// What is asked for is not understood.
    Bad(&'static str),
    /// Nobody knows who asks.
    Unknown(&'static str),
    /// Whoever asks may not.
    Forbidden(String),
    /// It cannot be said now.
    Unavailable(String),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::Unknown(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn message(&self) -> &str {
        match self {
            Self::NotFound(text) | Self::Bad(text) | Self::Unknown(text) => text,
            Self::Method => "use GET, or DELETE for a session",
            Self::Forbidden(text) | Self::Unavailable(text) => text,
        }
    }

    /// Whoever may not end a session learns neither whether it exists nor whose it is.
    fn without_place(self) -> Self {
        match self {
            Self::Forbidden(_) => Self::Forbidden(format!(
                "there is no such session, or you may not delete sessions.{GROUP} there"
            )),
            other => other,
        }
    }
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        Self::Unavailable(format!("the API server cannot say whether you may: {error}"))
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(format!("{} {error}", error.code().id()))
    }
}

/// What a request asks for, before anybody knows whether it may.
#[derive(Debug, PartialEq, Eq)]
enum Question {
    Gateways,
    Sessions(Option<DepartmentCode>),
    End(tidegate_core::SessionId),
}

impl<S: Store> Admin<S> {
    /// Answers from `pools`, for whoever `client`'s API server says may; `namespace` is the controller's.
    #[must_use]
    pub fn new(client: Client, namespace: String, pools: watch::Receiver<Pools<S>>) -> Self {
        Self { client, namespace, pools, places: Semaphore::new(PLACES) }
    }

    /// Answers one request; its body is not read.
    pub async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let Ok(_place) = self.places.try_acquire() else {
            return refused(&Refusal::Unavailable("too many requests at once; try again".to_owned()));
        };
        match self.try_answer(request.method(), request.uri(), request.headers()).await {
            Ok(answer) => answer,
            Err(refusal) => refused(&refusal),
        }
    }

    async fn try_answer(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let question = question(method, uri)?;
        let user = self.who(token(headers)?).await?;
        let pools = self.pools.borrow().clone();
        if pools.is_empty() {
            let text = "this replica does not lead, or etcd is away; ask the one that holds the lease";
            return Err(Refusal::Unavailable(text.to_owned()));
        }
        match question {
            Question::Gateways => {
                self.may(&user, "list", "vpngateways", Some(&self.namespace)).await?;
                Ok(json(StatusCode::OK, &json!({"gateways": gateways(&pools, now()).await?})))
            }
            Question::Sessions(department) => {
                let namespace = department.as_ref().map(|code| format!("dept-{code}"));
                self.may(&user, "list", "sessions", namespace.as_deref()).await?;
                Ok(json(StatusCode::OK, &sessions(&pools, department.as_ref()).await?))
            }
            Question::End(id) => {
                let found = find(&pools, id).await?;
                let namespace =
                    found.as_ref().map(|found| format!("dept-{}", found.session.account.department));
                let may = self.may(&user, "delete", "sessions", namespace.as_deref()).await;
                may.map_err(Refusal::without_place)?;
                let Some(found) = found else {
                    return Err(Refusal::NotFound("no gateway reports this session; it may have ended"));
                };
                end(&pools, &found).await?;
                let by = user.username.as_deref().unwrap_or_default();
                let account = &found.session.account;
                tracing::info!(by, session = %id, %account, "a session was ended through the admin API");
                Ok(json(StatusCode::OK, &json!({"ended": id.to_string(), "account": account.to_string()})))
            }
        }
    }

    /// Whose token it is.
    async fn who(&self, token: String) -> Result<UserInfo, Refusal> {
        let spec = TokenReviewSpec { token: Some(token), ..TokenReviewSpec::default() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let status = call(reviews.create(&PostParams::default(), &review)).await?.status.unwrap_or_default();
        match status.user {
            Some(user) if status.authenticated == Some(true) => Ok(user),
            _ => Err(Refusal::Unknown("the API server does not know this token; make a new one")),
        }
    }

    /// Whether a user may do that; `None` as the namespace means everywhere.
    async fn may(
        &self,
        user: &UserInfo,
        verb: &str,
        resource: &str,
        namespace: Option<&str>,
    ) -> Result<(), Refusal> {
        let attributes = ResourceAttributes {
            group: Some(GROUP.into()),
            resource: Some(resource.into()),
            verb: Some(verb.into()),
            namespace: namespace.map(str::to_owned),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: user.username.clone(),
            uid: user.uid.clone(),
            groups: user.groups.clone(),
            extra: user.extra.clone(),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let status = call(reviews.create(&PostParams::default(), &review)).await?.status;
        if status.is_some_and(|status| status.allowed && status.denied != Some(true)) {
            return Ok(());
        }
        let place = namespace.map_or_else(|| "in every namespace".to_owned(), |name| format!("in {name}"));
        let name = user.username.as_deref().unwrap_or("you");
        Err(Refusal::Forbidden(format!("{name} may not {verb} {resource}.{GROUP} {place}")))
    }
}

fn question(method: &Method, uri: &Uri) -> Result<Question, Refusal> {
    let question = match uri.path() {
        "/v1/gateways" => Question::Gateways,
        "/v1/sessions" => Question::Sessions(department(uri.query().unwrap_or_default())?),
        path => match path.strip_prefix("/v1/sessions/") {
            Some(id) => Question::End(
                session_id(id).ok_or(Refusal::Bad("a session's name has 32 hexadecimal digits"))?,
            ),
            None => {
                return Err(Refusal::NotFound("there are /v1/gateways, /v1/sessions and /v1/sessions/<id>"));
            }
        },
    };
    let wanted = if matches!(question, Question::End(_)) { Method::DELETE } else { Method::GET };
    if *method == wanted { Ok(question) } else { Err(Refusal::Method) }
}

fn department(query: &str) -> Result<Option<DepartmentCode>, Refusal> {
    let mut code = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some(("department", value)) = pair.split_once('=') else {
            return Err(Refusal::Bad("the only parameter is department=<code>"));
        };
        code = Some(value.parse().map_err(|_| Refusal::Bad("department: that is no department code"))?);
    }
    Ok(code)
}

fn token(headers: &HeaderMap) -> Result<String, Refusal> {
    let wanted = "send `Authorization: Bearer <token>`, for example of `kubectl create token`";
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, token) = value.and_then(|value| value.split_once(' ')).ok_or(Refusal::Unknown(wanted))?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.len() > TOKEN_MAX {
        return Err(Refusal::Unknown(wanted));
    }
    Ok(token.to_owned())
}

fn refused(refusal: &Refusal) -> Response<Full<Bytes>> {
    json(refusal.status(), &json!({"error": refusal.message()}))
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &Method, uri: &str) -> Result<Question, StatusCode> {
        question(method, &uri.parse().unwrap()).map_err(|refusal| refusal.status())
    }

    #[test]
    fn addresses_are_understood_or_refused() {
        let (get, delete) = (Method::GET, Method::DELETE);
        assert_eq!(asked(&get, "/v1/gateways"), Ok(Question::Gateways));
        assert_eq!(asked(&get, "/v1/sessions"), Ok(Question::Sessions(None)));
        let sbj = "sbj".parse().unwrap();
        assert_eq!(asked(&get, "/v1/sessions?department=sbj"), Ok(Question::Sessions(Some(sbj))));
        let id = "000102030405060708090a0b0c0d0e0f";
        let uri = format!("/v1/sessions/{id}");
        let Ok(Question::End(found)) = asked(&delete, &uri) else { panic!("{uri}") };
        assert_eq!(found.to_string(), id);

        assert_eq!(asked(&get, &uri), Err(StatusCode::METHOD_NOT_ALLOWED));
        assert_eq!(asked(&delete, "/v1/gateways"), Err(StatusCode::METHOD_NOT_ALLOWED));
        assert_eq!(asked(&get, "/v1/other"), Err(StatusCode::NOT_FOUND));
        for bad in ["/v1/sessions?department=SBJ", "/v1/sessions?user=x", "/v1/sessions?department"] {
            assert_eq!(asked(&get, bad), Err(StatusCode::BAD_REQUEST), "{bad}");
        }
        for bad in ["/v1/sessions/", "/v1/sessions/+0000102030405060708090a0b0c0d0e0", "/v1/sessions/x"] {
            assert_eq!(asked(&delete, bad), Err(StatusCode::BAD_REQUEST), "{bad}");
        }
    }

    #[test]
    fn whoever_may_not_end_a_session_does_not_learn_whose_it_is() {
        let said = |place: &str| {
            Refusal::Forbidden(format!("may not, {place}")).without_place().message().to_owned()
        };
        assert_eq!(said("in dept-sbj"), said("in every namespace"));
        assert!(!said("in dept-sbj").contains("sbj"));
    }

    #[test]
    fn only_a_bearer_token_says_who_asks() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            token(&headers).ok()
        };
        assert_eq!(of("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(of("bearer  abc ").as_deref(), Some("abc"));
        for bad in ["abc", "Basic abc", "Bearer ", &format!("Bearer {}", "x".repeat(TOKEN_MAX + 1))] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert!(token(&HeaderMap::new()).is_err());
    }
}
