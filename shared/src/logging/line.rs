//! A record of the log, before it has a format.

use log::Record;
use log::kv::{Error, Key, Value as Given, VisitSource, VisitValue};
use serde_json::Value;

/// The key-values that calls give, in the order in which lines have them. Others follow.
const ORDER: [&str; 5] = ["tick", "txid", "table", "error", "next"];

/// What a line says.
pub(super) struct Line {
    pub(super) timestamp: String,
    pub(super) level: log::Level,
    pub(super) service: String,
    pub(super) thread: String,
    pub(super) module: String,
    pub(super) message: String,
    /// In the order of [`ORDER`]; a number or a text.
    pub(super) fields: Vec<(String, Value)>,
}

impl Line {
    /// The record, logged by this thread.
    pub(super) fn of(timestamp: &str, service: &str, record: &Record<'_>) -> Line {
        let mut fields = Fields::default();
        // Fields refuses nothing.
        let _ = record.key_values().visit(&mut fields);
        fields.0.sort_by_key(|(key, _)| ORDER.iter().position(|known| known == key).unwrap_or(ORDER.len()));
        Line {
            timestamp: timestamp.to_owned(),
            level: record.level(),
            service: service.to_owned(),
            thread: std::thread::current().name().unwrap_or("unnamed").to_owned(),
            module: record.target().to_owned(),
            message: record.args().to_string(),
            fields: fields.0,
        }
    }

    /// A field, if the call gives it.
    pub(super) fn field(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// A value without quotes.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[derive(Default)]
struct Fields(Vec<(String, Value)>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Given<'kvs>) -> Result<(), Error> {
        let mut read = Read(Value::Null);
        value.visit(&mut read)?;
        // What is not known is no field.
        if !read.0.is_null() {
            self.0.push((key.as_str().to_owned(), read.0));
        }
        Ok(())
    }
}

/// A number stays a number; whatever else there is becomes text.
struct Read(Value);

impl VisitValue<'_> for Read {
    fn visit_any(&mut self, value: Given<'_>) -> Result<(), Error> {
        self.0 = Value::from(value.to_string());
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), Error> {
        self.0 = Value::from(value);
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), Error> {
        self.0 = Value::from(value);
        Ok(())
    }
}
