//! A reading of IAM policies: who may do what, by the documents themselves. What it doesn't know is an error, never passed over.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The keys of conditions that a request of S3 can have.
const KEYS: [&str; 6] = [
    "aws:securetransport",
    "s3:prefix",
    "s3:if-none-match",
    "s3:x-amz-server-side-encryption-customer-algorithm",
    "s3:object-lock-mode",
    "s3:object-lock-remaining-retention-days",
];

/// What a policy is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub action: &'static str,
    pub resource: String,
    context: BTreeMap<String, String>,
}

impl Asked {
    /// A request over TLS.
    pub fn new(action: &'static str, resource: String) -> Self {
        Self { action, resource, context: BTreeMap::new() }.with("aws:SecureTransport", "true")
    }

    /// With this in its context.
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.context.insert(known(key), value.to_owned());
        self
    }

    /// Without that.
    pub fn without(mut self, key: &str) -> Self {
        self.context.remove(&known(key));
        self
    }
}

/// The policies that hold for a request.
#[derive(Debug, Clone, Default)]
pub struct Rights {
    /// Those of who asks.
    pub identity: Vec<Value>,
    /// The bucket's.
    pub bucket: Vec<Value>,
}

impl Rights {
    /// Whether this is allowed: by one statement at least, and denied by none.
    pub fn allow(&self, asked: &Asked) -> bool {
        let of = |documents: &[Value], everyone: bool| -> Vec<(Value, bool)> {
            documents.iter().flat_map(|document| statements(document).to_vec()).map(|statement| (statement, everyone)).collect()
        };
        let mut allowed = false;
        for (statement, of_bucket) in of(&self.identity, false).into_iter().chain(of(&self.bucket, true)) {
            let denies = match statement["Effect"].as_str() {
                Some("Deny") => true,
                Some("Allow") => false,
                other => panic!("an effect that isn't known: {other:?}"),
            };
            if concerns(&statement, of_bucket, asked) {
                if denies {
                    return false;
                }
                allowed = true;
            }
        }
        allowed
    }
}

/// A document's statements.
pub fn statements(document: &Value) -> &[Value] {
    assert_eq!(document["Version"], "2012-10-17", "the version of the language of policies");
    document["Statement"].as_array().expect("a list of statements")
}

fn concerns(statement: &Value, of_bucket: bool, asked: &Asked) -> bool {
    let statement = statement.as_object().expect("a statement");
    for element in statement.keys() {
        let known = ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"];
        assert!(known.contains(&element.as_str()), "an element that isn't known: {element}");
    }
    // A bucket's policy says whom it is about, an identity's can't.
    assert_eq!(statement.get("Principal"), of_bucket.then(|| Value::from("*")).as_ref());
    let lower = asked.action.to_lowercase();
    let condition = Map::new();
    let condition = statement.get("Condition").map_or(&condition, |condition| condition.as_object().expect("a condition"));
    let named = texts(&statement["Action"]).iter().any(|action| fits(&action.to_lowercase(), &lower));
    let there = texts(&statement["Resource"]).iter().any(|resource| fits(resource, &asked.resource));
    // All are looked at, so that one that isn't known is found in any case.
    let held: Vec<bool> = condition.iter().map(|(operator, keys)| holds(operator, keys, asked)).collect();
    named && there && held.into_iter().all(|held| held)
}

fn holds(operator: &str, keys: &Value, asked: &Asked) -> bool {
    let keys = keys.as_object().expect("keys of a condition");
    keys.iter().fold(true, |all, (key, values)| {
        let found = asked.context.get(&known(key)).map(String::as_str);
        let values = texts(values);
        let any = |test: &dyn Fn(&str, &str) -> bool| found.is_some_and(|found| values.iter().any(|value| test(value, found)));
        let number = |text: &str| text.parse::<f64>().unwrap_or_else(|_| panic!("{text:?} is no number"));
        let held = match operator {
            "StringEquals" => any(&|value, found| value == found),
            "StringNotEquals" => !any(&|value, found| value == found),
            "StringLike" => any(&fits),
            "Bool" => any(&|value, found| value.eq_ignore_ascii_case(found)),
            "NumericGreaterThan" => any(&|value, found| number(found) > number(value)),
            "Null" => values.iter().any(|value| match value.as_str() {
                "true" => found.is_none(),
                "false" => found.is_some(),
                other => panic!("Null is asked for {other:?}"),
            }),
            other => panic!("an operator that isn't known: {other}"),
        };
        all && held
    })
}

/// Names of keys don't depend on case. A misspelt one would never be there.
fn known(key: &str) -> String {
    let key = key.to_lowercase();
    assert!(KEYS.contains(&key.as_str()), "a key that no request has: {key}");
    key
}

/// One text or a list of them.
fn texts(value: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned();
    value.as_array().map_or_else(|| vec![text(value)], |values| values.iter().map(text).collect())
}

/// Whether a text fits a pattern of `*` and `?`.
pub fn fits(pattern: &str, text: &str) -> bool {
    let Some(first) = pattern.chars().next() else { return text.is_empty() };
    let rest = &pattern[first.len_utf8()..];
    match (first, text.chars().next()) {
        ('*', _) => text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| fits(rest, &text[at..])),
        ('?', Some(c)) => fits(rest, &text[c.len_utf8()..]),
        (first, Some(c)) => first == c && fits(rest, &text[c.len_utf8()..]),
        (_, None) => false,
    }
}
