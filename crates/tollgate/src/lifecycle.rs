//! How a process runs and ends: stages that start in order and stop in reverse, signals, and tasks that must not die.

use std::{future::Future, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tollgate_kernel::{Code, Fault};

use crate::Running;

/// The tasks that start and stop together.
#[derive(Debug)]
pub(crate) struct Stage {
    name: &'static str,
    stop: CancellationToken,
    tasks: TaskTracker,
    deaths: mpsc::Sender<Fault>,
}

impl Stage {
    /// A stage without tasks. A task of it that ends before it is told to is reported to `deaths`.
    pub(crate) fn new(name: &'static str, deaths: mpsc::Sender<Fault>) -> Self {
        Self { name, stop: CancellationToken::new(), tasks: TaskTracker::new(), deaths }
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// What the stage's tasks end at.
    pub(crate) fn stop_signal(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs a task that ends when the stage is stopped, and not before.
    pub(crate) fn spawn<F>(&self, what: &'static str, task: F)
    where
        F: Future<Output = Result<(), Fault>> + Send + 'static,
    {
        let (stop, deaths, name) = (self.stop.clone(), self.deaths.clone(), self.name);
        // A task of its own, so that a panic in it is seen here.
        let running = tokio::spawn(task);
        self.tasks.spawn(async move {
            let ended = running.await.unwrap_or_else(|panic| Err(Fault::internal(panic)));
            let why = match ended {
                Ok(()) if stop.is_cancelled() => return,
                Ok(()) => "it ended".to_owned(),
                Err(fault) => fault.cause().unwrap_or_else(|| fault.to_string()),
            };
            // A full queue means that the process is being taken down already.
            let _ = deaths.try_send(Fault::internal(format!("{what} of {name} died: {why}")));
        });
    }

    /// Tells the tasks to end, and waits until they have.
    pub(crate) async fn stop(&self) {
        tracing::debug!(stage = self.name, "stopping");
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on the signals do not kill the process.
    pub(crate) fn new() -> Result<Self, Fault> {
        let on = |kind| signal(kind).map_err(Fault::internal);
        Ok(Self { terminate: on(SignalKind::terminate())?, interrupt: on(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Runs until a signal, then drains within `patience`. A task that dies, a second signal, something that had to be cut
/// off: a fault.
pub(crate) async fn until_told(
    mut running: Running,
    mut signals: Signals,
    patience: Duration,
) -> Result<(), Fault> {
    let death = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "stopping: finishing requests, flushing tallies");
            None
        }
        fault = running.died() => Some(fault),
    };
    let stopped = tokio::select! {
        stopped = running.stop(patience) => stopped,
        signal = signals.next() => {
            Err(Fault::new(Code::Unavailable, format!("Stopped without draining: a second signal, {signal}.")))
        }
    };
    match death {
        Some(fault) => Err(fault),
        None => stopped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage() -> (Stage, mpsc::Receiver<Fault>) {
        let (sender, deaths) = mpsc::channel(1);
        (Stage::new("a stage", sender), deaths)
    }

    #[tokio::test]
    async fn a_task_that_dies_is_reported_however_it_dies() {
        for how in 0..3 {
            let (stage, mut deaths) = stage();
            stage.spawn("a task", async move {
                match how {
                    0 => Ok(()),
                    1 => Err(Fault::unavailable("its reason")),
                    _ => panic!("its panic"),
                }
            });
            let cause = deaths.recv().await.expect("a death").cause().expect("a cause");
            assert!(cause.starts_with("a task of a stage died: "), "{cause}");
        }
    }

    #[tokio::test]
    async fn a_task_that_ends_when_it_is_told_to_is_no_death() {
        let (stage, mut deaths) = stage();
        let stop = stage.stop_signal();
        stage.spawn("a task", async move {
            stop.cancelled().await;
            Ok(())
        });
        stage.stop().await;
        drop(stage);
        assert!(deaths.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_stage_that_is_dropped_stops_its_tasks() {
        let (stage, mut deaths) = stage();
        let stop = stage.stop_signal();
        stage.spawn("a task", async move {
            stop.cancelled().await;
            Ok(())
        });
        drop(stage);
        assert!(deaths.recv().await.is_none());
    }
}
