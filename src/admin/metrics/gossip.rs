//! How much gateways tell each other of the targets. What they say is on the page as each target stands.

use super::plain;
use crate::{gossip::Gossip, telemetry::exposition::MetricsPage};

/// Adds the counters of gossip messages.
pub fn write(page: &mut MetricsPage, peers: &Gossip) {
    let meters = peers.meters();
    let help = "Gossip messages about targets, published by this gateway.";
    page.counter("concierge_peer_messages_told", help, plain(meters.told.get()));
    let help = "Gossip messages about targets, received from other gateways.";
    page.counter("concierge_peer_messages_heard", help, plain(meters.heard.get()));
    let help = "Gossip messages that could not be parsed: the gateways run incompatible versions.";
    page.counter("concierge_peer_messages_unreadable", help, plain(meters.unreadable.get()));
}
