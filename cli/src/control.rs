//! `STATE/control.sock`: questions to a running `up`, from whoever owns the state.
//!
//! One line of JSON in, one out. The socket is its owner's alone, as everything in the state is.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use tidegate_store::View;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use crate::explain;

/// Questions answered at a time.
const QUESTIONS_MAX: usize = 4;
/// Bytes of a question.
const QUESTION_BYTES_MAX: u64 = 4 * 1024;
/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 256 * 1024;
/// How long a question may take.
const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Question {
    /// May this account reach this resource?
    Explain { account: String, resource: String },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Answer {
    /// Yes or no, and why.
    Explanation(serde_json::Value),
    /// It cannot be said.
    Error(String),
}

/// Answers questions until it is dropped; without a socket the rest goes on.
pub(crate) async fn serve(socket: PathBuf, views: watch::Receiver<View>) {
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
                let (views, state) = (views.clone(), socket.parent().map(Path::to_owned));
                tokio::spawn(async move {
                    // Whoever asked and went away needs no answer.
                    let _ = tokio::time::timeout(DEADLINE, answer(stream, views, state)).await;
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

async fn answer(
    stream: UnixStream,
    views: watch::Receiver<View>,
    state: Option<PathBuf>,
) -> std::io::Result<()> {
    let (from, mut to) = stream.into_split();
    let mut line = String::new();
    BufReader::new(from.take(QUESTION_BYTES_MAX)).read_line(&mut line).await?;
    let snapshot = views.borrow().snapshot.clone();
    let explained = tokio::task::spawn_blocking(move || {
        let Question::Explain { account, resource } = serde_json::from_str(&line)?;
        let snapshot = snapshot.context("nothing is published")?;
        let explanation = explain::explain(&snapshot, &explain::ask(&account, &resource)?, state.as_deref())?;
        anyhow::Ok(serde_json::to_value(explanation)?)
    });
    let answer = match explained.await {
        Ok(Ok(value)) => Answer::Explanation(value),
        Ok(Err(error)) => Answer::Error(format!("{error:#}")),
        Err(error) => Answer::Error(error.to_string()),
    };
    let mut text = serde_json::to_string(&answer).map_err(std::io::Error::other)?;
    text.push('\n');
    to.write_all(text.as_bytes()).await
}

/// Asks a running `up`; `None` when none answers at this socket.
pub(crate) async fn explanation(
    socket: &Path,
    account: &str,
    resource: &str,
) -> Result<Option<serde_json::Value>> {
    let Ok(mut stream) = UnixStream::connect(socket).await else { return Ok(None) };
    let ask = async {
        let question = Question::Explain { account: account.into(), resource: resource.into() };
        stream.write_all(format!("{}\n", serde_json::to_string(&question)?).as_bytes()).await?;
        let mut text = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text).await?;
        anyhow::Ok(serde_json::from_str(&text)?)
    };
    match tokio::time::timeout(DEADLINE, ask).await.context("no answer in time")?? {
        Answer::Explanation(value) => Ok(Some(value)),
        Answer::Error(why) => bail!("{why}"),
    }
}
