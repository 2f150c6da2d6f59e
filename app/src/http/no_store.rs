//! A mark for answers that contain a secret.

/// An extension of a response whose body contains a secret that is shown once. The body is not stored for an
/// `Idempotency-Key`; a repeated request gets 409 `outcome-unknown`.
#[derive(Debug, Clone, Copy)]
pub struct NoStore;
