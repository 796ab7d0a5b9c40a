//! ListTransactions (key 66), versions 0 to 2 (KIP-664, KIP-994, KIP-1152). Transactional ids are refused by
//! InitProducerId, so there are none to list: the answer is empty, and filters that Kafka does not know are named.

use std::collections::HashSet;

use crate::wire::codec::DecodeError;
use crate::wire::messages::list_transactions_request::ListTransactionsRequest;
use crate::wire::messages::list_transactions_response::ListTransactionsResponse;

use super::apart::apart;
use super::cx::{Cx, Outcome, Request};
use super::write;

/// The states that a transaction can be in (`TransactionState`).
const STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

/// Serves a ListTransactions request.
pub fn handle(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    let (body, version) = (request.body.clone(), request.api_version);
    let list = move || {
        let message: ListTransactionsRequest<'_> = body.decode(version)?;
        // A set, in Kafka.
        let mut seen = HashSet::new();
        let unknown = message.state_filters.into_iter().filter(|s| !STATES.contains(s) && seen.insert(*s));
        let response =
            ListTransactionsResponse { unknown_state_filters: unknown.collect(), ..Default::default() };
        Ok(write(&response, version))
    };
    apart(cx, request.is_large(), list, |_, written| written.into())
}
