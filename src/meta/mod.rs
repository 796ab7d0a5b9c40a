//! The metadata image built from `KRaft` records, and the controller that writes them.
