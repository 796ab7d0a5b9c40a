//! Small requests that cost much: work and size of replies.
