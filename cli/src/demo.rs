//! `tidegate demo`: `up` with an example city, its business systems, and a card that says what to do.

mod card;
mod download;
mod folder;
mod page;
mod systems;
mod websocket;

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use tidegate_controller::ControllerEvent;

use crate::args::{DemoArgs, Format};
use crate::events;
use crate::output::{self, Exit};
use crate::serve::{self, Serving, Setup, Signals};
use card::Ready;
use folder::Folder;
use systems::Slot;

/// The name in the demo's addresses; every machine resolves it, and what lies below it, to itself.
const HOST: &str = "localhost";

/// Runs the demo until it is told to end.
pub(crate) fn run(args: DemoArgs) -> Result<Exit> {
    serve::runtime()?.block_on(demo(args))
}

async fn demo(args: DemoArgs) -> Result<Exit> {
    // First of all: from here on a signal ends the demo in order, and the folder goes with it.
    let mut signals = Signals::listen()?;
    let folder = Folder::make(args.keep)?;
    let slot = Slot::take().await?;
    let setup = Setup {
        dir: folder.manifests(),
        state: folder.state(),
        listen: SocketAddr::from(([127, 0, 0, 1], args.port)),
        metrics_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        host: HOST.into(),
        dial_map: Some(slot.dial_map().parse()?),
        // Nobody's work is lost here, and whoever pressed Ctrl-C is waiting.
        drain_s: 1,
    };
    let mut serving = Serving::start(setup, problems)
        .await
        .context("the demo cannot start (`--port 0` takes any free port)")?;
    let systems = tokio::spawn(systems::serve(slot, serving.views()));
    let shown = show(&args, &folder, &serving);
    if shown.is_ok() {
        tell(&args, &mut serving, &mut signals).await;
    }
    serving.stop().await;
    systems.abort();
    if args.keep {
        eprintln!("tidegate: state and manifests are kept in {}", folder.root().display());
    }
    shown.map(|()| Exit::Done)
}

/// The example is right, so anything refused in it is worth knowing, but not on standard output.
fn problems(event: &ControllerEvent) {
    if let ControllerEvent::Refused(problem) = event {
        tracing::error!(code = problem.code, origin = problem.origin, "{}", problem.message);
    }
}

/// Prints the card, or the object.
fn show(args: &DemoArgs, folder: &Folder, serving: &Serving) -> Result<()> {
    let snapshot = serving.views().borrow().snapshot.clone().context("nothing was published")?;
    let ready = Ready {
        address: serving.address(),
        ca: serving.ca().display().to_string(),
        state: folder.state().display().to_string(),
        users: card::users(&snapshot, &serving.state().activation_directory(), serve::now()),
        resources: card::systems(&snapshot, &serving.authority_of_url()),
        pin: serving.pin().to_owned(),
        network_resources: card::network_systems(&snapshot),
    };
    match args.output {
        Format::Text => output::line(&card::card(&ready, folder)),
        Format::Json => output::json(&ready),
    }
    Ok(())
}

/// Tells people what their edits do, until the demo is to end.
async fn tell(args: &DemoArgs, serving: &mut Serving, signals: &mut Signals) {
    loop {
        let event = tokio::select! {
            event = serving.event() => event,
            () = signals.ended() => return,
        };
        match (event, args.output) {
            (None, _) => return signals.ended().await,
            (Some(event), Format::Text) => events::controller(&event, Format::Text),
            // Programs were promised one object.
            (Some(_), Format::Json) => {}
        }
    }
}
