//! A first start that ends at any operation of its disk: those that follow begin as if there had been none.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use ottla::io::sim::SimConfig;
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use super::machine::Machine;

/// Operations of the disk that a first start may have.
const CALLS_MAX: u64 = 150;

/// What was logged.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Said {
    type Writer = Said;

    fn make_writer(&self) -> Said {
        self.clone()
    }
}

/// The warnings and errors of a start that must be one.
fn started(machine: &mut Machine, context: &str) -> String {
    let said = Said::default();
    let log = tracing_subscriber::fmt().with_max_level(Level::WARN).with_writer(said.clone()).finish();
    tracing::subscriber::with_default(log, || {
        machine.start(1).unwrap_or_else(|error| panic!("{context}: {error}"));
        while !machine.is_ready() {
            machine.step(machine.sim.now().plus_ms(1000));
        }
    });
    let bytes = said.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    String::from_utf8(bytes).expect("text")
}

/// A process was killed twice before its first start had written anything to the metadata log, whose epoch was counted already:
/// every later start refused, as a log that had been empty twice looked like one that was lost.
#[test]
fn a_first_start_may_end_anywhere() {
    for calls in (0..CALLS_MAX).chain([u64::MAX]) {
        for power_cut in [false, true] {
            let context = format!("ended after {calls} operations, power cut {power_cut}");
            let mut machine = Machine::new(SimConfig::new(calls, 1), &[]);
            for _ in 0..3 {
                machine.sim.disk().end_after(calls);
                // Whether it gives up or goes on without what fails, nothing of it reaches the disk.
                let _ = machine.start(1);
                if power_cut {
                    machine.power_cut();
                } else {
                    machine.kill();
                }
            }
            for start in 1..=2 {
                let said = started(&mut machine, &context);
                assert_eq!(said, "", "{context}, start {start}");
                machine.pass(200);
                machine.kill();
            }
        }
    }
}
