//! What happens, as lines for people and for programs.

use serde::Serialize;
use tidegate_controller::{ControllerEvent, Problem};

use crate::args::Format;
use crate::output;

/// What the process itself has to say, beside the controller's events.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum OwnEvent {
    /// People can log in.
    Serving {
        /// Where.
        address: String,
        /// The certificate to trust.
        ca: String,
        /// What VPN clients know the gateway by.
        pin: String,
        /// Where the state lies.
        state: String,
        /// Where the metrics are.
        metrics: String,
    },
    /// The orderly end.
    Stopped,
}

/// Prints an event of our own.
pub(crate) fn own(event: &OwnEvent, format: Format) {
    match (format, event) {
        (Format::Json, event) => output::json(event),
        (Format::Text, OwnEvent::Serving { address, ca, pin, state, metrics }) => {
            output::line(&format!("serving    {address}"));
            output::line(&format!("           certificate to trust: {ca}"));
            output::line(&format!("           openconnect {address} --servercert {pin}"));
            output::line(&format!("           state {state}, metrics {metrics}"));
            output::line("           whoever can write the folder is trusted: approvals are not enforced");
        }
        (Format::Text, OwnEvent::Stopped) => output::line("stopped"),
    }
}

/// Prints an event of the controller.
pub(crate) fn controller(event: &ControllerEvent, format: Format) {
    match format {
        Format::Json => output::json(event),
        Format::Text => output::line(&text(event)),
    }
}

fn text(event: &ControllerEvent) -> String {
    match event {
        ControllerEvent::Ready { generation } => format!("ready      generation {generation}"),
        ControllerEvent::Accepted { object } => format!("accepted   {}", name(object)),
        ControllerEvent::Removed { object } => format!("removed    {}", name(object)),
        ControllerEvent::Refused(problem) => refused(problem),
        ControllerEvent::Published { generation, departments, platform } => {
            let platform = platform.then(|| "platform".to_owned());
            let what: Vec<String> = departments.iter().cloned().chain(platform).collect();
            format!("published  generation {generation}: {}", clean(&what.join(", ")))
        }
        ControllerEvent::CodeIssued { account } => format!("code       for {account}, in STATE/activation"),
        ControllerEvent::SessionsVoid { account } => format!("void       older sessions of {account}"),
        ControllerEvent::IntentSettled { account, action, refused } => match refused {
            None => format!("password   {account}: {action} done"),
            Some(code) => format!("password   {account}: {action} refused, {code}"),
        },
        ControllerEvent::WriteFailed { code, message } => format!("FAILED     {code}: {}", clean(message)),
    }
}

fn refused(problem: &Problem) -> String {
    let Problem { code, object, origin, message } = problem;
    let whose: Vec<&str> =
        [origin.as_str(), object.as_str()].into_iter().filter(|text| !text.is_empty()).collect();
    format!("REFUSED    {code} {}: {}", clean(&whose.join(" ")), clean(message))
}

fn name(object: &tidegate_controller::events::Object) -> String {
    let place = if object.namespace.is_empty() { String::new() } else { format!("{}/", object.namespace) };
    clean(&format!("{} {place}{}", object.kind, object.name))
}

/// A manifest's text must not be able to steer the terminal.
fn clean(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() && letter != '\n' { '\u{fffd}' } else { letter })
        .collect()
}
