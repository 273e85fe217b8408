//! The range of a GET.

use aws_sdk_s3::operation::get_object::GetObjectOutput;

use super::super::{Failure, StoreErrorKind};
use super::refusal::harmless;

/// A range of an object that isn't empty, its ends included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    first: u64,
    last: u64,
}

impl Span {
    pub(super) fn new(offset: u64, length: u64) -> Result<Option<Self>, Failure> {
        let Some(more) = length.checked_sub(1) else { return Ok(None) };
        // Servers count in signed numbers.
        match offset.checked_add(more).filter(|last| i64::try_from(*last).is_ok()) {
            Some(last) => Ok(Some(Self { first: offset, last })),
            None => Err(StoreErrorKind::Damaged(format!("no object has {length} bytes at {offset}")).into()),
        }
    }

    pub(super) fn header(self) -> String {
        format!("bytes={}-{}", self.first, self.last)
    }

    /// A server that cuts the range at the object's end, or doesn't know ranges, says so before its body.
    pub(super) fn check(self, output: &GetObjectOutput) -> Result<(), Failure> {
        // It is shown.
        let range = harmless(output.content_range().unwrap_or("the whole object"));
        let wanted = format!("bytes {}-{}/", self.first, self.last);
        if range.starts_with(&wanted) { Ok(()) } else { Err(self.damaged(&format!("the store answers with {range}"))) }
    }

    pub(super) fn damaged(self, found: &str) -> Failure {
        StoreErrorKind::Damaged(format!("bytes {}-{} were asked for, {found}", self.first, self.last)).into()
    }
}
