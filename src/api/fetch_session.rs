//! Incremental fetch sessions (KIP-227): what a consumer fetches is remembered, so that a poll names only what
//! changed and a response holds only what has news. Sessions belong to the core of their connection and end with it, and what
//! all of a core remember is bounded.

use std::collections::{BTreeMap, HashMap};

use crate::base::limits::{FETCH_SESSION_IDLE_MS, FETCH_SESSION_PARTITIONS_MAX};
use crate::base::prng::Prng;
use crate::base::{Offset, Ticks};
use crate::io::ConnId;
use crate::wire::errors::ErrorCode;

/// The epoch of a request that opens a session.
pub const INITIAL_EPOCH: i32 = 0;
/// The epoch of a request without a session.
pub const FINAL_EPOCH: i32 = -1;

/// A partition as the client names it: by topic id (version 13 and later) or by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchKey {
    /// The topic.
    pub topic: TopicRef,
    /// The partition's number.
    pub partition: i32,
}

/// A topic by id or by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicRef {
    /// By id.
    Id(crate::base::TopicId),
    /// By name.
    Name(std::sync::Arc<str>),
}

/// What a client wants of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchWant {
    /// The first offset wanted.
    pub offset: Offset,
    /// Bytes at most.
    pub max_bytes: i32,
    /// The leader epoch the client knows, -1 if none.
    pub current_leader_epoch: i32,
    /// The epoch of its last record, -1 if none.
    pub last_fetched_epoch: i32,
}

/// What the client was last told of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// High watermark.
    pub high_watermark: Offset,
    /// Last stable offset.
    pub last_stable_offset: Offset,
    /// First offset.
    pub log_start_offset: Offset,
}

impl Told {
    const NOTHING: Told = Told { high_watermark: -1, last_stable_offset: -1, log_start_offset: -1 };
}

struct Remembered {
    order: u64,
    want: FetchWant,
    told: Told,
}

struct Session {
    /// Where it was used last.
    conn: ConnId,
    epoch: i32,
    used: Ticks,
    by_id: bool,
    partitions: HashMap<FetchKey, Remembered>,
    order: BTreeMap<u64, FetchKey>,
    next_order: u64,
}

impl Session {
    fn set(&mut self, key: FetchKey, want: FetchWant) {
        if let Some(known) = self.partitions.get_mut(&key) {
            known.want = want;
            return;
        }
        let order = self.next_order;
        self.next_order += 1;
        self.order.insert(order, key.clone());
        self.partitions.insert(key, Remembered { order, want, told: Told::NOTHING });
    }

    fn forget(&mut self, key: &FetchKey) {
        if let Some(gone) = self.partitions.remove(key) {
            self.order.remove(&gone.order);
        }
    }
}

/// How a fetch stands to its session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionUse {
    /// None: everything is answered.
    #[default]
    None,
    /// The first fetch of a new session: everything is answered.
    New(i32),
    /// A later one: only news is answered.
    Incremental(i32),
}

impl SessionUse {
    /// The id for the response.
    pub fn id(self) -> i32 {
        match self {
            SessionUse::None => 0,
            SessionUse::New(id) | SessionUse::Incremental(id) => id,
        }
    }
}

/// The sessions of one core.
pub struct FetchSessions {
    sessions: HashMap<i32, Session>,
    slots: usize,
    /// Partitions that all of them remember.
    partitions: usize,
    prng: Prng,
}

impl FetchSessions {
    /// Room for `slots` sessions; ids come from `prng`.
    pub fn new(slots: usize, prng: Prng) -> FetchSessions {
        FetchSessions { sessions: HashMap::new(), slots, partitions: 0, prng }
    }

    /// The number of sessions.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// What a request asks for, given what its session remembers: `wants` becomes all its partitions in order.
    ///
    /// # Errors
    /// `FETCH_SESSION_ID_NOT_FOUND`, `INVALID_FETCH_SESSION_EPOCH` or `FETCH_SESSION_TOPIC_ID_ERROR`: the client
    /// opens a new session.
    pub fn begin(
        &mut self,
        (now, conn): (Ticks, ConnId),
        (id, epoch): (i32, i32),
        by_id: bool,
        wants: &mut Vec<(FetchKey, FetchWant)>,
        forgotten: &[FetchKey],
    ) -> Result<SessionUse, ErrorCode> {
        if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH {
            self.remove(id);
            if epoch == FINAL_EPOCH || wants.is_empty() || !self.make_room(now, wants.len()) {
                return Ok(SessionUse::None);
            }
            let id = self.new_id();
            let mut session = Session {
                conn,
                epoch: 1,
                used: now,
                by_id,
                partitions: HashMap::new(),
                order: BTreeMap::new(),
                next_order: 0,
            };
            for (key, want) in wants.iter() {
                session.set(key.clone(), want.clone());
            }
            self.partitions += session.partitions.len();
            self.sessions.insert(id, session);
            return Ok(SessionUse::New(id));
        }
        let session = self.sessions.get_mut(&id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.epoch != epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if session.by_id != by_id {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        session.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        (session.used, session.conn) = (now, conn);
        let before = session.partitions.len();
        for (key, want) in wants.drain(..) {
            session.set(key, want);
        }
        for key in forgotten {
            session.forget(key);
        }
        let known = |key: &FetchKey| Some((key.clone(), session.partitions.get(key)?.want.clone()));
        wants.extend(session.order.values().filter_map(known));
        self.partitions = self.partitions - before + session.partitions.len();
        if session.partitions.is_empty() {
            self.remove(id);
            return Ok(SessionUse::None);
        }
        if self.partitions > FETCH_SESSION_PARTITIONS_MAX {
            self.remove(id);
            return Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        }
        Ok(SessionUse::Incremental(id))
    }

    /// Whether a partition's outcome belongs in the response, and remembers that it was told. A partition with
    /// records moves to the end of the order, so that a busy one does not starve the others.
    pub fn tell(
        &mut self,
        session: SessionUse,
        key: &FetchKey,
        told: Told,
        has_records: bool,
        error: bool,
    ) -> bool {
        let (SessionUse::New(id) | SessionUse::Incremental(id)) = session else { return true };
        let Some(session_state) = self.sessions.get_mut(&id) else { return true };
        let next = session_state.next_order;
        let Some(known) = session_state.partitions.get_mut(key) else { return true };
        let news = has_records || error || known.told != told;
        // An error is news each time: it must be told again until it is gone.
        known.told = if error { Told::NOTHING } else { told };
        if has_records {
            session_state.order.remove(&known.order);
            known.order = next;
            session_state.order.insert(next, key.clone());
            session_state.next_order += 1;
        }
        news || matches!(session, SessionUse::New(_))
    }

    fn new_id(&mut self) -> i32 {
        loop {
            let id = (self.prng.next_u64() & 0x7fff_ffff) as i32;
            if id != 0 && !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }

    /// Makes room for one more with so many partitions, if need be at the cost of those that have been idle longest.
    fn make_room(&mut self, now: Ticks, partitions: usize) -> bool {
        while self.sessions.len() >= self.slots || self.partitions + partitions > FETCH_SESSION_PARTITIONS_MAX
        {
            let idle = self.sessions.iter().min_by_key(|(id, s)| (s.used, **id));
            match idle.filter(|(_, s)| now.ms_since(s.used) >= FETCH_SESSION_IDLE_MS).map(|(id, _)| *id) {
                Some(id) if partitions <= FETCH_SESSION_PARTITIONS_MAX => self.remove(id),
                _ => return false,
            }
        }
        true
    }

    fn remove(&mut self, id: i32) {
        self.partitions -= self.sessions.remove(&id).map_or(0, |gone| gone.partitions.len());
    }

    /// A connection has ended: so have the sessions that were used there last.
    pub fn gone(&mut self, conn: ConnId) {
        self.sessions.retain(|_, session| session.conn != conn);
        self.partitions = self.sessions.values().map(|session| session.partitions.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(partition: i32) -> FetchKey {
        FetchKey { topic: TopicRef::Name("t".into()), partition }
    }

    fn want(offset: Offset) -> FetchWant {
        FetchWant { offset, max_bytes: 100, current_leader_epoch: -1, last_fetched_epoch: -1 }
    }

    fn sessions(slots: usize) -> FetchSessions {
        FetchSessions::new(slots, Prng::new(1))
    }

    type Begun = Result<(SessionUse, Vec<(FetchKey, FetchWant)>), ErrorCode>;

    fn begin(
        s: &mut FetchSessions,
        now: Ticks,
        session: (i32, i32),
        by_id: bool,
        mut wants: Vec<(FetchKey, FetchWant)>,
        forgotten: &[FetchKey],
    ) -> Begun {
        s.begin((now, ConnId(1)), session, by_id, &mut wants, forgotten).map(|used| (used, wants))
    }

    fn told(hw: Offset) -> Told {
        Told { high_watermark: hw, last_stable_offset: hw, log_start_offset: 0 }
    }

    #[test]
    fn a_session_remembers_and_answers_only_news() {
        let mut s = sessions(2);
        let wants = vec![(key(0), want(0)), (key(1), want(5))];
        let (used, all) = begin(&mut s, Ticks(0), (0, 0), false, wants, &[]).unwrap();
        let SessionUse::New(id) = used else { panic!("{used:?}") };
        assert_eq!(all.len(), 2);
        assert!(s.tell(used, &key(0), told(3), true, false));
        assert!(s.tell(used, &key(1), told(5), false, false));

        // Only partition 0's offset changes; both are fetched, 1 first since 0 had records.
        let (used, all) = begin(&mut s, Ticks(1), (id, 1), false, vec![(key(0), want(3))], &[]).unwrap();
        assert_eq!(used, SessionUse::Incremental(id));
        assert_eq!(all, vec![(key(1), want(5)), (key(0), want(3))]);
        assert!(!s.tell(used, &key(1), told(5), false, false), "no news");
        assert!(s.tell(used, &key(0), told(4), false, false), "the high watermark is news");
        assert!(s.tell(used, &key(1), told(5), false, true), "an error is news");

        let (_, all) = begin(&mut s, Ticks(2), (id, 2), false, vec![], &[key(1)]).unwrap();
        assert_eq!(all, vec![(key(0), want(3))]);
    }

    #[test]
    fn wrong_ids_and_epochs_are_refused() {
        let mut s = sessions(2);
        assert_eq!(
            begin(&mut s, Ticks(0), (9, 1), false, vec![], &[]).unwrap_err(),
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND
        );
        let (used, _) = begin(&mut s, Ticks(0), (0, 0), false, vec![(key(0), want(0))], &[]).unwrap();
        let id = used.id();
        assert_eq!(
            begin(&mut s, Ticks(0), (id, 2), false, vec![], &[]).unwrap_err(),
            ErrorCode::INVALID_FETCH_SESSION_EPOCH
        );
        assert_eq!(
            begin(&mut s, Ticks(0), (id, 1), true, vec![], &[]).unwrap_err(),
            ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR
        );
        let (used, _) = begin(&mut s, Ticks(0), (id, FINAL_EPOCH), false, vec![], &[]).unwrap();
        assert_eq!(used, SessionUse::None);
        assert!(s.is_empty(), "a final fetch ends the session");
    }

    /// 1,000 sessions of 30,000 partitions each, which nobody used any more, held 4 GB: only their number was bounded.
    #[test]
    fn what_all_sessions_remember_is_bounded_and_ends_with_their_connections() {
        let many = |n: usize| (0..n as i32).map(|i| (key(i), want(0))).collect::<Vec<_>>();
        let mut s = sessions(1000);
        let half = FETCH_SESSION_PARTITIONS_MAX / 2;
        let open = |s: &mut FetchSessions, now| begin(s, now, (0, 0), false, many(half), &[]).unwrap().0;
        let first = open(&mut s, Ticks(0));
        assert!(matches!((first, open(&mut s, Ticks(0))), (SessionUse::New(_), SessionUse::New(_))));
        assert_eq!(open(&mut s, Ticks(1)), SessionUse::None, "everything is answered, and nothing kept");
        // One that grows beyond the bound ends; the client opens another.
        let more = begin(&mut s, Ticks(1), (first.id(), 1), false, many(half + 1), &[]);
        assert_eq!(more.unwrap_err(), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        assert_eq!((s.len(), s.partitions), (1, half));
        assert!(matches!(open(&mut s, Ticks(2)), SessionUse::New(_)));
        // Idle ones give way.
        let later = Ticks(0).plus_ms(FETCH_SESSION_IDLE_MS);
        assert!(matches!(open(&mut s, later), SessionUse::New(_)));
        assert_eq!((s.len(), s.partitions), (2, 2 * half));
        s.gone(ConnId(2));
        assert_eq!(s.len(), 2);
        s.gone(ConnId(1));
        assert_eq!((s.len(), s.partitions), (0, 0));
    }

    #[test]
    fn only_an_idle_session_gives_way() {
        let mut s = sessions(1);
        let one = || vec![(key(0), want(0))];
        assert!(matches!(begin(&mut s, Ticks(0), (0, 0), false, one(), &[]).unwrap().0, SessionUse::New(_)));
        assert_eq!(begin(&mut s, Ticks(1), (0, 0), false, one(), &[]).unwrap().0, SessionUse::None);
        let later = Ticks(0).plus_ms(FETCH_SESSION_IDLE_MS);
        assert!(matches!(begin(&mut s, later, (0, 0), false, one(), &[]).unwrap().0, SessionUse::New(_)));
        assert_eq!(s.len(), 1);
    }
}
