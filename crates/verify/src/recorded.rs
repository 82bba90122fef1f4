//! For tests: what was said to the metrics.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, atomic::AtomicU64},
};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit,
};

/// Keeps the values by name and labels: `a_metric label,another`.
#[derive(Debug, Default)]
pub(crate) struct Recorded(Mutex<HashMap<String, Arc<Series>>>);

#[derive(Debug, Default)]
struct Series {
    number: Arc<AtomicU64>,
    observed: Mutex<Vec<f64>>,
}

impl Recorded {
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.series(name.to_owned()).number.load(std::sync::atomic::Ordering::SeqCst)
    }

    pub(crate) fn gauge(&self, name: &str) -> f64 {
        f64::from_bits(self.count(name))
    }

    pub(crate) fn observed(&self, name: &str) -> Vec<f64> {
        self.series(name.to_owned()).observed.lock().expect("whole").clone()
    }

    fn series(&self, name: String) -> Arc<Series> {
        self.0.lock().expect("whole").entry(name).or_default().clone()
    }

    fn of(&self, key: &Key) -> Arc<Series> {
        let labels: Vec<_> = key.labels().map(Label::value).collect();
        self.series(format!("{} {}", key.name(), labels.join(",")))
    }
}

impl HistogramFn for Series {
    fn record(&self, value: f64) {
        self.observed.lock().expect("whole").push(value);
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.of(key).number.clone())
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.of(key).number.clone())
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.of(key))
    }
}
