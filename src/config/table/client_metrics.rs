//! Keys of a client-metrics subscription (`ClientMetricsConfigs`, KIP-714).

use super::prelude::*;

keys! {
    "interval.ms" => INT, Is("300000"), ANY, MEDIUM, DYNAMIC, WARNS;
        "Time between a client's pushes, milliseconds: 100 to 3600000.";
    "match" => LIST, Is(""), ANY_LIST, MEDIUM, DYNAMIC, WARNS;
        "Which clients are meant, as selector=pattern.";
    "metrics" => LIST, Is(""), ANY_LIST, MEDIUM, DYNAMIC, WARNS;
        "Prefixes of the metrics that clients push; * means all.";
}
