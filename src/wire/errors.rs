//! Kafka's error codes.

use std::fmt;

/// An error code of the protocol (`org.apache.kafka.common.protocol.Errors`). Codes of newer versions can be held
/// too: they have no name.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub i16);

/// What is known of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    code: i16,
    name: &'static str,
    retriable: bool,
    message: &'static str,
}

macro_rules! retriable {
    (retry) => {
        true
    };
    (final) => {
        false
    };
}

macro_rules! errors {
    ($($code:literal $name:ident $retriable:tt $message:literal;)*) => {
        impl ErrorCode {
            $(
                #[doc = concat!(stringify!($code), ": ", $message, ".")]
                pub const $name: ErrorCode = ErrorCode($code);
            )*

            /// Every code with a name, by rising number.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name),*];
        }

        const ROWS: &[Row] = &[$(
            Row { code: $code, name: stringify!($name), retriable: retriable!($retriable), message: $message },
        )*];
    };
}

errors! {
    -1 UNKNOWN_SERVER_ERROR final "the server failed in a way it did not expect";
    0 NONE final "no error";
    1 OFFSET_OUT_OF_RANGE final "the offset lies outside what the log holds";
    2 CORRUPT_MESSAGE retry "the record batch is damaged or has a wrong checksum";
    3 UNKNOWN_TOPIC_OR_PARTITION retry "this broker has no such topic or partition";
    4 INVALID_FETCH_SIZE final "the fetch size is not a valid one";
    5 LEADER_NOT_AVAILABLE retry "the partition has no leader at the moment";
    6 NOT_LEADER_OR_FOLLOWER retry "this broker does not lead the partition, or has no replica of it";
    7 REQUEST_TIMED_OUT retry "the request was not done in time";
    8 BROKER_NOT_AVAILABLE final "the broker cannot be reached";
    9 REPLICA_NOT_AVAILABLE retry "the replica cannot serve the partition at the moment";
    10 MESSAGE_TOO_LARGE final "a record batch is larger than max.message.bytes";
    11 STALE_CONTROLLER_EPOCH final "the controller has a newer epoch";
    12 OFFSET_METADATA_TOO_LARGE final "the metadata string of the committed offset is too long";
    13 NETWORK_EXCEPTION retry "the connection ended before an answer came";
    14 COORDINATOR_LOAD_IN_PROGRESS retry "the coordinator is still reading its log";
    15 COORDINATOR_NOT_AVAILABLE retry "the coordinator cannot be reached";
    16 NOT_COORDINATOR retry "another broker is the coordinator";
    17 INVALID_TOPIC_EXCEPTION final "the topic's name is not allowed, or clients may not write to it";
    18 RECORD_LIST_TOO_LARGE final "the record batch is larger than a segment may be";
    19 NOT_ENOUGH_REPLICAS retry "too few replicas are in sync to accept the records";
    20 NOT_ENOUGH_REPLICAS_AFTER_APPEND retry "the records were appended, but too few replicas are in sync";
    21 INVALID_REQUIRED_ACKS final "acks must be -1, 0 or 1";
    22 ILLEGAL_GENERATION final "the generation is not the group's current one";
    23 INCONSISTENT_GROUP_PROTOCOL final "the member shares no protocol with the group, or has another protocol type";
    24 INVALID_GROUP_ID final "the group id is not a valid one";
    25 UNKNOWN_MEMBER_ID final "the group has no such member";
    26 INVALID_SESSION_TIMEOUT final "the session timeout lies outside the broker's limits";
    27 REBALANCE_IN_PROGRESS final "the group is rebalancing: join again";
    28 INVALID_COMMIT_OFFSET_SIZE final "the committed offset is too large to be stored";
    29 TOPIC_AUTHORIZATION_FAILED final "the principal may not do this with the topic";
    30 GROUP_AUTHORIZATION_FAILED final "the principal may not do this with the group";
    31 CLUSTER_AUTHORIZATION_FAILED final "the principal may not do this with the cluster";
    32 INVALID_TIMESTAMP final "a record's timestamp lies outside what the topic accepts";
    33 UNSUPPORTED_SASL_MECHANISM final "the SASL mechanism is not enabled here";
    34 ILLEGAL_SASL_STATE final "the request does not belong at this point of the SASL exchange";
    35 UNSUPPORTED_VERSION final "this version of the API is not served";
    36 TOPIC_ALREADY_EXISTS final "a topic of this name exists already";
    37 INVALID_PARTITIONS final "the number of partitions is not possible";
    38 INVALID_REPLICATION_FACTOR final "the replication factor is not possible with the brokers there are";
    39 INVALID_REPLICA_ASSIGNMENT final "the replica assignment is not possible";
    40 INVALID_CONFIG final "a configuration has an invalid name or value";
    41 NOT_CONTROLLER retry "this node is not the active controller";
    42 INVALID_REQUEST final "the request contradicts itself or the protocol";
    43 UNSUPPORTED_FOR_MESSAGE_FORMAT final "the topic's record format does not know this";
    44 POLICY_VIOLATION final "a policy of the cluster forbids this";
    45 OUT_OF_ORDER_SEQUENCE_NUMBER final "a batch came out of sequence: one before it is missing";
    46 DUPLICATE_SEQUENCE_NUMBER final "a batch with this sequence number was appended before";
    47 INVALID_PRODUCER_EPOCH final "the producer's epoch is older than the last one seen";
    48 INVALID_TXN_STATE final "the transaction is not in a state that allows this";
    49 INVALID_PRODUCER_ID_MAPPING final "the producer id does not belong to the transactional id";
    50 INVALID_TRANSACTION_TIMEOUT final "the transaction timeout is above transaction.max.timeout.ms";
    51 CONCURRENT_TRANSACTIONS retry "another operation on the transaction is still in progress";
    52 TRANSACTION_COORDINATOR_FENCED final "a newer transaction coordinator has taken over";
    53 TRANSACTIONAL_ID_AUTHORIZATION_FAILED final "the principal may not use the transactional id";
    54 SECURITY_DISABLED final "no authorizer is configured";
    55 OPERATION_NOT_ATTEMPTED final "this part was not tried, because another part of the request failed";
    56 KAFKA_STORAGE_ERROR retry "the disk with the log failed";
    57 LOG_DIR_NOT_FOUND final "the broker has no such log directory";
    58 SASL_AUTHENTICATION_FAILED final "the SASL credentials were not accepted";
    59 UNKNOWN_PRODUCER_ID final "the producer id is not known to the partition";
    60 REASSIGNMENT_IN_PROGRESS final "the partition is being reassigned";
    61 DELEGATION_TOKEN_AUTH_DISABLED final "delegation tokens are not enabled";
    62 DELEGATION_TOKEN_NOT_FOUND final "there is no such delegation token";
    63 DELEGATION_TOKEN_OWNER_MISMATCH final "the principal is neither the token's owner nor its renewer";
    64 DELEGATION_TOKEN_REQUEST_NOT_ALLOWED final "delegation tokens cannot be asked for over this kind of connection";
    65 DELEGATION_TOKEN_AUTHORIZATION_FAILED final "the principal may not do this with the delegation token";
    66 DELEGATION_TOKEN_EXPIRED final "the delegation token has expired";
    67 INVALID_PRINCIPAL_TYPE final "the type of principal is not supported";
    68 NON_EMPTY_GROUP final "the group still has members";
    69 GROUP_ID_NOT_FOUND final "there is no group of this id";
    70 FETCH_SESSION_ID_NOT_FOUND retry "the broker does not have this fetch session";
    71 INVALID_FETCH_SESSION_EPOCH retry "the fetch session is at another epoch";
    72 LISTENER_NOT_FOUND retry "the leader has no listener of the name by which the request came";
    73 TOPIC_DELETION_DISABLED final "delete.topic.enable is false";
    74 FENCED_LEADER_EPOCH retry "the request has an older leader epoch than the broker";
    75 UNKNOWN_LEADER_EPOCH retry "the request has a newer leader epoch than the broker";
    76 UNSUPPORTED_COMPRESSION_TYPE final "the client cannot read the topic's compression";
    77 STALE_BROKER_EPOCH final "the broker has registered anew since";
    78 OFFSET_NOT_AVAILABLE retry "the new leader's high watermark has not caught up yet";
    79 MEMBER_ID_REQUIRED final "join again with the member id given here";
    80 PREFERRED_LEADER_NOT_AVAILABLE retry "the preferred leader is not in sync or not alive";
    81 GROUP_MAX_SIZE_REACHED final "the group has group.max.size members";
    82 FENCED_INSTANCE_ID final "another member has taken over this group.instance.id";
    83 ELIGIBLE_LEADERS_NOT_AVAILABLE retry "no replica is eligible to lead";
    84 ELECTION_NOT_NEEDED retry "the partition has the leader wanted already";
    85 NO_REASSIGNMENT_IN_PROGRESS final "the partition is not being reassigned";
    86 GROUP_SUBSCRIBED_TO_TOPIC final "the group is subscribed to the topic";
    87 INVALID_RECORD final "the broker's validation refused a record";
    88 UNSTABLE_OFFSET_COMMIT retry "a transaction with offsets of the partition has not ended yet";
    89 THROTTLING_QUOTA_EXCEEDED retry "the quota is used up: try again later";
    90 PRODUCER_FENCED final "a newer producer uses the transactional id";
    91 RESOURCE_NOT_FOUND final "the request names a resource that is not there";
    92 DUPLICATE_RESOURCE final "the request names a resource twice";
    93 UNACCEPTABLE_CREDENTIAL final "the credential is not strong enough";
    94 INCONSISTENT_VOTER_SET final "the sender or the receiver is not a voter of the quorum";
    95 INVALID_UPDATE_VERSION final "the feature cannot go to this level in this way";
    96 FEATURE_UPDATE_FAILED final "the feature's level could not be changed";
    97 PRINCIPAL_DESERIALIZATION_FAILURE final "the forwarded principal could not be read";
    98 SNAPSHOT_NOT_FOUND final "there is no such snapshot";
    99 POSITION_OUT_OF_RANGE final "the position lies outside the snapshot";
    100 UNKNOWN_TOPIC_ID retry "this broker has no topic of this id";
    101 DUPLICATE_BROKER_REGISTRATION final "a live broker uses this id";
    102 BROKER_ID_NOT_REGISTERED final "the broker is not registered";
    103 INCONSISTENT_TOPIC_ID retry "the log belongs to another topic id";
    104 INCONSISTENT_CLUSTER_ID final "the request is meant for another cluster";
    105 TRANSACTIONAL_ID_NOT_FOUND final "there is no such transactional id";
    106 FETCH_SESSION_TOPIC_ID_ERROR retry "the fetch session mixes topic names and ids";
    107 INELIGIBLE_REPLICA final "a replica of the new ISR is not eligible";
    108 NEW_LEADER_ELECTED final "the partition has a new leader by this change";
    109 OFFSET_MOVED_TO_TIERED_STORAGE final "the offset is in tiered storage only";
    110 FENCED_MEMBER_EPOCH final "the member has an old epoch: give up all partitions and join again";
    111 UNRELEASED_INSTANCE_ID final "another member holds the instance id and has to leave first";
    112 UNSUPPORTED_ASSIGNOR final "the group does not have this assignor";
    113 STALE_MEMBER_EPOCH final "the member has an old epoch: take the one of the next heartbeat";
    114 MISMATCHED_ENDPOINT_TYPE final "this listener is for nodes of another kind";
    115 UNSUPPORTED_ENDPOINT_TYPE final "this kind of endpoint is not supported";
    116 UNKNOWN_CONTROLLER_ID final "there is no controller of this id";
    117 UNKNOWN_SUBSCRIPTION_ID final "the telemetry subscription is not the current one";
    118 TELEMETRY_TOO_LARGE final "the telemetry is larger than telemetry.max.bytes";
    119 INVALID_REGISTRATION final "the controller does not accept the registration";
    120 TRANSACTION_ABORTABLE final "the transaction failed and can only be aborted";
    121 INVALID_RECORD_STATE final "the record is not in a state that allows this acknowledgement";
    122 SHARE_SESSION_NOT_FOUND retry "the broker does not have this share session";
    123 INVALID_SHARE_SESSION_EPOCH retry "the share session is at another epoch";
    124 FENCED_STATE_EPOCH final "the share group's state has a newer epoch";
    125 INVALID_VOTER_KEY final "the directory id is not that of the voter";
    126 DUPLICATE_VOTER final "the voter is in the set already";
    127 VOTER_NOT_FOUND final "the voter is not in the set";
    128 INVALID_REGULAR_EXPRESSION final "the regular expression is not a valid one";
    129 REBOOTSTRAP_REQUIRED final "the client has to start again from its bootstrap servers";
    130 STREAMS_INVALID_TOPOLOGY final "the streams topology is not a valid one";
    131 STREAMS_INVALID_TOPOLOGY_EPOCH final "the epoch of the streams topology is not a valid one";
    132 STREAMS_TOPOLOGY_FENCED final "the group has a newer streams topology";
    133 SHARE_SESSION_LIMIT_REACHED retry "the broker has as many share sessions as it may";
}

/// The first code of the table; the others follow without a gap.
const FIRST: i16 = -1;

impl ErrorCode {
    fn row(self) -> Option<&'static Row> {
        usize::try_from(i32::from(self.0) - i32::from(FIRST)).ok().and_then(|i| ROWS.get(i))
    }

    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self.0
    }

    /// Whether this is [`ErrorCode::NONE`].
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether this is another code than [`ErrorCode::NONE`].
    pub const fn is_error(self) -> bool {
        self.0 != 0
    }

    /// Kafka's name, `UNKNOWN` for a code that is not in the table.
    pub fn name(self) -> &'static str {
        self.row().map_or("UNKNOWN", |row| row.name)
    }

    /// What it means, in a few words; for the error messages of responses.
    pub fn message(self) -> &'static str {
        self.row().map_or("an error of a newer version of Kafka", |row| row.message)
    }

    /// Whether clients try again by themselves (`RetriableException`).
    pub fn is_retriable(self) -> bool {
        self.row().is_some_and(|row| row.retriable)
    }
}

impl From<ErrorCode> for i16 {
    fn from(code: ErrorCode) -> i16 {
        code.0
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.name(), self.0, self.message())
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_at_their_codes() {
        for (i, row) in ROWS.iter().enumerate() {
            assert_eq!(row.code, FIRST + i as i16, "{}", row.name);
            assert_eq!(ErrorCode(row.code).row(), Some(row));
        }
        assert_eq!(ErrorCode::ALL.len(), ROWS.len());
        assert_eq!(ErrorCode(134).name(), "UNKNOWN");
        assert_eq!(ErrorCode(i16::MIN).name(), "UNKNOWN");
        assert!(!ErrorCode(i16::MAX).is_retriable());
        assert_eq!(
            ErrorCode::FENCED_LEADER_EPOCH.to_string(),
            "FENCED_LEADER_EPOCH (74): the request has an older leader epoch than the broker"
        );
    }
}
