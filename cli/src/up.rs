//! `tidegate up`: a folder of manifests in, a gateway out.

use anyhow::Result;
use tidegate_controller::State;

use crate::args::UpArgs;
use crate::events::{self, OwnEvent};
use crate::output::Exit;
use crate::serve::{self, Serving, Setup, Signals};

/// Seconds that requests under way are waited for at the end.
const DRAIN_S: u32 = 10;

/// Serves a folder until it is told to end.
pub(crate) fn run(args: UpArgs) -> Result<Exit> {
    serve::runtime()?.block_on(up(args))
}

async fn up(args: UpArgs) -> Result<Exit> {
    let mut signals = Signals::listen()?;
    let state = match args.state {
        Some(state) => state,
        None => State::default_path(&args.dir)?,
    };
    let setup = Setup {
        dir: args.dir,
        state,
        listen: args.listen,
        metrics_listen: args.metrics_listen,
        host: args.host,
        dial_map: args.dial_map,
        drain_s: DRAIN_S,
    };
    let mut serving = Serving::start(setup, |event| events::controller(event, args.output)).await?;
    let serves = OwnEvent::Serving {
        address: serving.address(),
        ca: serving.ca().display().to_string(),
        pin: serving.pin().to_owned(),
        state: serving.state().root().display().to_string(),
        metrics: serving.metrics_address(),
    };
    events::own(&serves, args.output);
    loop {
        tokio::select! {
            Some(event) = serving.event() => events::controller(&event, args.output),
            () = signals.ended() => break,
        }
    }
    serving.stop().await;
    events::own(&OwnEvent::Stopped, args.output);
    Ok(Exit::Done)
}
