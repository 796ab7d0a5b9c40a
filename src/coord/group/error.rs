//! What can be wrong with a request to the group coordinator, and Kafka's code for it.

/// Why a request, or a part of it, was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// A bug on our side, or a refusal that Kafka reports the same way.
    #[error("the group coordinator could not handle the request")]
    UnknownServerError,
    /// There is no such topic or partition: found before the coordinator was asked.
    #[error("there is no such topic or partition")]
    UnknownTopicOrPartition,
    /// No topic has this id: found before the coordinator was asked.
    #[error("no topic has this id")]
    UnknownTopicId,
    /// The text beside a committed offset is longer than `offset.metadata.max.bytes`.
    #[error("the metadata of the committed offset is longer than offset.metadata.max.bytes")]
    OffsetMetadataTooLarge,
    /// The coordinator is still reading its log; try again.
    #[error("the group coordinator is loading; try again")]
    CoordinatorLoadInProgress,
    /// The coordinator cannot take the request now; try again.
    #[error("the group coordinator is not available; try again")]
    CoordinatorNotAvailable,
    /// This broker does not coordinate the group; look the coordinator up again.
    #[error("this broker is not the group's coordinator; look it up again")]
    NotCoordinator,
    /// The request names another generation than the group's; join again.
    #[error("the request names another generation than the group's; join again")]
    IllegalGeneration,
    /// The member's protocol type or protocols do not fit the group's.
    #[error("the member's protocol type or protocols do not fit the group's")]
    InconsistentGroupProtocol,
    /// The group id is empty.
    #[error("the group id is empty")]
    InvalidGroupId,
    /// The group does not know the member; join without a member id.
    #[error("the group does not know the member; join again without a member id")]
    UnknownMemberId,
    /// The session timeout lies outside `group.min.session.timeout.ms` and `group.max.session.timeout.ms`.
    #[error("the session timeout lies outside group.min.session.timeout.ms and group.max.session.timeout.ms")]
    InvalidSessionTimeout,
    /// The group is rebalancing; join again.
    #[error("the group is rebalancing; join again")]
    RebalanceInProgress,
    /// The group still has members.
    #[error("the group still has members")]
    NonEmptyGroup,
    /// There is no such group.
    #[error("there is no such group")]
    GroupIdNotFound,
    /// Join again with the member id given in the reply (KIP-394).
    #[error("join again with the member id in the reply")]
    MemberIdRequired,
    /// The group has `group.max.size` members.
    #[error("the group has group.max.size members")]
    GroupMaxSizeReached,
    /// Another client has taken over this `group.instance.id` (KIP-345).
    #[error("another client has taken over this group.instance.id")]
    FencedInstanceId,
    /// A member is subscribed to the topic whose offsets were to be deleted.
    #[error("the group is subscribed to the topic")]
    GroupSubscribedToTopic,
    /// Kafka's code for why an append failed, passed on.
    #[error("the records could not be appended (Kafka error {0})")]
    Append(i16),
}

impl GroupError {
    /// Kafka's error code (`org.apache.kafka.common.protocol.Errors`).
    pub const fn code(self) -> i16 {
        match self {
            GroupError::UnknownServerError => -1,
            GroupError::UnknownTopicOrPartition => 3,
            GroupError::OffsetMetadataTooLarge => 12,
            GroupError::CoordinatorLoadInProgress => 14,
            GroupError::CoordinatorNotAvailable => 15,
            GroupError::NotCoordinator => 16,
            GroupError::IllegalGeneration => 22,
            GroupError::InconsistentGroupProtocol => 23,
            GroupError::InvalidGroupId => 24,
            GroupError::UnknownMemberId => 25,
            GroupError::InvalidSessionTimeout => 26,
            GroupError::RebalanceInProgress => 27,
            GroupError::NonEmptyGroup => 68,
            GroupError::GroupIdNotFound => 69,
            GroupError::MemberIdRequired => 79,
            GroupError::GroupMaxSizeReached => 81,
            GroupError::FencedInstanceId => 82,
            GroupError::GroupSubscribedToTopic => 86,
            GroupError::UnknownTopicId => 100,
            GroupError::Append(code) => code,
        }
    }

    /// What a group member is told when an append failed with Kafka's error `code`: codes that clients of a group do not
    /// expect become ones that make them try again or look the coordinator up
    /// (`CoordinatorOperationExceptionHelper.handleOperationException`).
    pub const fn of_append(code: i16) -> GroupError {
        match code {
            // UNKNOWN_TOPIC_OR_PARTITION, REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS, and itself
            3 | 7 | 19 | 15 => GroupError::CoordinatorNotAvailable,
            // NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR, and itself
            6 | 56 | 16 => GroupError::NotCoordinator,
            // INVALID_FETCH_SIZE, MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE, and itself
            -1 | 4 | 10 | 18 => GroupError::UnknownServerError,
            14 => GroupError::CoordinatorLoadInProgress,
            _ => GroupError::Append(code),
        }
    }
}

/// Kafka's code of an outcome: zero for none.
pub const fn error_code(error: Option<GroupError>) -> i16 {
    match error {
        Some(error) => error.code(),
        None => 0,
    }
}
