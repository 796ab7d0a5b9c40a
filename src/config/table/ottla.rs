//! Ottla's own keys.

use super::prelude::*;

keys! {
    "ottla.cores" => STRING, Null, ANY, HIGH, READ_ONLY, AT_START;
        "Cores to run on: a number, or a list such as 0,2-4; all that the process may use if not set.";
    "ottla.connection.buffer.bytes" => INT, Is("1048576"), at_least(65536.0), MEDIUM, READ_ONLY, AT_START;
        "Bytes of replies that may wait on a connection before no more requests are read from it.";
    "ottla.connection.zero.copy.bytes" => INT, Is("0"), at_least(0.0), LOW, READ_ONLY, AT_START;
        "Replies with a piece of at least so many bytes are sent without a copy where the network card can; 0 for none.";
    "ottla.core.buffer.bytes" => LONG, Is("268435456"), at_least(1_048_576.0), MEDIUM, READ_ONLY, AT_START;
        "Bytes of requests and replies that all connections of one core may hold.";
    "ottla.core.cache.bytes" => LONG, Is("67108864"), at_least(1_048_576.0), MEDIUM, READ_ONLY, AT_START;
        "Bytes that one core's buffers hold: records for readers, and before them what waits to be written or sent.";
    "ottla.core.journal.bytes" => LONG, Is("134217728"), at_least(0.0), MEDIUM, READ_ONLY, AT_START;
        "Bytes of the file in which one core keeps small appends safe until they are in their segments; 0 for none.";
}
