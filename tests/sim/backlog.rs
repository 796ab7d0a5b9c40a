//! A disk that is slower than its clients.

use ottla::base::limits::PARTITION_PENDING_BYTES_MAX;
use ottla::io::sim::SimConfig;
use ottla::wire::messages::{CreateTopicsResponse, ProduceResponse};

use super::link::Link;
use super::machine::Machine;
use super::requests::{creatable, one_record};

/// As large as the journal takes.
const VALUE_BYTES: usize = 30_000;
const IN_FLIGHT: usize = 8;

/// With a journal larger than what may wait for the segments, appends were acknowledged until so much waited that the next
/// ones had to; what was written then had been durable for long, which told nobody, and they waited for ever.
#[test]
fn appends_go_on_after_they_had_to_wait_for_the_disk() {
    let mut config = SimConfig::new(7, 1);
    (config.disk.slow_one_in, config.disk.slow_ns) = (1, 20_000_000);
    let mut machine = Machine::new(config, &[("ottla.core.journal.bytes", "268435456")]);
    machine.start_ready(1);
    let mut link = Link::new("backlog", 1);
    link.open(&machine.sim);
    link.create_topics(&machine.sim, vec![creatable("t", 1, &[])], ());
    let answers = link.answers(&mut machine, 1);
    let created: CreateTopicsResponse<'_> = answers[0].read();
    assert_eq!(created.topics[0].error_code, 0);

    let batch = one_record(VALUE_BYTES);
    let mut asked = 0;
    let mut held_up = 0;
    while asked * VALUE_BYTES < PARTITION_PENDING_BYTES_MAX * 5 / 4 {
        for _ in 0..IN_FLIGHT {
            link.produce(&machine.sim, "t", &batch, ());
        }
        let before = machine.sim.now();
        for answer in link.answers(&mut machine, IN_FLIGHT) {
            let response: ProduceResponse<'_> = answer.read();
            let part = &response.responses[0].partition_responses[0];
            assert_eq!((part.error_code, part.base_offset), (0, asked as i64));
            asked += 1;
        }
        held_up += usize::from(machine.sim.now() > before.plus_ms(10));
    }
    assert!(held_up > 0, "nothing had to wait for the disk: the test tests nothing");
}
