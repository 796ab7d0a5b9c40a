//! DescribeQuorum (key 55), versions 0 to 2: KIP-595, KIP-836, KIP-853. Answered by the controller's core.

use crate::wire::codec::DecodeError;

use super::cx::{Cx, Outcome, Request};

/// Serves a DescribeQuorum request.
pub fn handle(cx: &mut Cx<'_>, request: &Request<'_>) -> Result<Outcome, DecodeError> {
    super::controller::forward(cx, request)
}
