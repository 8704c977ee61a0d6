//! The volume of reports between gateways. Their effect is in the metrics of each target's state.

use super::plain;
use crate::{gossip::Gossip, telemetry::exposition::MetricsPage};

/// Writes the metrics.
pub fn write(page: &mut MetricsPage, peers: &Gossip) {
    let meters = peers.meters();
    let help = "Messages about targets that this gateway has published.";
    page.counter("concierge_peer_messages_told", help, plain(meters.told.get()));
    let help = "Messages about targets that other gateways have published.";
    page.counter("concierge_peer_messages_heard", help, plain(meters.heard.get()));
    let help = "Messages about targets that made no sense: gateways of very different versions.";
    page.counter("concierge_peer_messages_unreadable", help, plain(meters.unreadable.get()));
}
