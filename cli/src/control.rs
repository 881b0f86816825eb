//! `STATE/control.sock`: questions to a running `up`, from whoever owns the state.
//!
//! One line of JSON in, one out: the admin API (docs/reference/admin-api.md) without its HTTP. The socket is
//! its owner's alone, as everything in the state is.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use tidegate_controller::admin::{self, Pools};
use tidegate_store::{Embedded, Store as _};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::{explain, serve};

/// Questions answered at a time.
const QUESTIONS_MAX: usize = 4;
/// Bytes of a question.
const QUESTION_BYTES_MAX: u64 = 4 * 1024;
/// Bytes of an answer: as many sessions as the admin API gives, and some.
const ANSWER_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How long a question may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// The only pool there is in one process.
const POOL: &str = "main";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Question {
    /// May this account reach this resource?
    Explain { account: String, resource: String },
    /// What do the gateways report?
    Gateways,
    /// Who has a session, in one department or in all?
    Sessions { department: Option<String> },
    /// End this session.
    End { session: String },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Answer {
    /// Yes or no, and why.
    Explanation(serde_json::Value),
    /// What the gateways report.
    Gateways(Vec<admin::Gateway>),
    /// Who has a session.
    Sessions(admin::Sessions),
    /// The session that was ended.
    Ended(String),
    /// It cannot be said.
    Error(String),
}

/// Answers questions until it is dropped; without a socket the rest goes on.
pub(crate) async fn serve(socket: PathBuf, store: Embedded) {
    // A socket an earlier process left answers nobody; the state's lock says that it is not alive.
    let _ = std::fs::remove_file(&socket);
    let owner_alone = std::fs::Permissions::from_mode(0o600);
    let listener = UnixListener::bind(&socket)
        .and_then(|listener| std::fs::set_permissions(&socket, owner_alone).map(|()| listener));
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => return tracing::warn!(%error, "there is no control socket"),
    };
    let places = Arc::new(Semaphore::new(QUESTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (store, state) = (store.clone(), socket.parent().map(Path::to_owned));
                tokio::spawn(async move {
                    // Whoever asked and went away needs no answer.
                    let _ = tokio::time::timeout(DEADLINE, answer(stream, store, state)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, store: Embedded, state: Option<PathBuf>) -> std::io::Result<()> {
    let (from, mut to) = stream.into_split();
    let mut line = String::new();
    BufReader::new(from.take(QUESTION_BYTES_MAX)).read_line(&mut line).await?;
    let answer = match answer_line(&line, store, state).await {
        Ok(answer) => answer,
        Err(error) => Answer::Error(format!("{error:#}")),
    };
    let mut text = serde_json::to_string(&answer).map_err(std::io::Error::other)?;
    text.push('\n');
    to.write_all(text.as_bytes()).await
}

async fn answer_line(line: &str, store: Embedded, state: Option<PathBuf>) -> Result<Answer> {
    let snapshot = store.subscribe().borrow().snapshot.clone();
    let pools: Pools<Embedded> = [(POOL.to_owned(), store)].into();
    Ok(match serde_json::from_str(line)? {
        Question::Explain { account, resource } => {
            // The decision has an engine of its own and may take a moment.
            let explained = tokio::task::spawn_blocking(move || {
                let snapshot = snapshot.context("nothing is published")?;
                let question = explain::ask(&account, &resource)?;
                let explanation = explain::explain(&snapshot, &question, state.as_deref())?;
                anyhow::Ok(serde_json::to_value(explanation)?)
            });
            Answer::Explanation(explained.await??)
        }
        Question::Gateways => Answer::Gateways(admin::gateways(&pools, serve::now()).await?),
        Question::Sessions { department } => {
            let department = department.map(|code| code.parse()).transpose()?;
            Answer::Sessions(admin::sessions(&pools, department.as_ref()).await?)
        }
        Question::End { session } => {
            let id = admin::session_id(&session).context("a session's name has 32 hexadecimal digits")?;
            let found = admin::find(&pools, id).await?.context("the gateway does not report this session")?;
            admin::end(&pools, &found).await?;
            Answer::Ended(session)
        }
    })
}

/// Asks a running `up` for a decision; `None` when none answers at this socket.
pub(crate) async fn explanation(
    socket: &Path,
    account: &str,
    resource: &str,
) -> Result<Option<serde_json::Value>> {
    let question = Question::Explain { account: account.into(), resource: resource.into() };
    match ask(socket, &question).await? {
        Some(Answer::Explanation(value)) => Ok(Some(value)),
        other => unexpected(other),
    }
}

/// Asks a running `up` for what its gateway reports; `None` when none answers at this socket.
pub(crate) async fn gateways(socket: &Path) -> Result<Option<Vec<admin::Gateway>>> {
    match ask(socket, &Question::Gateways).await? {
        Some(Answer::Gateways(gateways)) => Ok(Some(gateways)),
        other => unexpected(other),
    }
}

/// Asks a running `up` who has a session; `None` when none answers at this socket.
pub(crate) async fn sessions(socket: &Path, department: Option<&str>) -> Result<Option<admin::Sessions>> {
    match ask(socket, &Question::Sessions { department: department.map(str::to_owned) }).await? {
        Some(Answer::Sessions(sessions)) => Ok(Some(sessions)),
        other => unexpected(other),
    }
}

/// Has a running `up` end a session; `None` when none answers at this socket.
pub(crate) async fn end(socket: &Path, session: &str) -> Result<Option<()>> {
    match ask(socket, &Question::End { session: session.to_owned() }).await? {
        Some(Answer::Ended(_)) => Ok(Some(())),
        other => unexpected(other),
    }
}

async fn ask(socket: &Path, question: &Question) -> Result<Option<Answer>> {
    let Ok(mut stream) = UnixStream::connect(socket).await else { return Ok(None) };
    let ask = async {
        stream.write_all(format!("{}\n", serde_json::to_string(question)?).as_bytes()).await?;
        let mut text = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text).await?;
        anyhow::Ok(serde_json::from_str(&text)?)
    };
    tokio::time::timeout(DEADLINE, ask).await.context("no answer in time")?.map(Some)
}

fn unexpected<T>(answer: Option<Answer>) -> Result<Option<T>> {
    match answer {
        None => Ok(None),
        Some(Answer::Error(why)) => bail!("{why}"),
        Some(_) => bail!("the answer is another question's; is it an older `up`?"),
    }
}
