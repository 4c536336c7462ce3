//! The page that Prometheus reads.

use std::{
    collections::BTreeMap,
    fmt,
    sync::atomic::AtomicU64,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::node_status::NodeStatus;
use crate::{
    chain::EndpointState,
    journal::{Journal, JournalError, Position, View},
    metrics::{Labels, blocks, wei},
};

type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;
type Counters = Family<Labels, Counter>;

/// Hours that the metrics of money are summed over; the present hour is the last of them.
const LEDGER_HOURS: u64 = 24;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("cannot write the metrics: {0}")]
    Text(#[from] fmt::Error),
}

/// All metrics, in the OpenMetrics text format.
pub(super) fn page<J: Journal>(status: &NodeStatus<J>) -> Result<String, PageError> {
    let labels = [("chain".into(), status.chain_id.to_string().into())];
    let mut registry = Registry::with_prefix_and_labels("oraculum", labels.into_iter());
    status.metrics.register(&mut registry);
    jobs(status, &mut registry)?;
    chain(status, &mut registry);
    endpoints(status, &mut registry);
    transactions(status, &mut registry)?;
    money(status, &mut registry)?;
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn set(gauges: &Gauges, labels: Labels, value: f64) {
    gauges.get_or_create(&labels).set(value);
}

fn jobs<J: Journal>(status: &NodeStatus<J>, registry: &mut Registry) -> Result<(), JournalError> {
    let (states, open, events, oldest) = (Gauges::default(), Gauges::default(), Counters::default(), Gauges::default());
    for view in View::ALL {
        if let Some(state) = view.state() {
            set(&states, vec![("state", state.into())], status.journal.count(view) as f64);
        }
    }
    for (model, count) in status.journal.waiting() {
        set(&open, vec![("model", model.to_string())], count as f64);
    }
    for tally in status.journal.event_counts() {
        let labels =
            vec![("model", tally.model.to_string()), ("event", tally.event.into()), ("reason", tally.reason.into())];
        events.get_or_create(&labels).inc_by(tally.count);
    }
    let head = status.head().map(|head| head.header.block.number);
    for (state, view) in [("seen", View::Open), ("sent", View::Sent)] {
        let first = status.journal.walk(view, Position::first_at(0)..Position::last_at(u64::MAX), 1)?;
        let age = first.first().zip(head).map_or(0, |(at, head)| head.saturating_sub(at.height));
        set(&oldest, vec![("state", state.into())], age as f64);
    }
    let waiting = Gauges::default();
    for (reason, count) in status.waits() {
        set(&waiting, vec![("reason", reason.label().into())], count as f64);
    }
    registry.register("waiting_jobs", "Open jobs that wait, by reason", waiting);
    registry.register("jobs", "Jobs in the journal, by state", states);
    registry.register("queue_jobs", "Open jobs, by model", open);
    registry.register("job_events", "What happened to jobs since the start", events);
    registry.register_with_unit("oldest_job", "Blocks since the oldest request in a state", blocks(), oldest);
    Ok(())
}

fn chain<J: Journal>(status: &NodeStatus<J>, registry: &mut Registry) {
    let (heights, ready) = (Gauges::default(), Gauge::<i64>::default());
    if let Some(head) = status.head() {
        set(&heights, vec![("block", "taken".into())], head.header.block.number as f64);
        if let Some(last) = head.final_block {
            set(&heights, vec![("block", "final".into())], last as f64);
        }
        let base_fee = Gauge::<f64, AtomicU64>::default();
        base_fee.set(head.header.base_fee as f64);
        registry.register_with_unit("base_fee", "Base fee of the block taken in, wei per gas", wei(), base_fee);
    }
    ready.set(i64::from(status.readiness().ready));
    registry.register("height", "The last block taken in, and the last that is final", heights);
    registry.register("ready", "Whether the node can answer now", ready);
}

fn endpoints<J: Journal>(status: &NodeStatus<J>, registry: &mut Registry) {
    let (up, head, behind) = (Gauges::default(), Gauges::default(), Gauges::default());
    let (latency, calls, errors) = (Gauges::default(), Counters::default(), Counters::default());
    let connections = Counters::default();
    for (index, health) in (status.endpoints)().into_iter().enumerate() {
        // Two endpoints may look the same once their secrets are gone.
        let labels = vec![("endpoint", health.endpoint), ("index", index.to_string())];
        set(
            &up,
            with(&labels, "state", health.state.label()),
            f64::from(u8::from(health.state == EndpointState::Ready)),
        );
        set(&behind, labels.clone(), health.behind_by as f64);
        health.head.iter().for_each(|height| set(&head, labels.clone(), *height as f64));
        health.latency.iter().for_each(|latency_of| set(&latency, labels.clone(), latency_of.as_secs_f64()));
        calls.get_or_create(&labels).inc_by(health.calls);
        connections.get_or_create(&labels).inc_by(health.connections);
        for (label, count) in health.errors {
            errors.get_or_create(&with(&labels, "error", label)).inc_by(count);
        }
    }
    registry.register("endpoint_ready", "Whether an endpoint is read from", up);
    registry.register("endpoint_head", "The height an endpoint told of last", head);
    registry.register_with_unit("endpoint_behind", "Blocks behind the highest endpoint", blocks(), behind);
    registry.register_with_unit("endpoint_latency", "Moving average of the time to an answer", Unit::Seconds, latency);
    registry.register("endpoint_calls", "Calls that ended", calls);
    registry.register("endpoint_connections", "Connections made to an endpoint, one after another", connections);
    registry.register("endpoint_errors", "Calls that failed", errors);
}

fn with(labels: &Labels, key: &'static str, value: &str) -> Labels {
    let mut labels = labels.clone();
    labels.push((key, value.to_owned()));
    labels
}

fn transactions<J: Journal>(status: &NodeStatus<J>, registry: &mut Registry) -> Result<(), JournalError> {
    let (count, attempts, fee, age) = (Gauges::default(), Gauges::default(), Gauges::default(), Gauges::default());
    let (mut by_state, mut of_sender) = (BTreeMap::new(), BTreeMap::<_, (usize, u128, u64)>::new());
    let head = status.head().map(|head| head.header.block.number);
    for tracked in status.journal.transactions_without_bytes()? {
        let mined = tracked.mined.is_some();
        *by_state.entry((tracked.sender, mined)).or_insert(0u64) += 1;
        if !mined {
            let (most, highest, oldest) = of_sender.entry(tracked.sender).or_default();
            *most = tracked.attempts.len().max(*most);
            *highest = tracked.attempts.last().map_or(0, |last| last.max_fee).max(*highest);
            let since = tracked.attempts.first().zip(head).map_or(0, |(first, head)| head.saturating_sub(first.at));
            *oldest = since.max(*oldest);
        }
    }
    for ((sender, mined), slots) in by_state {
        let state = if mined { "mined" } else { "pending" };
        set(&count, vec![("sender", sender.to_string()), ("state", state.into())], slots as f64);
    }
    for (sender, (most, highest, oldest)) in of_sender {
        let labels = vec![("sender", sender.to_string())];
        set(&attempts, labels.clone(), most as f64);
        set(&fee, labels.clone(), highest as f64);
        set(&age, labels, oldest as f64);
    }
    registry.register("transactions", "Transactions that are not final, by sender and state", count);
    registry.register("attempts", "The most attempts that a pending transaction needed so far", attempts);
    registry.register_with_unit("fee_cap", "The highest fee cap of the pending transactions, wei per gas", wei(), fee);
    registry.register_with_unit(
        "oldest_transaction",
        "Blocks since the oldest pending transaction was sent",
        blocks(),
        age,
    );
    Ok(())
}

fn money<J: Journal>(status: &NodeStatus<J>, registry: &mut Registry) -> Result<(), JournalError> {
    let (spent, earned) = (Gauges::default(), Gauges::default());
    let now = status.head().map_or_else(
        || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        |head| head.header.timestamp,
    );
    let mut sums = BTreeMap::<_, (f64, f64)>::new();
    for entry in status.journal.ledger((now / 3_600).saturating_sub(LEDGER_HOURS - 1))? {
        let (out, back) = sums.entry(entry.model).or_default();
        *out += entry.spent as f64;
        *back += entry.earned as f64;
    }
    for (model, (out, back)) in sums {
        set(&spent, vec![("model", model.to_string())], out);
        set(&earned, vec![("model", model.to_string())], back);
    }
    registry.register("spent_wei_24h", "Gas paid by transactions that became final in the last 24 hours, wei", spent);
    registry.register("earned_wei_24h", "Pay of answers that became final in the last 24 hours, wei", earned);
    Ok(())
}
