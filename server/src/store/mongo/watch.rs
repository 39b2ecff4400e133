//! The watch: asks the database again and again whether it is there and takes writes. The write is a sign of life of this node, by which
//! others know whose rooms nobody is at.

use super::Shared;
use super::documents::NodeDoc;
use super::fault::Fault;
use super::queries::{Collection, NODE, NODES};
use super::writer::Job;
use crate::clock::now_ms;
use crate::limits::{
    MONGO_BEAT_INTERVAL, MONGO_CALL_TIMEOUT, MONGO_NODE_GONE, MONGO_NODES_MAX, MONGO_PROBE_INTERVAL, MONGO_RETRY_MAX,
};
use client_protocol::NodeId;
use mongodb::bson::{Document, doc};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc::UnboundedSender;

/// Watches until the link ends.
pub(super) async fn watch(shared: Arc<Shared>, jobs: UnboundedSender<Job>) {
    let link = &shared.link;
    let mut beaten = Instant::now();
    let mut takes_writes = true;
    loop {
        tokio::select! {
            () = link.ended.notified() => return,
            () = link.trouble.notified() => {}
            () = tokio::time::sleep(MONGO_PROBE_INTERVAL) => {}
        }
        let was_ready = link.health.is_ready();
        let pong = tokio::time::timeout(MONGO_CALL_TIMEOUT, link.database.run_command(doc! { "ping": 1 }).into_future());
        let answers = matches!(pong.await, Ok(Ok(_)));
        if answers && (!was_ready || beaten.elapsed() >= MONGO_BEAT_INTERVAL) {
            takes_writes = match beat(&shared).await {
                Ok(()) => {
                    if beaten.elapsed() >= MONGO_NODE_GONE / 2 {
                        // Others may have taken this node for gone, and its marks away.
                        let _closed = jobs.send(Job::Unmarked);
                    }
                    beaten = Instant::now();
                    true
                }
                Err(fault) => {
                    tracing::debug!(%fault, "the database takes no writes");
                    false
                }
            };
        }
        link.health.set(answers, takes_writes);
        match (was_ready, link.health.is_ready()) {
            (true, false) => tracing::error!(answers, "the database takes no writes; nothing is taken until it does"),
            (false, true) => tracing::info!("the database takes writes again"),
            _ => {}
        }
        if !link.health.is_ready() {
            tokio::time::sleep(MONGO_RETRY_MAX).await;
        }
    }
}

/// Says that this node is alive.
async fn beat(shared: &Shared) -> Result<(), Fault> {
    let nodes = shared.link.collection::<Document>(Collection::Nodes);
    let filter = NODE.equal([shared.meta.node.0.into()]).document();
    let seen = doc! { "$set": { "seen_ms": now_ms() as i64 } };
    let beaten = shared.link.call(nodes.update_one(filter, seen).into_future()).await?;
    if beaten.matched_count == 0 {
        return Err(Fault::Corrupt("the database knows nothing of this node: is it another one?".to_owned()));
    }
    if let Err(fault) = shared.link.look_at_server().await {
        tracing::debug!(%fault, "it is not known yet what kind of server it is");
    }
    Ok(())
}

/// Other nodes that are alive: they were seen within [`MONGO_NODE_GONE`]. The clocks of servers may differ by less than that.
pub(super) async fn others_alive(shared: &Shared) -> Result<BTreeSet<NodeId>, Fault> {
    let nodes: Vec<NodeDoc> = shared.link.many(NODES.equal([]), false, MONGO_NODES_MAX).await?;
    let since = now_ms().saturating_sub(MONGO_NODE_GONE.as_millis() as u64);
    let alive = nodes.into_iter().filter(|node| node.id != shared.meta.node.0 && node.seen_ms >= since);
    Ok(alive.map(|node| NodeId(node.id)).collect())
}
