//! The table of parked requests of a core.

use std::net::SocketAddr;

use slab::Slab;

use crate::base::{Deadlines, Ticks};
use crate::net::Slot;
use crate::wire::api::ApiKey;

use super::cx::{Parked, Waiting};

/// What is kept of a request to answer it.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Where its reply goes.
    pub slot: Slot,
    /// The API.
    pub api_key: ApiKey,
    /// Its version.
    pub api_version: i16,
    /// Chosen by the client, echoed in the reply.
    pub correlation_id: i32,
    /// The client's address.
    pub peer: SocketAddr,
}

/// The parked requests of a core. An id is its place in the table and a count, so that a late answer does not meet
/// whoever took the place since.
#[derive(Default)]
pub struct ParkedTable {
    entries: Slab<Entry>,
    /// By place.
    deadlines: Deadlines,
    opened: u32,
}

struct Entry {
    id: u64,
    asked: Asked,
    /// Taken out while it acts.
    waiting: Option<Box<dyn Waiting>>,
}

impl ParkedTable {
    /// The id of the request that is parked next.
    pub fn open(&mut self) -> u64 {
        self.opened = self.opened.wrapping_add(1);
        u64::from(self.opened) << 32 | self.entries.vacant_key() as u64
    }

    /// Parks a request, the one that was opened last.
    pub fn insert(&mut self, asked: Asked, parked: Parked) {
        let Parked { id, deadline, waiting } = parked;
        let place = self.entries.insert(Entry { id, asked, waiting: Some(waiting) });
        assert!(place == Self::place(id), "the request that was opened last is parked");
        if deadline != Ticks::NEVER {
            self.deadlines.insert(place as u32, deadline);
        }
    }

    fn place(id: u64) -> usize {
        id as u32 as usize
    }

    fn entry(&mut self, id: u64) -> Option<&mut Entry> {
        self.entries.get_mut(Self::place(id)).filter(|entry| entry.id == id)
    }

    /// Takes a request's state out to let it act; then it is put back, or the request is finished.
    pub fn take(&mut self, id: u64) -> Option<Box<dyn Waiting>> {
        self.entry(id)?.waiting.take()
    }

    /// Puts the state back of a request that waits on.
    pub fn put_back(&mut self, id: u64, waiting: Box<dyn Waiting>) {
        if let Some(entry) = self.entry(id) {
            entry.waiting = Some(waiting);
        }
    }

    /// What is kept of a request to answer it.
    pub fn asked(&self, id: u64) -> Option<Asked> {
        self.entries.get(Self::place(id)).filter(|entry| entry.id == id).map(|entry| entry.asked)
    }

    /// Forgets a request that is finished.
    pub fn finish(&mut self, id: u64) -> Option<Asked> {
        self.entry(id)?;
        let place = Self::place(id);
        self.deadlines.remove(place as u32);
        Some(self.entries.remove(place).asked)
    }

    /// The earliest deadline.
    pub fn deadline(&self) -> Ticks {
        self.deadlines.first().map_or(Ticks::NEVER, |(at, _)| at)
    }

    /// A request whose deadline has come. Its deadline is forgotten: it is told once.
    pub fn pop_expired(&mut self, now: Ticks) -> Option<u64> {
        let (_, place) = self.deadlines.first().filter(|(at, _)| *at <= now)?;
        self.deadlines.remove(place);
        Some(self.entries[place as usize].id)
    }

    /// All parked requests, in the order in which they came, nearly.
    pub fn all(&self) -> Vec<u64> {
        let mut ids: Vec<u64> = self.entries.iter().map(|(_, entry)| entry.id).collect();
        ids.sort_unstable();
        ids
    }

    /// The number of parked requests.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is parked.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
