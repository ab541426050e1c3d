//! How full the channels between threads are.

use super::readings::{Labelled, Reading, Readings, labelled};
use crossbeam_channel::Receiver;
use std::sync::Arc;

/// A bounded channel. Where work piles up in one, the stage behind it is the slow one.
pub struct Queue {
    name: &'static str,
    waiting: Box<dyn Fn() -> usize + Send + Sync>,
    capacity: Option<usize>,
}

impl Queue {
    /// The channel that this receives from.
    pub fn of<T: Send + 'static>(name: &'static str, receiver: &Receiver<T>) -> Queue {
        let (capacity, receiver) = (receiver.capacity(), receiver.clone());
        Queue { name, waiting: Box::new(move || receiver.len()), capacity }
    }
}

/// Of all queues of a service.
pub fn queue_readings(queues: impl IntoIterator<Item = Queue>) -> Readings {
    let queues: Arc<[Queue]> = queues.into_iter().collect();
    let waiting = queues.clone();
    Readings::new(vec![
        Reading::gauge("queue_depth", "What waits for the next stage", &["queue"], move || {
            waiting.iter().map(|queue| length(queue.name, (queue.waiting)())).collect()
        }),
        Reading::gauge("queue_capacity", "What may wait for the next stage at most", &["queue"], move || {
            queues.iter().filter_map(|queue| Some(length(queue.name, queue.capacity?))).collect()
        }),
    ])
}

fn length(name: &str, length: usize) -> Labelled {
    labelled(name, u32::try_from(length).map_or(f64::INFINITY, f64::from))
}
