//! The volume of reports between gateways. Their effect is in the metrics of each target's state.

use super::plain;
use crate::{gossip::Gossip, telemetry::exposition::MetricsPage};

pub(crate) fn write(page: &mut MetricsPage, peers: &Gossip) {
    let meters = peers.meters();
    let help = "Gossip messages about targets, published by this gateway.";
    page.counter("concierge_peer_messages_told", help, plain(meters.published.get()));
    let help = "Gossip messages about targets, received from other gateways.";
    page.counter("concierge_peer_messages_heard", help, plain(meters.received.get()));
    let help = "Gossip messages that could not be parsed: the gateways run incompatible versions.";
    page.counter("concierge_peer_messages_unreadable", help, plain(meters.unreadable.get()));
}
