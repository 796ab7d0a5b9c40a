//! Errors as clients see them.

use crate::wire::ErrorCode;

/// The error codes that the controller answers with, as replies carry them.
pub(super) mod codes {
    use crate::wire::ErrorCode;

    macro_rules! codes {
        ($($name:ident),* $(,)?) => {
            $(pub const $name: i16 = ErrorCode::$name.code();)*
        };
    }

    codes! {
        UNKNOWN_SERVER_ERROR,
        NONE,
        UNKNOWN_TOPIC_OR_PARTITION,
        INVALID_TOPIC_EXCEPTION,
        UNSUPPORTED_VERSION,
        TOPIC_ALREADY_EXISTS,
        INVALID_PARTITIONS,
        INVALID_REPLICATION_FACTOR,
        INVALID_REPLICA_ASSIGNMENT,
        INVALID_CONFIG,
        INVALID_REQUEST,
        POLICY_VIOLATION,
        TOPIC_DELETION_DISABLED,
        STALE_BROKER_EPOCH,
        UNKNOWN_TOPIC_ID,
        BROKER_ID_NOT_REGISTERED,
        INCONSISTENT_CLUSTER_ID,
        INVALID_REGISTRATION,
    }
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

    /// An error with the message that stands for its code.
    pub fn of(code: i16) -> ApiError {
        ApiError::new(code, ErrorCode(code).message())
    }

    /// Whether this is no error.
    pub fn is_none(&self) -> bool {
        self.code == codes::NONE
    }

    pub(super) fn unknown_topic() -> ApiError {
        ApiError::of(codes::UNKNOWN_TOPIC_OR_PARTITION)
    }

    pub(super) fn unknown_topic_id() -> ApiError {
        ApiError::of(codes::UNKNOWN_TOPIC_ID)
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
