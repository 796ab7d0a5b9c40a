//! Errors as clients see them.

/// Kafka's error codes that the controller answers with.
#[allow(missing_docs)] // the names are Kafka's
pub mod codes {
    pub const UNKNOWN_SERVER_ERROR: i16 = -1;
    pub const NONE: i16 = 0;
    pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
    pub const INVALID_TOPIC_EXCEPTION: i16 = 17;
    pub const UNSUPPORTED_VERSION: i16 = 35;
    pub const TOPIC_ALREADY_EXISTS: i16 = 36;
    pub const INVALID_PARTITIONS: i16 = 37;
    pub const INVALID_REPLICATION_FACTOR: i16 = 38;
    pub const INVALID_REPLICA_ASSIGNMENT: i16 = 39;
    pub const INVALID_CONFIG: i16 = 40;
    pub const INVALID_REQUEST: i16 = 42;
    pub const POLICY_VIOLATION: i16 = 44;
    pub const TOPIC_DELETION_DISABLED: i16 = 73;
    pub const STALE_BROKER_EPOCH: i16 = 77;
    pub const GROUP_ID_NOT_FOUND: i16 = 69;
    pub const UNKNOWN_TOPIC_ID: i16 = 100;
    pub const DUPLICATE_BROKER_REGISTRATION: i16 = 101;
    pub const INCONSISTENT_CLUSTER_ID: i16 = 104;
    pub const INVALID_REGISTRATION: i16 = 119;
}

/// An error code and what to tell the user; code 0 is success.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiError {
    /// Kafka's error code.
    pub code: i16,
    /// The message; `None` where Kafka sends none.
    pub message: Option<String>,
}

impl ApiError {
    /// Success.
    pub const NONE: ApiError = ApiError { code: codes::NONE, message: None };

    /// An error with a message.
    pub fn new(code: i16, message: impl Into<String>) -> ApiError {
        ApiError { code, message: Some(message.into()) }
    }

    /// Whether this is no error.
    pub fn is_none(&self) -> bool {
        self.code == codes::NONE
    }

    pub(super) fn unknown_topic() -> ApiError {
        ApiError::new(codes::UNKNOWN_TOPIC_OR_PARTITION, "This server does not host this topic-partition.")
    }

    pub(super) fn unknown_topic_id() -> ApiError {
        ApiError::new(codes::UNKNOWN_TOPIC_ID, "This server does not host this topic ID.")
    }
}

impl From<Result<(), ApiError>> for ApiError {
    fn from(result: Result<(), ApiError>) -> ApiError {
        result.err().unwrap_or(ApiError::NONE)
    }
}

impl From<crate::config::ConfigError> for ApiError {
    fn from(e: crate::config::ConfigError) -> ApiError {
        ApiError::new(e.code(), e.to_string())
    }
}
