//! How much gateways tell each other of the targets. What they say is on the page as each target stands.

use super::plain;
use crate::{gossip::Gossip, telemetry::exposition::MetricsPage};

/// Writes it.
pub fn write(page: &mut MetricsPage, peers: &Gossip) {
    let meters = peers.meters();
    let help = "Messages about targets that this gateway has published.";
    page.counter("concierge_peer_messages_told", help, plain(meters.published.get()));
    let help = "Messages about targets that other gateways have published.";
    page.counter("concierge_peer_messages_heard", help, plain(meters.received.get()));
    let help = "Messages about targets that made no sense: gateways of very different versions.";
    page.counter("concierge_peer_messages_unreadable", help, plain(meters.unreadable.get()));
}
