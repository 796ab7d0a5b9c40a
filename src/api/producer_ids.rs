//! Producer ids set aside for one core (KIP-730): the controller hands out blocks, cores hand out ids.

use crate::base::ProducerId;

/// What is left of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProducerIdBlock {
    next: ProducerId,
    left: i32,
}

impl ProducerIdBlock {
    /// A block of `len` ids from `start`.
    pub fn new(start: ProducerId, len: i32) -> ProducerIdBlock {
        ProducerIdBlock { next: start, left: len.max(0) }
    }

    /// An id that nobody else has, while there are any.
    pub fn take(&mut self) -> Option<ProducerId> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        self.next += 1;
        Some(self.next - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_ends() {
        let mut block = ProducerIdBlock::new(5, 2);
        assert_eq!([block.take(), block.take(), block.take()], [Some(5), Some(6), None]);
        assert_eq!(ProducerIdBlock::default().take(), None);
    }
}
