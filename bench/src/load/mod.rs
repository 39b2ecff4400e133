//! The load process: reads a plan, connects its sessions, sends at due times, counts what arrives. It speaks with the orchestrator
//! over its standard input and output ([`crate::control`]) and measures nothing about the server's process.
//!
//! What is particular to a protocol is in `session` and `receiver` (Starling's own), `websocket`, `broker`, `floor` and `inserts` (others); the clock, the
//! pacer, the counters and the crew serve any.

pub mod aside;
pub mod broker;
mod crew;
pub mod dial;
pub mod dialer;
pub mod floor;
pub mod inserts;
pub mod meter;
pub mod mqtt;
pub mod nats;
pub mod pacer;
pub mod quic;
pub mod receiver;
pub mod session;
pub mod stamp;
pub mod tally;
pub mod websocket;
pub mod wire;
pub mod worker;

use crate::control::{GO, LoadResult, Plan, Protocol, Said};
use crate::error::BenchError;
use crate::floor::aead;
use crew::Crew;
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::Instant;

/// Runs the load process.
///
/// # Errors
///
/// [`BenchError::Io`] where the orchestrator is gone, [`BenchError::Load`] where the plan cannot be carried out; that was also said.
pub fn run(input: &mut impl BufRead, output: &mut impl Write) -> Result<(), BenchError> {
    let outcome = carry_out(input, output);
    if let Err(BenchError::Load(why)) = &outcome {
        say(output, &Said::Failed { why: why.clone() })?;
    }
    outcome
}

fn say(output: &mut impl Write, said: &Said) -> Result<(), BenchError> {
    let line = serde_json::to_string(said).map_err(|error| BenchError::Load(error.to_string()))?;
    writeln!(output, "{line}").and_then(|()| output.flush()).map_err(BenchError::io("speaking to the orchestrator"))
}

fn hear(input: &mut impl BufRead) -> Result<String, BenchError> {
    let mut line = String::new();
    input.read_line(&mut line).map_err(BenchError::io("hearing the orchestrator"))?;
    Ok(line)
}

fn carry_out(input: &mut impl BufRead, output: &mut impl Write) -> Result<(), BenchError> {
    let plan: Plan = serde_json::from_str(&hear(input)?).map_err(|error| BenchError::Load(format!("the plan: {error}")))?;
    plan.scenario.check()?;
    let wanted = plan.scenario.sessions() as usize;
    if plan.sessions.len() != wanted {
        return Err(BenchError::Load(format!("the plan has {} sessions instead of {wanted}", plan.sessions.len())));
    }
    if plan.protocol.alone().is_some() {
        say(output, &Said::Connected { took_ms: 0 })?;
        if hear(input)?.trim() != GO {
            return Ok(());
        }
        let mut say_so = |said| say(output, &said);
        let result = match &plan.protocol {
            Protocol::Inserts { .. } => inserts::work(&plan, &mut say_so)?,
            _ => aead::work(&plan.scenario, &mut say_so)?,
        };
        return finish(input, output, result);
    }
    let started = Instant::now();
    let crew = Crew::hire(Arc::new(plan))?;
    say(output, &Said::Connected { took_ms: started.elapsed().as_millis() as u64 })?;
    if hear(input)?.trim() != GO {
        return Ok(());
    }
    let result = crew.work(|said| say(output, &said))?;
    finish(input, output, result)
}

/// Says the result, and stays until the orchestrator has nothing more to say: it samples this process up to then.
fn finish(input: &mut impl BufRead, output: &mut impl Write, result: LoadResult) -> Result<(), BenchError> {
    say(output, &Said::Done(Box::new(result)))?;
    hear(input).map(|_end| ())
}
