//! The way to etcd: connections, deadlines, one more try, what errors mean.

use std::future::Future;
use std::time::Duration;

use etcd_client::{
    Certificate, Client, Compare, ConnectOptions, Error, GetOptions, GetResponse, Identity, Txn, TxnOp,
    TxnOpResponse, TxnResponse,
};

use super::keys::end_of;
use super::{EtcdIdentity, EtcdTls};
use crate::{StoreError, StoreResult};

/// One try; two of them fit into [`crate::CALL_DEADLINE`]. Everything asked here may be asked twice.
const TRY: Duration = Duration::from_millis(2_300);
const TRIES: usize = 2;
/// A connection that answers no ping for the second of these after the first is dead.
const PING: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(2));
const CONNECT: Duration = Duration::from_secs(2);
/// Bytes of one answer. A page of manifests is the largest.
const ANSWER: usize = 64 * 1024 * 1024;
/// Bytes of one request; etcd itself takes 1.5 MiB.
const REQUEST: usize = 2 * 1024 * 1024;
/// Keys of one page of a list.
const PAGE: i64 = 500;
/// Keys of a list; more is not a store of ours.
const LIST_MAX: usize = 2_000_000;
/// etcd below these lets one who may read one key watch all later ones (GHSA-xg4h-6gfc-h4m8).
const FLOOR: [(u32, u32, u32); 3] = [(3, 5, 33), (3, 6, 14), (3, 7, 1)];

/// A key, its value and when it was written.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) key: String,
    pub(super) value: Vec<u8>,
    pub(super) revision: i64,
}

impl Stored {
    fn of(kv: &etcd_client::KeyValue) -> Option<Self> {
        let key = std::str::from_utf8(kv.key()).ok()?.to_owned();
        Some(Self { key, value: kv.value().to_vec(), revision: kv.mod_revision() })
    }
}

/// An answer to a transaction.
pub(super) struct Answer {
    pub(super) succeeded: bool,
    pub(super) revision: i64,
    /// What its `get` operations found, in their order.
    pub(super) found: Vec<Vec<Stored>>,
}

/// Every member at once; the channel takes one that answers.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) client: Client,
}

impl Link {
    /// A link to these members. Nothing is sent yet.
    pub(super) async fn new(endpoints: &[String], tls: Option<&EtcdTls>) -> StoreResult<Self> {
        if endpoints.is_empty() {
            return Err(StoreError::Refused("no address of etcd is given".into()));
        }
        let mut options = ConnectOptions::new()
            .with_keep_alive(PING.0, PING.1)
            .with_keep_alive_while_idle(true)
            .with_connect_timeout(CONNECT)
            .with_require_leader(true);
        if let Some(tls) = tls {
            options = options.with_tls(
                etcd_client::TlsOptions::new()
                    .ca_certificate(Certificate::from_pem(&tls.ca))
                    .identity(Identity::from_pem(&tls.certificate, &tls.key)),
            );
        }
        let client = Client::connect(endpoints, Some(options)).await;
        Ok(Self { client: client.map_err(|error| StoreError::Refused(error.to_string()))? })
    }

    /// Asks, and once more when there is no answer in time.
    pub(super) async fn ask<T, F>(&self, mut ask: impl FnMut(Client) -> F) -> StoreResult<T>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut last = StoreError::Unavailable("no answer in time".into());
        for _ in 0..TRIES {
            match tokio::time::timeout(TRY, ask(self.client.clone())).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => {
                    last = failed(&error);
                    if !matches!(last, StoreError::Unavailable(_)) {
                        break;
                    }
                }
                Err(_) => last = StoreError::Unavailable("no answer in time".into()),
            }
        }
        Err(last)
    }

    async fn range(&self, key: impl AsRef<[u8]>, options: GetOptions) -> StoreResult<GetResponse> {
        self.ask(|client| {
            let (key, options) = (key.as_ref().to_vec(), options.clone());
            async move { client.kv_client().max_decoding_message_size(ANSWER).get(key, Some(options)).await }
        })
        .await
    }

    /// One key.
    pub(super) async fn get(&self, key: &str) -> StoreResult<Option<Stored>> {
        Ok(self.range(key, GetOptions::new()).await?.kvs().first().and_then(Stored::of))
    }

    /// One key, and which store said so at which revision: a linearizable read.
    pub(super) async fn look(&self, key: &str) -> StoreResult<(EtcdIdentity, Option<Stored>)> {
        let answer = self.range(key, GetOptions::new()).await?;
        let header = answer.header().ok_or_else(|| StoreError::Unavailable("an empty answer".into()))?;
        let identity = EtcdIdentity { cluster: header.cluster_id(), revision: header.revision() };
        Ok((identity, answer.kvs().first().and_then(Stored::of)))
    }

    /// How many keys begin with a prefix.
    pub(super) async fn count(&self, prefix: &str) -> StoreResult<usize> {
        let options = GetOptions::new().with_range(end_of(prefix)).with_count_only();
        Ok(usize::try_from(self.range(prefix, options).await?.count()).unwrap_or(usize::MAX))
    }

    /// The first key of a prefix.
    pub(super) async fn first(&self, prefix: &str) -> StoreResult<Option<Stored>> {
        let options = GetOptions::new().with_range(end_of(prefix)).with_limit(1);
        Ok(self.range(prefix, options).await?.kvs().first().and_then(Stored::of))
    }

    /// Everything from `from` to before `end`, in pages, as of one revision (0: the newest).
    pub(super) async fn list(
        &self,
        from: &str,
        end: Vec<u8>,
        revision: i64,
        keys_only: bool,
    ) -> StoreResult<Vec<Stored>> {
        let (mut from, mut revision) = (from.as_bytes().to_vec(), revision);
        let (mut all, mut seen) = (Vec::new(), 0);
        loop {
            let mut options =
                GetOptions::new().with_range(end.clone()).with_limit(PAGE).with_revision(revision);
            if keys_only {
                options = options.with_keys_only();
            }
            let page = self.range(&from, options).await?;
            if let (0, Some(header)) = (revision, page.header()) {
                revision = header.revision();
            }
            all.extend(page.kvs().iter().filter_map(Stored::of));
            // Also past keys that are not ours: they must not keep us on their page.
            let Some(last) = page.kvs().last().filter(|_| page.more()) else { return Ok(all) };
            seen += page.kvs().len();
            if seen >= LIST_MAX {
                return Err(StoreError::Full { what: "keys in a list", most: LIST_MAX });
            }
            from = [last.key(), b"\0"].concat();
        }
    }

    /// One atomic step.
    pub(super) async fn step(
        &self,
        when: Vec<Compare>,
        then: Vec<TxnOp>,
        otherwise: Vec<TxnOp>,
    ) -> StoreResult<Answer> {
        let txn = Txn::new().when(when).and_then(then).or_else(otherwise);
        let answer = self
            .ask(|client| {
                let txn = txn.clone();
                let mut kv =
                    client.kv_client().max_decoding_message_size(ANSWER).max_encoding_message_size(REQUEST);
                async move { kv.txn(txn).await }
            })
            .await?;
        Ok(read(&answer))
    }
}

fn read(answer: &TxnResponse) -> Answer {
    let found = answer
        .op_responses()
        .into_iter()
        .filter_map(|response| match response {
            TxnOpResponse::Get(get) => Some(get.kvs().iter().filter_map(Stored::of).collect()),
            _ => None,
        })
        .collect();
    let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
    Answer { succeeded: answer.succeeded(), revision, found }
}

/// What an error of the client means. What we do not know is an outage.
pub(super) fn failed(error: &Error) -> StoreError {
    const NOT_FOUND: i32 = 5;
    const PERMISSION_DENIED: i32 = 7;
    const RESOURCE_EXHAUSTED: i32 = 8;
    const UNAUTHENTICATED: i32 = 16;
    match error {
        Error::GRpcStatus(status) => match status.code() as i32 {
            RESOURCE_EXHAUSTED => StoreError::Medium(status.message().into()),
            NOT_FOUND | PERMISSION_DENIED | UNAUTHENTICATED => StoreError::Refused(status.message().into()),
            _ => StoreError::Unavailable(status.message().into()),
        },
        // The client's own word for a lease that ran out.
        Error::LeaseKeepAliveError(why) if why.contains("lease not found") => {
            StoreError::Refused(why.clone())
        }
        Error::InvalidArgs(_) | Error::InvalidUri(_) => StoreError::Refused(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// Refuses members whose watch tells more than it may. A member that is away proves nothing.
pub(super) async fn check_versions(endpoints: &[String], tls: Option<&EtcdTls>) -> StoreResult<()> {
    let mut asked = tokio::task::JoinSet::new();
    for endpoint in endpoints {
        let (endpoint, tls) = (endpoint.clone(), tls.cloned());
        asked.spawn(async move {
            let link = Link::new(std::slice::from_ref(&endpoint), tls.as_ref()).await?;
            let answer = tokio::time::timeout(TRY, link.client.maintenance_client().status()).await;
            match answer {
                Ok(Ok(status)) => Ok(Some((endpoint, status.version().to_owned()))),
                Ok(Err(error)) => match failed(&error) {
                    StoreError::Unavailable(_) => Ok(None),
                    other => Err(other),
                },
                Err(_) => Ok(None),
            }
        });
    }
    while let Some(joined) = asked.join_next().await {
        if let Some((endpoint, version)) = joined.unwrap_or(Ok(None))?
            && !new_enough(&version)
        {
            let why = format!("{endpoint} runs etcd {version}; at least 3.5.33, 3.6.14 or 3.7.1 is needed");
            return Err(StoreError::Refused(why));
        }
    }
    Ok(())
}

fn new_enough(version: &str) -> bool {
    let plain = version.split(['-', '+']).next().unwrap_or_default();
    let mut numbers = plain.split('.').map(|number| number.parse::<u32>().ok());
    let (Some(Some(major)), Some(Some(minor)), Some(Some(patch))) =
        (numbers.next(), numbers.next(), numbers.next())
    else {
        return false;
    };
    let newest = FLOOR.iter().map(|(major, minor, _)| (*major, *minor)).max();
    FLOOR.iter().any(|(a, b, floor)| (*a, *b) == (major, minor) && patch >= *floor)
        || newest.is_some_and(|newest| (major, minor) > newest)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_floor_holds_for_each_line() {
        for (version, good) in [
            ("3.5.32", false),
            ("3.5.33", true),
            ("3.6.13", false),
            ("3.6.14", true),
            ("3.7.0", false),
            ("3.7.1", true),
            ("3.8.0-alpha.1", true),
            ("3.4.99", false),
            ("4.0.0", true),
            ("", false),
            ("3.6", false),
        ] {
            assert_eq!(super::new_enough(version), good, "{version}");
        }
    }
}
