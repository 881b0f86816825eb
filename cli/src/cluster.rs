//! The API server as people's tools talk to it: kubectl's conventions, a deadline on every call, and errors
//! that say what to do.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube_client::api::PostParams;
use kube_client::config::{KubeConfigOptions, Kubeconfig};
use kube_client::core::Status;
use kube_client::{Api, Client, Config, Error};
use secrecy::ExposeSecret as _;

/// How long one call may take.
const CALL: Duration = Duration::from_secs(15);

/// Which cluster is meant and who asks, as kubectl's flags say it.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterArgs {
    /// The kubeconfig [default: $KUBECONFIG, then ~/.kube/config]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) kubeconfig: Option<std::path::PathBuf>,
    /// The context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) context: Option<String>,
    /// The namespace [default: the context's]
    #[arg(short, long, value_name = "NAME", global = true)]
    pub(crate) namespace: Option<String>,
    /// The user to act as, if you may impersonate them
    #[arg(long = "as", value_name = "USER", global = true)]
    pub(crate) act_as: Option<String>,
    /// A group to act as; may be given several times
    #[arg(long = "as-group", value_name = "GROUP", global = true)]
    pub(crate) act_as_group: Vec<String>,
}

/// A connection to one API server.
#[derive(Clone)]
pub(crate) struct Cluster {
    /// Speaks to it; every use goes through [`call`].
    pub(crate) client: Client,
    /// The namespace that is meant when none is named.
    pub(crate) namespace: String,
    /// Where it is.
    pub(crate) address: String,
    /// The caller's bearer token, if the kubeconfig has one as it is.
    pub(crate) token: Option<String>,
}

impl Cluster {
    /// Finds the kubeconfig and makes a client of it; nothing is asked yet.
    pub(crate) async fn connect(args: &ClusterArgs) -> Result<Self> {
        let mut config = configuration(args).await?;
        if let Some(user) = &args.act_as {
            config.auth_info.impersonate = Some(user.clone());
        }
        if !args.act_as_group.is_empty() {
            if config.auth_info.impersonate.is_none() {
                return Err(anyhow!("--as-group needs --as: name the user, too"));
            }
            config.auth_info.impersonate_groups = Some(args.act_as_group.clone());
        }
        // A tool that people wait for says at once that nobody answers.
        config.connect_timeout = Some(CALL);
        config.read_timeout = Some(CALL);
        config.default_retry = false;
        let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let address = config.cluster_url.to_string();
        let token = bearer(&config);
        let client = Client::try_from(config).context("the kubeconfig cannot be used")?;
        Ok(Self { client, namespace, address, token })
    }

    /// The user name the API server knows the caller by.
    pub(crate) async fn who_am_i(&self) -> Result<String> {
        let reviews: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let review = call(reviews.create(&PostParams::default(), &SelfSubjectReview::default())).await;
        let review = review.map_err(|failure| failure.explained(&self.address))?;
        let name = review.status.and_then(|status| status.user_info).and_then(|user| user.username);
        name.context("the API server does not say who you are")
    }
}

fn bearer(config: &Config) -> Option<String> {
    let own = config.auth_info.token.as_ref().map(|token| token.expose_secret().to_owned());
    let file = || std::fs::read_to_string(config.auth_info.token_file.as_ref()?).ok();
    own.or_else(file).map(|token| token.trim().to_owned()).filter(|token| !token.is_empty())
}

async fn configuration(args: &ClusterArgs) -> Result<Config> {
    let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    let hint = "cannot use the kubeconfig; try `kubectl config view`, or name another with --kubeconfig";
    match &args.kubeconfig {
        Some(file) => {
            let kubeconfig = Kubeconfig::read_from(file).context(hint)?;
            Config::from_custom_kubeconfig(kubeconfig, &options).await.context(hint)
        }
        None if args.context.is_some() => Config::from_kubeconfig(&options).await.context(hint),
        // In a pod there is none; its service account speaks then.
        None => Config::infer().await.context(hint),
    }
}

/// Why a call brought nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The API server said no.
    Refused(Box<Status>),
    /// It was not reached, or did not answer in time or in its own language.
    Unreachable(String),
}

impl Failure {
    /// Whether there is no such object (or no such kind).
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(status) if status.code == 404)
    }

    /// Whether the caller may not do that.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused(status) if status.code == 403)
    }

    /// Whether somebody else wrote meanwhile.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused(status) if status.code == 409)
    }

    /// In a sentence or two, with what to do.
    pub(crate) fn explained(&self, address: &str) -> anyhow::Error {
        match self {
            Self::Unreachable(why) => anyhow!(
                "the API server at {address} cannot be reached: {why}; \
                 see whether `kubectl version` reaches it with the same kubeconfig"
            ),
            Self::Refused(status) => anyhow!(refusal(status)),
        }
    }
}

/// What the API server refused, in the words of whoever refused it.
fn refusal(status: &Status) -> String {
    if let Some(rule) = rule(status) {
        let code: String = rule.chars().take_while(|letter| !letter.is_whitespace()).collect();
        return format!("{rule} (docs/reference/codes/{code}.md)");
    }
    let message = status.message.trim();
    match status.code {
        401 => "the API server does not know you: log in to the cluster again".to_owned(),
        403 => format!("{message}; `kubectl auth can-i --list` shows what you may do here"),
        404 if message.contains("could not find the requested resource") => {
            "the cluster does not know this kind; `tidegate check` says what is missing".to_owned()
        }
        _ => message.to_owned(),
    }
}

/// The sentence of our own rule or admission policy, if one of them refused: it begins with its code.
pub(crate) fn rule(status: &Status) -> Option<&str> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let texts = causes.map(|cause| cause.message.as_str()).chain([status.message.as_str()]);
    texts.filter_map(|text| text.get(text.find("TG-")?..)).map(str::trim).next()
}

/// Makes one call, within the deadline.
pub(crate) async fn call<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    match tokio::time::timeout(CALL, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Error::Api(status))) => Err(Failure::Refused(status)),
        Ok(Err(error)) => Err(Failure::Unreachable(causes(&error))),
        Err(_) => Err(Failure::Unreachable(format!("no answer within {} s", CALL.as_secs()))),
    }
}

/// An error and what is below it, each thing said once.
fn causes(error: &dyn std::error::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        // Many errors repeat the one below them.
        said.retain(|earlier| !earlier.contains(&text));
        said.push(text);
        next = error.source();
    }
    said.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_own_words_are_found_in_what_the_api_server_wraps_around_them() {
        let said = "vpnusers.tidegate.dev \"li-qiang\" is forbidden: ValidatingAdmissionPolicy 'four-eyes' with \
                    binding 'four-eyes' denied request: TG-6007 the approver also asked; somebody else has to";
        let status = Status { code: 403, message: said.to_owned(), ..Status::default() };
        let text = refusal(&status);
        assert_eq!(
            text,
            "TG-6007 the approver also asked; somebody else has to (docs/reference/codes/TG-6007.md)"
        );
    }

    #[test]
    fn what_is_said_below_is_said_once() {
        let inner = std::io::Error::other("connection refused");
        let outer = anyhow!(inner).context("cannot connect: connection refused");
        assert_eq!(causes(outer.as_ref()), "connection refused");
    }
}
