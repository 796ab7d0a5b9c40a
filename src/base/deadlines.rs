//! Who is to be called when: a heap that knows where each entry lies, so that one that is not waited for any more
//! can be taken out.

use super::Ticks;

/// Deadlines of small numbers, such as places in a table. At most one for each number; nothing is allocated while
/// their count and the numbers stay below what they once were.
#[derive(Debug, Default)]
pub struct Deadlines {
    /// The children of `i` are `2i + 1` and `2i + 2`, neither of them earlier.
    heap: Vec<(Ticks, u32)>,
    /// By number: the index in the heap, or [`ABSENT`].
    index_of: Vec<u32>,
}

const ABSENT: u32 = u32::MAX;

impl Deadlines {
    /// Sets the deadline of a number that has none.
    pub fn insert(&mut self, number: u32, at: Ticks) {
        let place = number as usize;
        if place >= self.index_of.len() {
            self.index_of.resize(place + 1, ABSENT);
        }
        assert!(self.index_of[place] == ABSENT, "one deadline for each number");
        self.heap.push((at, number));
        self.rise(self.heap.len() - 1);
    }

    /// Forgets the deadline of a number, if it has one.
    pub fn remove(&mut self, number: u32) {
        let Some(index) = self.index_of.get(number as usize).copied().filter(|i| *i != ABSENT) else {
            return;
        };
        let index = index as usize;
        self.index_of[number as usize] = ABSENT;
        self.heap.swap_remove(index);
        if index < self.heap.len() {
            self.sink(index);
            self.rise(index);
        }
    }

    /// The earliest deadline; of equal ones the lowest number's.
    pub fn first(&self) -> Option<(Ticks, u32)> {
        self.heap.first().copied()
    }

    fn rise(&mut self, mut index: usize) {
        while index > 0 {
            let parent = (index - 1) / 2;
            if self.heap[parent] <= self.heap[index] {
                break;
            }
            self.heap.swap(parent, index);
            self.note(index);
            index = parent;
        }
        self.note(index);
    }

    fn sink(&mut self, mut index: usize) {
        loop {
            let left = 2 * index + 1;
            let Some(mut child) = (left < self.heap.len()).then_some(left) else { break };
            if left + 1 < self.heap.len() && self.heap[left + 1] < self.heap[left] {
                child = left + 1;
            }
            if self.heap[index] <= self.heap[child] {
                break;
            }
            self.heap.swap(index, child);
            self.note(index);
            index = child;
        }
        self.note(index);
    }

    fn note(&mut self, index: usize) {
        self.index_of[self.heap[index].1 as usize] = index as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::super::prng::Prng;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn agrees_with_a_sorted_set() {
        let mut prng = Prng::new(7);
        let (mut deadlines, mut model) = (Deadlines::default(), BTreeSet::new());
        for _ in 0..20_000 {
            let number = prng.below(60) as u32;
            match model.iter().find(|(_, n)| *n == number).copied() {
                None => {
                    let at = Ticks(prng.below(50));
                    model.insert((at, number));
                    deadlines.insert(number, at);
                }
                Some(entry) => {
                    model.remove(&entry);
                    deadlines.remove(number);
                    deadlines.remove(number);
                }
            }
            assert_eq!(deadlines.first(), model.first().copied());
        }
        while let Some((at, number)) = model.pop_first() {
            assert_eq!(deadlines.first(), Some((at, number)));
            deadlines.remove(number);
        }
        assert_eq!(deadlines.first(), None);
    }
}
