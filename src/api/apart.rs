//! Work for a request that the core's other clients need not wait for: small work is done at once, other work on a
//! helper thread, after which the request goes on.

use std::sync::Arc;

use crate::base::Ticks;
use crate::config::BrokerConfig;
use crate::meta::image::Image;
use crate::shard::Done;
use crate::wire::codec::DecodeError;

use super::cx::{Cx, Outcome, Parked, Request, Step, Waiting};

type Then<T> = Box<dyn FnOnce(&mut Cx<'_>, T) -> Outcome>;

/// A request whose work is done elsewhere.
struct Apart<T> {
    then: Option<Then<T>>,
}

/// Does `work`, here or, if it is heavy, on a helper thread; `then` goes on with what came of it.
pub fn apart<T: Send + 'static>(
    cx: &mut Cx<'_>,
    heavy: bool,
    work: impl FnOnce() -> Result<T, DecodeError> + Send + 'static,
    then: impl FnOnce(&mut Cx<'_>, T) -> Outcome + 'static,
) -> Result<Outcome, DecodeError> {
    if !heavy {
        return work().map(|made| then(cx, made));
    }
    let id = cx.open();
    cx.compute(id, Box::new(move || Box::new(work())));
    let waiting = Box::new(Apart { then: Some(Box::new(then)) });
    Ok(Outcome::Parked(Parked { id, deadline: Ticks::NEVER, waiting }))
}

impl<T: Send + 'static> Waiting for Apart<T> {
    fn done(&mut self, cx: &mut Cx<'_>, _id: u64, _part: u32, done: Done) -> Step {
        let made = match done {
            Done::Computed(made) => made.downcast::<Result<T, DecodeError>>().ok(),
            _ => None,
        };
        Step::Finish(match (made.map(|made| *made), self.then.take()) {
            (Some(Ok(made)), Some(then)) => then(cx, made),
            (Some(Err(_)), _) => Outcome::Close("a malformed request"),
            _ => Outcome::Close("the request could not be worked on"),
        })
    }

    fn expired(&mut self, _cx: &mut Cx<'_>, _id: u64) -> Step {
        Step::Wait
    }

    fn is_heavy(&self) -> bool {
        true
    }
}

/// What requests that only look something up need to know, on any thread.
#[derive(Clone)]
pub struct View {
    /// The metadata that this core has seen.
    pub image: Arc<Image>,
    /// The broker's configuration in force.
    pub broker: Arc<BrokerConfig>,
    listener: u32,
}

impl View {
    /// What a core sees now, for a client that came in by a listener.
    pub fn of(cx: &Cx<'_>, listener: u32) -> View {
        View { image: cx.image.clone(), broker: cx.config().clone(), listener }
    }

    /// The name of the client's listener.
    pub fn listener_name(&self) -> &str {
        self.broker.listeners.get(self.listener as usize).map_or("PLAINTEXT", |l| &l.name)
    }
}

impl Request<'_> {
    /// Whether there is so much of it that it is read elsewhere.
    pub fn is_large(&self) -> bool {
        self.body.len() > crate::base::limits::REQUEST_SMALL_BYTES_MAX
    }
}
