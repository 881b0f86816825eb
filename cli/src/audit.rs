//! `tidegate audit verify`.

use anyhow::{Result, bail};
use serde_json::json;
use tidegate_store::audit::{self, Stream};

use crate::args::{AuditArgs, AuditCommand, Format};
use crate::output::{self, Exit};

/// Checks every stream in a folder.
pub(crate) fn run(args: &AuditArgs) -> Result<Exit> {
    let AuditCommand::Verify { dir, output } = &args.command;
    let streams = audit::verify(dir)?;
    if streams.is_empty() {
        bail!("{} holds no audit files; name STATE/audit", dir.display());
    }
    let whole = streams.iter().all(|stream| stream.broken.is_none());
    match output {
        Format::Text => streams.iter().for_each(print),
        Format::Json => {
            let streams: Vec<_> = streams.iter().map(value).collect();
            output::json(&json!({"whole": whole, "streams": streams}));
        }
    }
    Ok(if whole { Exit::Done } else { Exit::No })
}

fn print(stream: &Stream) {
    let Stream { name, files, first, records, head, lost, unfinished, broken } = stream;
    output::line(&format!("{name}: {records} records in {files} files, from number {first}"));
    if *lost > 0 {
        output::line(&format!("  {lost} records were lost and are told as such"));
    }
    if *unfinished {
        output::line("  the last line is unfinished: it is being written, or the process died at it");
    }
    match broken {
        None => output::line(&format!("  the chain is whole; head {head}")),
        Some(broken) => {
            output::line(&format!("  BROKEN at {}:{}: {}", broken.file, broken.line, broken.why));
            output::line(&format!("  whole up to there; head {head}"));
        }
    }
}

fn value(stream: &Stream) -> serde_json::Value {
    let broken = stream.broken.as_ref().map(|b| json!({"file": b.file, "line": b.line, "why": b.why}));
    json!({
        "stream": stream.name,
        "files": stream.files,
        "first": stream.first,
        "records": stream.records,
        "lost": stream.lost,
        "unfinished": stream.unfinished,
        "head": stream.head,
        "broken": broken,
    })
}
